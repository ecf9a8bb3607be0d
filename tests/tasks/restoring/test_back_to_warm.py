"""An archived month goes back to warm: the very rows in one tier at every instant, and archived again afterwards."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from ledger.archive_objects import EVERY_PART
from ledger.errors import ConfigError, ConflictError, DataError, NotFoundError, NotYetError, VerificationError
from ledger.months import Month
from ledger.transparency.events import Archived, Body, Event, Returned
from sql.connection import connect
from sql.installation import read_installation
from sql.locks import archived_objects
from sql.log import read_entries
from sql.restored import Request
from storage.store import ObjectStore
from tasks.archiving.late_rows import open_late_rows
from tasks.archiving.month_lock import month_lock
from tasks.archiving.tiers import tier_rows
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_deep import deepen
from tasks.archiving.to_warm import warm_month
from tasks.proving.proofs import Prover
from tasks.querying.query import Querier
from tasks.restoring.back_to_warm import ReturnedMonth, return_month
from tasks.restoring.restore import drop_copies, restore_month
from tasks.transparency.publish import publish_log
from tasks.verifying.verification import VerificationScope, verify_archive
from tests.tasks.archiving.ledger import COLD, HOT, ROWS, TODAY, Ledger, make_row

WHO = Request("anna", "os anna", "a correction that the auditors ask for", timedelta(days=7))
STEPS = ("fetched", "loaded", "verified", "merged", "recorded", "returned")
PARTITION = "transactions_2024_03"


class KilledError(Exception):
    """Stands for the end of a process."""


def back(ledger: Ledger, month: Month = COLD, who: Request = WHO, **changes: Any) -> ReturnedMonth:
    return return_month(ledger.settings, ledger.table, month, who, **changes)


def killed_after(step: str) -> Callable[[str], None]:
    def on_step(done: str) -> None:
        if done == step:
            raise KilledError(step)

    return on_step


def events(ledger: Ledger) -> list[Body]:
    """The events of the public log, published."""
    publish_log(ledger.settings)
    with connect(ledger.settings.database_dsn, "tests") as connection:
        installation = read_installation(connection)
        assert installation is not None
        entries = read_entries(connection, installation.installation_id)
    return [Event.from_bytes(entry).body for entry in entries]


def wrong(ledger: Ledger, *, deep: bool = False) -> list[str]:
    """What a verification of the bucket finds."""
    publish_log(ledger.settings)
    with connect(ledger.settings.database_dsn, "tests") as connection:
        report = verify_archive(ledger.settings, VerificationScope(deep=deep), connection)
    return [str(finding) for finding in report.findings]


def rows(ledger: Ledger) -> list[dict[str, Any]]:
    """Every row as the auditor sees it, without its tier."""
    found = ledger.ask("SELECT * FROM transactions ORDER BY id")
    return [{name: value for name, value in row.items() if name != "tier"} for row in found]


def loading(ledger: Ledger) -> list[str]:
    """What is left in the schema of restored months."""
    return [name for (name,) in ledger.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'restored'")]


def later(ledger: Ledger) -> date:
    """A day on which the work is over."""
    (until,) = ledger.sql("SELECT max(work_until) FROM archive_months")[0]
    day: date = until + timedelta(days=1)
    return day


def test_the_month_is_warm_with_the_very_rows_and_takes_writes(archived: Ledger) -> None:
    before = rows(archived)
    made = back(archived)
    assert (made.relation, made.rows, made.parts, made.was_there) == (PARTITION, ROWS, (1,), False)
    assert made.until == datetime.now(UTC).date() + timedelta(days=7)
    assert archived.tier(COLD) == "warm"
    assert rows(archived) == before
    assert archived.whole().keys() == {(str(COLD), "warm")}
    archived.sql(f"UPDATE {PARTITION} SET description = 'seen' WHERE status = 'pending'")
    row = make_row(archived.table, COLD, ROWS + 1)
    names, places = ", ".join(row), ", ".join(["%s"] * len(row))
    archived.sql(f"INSERT INTO transactions_archive_warm ({names}) VALUES ({places})", *row.values())
    assert archived.content()[str(COLD)][0] == ROWS + 1
    assert loading(archived) == []


@pytest.mark.heavy("the month takes writes beside it")
def test_the_partition_is_one_of_its_parents_own(archived: Ledger) -> None:
    """Types, defaults, constraints, indexes and triggers are those of a partition that was always there."""
    archived.warm(Month(2024, 4))
    back(archived)
    described = """
        SELECT attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid)
        FROM pg_attribute LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
        WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum
    """
    indexes = "SELECT count(*) FROM pg_index JOIN pg_inherits ON inhrelid = indexrelid WHERE indrelid = %s::regclass"
    triggers = "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass ORDER BY 1"
    checks = "SELECT count(*) FROM pg_constraint WHERE contype IN ('c', 'p') AND conrelid = %s::regclass"
    other = "transactions_2024_04"
    for question in (described, indexes, triggers, checks):
        assert archived.sql(question, PARTITION) == archived.sql(question, other), question


def test_it_is_archived_again_only_after_its_days_with_new_objects_and_an_event(archived: Ledger) -> None:
    first = archived.catalogue(COLD)["object_key"]
    made = back(archived)
    (outcome,) = archived.night(today=made.until)
    assert f"is in work until {made.until}" in outcome.reason
    assert archived.tier(COLD) == "warm"
    assert [str(one.result) for one in archived.night(today=later(archived))] == ["moved"]
    again = archived.catalogue(COLD)
    assert (again["tier"], again["row_count"], again["work_until"]) == ("cold", ROWS, None)
    assert again["object_key"] != first
    kinds = [body.event for body in events(archived) if isinstance(body, Archived | Returned)]
    assert kinds == ["archived", "returned", "archived"]
    assert wrong(archived, deep=True) == []


def test_the_event_names_what_it_replaces_and_its_record_the_person(archived: Ledger) -> None:
    manifest = bytes(archived.catalogue(COLD)["manifest_sha256"]).hex()
    made = back(archived)
    (body,) = [one for one in events(archived) if isinstance(one, Returned)]
    assert (body.table, body.month, body.rows, body.until) == ("transactions", str(COLD), ROWS, made.until)
    assert [(one.part, one.manifest_sha256, one.rows) for one in body.parts] == [(1, manifest, ROWS)]
    said = json.loads(ObjectStore(archived.settings).read_bytes(body.record.key))
    assert (said["actor"], said["account"], said["reason"]) == (WHO.actor, WHO.account, WHO.reason)


def test_former_objects_are_neither_orphans_nor_missing_and_stay_locked(archived: Ledger) -> None:
    before = archived.objects()
    back(archived)
    assert wrong(archived) == []
    with connect(archived.settings.database_dsn, "tests") as connection:
        assert {one.object_key for one in archived_objects(connection)} <= before
        assert len(archived_objects(connection)) == len(EVERY_PART)
    archived.night(today=later(archived))
    assert before <= archived.objects()
    with connect(archived.settings.database_dsn, "tests") as connection:
        assert len(archived_objects(connection)) == 2 * len(EVERY_PART)
    assert wrong(archived, deep=True) == []
    (key,) = archived.sql("SELECT object_key FROM former_objects WHERE kind = 'rows'")[0]
    ObjectStore(archived.settings).remove(key)
    assert wrong(archived) == [
        f"{key}: is missing: a former object of transactions {COLD}, which stays until the month is deleted"
    ]


def test_tiers_show_the_day_and_a_row_is_not_provable_until_then(archived: Ledger) -> None:
    publish_log(archived.settings)
    some = rows(archived)[0]["id"]
    with Prover(archived.settings) as prover:
        assert prover.row(archived.table, some).content
    made = back(archived)
    (row,) = tier_rows(archived.settings, [archived.table])
    assert row.note == f"went back to warm, in work until {made.until}"
    with Prover(archived.settings) as prover, pytest.raises(NotYetError, match="Proof files that were made before"):
        prover.row(archived.table, some)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("step", STEPS)
def test_a_return_that_was_killed_is_completed_by_the_next(archived: Ledger, step: str) -> None:
    before = rows(archived)
    with pytest.raises(KilledError):
        back(archived, on_step=killed_after(step))
    assert rows(archived) == before
    assert len(archived.whole()) == 1
    made = back(archived)
    assert (made.rows, made.was_there) == (ROWS, step == "returned")
    assert rows(archived) == before
    assert loading(archived) == []
    assert [body.event for body in events(archived)].count("returned") == 1
    assert wrong(archived) == []


def test_what_a_killed_return_left_is_dropped_by_the_night(archived: Ledger) -> None:
    with pytest.raises(KilledError):
        back(archived, on_step=killed_after("loaded"))
    assert len(drop_copies(archived.settings, only_expired=True)) == 1
    assert loading(archived) == []
    assert archived.tier(COLD) == "cold"


@pytest.mark.heavy("the rows of a month go back beside it")
def test_late_rows_go_back_with_their_month_as_one_part(archived: Ledger) -> None:
    open_late_rows(archived.settings, archived.table, COLD)
    late = [make_row(archived.table, COLD, number) for number in range(ROWS, ROWS + 5)]
    with connect(archived.settings.database_dsn, "tests") as connection:
        archived.insert(connection, archived.table, late)
    with pytest.raises(DataError, match=r"part 2 is hot: its partition takes late rows"):
        back(archived)
    assert warm_month(archived.settings, archived.table, COLD)
    archive_month(archived.settings, archived.table, COLD)
    before = rows(archived)
    made = back(archived)
    assert (made.parts, made.rows) == ((1, 2), ROWS + 5)
    assert rows(archived) == before
    assert archived.sql("SELECT part, tier FROM archive_months") == [(1, "warm")]
    assert wrong(archived) == []
    archived.night(today=later(archived))
    assert archived.sql("SELECT part, tier, row_count FROM archive_months") == [(1, "cold", ROWS + 5)]
    assert rows(archived) == before
    assert wrong(archived, deep=True) == []


@pytest.mark.heavy("the days of a month are tested beside it")
def test_a_second_call_gives_more_days_and_never_fewer(archived: Ledger) -> None:
    first = back(archived)
    longer = back(archived, who=Request("ben", "os ben", "it takes longer", timedelta(days=20)))
    assert (longer.was_there, longer.until) == (True, first.until + timedelta(days=13))
    assert back(archived).until == longer.until


def test_what_is_kept_between_two_questions_follows(archived: Ledger) -> None:
    question = "SELECT tier, count(*) AS n, sum(amount) AS total FROM transactions GROUP BY 1"
    with Querier(archived.settings) as querier:

        def ask() -> list[dict[str, Any]]:
            with querier.answer(question) as answer:
                found: list[dict[str, Any]] = answer.batches.read_all().to_pylist()
            return found

        (before,) = ask()
        back(archived)
        assert ask() == [before | {"tier": "warm"}]
        archive_month(archived.settings, archived.table, COLD)
        assert ask() == [before]


@pytest.mark.heavy("the rows of a month go back beside it")
def test_a_deep_month_goes_back_too(archived: Ledger) -> None:
    deepen(archived.settings, archived.table, COLD)
    before = rows(archived)
    assert back(archived).rows == ROWS
    assert archived.tier(COLD) == "warm"
    assert rows(archived) == before
    assert wrong(archived) == []


@pytest.mark.heavy("what comes in the way is named beside it")
def test_a_month_on_its_way_into_a_storage_class_is_refused(archived: Ledger) -> None:
    archived.sql(
        "INSERT INTO archive_copies SELECT object_key, table_name, month, part, 'DEEP_ARCHIVE', 1, 1, 'e', 'c', '', 'e'"
        " FROM archive_months"
    )
    with pytest.raises(ConflictError, match="on its way into the storage class DEEP_ARCHIVE"):
        back(archived)
    unchanged(archived)


@pytest.mark.heavy("test_restore.py has the copies")
def test_a_copy_stays_as_it_is(archived: Ledger) -> None:
    (copy,) = restore_month(archived.settings, archived.table, COLD, WHO)
    back(archived)
    assert archived.sql(f"SELECT count(*) FROM {copy.relation}") == [(ROWS,)]


# What is in the way


def unchanged(ledger: Ledger) -> None:
    """Nothing is half-done: the month is archived, whole, and the schema is empty."""
    assert ledger.tier(COLD) == "cold"
    assert ledger.content() == {str(COLD): ledger.content()[str(COLD)]}
    assert loading(ledger) == []
    assert not [key for key in ledger.objects() if key.startswith("_treasury/returns/")]


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("ALTER TABLE {parent} DROP COLUMN description", "the column description was dropped"),
        ("ALTER TABLE {parent} ALTER COLUMN client_id TYPE varchar(3)", r"value too long.*\(column client_id\)"),
        ("ALTER TABLE {parent} ADD CONSTRAINT small CHECK (amount < 1)", "violates check constraint"),
        ("ALTER TABLE {parent} ADD COLUMN tenant text NOT NULL DEFAULT 'a'", 'null value in column "tenant"'),
    ],
)
def test_rows_that_do_not_fit_any_more_are_refused_by_name(archived: Ledger, change: str, named: str) -> None:
    archived.sql("DROP VIEW transactions")
    for parent in ("transactions_partitioned", "transactions_archive_warm"):
        archived.sql(change.format(parent=parent))
    with pytest.raises(DataError, match=named):
        back(archived)
    assert archived.tier(COLD) == "cold"
    assert loading(archived) == []


@pytest.mark.heavy("rows that do not fit are tested beside it")
def test_a_column_that_came_later_is_null_whatever_its_default(archived: Ledger) -> None:
    archived.sql("DROP VIEW transactions")
    for parent in ("transactions_partitioned", "transactions_archive_warm"):
        archived.sql(f"ALTER TABLE {parent} ADD COLUMN tenant text DEFAULT 'a'")
    back(archived)
    assert archived.sql(f"SELECT DISTINCT tenant FROM {PARTITION}") == [(None,)]
    defaults = "SELECT column_default FROM information_schema.columns WHERE table_name = %s AND column_name = 'tenant'"
    assert archived.sql(defaults, PARTITION) == [("'a'::text",)]


@pytest.mark.heavy("a trigger of others is tested beside it")
def test_a_strangers_table_of_the_name_is_left_alone(archived: Ledger) -> None:
    archived.sql(f"CREATE TABLE {PARTITION} (a int)")
    with pytest.raises(DataError, match=f"a relation called {PARTITION} is in the way"):
        back(archived)
    assert archived.sql(f"SELECT count(*) FROM {PARTITION}") == [(0,)]
    unchanged(archived)


def test_a_partition_in_place_is_named(archived: Ledger) -> None:
    archived.sql(
        "CREATE TABLE mine PARTITION OF transactions_archive_warm"
        " FOR VALUES FROM ('2024-03-01 00:00+00') TO ('2024-04-01 00:00+00')"
    )
    with pytest.raises(DataError, match="has a partition mine of it"):
        back(archived)
    assert loading(archived) == []


def test_a_trigger_of_others_on_the_parent_is_named(archived: Ledger) -> None:
    archived.sql("CREATE FUNCTION drop_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    archived.sql(
        "CREATE TRIGGER dropping BEFORE INSERT ON transactions_archive_warm FOR EACH ROW EXECUTE FUNCTION drop_it()"
    )
    with pytest.raises(ConfigError, match="trigger dropping on transactions_archive_warm"):
        back(archived)
    unchanged(archived)


def test_what_comes_in_the_way_at_the_last_moment_is_named_and_nothing_is_half_done(archived: Ledger) -> None:
    def interfere(step: str) -> None:
        if step == "recorded":
            archived.sql(f"CREATE TABLE {PARTITION} (a int)")

    with pytest.raises(DataError, match="is in the way"):
        back(archived, on_step=interfere)
    unchanged(archived)


def test_rows_that_others_change_before_they_are_visible_are_refused(archived: Ledger) -> None:
    def interfere(step: str) -> None:
        if step == "merged":
            (name,) = loading(archived)
            archived.sql(f'UPDATE restored."{name}" SET amount = amount + 1')

    with pytest.raises(VerificationError, match="changed after they were compared"):
        back(archived, on_step=interfere)
    unchanged(archived)


def test_an_object_that_is_not_the_archived_one_is_refused(archived: Ledger) -> None:
    key = archived.catalogue(COLD)["object_key"]
    store = ObjectStore(archived.settings)
    store.replace_bytes(store.read_bytes(key) + b" ", key)
    with pytest.raises(VerificationError, match="is not the object that was archived"):
        back(archived)
    assert (archived.tier(COLD), loading(archived)) == ("cold", [])


def test_a_month_of_another_tier_is_named(archived: Ledger) -> None:
    archived.fill(HOT)
    with pytest.raises(DataError, match=f"{HOT} is hot: its rows are in PostgreSQL already"):
        back(archived, HOT)
    with pytest.raises(NotFoundError, match="has no month 2019-01"):
        back(archived, Month(2019, 1))


def test_a_month_that_another_run_has_is_refused(archived: Ledger) -> None:
    with (
        connect(archived.settings.database_dsn, "tests") as connection,
        month_lock(connection, archived.table, COLD),
        pytest.raises(ConflictError, match="another run"),
    ):
        back(archived)
    unchanged(archived)


def test_the_days_count_by_the_calendar_of_the_run(archived: Ledger) -> None:
    made = back(archived)
    assert archived.night(as_of=TODAY, today=made.until)[0].reason
    assert archived.tier(COLD) == "warm"


_OVERLAPPING = "CREATE TABLE of_others PARTITION OF transactions_archive_warm FOR VALUES FROM ('{}') TO ('{}')"
_REFUSING = """
CREATE FUNCTION public.refuse() RETURNS event_trigger LANGUAGE plpgsql
    AS $$ BEGIN IF position('ATTACH' IN current_query()) > 0 THEN RAISE 'not today'; END IF; END $$;
CREATE EVENT TRIGGER refuse_attach ON ddl_command_end WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION public.refuse()
"""


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_OVERLAPPING.format("2024-02-01 00:00+00", "2024-06-01 00:00+00"), 'overlap partition "of_others"'),
        (_OVERLAPPING.format("2024-03-05 00:00+00", "2024-03-06 00:00+00"), 'overlap partition "of_others"'),
        (_REFUSING, "not today"),
    ],
)
def test_what_others_put_into_the_months_place_is_refused_by_name_and_nothing_is_left(
    archived: Ledger, change: str, text: str
) -> None:
    before, objects = rows(archived), archived.objects()
    archived.sql(change)
    with pytest.raises(DataError, match=text):
        back(archived)
    archived.sql("DROP EVENT TRIGGER IF EXISTS refuse_attach")
    assert rows(archived) == before
    assert archived.objects() == objects
    assert archived.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'restored'") == []
    archived.sql("DROP TABLE IF EXISTS of_others")
    back(archived)
    assert rows(archived) == before
