"""History is kept by the database itself, in hot and in warm, whoever asks."""

from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from config import Settings
from ledger.identifiers import new_id
from ledger.tables import BUILT_IN, VAS_TRANSACTIONS, TieredTable
from sql.connection import Connection
from sql.errors import HISTORY_IS_FIXED
from sql.guards import lacking_guards
from sql.preparation import prepare_table
from sql.relations import Parents
from sql.warm import move_to_warm
from tests.sql.ledger_rows import FEBRUARY, add_row

TERMINAL = ["completed", "failed", "cancelled", "reversed"]


@pytest.fixture(params=BUILT_IN, ids=lambda table: table.name)
def table(request: pytest.FixtureRequest) -> TieredTable:
    table: TieredTable = request.param
    return table


@pytest.fixture(params=["hot", "warm"])
def parent(request: pytest.FixtureRequest, prepared: Settings, connection: Connection, table: TieredTable) -> str:
    """The parent that February is in."""
    if request.param == "hot":
        return table.hot_parent
    assert move_to_warm(connection, prepared, table, FEBRUARY)
    return table.warm_parent


def _change(connection: Connection, parent: str, row_id: UUID, column: str, value: Any) -> None:
    statement = SQL("UPDATE {} SET {} = %s WHERE id = %s").format(Identifier(parent), Identifier(column))
    assert connection.execute(statement, (value, row_id)).rowcount == 1


def test_a_terminal_row_never_changes(connection: Connection, table: TieredTable, parent: str) -> None:
    changes = (("amount", 1), ("status", "pending"), ("metadata", "{}"), ("updated_at", FEBRUARY.upper))
    for status in TERMINAL:
        row_id = add_row(connection, table, FEBRUARY.lower, relation=parent, status=status)
        for column, value in changes:
            with pytest.raises(psycopg.Error, match=f"is {status}: a terminal row never changes") as caught:
                _change(connection, parent, row_id, column, value)
            assert caught.value.sqlstate == HISTORY_IS_FIXED


def test_a_row_is_never_deleted(connection: Connection, table: TieredTable, parent: str) -> None:
    for status in ("pending", "completed"):
        row_id = add_row(connection, table, FEBRUARY.lower, relation=parent, status=status)
        for relation in (parent, table.partition(FEBRUARY)):
            with pytest.raises(psycopg.Error, match="are never deleted") as caught:
                connection.execute(SQL("DELETE FROM {} WHERE id = %s").format(Identifier(relation)), (row_id,))
            assert caught.value.sqlstate == HISTORY_IS_FIXED


def test_an_unfinished_row_changes_but_keeps_its_id_and_its_time(
    connection: Connection, table: TieredTable, parent: str
) -> None:
    row_id = add_row(connection, table, FEBRUARY.lower, relation=parent, status="pending")
    moved = FEBRUARY.lower.replace(day=2)
    for column, value in (("id", new_id(FEBRUARY.lower, lambda _: 1)), ("created_at", moved)):
        with pytest.raises(psycopg.Error, match=r"id and created_at of .* never change") as caught:
            _change(connection, parent, row_id, column, value)
        assert caught.value.sqlstate == HISTORY_IS_FIXED
    _change(connection, parent, row_id, "description", "a note")
    _change(connection, parent, row_id, "status", "completed")
    with pytest.raises(psycopg.Error, match="terminal"):
        _change(connection, parent, row_id, "status", "failed")


def test_a_row_cannot_leave_its_month_by_an_update(prepared: Settings, connection: Connection) -> None:
    table = BUILT_IN[0]
    row_id = add_row(connection, table, FEBRUARY.lower, status="pending")
    with pytest.raises(psycopg.Error):
        _change(connection, table.hot_parent, row_id, "created_at", FEBRUARY.upper)
    assert connection.execute("SELECT created_at FROM transactions").fetchall() == [(FEBRUARY.lower,)]


def test_the_rules_that_must_hold_whoever_writes_hold_in_the_database(
    prepared: Settings, connection: Connection, table: TieredTable
) -> None:
    broken = {
        "amount": ("0", "-1", "NaN"),
        "fee": ("-0.01", "NaN"),
        "currency": ("zar", "ZA"),
        "type": ("gift",),
        "status": ("done",),
    }
    for column, values in broken.items():
        for value in values:
            with pytest.raises(psycopg.errors.CheckViolation, match=f"{table.name}_{column}"):
                add_row(connection, table, FEBRUARY.lower, **{column: value})


def test_an_infinite_instant_has_no_partition(prepared: Settings, connection: Connection) -> None:
    row_id = new_id(FEBRUARY.lower, lambda _: 1)
    for moment in ("infinity", "-infinity"):
        with pytest.raises(psycopg.errors.CheckViolation, match="no partition"):
            connection.execute(
                "INSERT INTO transactions_partitioned (id, client_id, user_id, wallet_id, type, status, amount,"
                " currency, created_at, updated_at) VALUES (%s, 'a', 'a', 'a', 'fee', 'failed', 1, 'ZAR', %s, now())",
                (row_id, moment),
            )


OFF = {
    "of the parent": "ALTER TABLE {parent} DISABLE TRIGGER ALL",
    "of a partition": "ALTER TABLE {partition} DISABLE TRIGGER {guard}",
    "for all but replicas": "ALTER TABLE {parent} ENABLE REPLICA TRIGGER {guard}",
    "for a deletion": "CREATE OR REPLACE TRIGGER {guard} BEFORE UPDATE ON {parent} FOR EACH ROW "
    "EXECUTE FUNCTION {guard}('id', 'created_at', 'status', 'cancelled', 'completed', 'failed', 'reversed')",
    "by a condition": "CREATE OR REPLACE TRIGGER {guard} BEFORE UPDATE OR DELETE ON {parent} FOR EACH ROW WHEN (1 = 0) "
    "EXECUTE FUNCTION {guard}('id', 'created_at', 'status', 'cancelled', 'completed', 'failed', 'reversed')",
}


@pytest.mark.parametrize("how", OFF)
def test_a_guard_that_was_switched_off_is_named_and_comes_back(
    prepared: Settings, connection: Connection, table: TieredTable, parent: str, how: str
) -> None:
    (found,) = [one for one in Parents.of(connection, table).found if one.name == parent]
    row_id = add_row(connection, table, FEBRUARY.lower, relation=parent, status="completed")
    assert lacking_guards(connection, table, found) == []
    names = {"parent": parent, "partition": table.partition(FEBRUARY), "guard": "treasury_guard_history"}
    connection.execute(OFF[how].format(**names))
    assert "treasury_guard_history" in lacking_guards(connection, table, found)
    prepare_table(connection, prepared, table)
    assert lacking_guards(connection, table, found) == []
    for statement in ("UPDATE {} SET amount = 1 WHERE id = %s", "DELETE FROM {} WHERE id = %s"):
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(SQL(statement).format(Identifier(parent)), (row_id,))
        assert caught.value.sqlstate == HISTORY_IS_FIXED


def test_the_guard_of_closed_days_comes_back_too(prepared: Settings, connection: Connection) -> None:
    (hot, _) = Parents.of(connection, VAS_TRANSACTIONS).found
    connection.execute("ALTER TABLE vas_transactions_partitioned DISABLE TRIGGER treasury_guard_period")
    assert lacking_guards(connection, VAS_TRANSACTIONS, hot) == ["treasury_guard_period"]
    prepare_table(connection, prepared, VAS_TRANSACTIONS)
    assert lacking_guards(connection, VAS_TRANSACTIONS, hot) == []
