"""An archived month comes back as a table: the very rows, compared with the archive, and gone when its time is over."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from ledger.errors import ConfigError, ConflictError, DataError, NotFoundError, VerificationError
from ledger.months import Month
from ledger.transparency.events import Event
from sql.connection import connect
from sql.installation import read_installation
from sql.log import read_entries
from sql.restored import Request, restore_lock
from tasks.archiving.late_rows import open_late_rows
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month
from tasks.restoring.restore import RestoredPart, drop_copies, list_copies, restore_month
from tasks.transparency.publish import publish_log
from tests.tasks.archiving.ledger import COLD, HOT, ROWS, Ledger, make_row

NAME = "restored.transactions_2024_03"
WHO = Request("anna", "os anna", "asked for by the auditors", timedelta(days=30))
STEPS = ("fetched", "loaded", "verified", "shown")


class KilledError(Exception):
    """Stands for the end of a process."""


def restore(ledger: Ledger, month: Month = COLD, **changes: Any) -> list[RestoredPart]:
    return restore_month(ledger.settings, ledger.table, month, WHO, **changes)


def killed_after(step: str) -> Callable[[str], None]:
    def on_step(done: str) -> None:
        if done == step:
            raise KilledError(step)

    return on_step


def events(ledger: Ledger) -> list[str]:
    """The events of the public log, published."""
    publish_log(ledger.settings)
    with connect(ledger.settings.database_dsn, "tests") as connection:
        installation = read_installation(connection)
        assert installation is not None
        entries = read_entries(connection, installation.installation_id)
    return [Event.from_bytes(entry).body.event for entry in entries]


def tables(ledger: Ledger) -> list[str]:
    """The tables of the schemas of restored months."""
    found = ledger.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'restored'")
    return sorted(name for (name,) in found)


def test_the_copy_has_the_very_rows_and_the_indexes_of_the_hot_table(archived: Ledger) -> None:
    (part,) = restore(archived)
    assert (part.relation, part.rows, part.was_there, part.without) == (NAME, ROWS, False, ())
    made = [make_row(archived.table, COLD, number) for number in range(ROWS)]
    names = [name for name in made[0] if name != "metadata"]
    wanted = sorted((tuple(row[name] for name in names) for row in made), key=lambda row: str(row[names.index("id")]))
    assert archived.sql(f"SELECT {', '.join(names)} FROM {NAME} ORDER BY id") == wanted
    indexes = archived.sql("SELECT indexdef FROM pg_indexes WHERE schemaname = 'restored'")
    assert len(indexes) == 5
    assert events(archived).count("restored") == 1


def test_the_month_stays_in_its_tier_and_no_view_reads_the_copy(archived: Ledger) -> None:
    before = archived.whole()
    restore(archived)
    assert archived.whole() == before
    assert archived.tier(COLD) == "cold"


def test_a_second_restore_keeps_the_copy_for_longer(archived: Ledger) -> None:
    (first,) = restore(archived)
    longer = Request("ben", "os ben", "more questions", timedelta(days=60))
    (second,) = restore_month(archived.settings, archived.table, COLD, longer)
    assert second.was_there
    assert second.expires_at > first.expires_at
    (third,) = restore(archived)
    assert third.expires_at == second.expires_at  # never shorter
    assert len(list_copies(archived.settings)) == 1


@pytest.mark.sampled(1)
@pytest.mark.parametrize("step", STEPS)
def test_a_restore_that_was_killed_is_completed_by_the_next(archived: Ledger, step: str) -> None:
    with pytest.raises(KilledError):
        restore(archived, on_step=killed_after(step))
    (part,) = restore(archived)
    assert part.rows == ROWS
    assert tables(archived) == ["transactions_2024_03"]
    assert events(archived).count("restored") == 1


@pytest.mark.heavy("a restore that was killed is tested beside it")
def test_what_a_killed_restore_left_is_dropped_with_the_expired_ones(archived: Ledger) -> None:
    with pytest.raises(KilledError):
        restore(archived, on_step=killed_after("loaded"))
    assert len(drop_copies(archived.settings, only_expired=True)) == 1
    assert tables(archived) == []


def test_a_copy_is_dropped_when_its_time_is_over_and_not_before(archived: Ledger) -> None:
    restore(archived)
    assert drop_copies(archived.settings, only_expired=True) == []
    archived.sql("UPDATE restored_months SET expires_at = now() - interval '1 second'")
    assert [str(one.relation) for one in drop_copies(archived.settings, only_expired=True)] == [NAME]
    assert (tables(archived), list_copies(archived.settings)) == ([], [])
    assert archived.content()[str(COLD)][0] == ROWS
    restore(archived)
    assert tables(archived) == ["transactions_2024_03"]


@pytest.mark.heavy("the copy is tested beside it")
def test_a_copy_that_others_dropped_is_made_again(archived: Ledger) -> None:
    restore(archived)
    archived.sql(f"DROP TABLE {NAME}")
    (part,) = restore(archived)
    assert not part.was_there
    assert tables(archived) == ["transactions_2024_03"]


def test_a_copy_that_something_depends_on_is_not_dropped_and_named(archived: Ledger) -> None:
    restore(archived)
    archived.sql(f"CREATE VIEW mine AS SELECT * FROM {NAME}")
    with pytest.raises(ConflictError, match="view mine depends on table"):
        drop_copies(archived.settings, only_expired=False)
    assert tables(archived) == ["transactions_2024_03"]


def test_a_table_that_took_the_name_of_a_copy_is_not_dropped(archived: Ledger) -> None:
    restore(archived)
    archived.sql(f"ALTER TABLE {NAME} RENAME TO kept")
    archived.sql(f"CREATE TABLE {NAME} (precious int)")
    with pytest.raises(ConflictError, match="renamed or moved"):
        drop_copies(archived.settings, only_expired=False)
    assert tables(archived) == ["kept", "transactions_2024_03"]


def test_a_schema_and_a_table_of_others_are_refused_by_name(archived: Ledger) -> None:
    archived.sql("CREATE SCHEMA restored")
    with pytest.raises(ConfigError, match=r"the schema restored is not Treasury's.*TREASURY_RESTORED_SCHEMA"):
        restore(archived)
    other = archived.settings.model_copy(update={"restored_schema": "mine"})
    (part,) = restore_month(other, archived.table, COLD, WHO)
    assert part.relation == "mine.transactions_2024_03"
    drop_copies(other, only_expired=False)
    archived.sql("CREATE TABLE mine.transactions_2024_03 (precious int)")
    with pytest.raises(ConfigError, match=r"mine\.transactions_2024_03 is there already"):
        restore_month(other, archived.table, COLD, WHO)
    assert len(drop_copies(other, only_expired=True)) == 1  # the half-made one; the stranger's stays
    assert archived.sql("SELECT precious FROM mine.transactions_2024_03") == []


def test_every_part_of_a_month_gets_its_copy(archived: Ledger) -> None:
    open_late_rows(archived.settings, archived.table, COLD)
    with connect(archived.settings.database_dsn, "tests") as connection:
        archived.insert(connection, archived.table, [make_row(archived.table, COLD, 900)])
    warm_month(archived.settings, archived.table, COLD)
    archive_month(archived.settings, archived.table, COLD)
    parts = restore(archived)
    assert [(one.part, one.rows) for one in parts] == [(1, ROWS), (2, 1)]
    assert tables(archived) == ["transactions_2024_03", "transactions_2024_03_part_2"]


def test_columns_have_the_names_of_today(archived: Ledger) -> None:
    for statement in (
        "ALTER TABLE {} RENAME COLUMN reference TO ref",
        "ALTER TABLE {} DROP COLUMN description CASCADE",
        "ALTER TABLE {} ADD COLUMN branch text",
    ):
        for parent in (archived.table.hot_parent, archived.table.warm_parent):
            archived.sql(statement.format(parent))
    restore(archived)
    found = archived.sql("SELECT column_name FROM information_schema.columns WHERE table_schema = 'restored'")
    names = {name for (name,) in found}
    assert {"ref", "description"} <= names
    assert not names & {"reference", "branch"}


def test_a_file_that_is_not_the_archived_one_is_not_restored(archived: Ledger) -> None:
    path = archived.store / archived.catalogue(COLD)["object_key"]
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(VerificationError, match="is not the object that was archived"):
        restore(archived)
    assert tables(archived) == []


def test_only_archived_months_are_restored(archived: Ledger) -> None:
    archived.fill(HOT, rows=3)
    with pytest.raises(DataError, match="transactions 2026-10 is hot: its rows are in PostgreSQL already"):
        restore(archived, HOT)
    with pytest.raises(NotFoundError, match="transactions has no month 2011-01"):
        restore(archived, Month(2011, 1))


def test_one_run_at_a_time_restores_a_month(archived: Ledger) -> None:
    with (
        connect(archived.settings.database_dsn, "tests") as connection,
        restore_lock(connection, "transactions", COLD),
        pytest.raises(ConflictError, match="is being restored by another run"),
    ):
        restore(archived)


def test_a_trigger_for_all_tables_that_drops_rows_is_found(archived: Ledger) -> None:
    """An event trigger of others gives each new table a trigger that drops every row with an even amount."""
    archived.sql(
        "CREATE FUNCTION public.drop_rows() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.fee > 0 THEN RETURN NULL; END IF; RETURN NEW; END $$"
    )
    archived.sql(
        "CREATE FUNCTION public.meddle() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF to_regnamespace('restored') IS NOT NULL THEN EXECUTE (SELECT coalesce(max(format("
        "'CREATE OR REPLACE TRIGGER dropping BEFORE INSERT ON %%s FOR EACH ROW EXECUTE FUNCTION public.drop_rows()', "
        "oid::regclass)), 'SELECT 1') FROM pg_class WHERE relnamespace = to_regnamespace('restored') "
        "AND relkind = 'r'); END IF; END $$"
    )
    archived.sql(
        "CREATE EVENT TRIGGER meddling ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION meddle()"
    )
    with pytest.raises(VerificationError, match="40 rows were sent, PostgreSQL stored"):
        restore(archived)
    assert tables(archived) == []
