"""What stands between a login and the rows is an error by name: never a short answer, never a short archive."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from pydantic import SecretStr

from bench.databases import on_database
from config import Settings
from ledger.errors import ConfigError, ConflictError, DataError, NotStoredError, TreasuryError
from tasks.admin.setup import prepare_database
from tasks.archiving.outcome import MoveAction, MoveResult
from tasks.archiving.plan import plan_table
from tasks.archiving.tiers import tier_rows
from tasks.archiving.to_cold import Step, archive_month
from tests.databases import looking_into_both_schemas
from tests.tasks.archiving.ledger import COLD, HOT, ROWS, TODAY, WARM, Ledger

PARTITION = "transactions_2024_03"
POLICY = f"CREATE POLICY own ON {PARTITION} USING (wallet_id = 'wallet-1')"
ENABLE = f"ALTER TABLE {PARTITION} ENABLE ROW LEVEL SECURITY"
FORCE = f"ALTER TABLE {PARTITION} FORCE ROW LEVEL SECURITY"


class OrdinaryLedger(Ledger):
    """A ledger whose owner is not a superuser; `sql` is still the superuser's."""

    def __init__(self, settings: Settings, store: Path, superuser: str) -> None:
        super().__init__(settings, store)
        self.superuser = superuser

    def sql(self, query: str, *parameters: Any) -> list[Any]:
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            cursor = connection.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def ordinary(server_settings: Settings, settings: Settings, store: Path) -> Iterator[OrdinaryLedger]:
    """A ledger in a database of an ordinary role, as docs/operations.md allows."""
    name = f"ordinary_{uuid4().hex}"
    parts = urlsplit(server_settings.database_dsn)
    with psycopg.connect(server_settings.database_dsn, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'")
        admin.execute(f"CREATE DATABASE {name} OWNER {name}")
        admin.execute(looking_into_both_schemas(name))
        url = parts._replace(netloc=f"{name}:{name}@{parts.netloc.rpartition('@')[2]}", path=f"/{name}").geturl()
        own = on_database(server_settings, name)
        place = {"database_url": SecretStr(url), "home": settings.home, "archive_url": settings.archive_url}
        ledger = OrdinaryLedger(own.model_copy(update=place), store, own.database_dsn)
        prepare_database(ledger.settings)
        yield ledger
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        admin.execute(f"DROP ROLE {name}")


def count(ledger: Ledger, table: str = PARTITION) -> int:
    ((rows,),) = ledger.sql(f"SELECT count(*) FROM {table}")
    return int(rows)


def test_a_month_that_a_policy_hides_from_its_owner_is_refused_by_name_and_the_others_move(
    ordinary: OrdinaryLedger,
) -> None:
    ordinary.warm(COLD, COLD.plus(1), rows=83)
    for statement in (ENABLE, FORCE, POLICY):
        ordinary.sql(statement)
    (hidden, free) = plan_table(ordinary.settings, ordinary.table, TODAY, TODAY)
    assert (hidden.month, hidden.held_at, free.held_at) == (COLD, MoveAction.TO_COLD, None)
    assert PARTITION in hidden.held_back
    assert "own" in hidden.held_back
    results = {outcome.month: outcome for outcome in ordinary.night()}
    assert results[COLD].result is MoveResult.FAILED
    assert f"row-level security of table {PARTITION}" in results[COLD].reason
    assert results[COLD.plus(1)].result is MoveResult.MOVED
    assert count(ordinary) == 83
    known = ordinary.catalogue(COLD)
    assert (known["tier"], known["step"], known["attempt"]) == ("warm", "idle", 0)
    assert PARTITION in known["last_error"]
    assert ordinary.sql(f"SELECT FROM pg_trigger WHERE tgrelid = '{PARTITION}'::regclass AND tgname ~ 'sealed'") == []
    with pytest.raises(ConfigError, match=f"row-level security of table {PARTITION}"):
        archive_month(ordinary.settings, ordinary.table, COLD)
    rows = {row.month: row for row in tier_rows(ordinary.settings, [ordinary.table])}
    assert (rows[COLD].rows, rows[COLD.plus(1)].rows) == (None, 83)
    assert f"row-level security of table {PARTITION}" in rows[COLD].note
    ordinary.sql(f"ALTER TABLE {PARTITION} NO FORCE ROW LEVEL SECURITY")
    assert [outcome.result for outcome in ordinary.night()] == [MoveResult.MOVED]
    assert ordinary.content()[str(COLD)][0] == 83


def test_a_month_that_a_crash_would_empty_is_refused_in_the_plan_and_the_others_move(ledger: Ledger) -> None:
    ledger.warm(COLD, COLD.plus(1))
    before = ledger.content()
    ledger.sql(f"ALTER TABLE {PARTITION} SET UNLOGGED")
    (volatile, other) = plan_table(ledger.settings, ledger.table, TODAY, TODAY)
    assert (volatile.held_at, volatile.refused, other.held_at) == (MoveAction.TO_COLD, True, None)
    assert f"ALTER TABLE {PARTITION} SET LOGGED" in volatile.held_back
    results = {outcome.month: outcome.result for outcome in ledger.night()}
    assert results == {COLD: MoveResult.FAILED, COLD.plus(1): MoveResult.MOVED}
    assert (ledger.catalogue(COLD)["step"], ledger.catalogue(COLD)["attempt"]) == ("idle", 0)
    with pytest.raises(ConfigError, match=f"{PARTITION} is UNLOGGED"):
        archive_month(ledger.settings, ledger.table, COLD)
    ledger.sql(f"ALTER TABLE {PARTITION} SET LOGGED")
    assert [outcome.result for outcome in ledger.night()] == [MoveResult.MOVED]
    assert ledger.content() == before


def test_a_policy_that_comes_while_a_month_is_archived_keeps_the_month(ordinary: OrdinaryLedger) -> None:
    ordinary.warm(COLD)

    def hide(step: Step) -> None:
        if step is Step.SEALED:
            for statement in (ENABLE, FORCE, POLICY):
                ordinary.sql(statement)

    with pytest.raises(ConfigError, match=f"row-level security of table {PARTITION}"):
        archive_month(ordinary.settings, ordinary.table, COLD, hide)
    assert (count(ordinary), ordinary.tier(COLD)) == (ROWS, "warm")


def test_a_policy_is_an_error_for_the_auditor_and_no_short_answer(ordinary: OrdinaryLedger) -> None:
    for month in (COLD, WARM, HOT):
        ordinary.fill(month, rows=80)
    ordinary.sql(ENABLE)
    ordinary.sql(POLICY)
    with pytest.raises(ConfigError, match=f"row-level security of table {PARTITION}"):
        ordinary.ask("SELECT count(*) FROM transactions")
    (other,) = ordinary.ask(f"SELECT count(*) AS n FROM transactions WHERE month <> '{COLD}'")
    assert other["n"] == 160
    assert sum(row.rows or 0 for row in tier_rows(ordinary.settings, [ordinary.table])) == 240  # its owner sees all


def test_a_policy_on_a_parent_stops_its_table_alone(ordinary: OrdinaryLedger) -> None:
    ordinary.fill(HOT)
    ordinary.sql("ALTER TABLE transactions_partitioned ENABLE ROW LEVEL SECURITY")
    ordinary.sql("ALTER TABLE transactions_partitioned FORCE ROW LEVEL SECURITY")
    with pytest.raises(TreasuryError, match="row-level security of table transactions_partitioned"):
        ordinary.fill(HOT.plus(1))
    ordinary.fill(HOT, table=ordinary.settings.table("vas_transactions"))


@pytest.mark.sampled(1)
@pytest.mark.parametrize("where", ["elsewhere", "Else Where"])
def test_a_partition_of_another_schema_is_archived_and_its_namesake_is_left_alone(ledger: Ledger, where: str) -> None:
    ledger.warm(COLD)
    before = ledger.content()
    ledger.sql(f'CREATE SCHEMA "{where}"')
    ledger.sql(f'ALTER TABLE {PARTITION} SET SCHEMA "{where}"')
    ledger.sql(f"CREATE TABLE {PARTITION} (LIKE transactions_partitioned)")
    ledger.sql(f'INSERT INTO {PARTITION} SELECT * FROM "{where}".{PARTITION} LIMIT 3')
    prepare_database(ledger.settings)  # as every command does: it lets the auditors into the schema
    assert ledger.content() == before
    (row,) = tier_rows(ledger.settings, [ledger.table])
    assert row.rows == ROWS
    assert [outcome.result for outcome in ledger.night()] == [MoveResult.MOVED]
    assert ledger.content() == before
    assert count(ledger) == 3
    assert ledger.sql(f"""SELECT to_regclass('"{where}".{PARTITION}')""") == [(None,)]
    ledger.check_archive()


def test_a_hot_partition_of_another_schema_becomes_warm_and_loses_only_its_own_indexes(ledger: Ledger) -> None:
    ledger.fill(WARM)
    name = ledger.table.partition(WARM)
    ledger.sql("CREATE SCHEMA elsewhere")
    ledger.sql(f"ALTER TABLE {name} SET SCHEMA elsewhere")
    ledger.sql(f"CREATE TABLE {name} (LIKE transactions_partitioned)")
    ledger.sql(f"CREATE INDEX {name}_status_created_at_idx ON {name} (status)")
    assert [outcome.result for outcome in ledger.night()] == [MoveResult.MOVED]
    assert ledger.content()[str(WARM)][0] == ROWS
    indexes = "SELECT schemaname, count(*) FROM pg_indexes WHERE tablename = %s GROUP BY 1"
    assert dict(ledger.sql(indexes, name)) == {"public": 1, "elsewhere": 1 + len(ledger.table.warm_indexes)}


def test_a_partition_that_is_swapped_for_another_table_before_the_drop_is_kept(ledger: Ledger) -> None:
    ledger.warm(COLD)
    before = ledger.content()

    def swap(step: Step) -> None:
        if step is Step.DESCRIBED:
            ledger.sql(f"ALTER TABLE {PARTITION} RENAME TO kept")
            ledger.sql(f"CREATE TABLE {PARTITION} (LIKE transactions_partitioned)")

    with pytest.raises(ConflictError, match="renamed, replaced or detached"):
        archive_month(ledger.settings, ledger.table, COLD, swap)
    assert (ledger.content(), ledger.tier(COLD)) == (before, "warm")
    assert count(ledger) == 0
    assert [outcome.result for outcome in ledger.night()] == [MoveResult.MOVED]
    assert ledger.content() == before


def test_a_month_that_is_divided_itself_is_refused_in_the_plan_and_still_read(ledger: Ledger) -> None:
    ledger.warm(COLD)
    before = ledger.content()
    ledger.sql(f"ALTER TABLE transactions_archive_warm DETACH PARTITION {PARTITION}")
    ledger.sql(f"ALTER TABLE {PARTITION} RENAME TO whole")
    ledger.sql(
        f"CREATE TABLE {PARTITION} PARTITION OF transactions_archive_warm "
        f"FOR VALUES FROM ('2024-03-01 00:00+00') TO ('2024-04-01 00:00+00') PARTITION BY HASH (id)"
    )
    for part in (0, 1):
        ledger.sql(f"CREATE TABLE part_{part} PARTITION OF {PARTITION} FOR VALUES WITH (MODULUS 2, REMAINDER {part})")
    ledger.sql(f"INSERT INTO {PARTITION} SELECT * FROM whole")
    (move,) = plan_table(ledger.settings, ledger.table, TODAY, TODAY)
    assert "is divided into partitions itself" in move.held_back
    assert [outcome.result for outcome in ledger.night()] == [MoveResult.FAILED]
    assert ledger.catalogue(COLD)["step"] == "idle"
    assert ledger.content() == before


def test_a_partition_that_belongs_to_another_role_is_refused_in_the_plan(ordinary: OrdinaryLedger) -> None:
    ordinary.warm(COLD)
    ordinary.sql(f"ALTER TABLE {PARTITION} OWNER TO treasury_auditor")
    (move,) = plan_table(ordinary.settings, ordinary.table, TODAY, TODAY)
    assert "belongs to treasury_auditor" in move.held_back
    ordinary.sql(f"DROP TABLE {PARTITION}")


def test_the_catalogues_own_statements_do_not_pass_when_nothing_was_written(ledger: Ledger) -> None:
    ledger.warm(COLD)
    before = ledger.content()
    ledger.sql("CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    refused = []
    for table, event in (("archive_months", "UPDATE"), ("archive_uploads", "INSERT"), ("archive_events", "INSERT")):
        ledger.sql(f"CREATE TRIGGER lost BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION nothing()")
        with pytest.raises(TreasuryError) as raised:
            archive_month(ledger.settings, ledger.table, COLD)
        refused.append(type(raised.value).__name__)
        ledger.sql(f"DROP TRIGGER lost ON {table}")
        assert (ledger.content(), ledger.tier(COLD)) == (before, "warm")
    assert refused == ["TransientError", "NotStoredError", "NotStoredError"]
    assert [outcome.result for outcome in ledger.night()] == [MoveResult.MOVED]
    assert ledger.content() == before


def test_a_flip_that_is_not_recorded_beforehand_is_not_made(ledger: Ledger) -> None:
    """A copy of the database would remove the objects of the month as leftovers."""
    ledger.warm(COLD)
    ledger.sql("CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    lost = "CREATE TRIGGER lost BEFORE UPDATE ON archive_uploads FOR EACH ROW WHEN (NEW.state = '{}') {}"
    nothing = "EXECUTE FUNCTION nothing()"
    ledger.sql(lost.format("deciding", nothing))
    with pytest.raises(NotStoredError, match="archive_uploads: 4 rows were sent"):
        archive_month(ledger.settings, ledger.table, COLD)
    assert ledger.tier(COLD) == "warm"
    ledger.sql("DROP TRIGGER lost ON archive_uploads")
    ledger.sql(lost.format("removed", nothing))
    with pytest.raises(NotStoredError, match="archive_uploads: 1 row was sent"):
        archive_month(ledger.settings, ledger.table, COLD)  # what the first attempt left is removed
    assert ledger.tier(COLD) == "cold"
    ledger.sql("DROP TRIGGER lost ON archive_uploads")
    ledger.night()
    ledger.check_archive()


SEALS_IN_NAME = {
    "never fires": "DELETE OR INSERT OR UPDATE ON {} FOR EACH ROW WHEN (1=0) EXECUTE FUNCTION treasury_refuse_sealed()",
    "fires for an INSERT alone": "INSERT ON {} FOR EACH ROW EXECUTE FUNCTION treasury_refuse_sealed()",
    "calls another function": "INSERT OR UPDATE OR DELETE ON {} FOR EACH ROW EXECUTE FUNCTION harmless()",
}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", SEALS_IN_NAME)
def test_a_seal_in_name_only_is_none(ledger: Ledger, name: str) -> None:
    ledger.warm(COLD)
    ledger.sql("CREATE FUNCTION harmless() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")

    def weaken(step: Step) -> None:
        if step is Step.DESCRIBED:
            ledger.sql("DROP TRIGGER treasury_sealed_rows ON " + PARTITION)
            ledger.sql("CREATE TRIGGER treasury_sealed_rows BEFORE " + SEALS_IN_NAME[name].format(PARTITION))
            ledger.sql(f"ALTER TABLE {PARTITION} ENABLE ALWAYS TRIGGER treasury_sealed_rows")

    with pytest.raises(DataError, match="the seal was broken"):
        archive_month(ledger.settings, ledger.table, COLD, weaken)
    assert (count(ledger), ledger.tier(COLD)) == (ROWS, "warm")
