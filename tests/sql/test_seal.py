"""A sealed month takes no write from anyone, and what is read after sealing is final."""

from itertools import product
from typing import Any

import psycopg
import pytest

from config import Settings
from ledger.errors import TransientError
from ledger.tables import TRANSACTIONS
from sql.connection import Connection
from sql.errors import HISTORY_IS_FIXED, MONTH_IS_SEALED
from sql.maintenance import run_ddl
from sql.relations import Relation
from sql.seal import count_unfinished, is_sealed, seal
from sql.warm import move_to_warm
from tests.relations import relation
from tests.sql.conftest import Connector
from tests.sql.ledger_rows import FEBRUARY, add_row

PARTITION = "transactions_2026_02"
WRITES = [
    "INSERT INTO {} SELECT * FROM copied",
    "UPDATE {} SET description = 'x' WHERE status = 'pending'",
    "UPDATE {} SET description = 'x'",
    "DELETE FROM {} WHERE status = 'pending'",
    "TRUNCATE {}",
]


@pytest.fixture
def warm(prepared: Settings, connection: Connection) -> Settings:
    """A database with two rows in a warm February, and a copy of them beside it."""
    for status in ("pending", "completed"):
        add_row(connection, TRANSACTIONS, FEBRUARY.lower, status=status)
    connection.execute("CREATE TABLE copied AS SELECT * FROM transactions_2026_02 WHERE status = 'completed'")
    move_to_warm(connection, prepared, TRANSACTIONS, FEBRUARY)
    return prepared


def _seal(connection: Connection, settings: Settings) -> None:
    run_ddl(connection, settings, lambda: seal(connection, relation(connection, PARTITION)))


@pytest.mark.sampled(2)
@pytest.mark.parametrize("write", WRITES)
def test_every_write_is_refused_even_to_a_superuser_who_replays_as_a_replica(
    warm: Settings, connection: Connection, another: Connector, write: str
) -> None:
    _seal(connection, warm)
    superuser = another()
    before = connection.execute("SELECT * FROM transactions ORDER BY id").fetchall()
    for role, written in product(("origin", "replica", "local"), (PARTITION, TRANSACTIONS.warm_parent)):
        superuser.execute(f"SET session_replication_role = {role}")
        with pytest.raises(psycopg.Error) as caught:
            superuser.execute(write.format(written))
        # The guard of history may come first where it fires at all, which is not in a replica.
        assert caught.value.sqlstate == MONTH_IS_SEALED or (
            caught.value.sqlstate == HISTORY_IS_FIXED and role != "replica"
        )
        assert connection.execute("SELECT * FROM transactions ORDER BY id").fetchall() == before


def test_copy_is_refused_too(warm: Settings, connection: Connection) -> None:
    with connection.cursor() as cursor, cursor.copy("COPY copied TO STDOUT") as copy:
        rows = b"".join(copy)
    assert rows
    _seal(connection, warm)
    with connection.cursor() as cursor, pytest.raises(psycopg.Error) as caught:
        _copy_in(cursor, rows)
    assert caught.value.sqlstate == MONTH_IS_SEALED


def _copy_in(cursor: psycopg.Cursor[Any], rows: bytes) -> None:
    with cursor.copy("COPY transactions_2026_02 FROM STDIN") as copy:
        copy.write(rows)


def test_a_sealed_month_is_still_read(warm: Settings, connection: Connection) -> None:
    _seal(connection, warm)
    assert connection.execute("SELECT count(*) FROM transactions WHERE tier = 'warm'").fetchone() == (2,)


def test_only_the_sealed_month_is_closed(warm: Settings, connection: Connection) -> None:
    _seal(connection, warm)
    add_row(connection, TRANSACTIONS, FEBRUARY.upper)


def test_sealing_again_keeps_the_seal(warm: Settings, connection: Connection) -> None:
    _seal(connection, warm)
    _seal(connection, warm)
    assert is_sealed(connection, relation(connection, PARTITION))


def test_a_write_under_way_is_waited_for_and_counts(warm: Settings, connection: Connection, another: Connector) -> None:
    writer = another()
    impatient = warm.model_copy(update={"lock_timeout_ms": 10, "lock_attempts": 2})
    with writer.transaction():
        add_row(writer, TRANSACTIONS, FEBRUARY.lower, relation=TRANSACTIONS.warm_parent)
        with pytest.raises(TransientError, match="no lock within 2 tries"):
            _seal(connection, impatient)
        assert not is_sealed(connection, relation(connection, PARTITION))
    _seal(connection, impatient)
    assert connection.execute("SELECT count(*) FROM transactions_2026_02").fetchone() == (3,)


def test_a_seal_that_was_tampered_with_is_seen_and_mended(warm: Settings, connection: Connection) -> None:
    triggers = ("treasury_sealed_rows", "treasury_sealed_truncate")
    for trigger, change in product(triggers, ("DISABLE", "ENABLE", "ENABLE REPLICA", "DROP")):
        _seal(connection, warm)
        assert is_sealed(connection, relation(connection, PARTITION))
        drop, alter = f"DROP TRIGGER {trigger} ON {PARTITION}", f"ALTER TABLE {PARTITION} {change} TRIGGER {trigger}"
        connection.execute(drop if change == "DROP" else alter)
        assert not is_sealed(connection, relation(connection, PARTITION))


def test_a_month_that_was_never_sealed_is_not(warm: Settings, connection: Connection) -> None:
    assert not is_sealed(connection, relation(connection, PARTITION))
    assert not is_sealed(connection, Relation(0, "public", "no_such_partition"))


def test_unfinished_rows_are_those_whose_status_is_not_terminal(warm: Settings, connection: Connection) -> None:
    add_row(connection, TRANSACTIONS, FEBRUARY.lower, relation=TRANSACTIONS.warm_parent, status="processing")
    assert count_unfinished(connection, TRANSACTIONS, relation(connection, PARTITION)) == 2
    timeless = TRANSACTIONS.model_copy(update={"status_column": None})
    assert count_unfinished(connection, timeless, relation(connection, PARTITION)) == 0
