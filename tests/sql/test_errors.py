"""What PostgreSQL says becomes one of four things: try again, wrong data, wrong setting, already done."""

import re
import socket
import time

import psycopg
import pytest

from config import Settings
from ledger.errors import ConfigError, ConflictError, DataError, TransientError, TreasuryError
from ledger.tables import TRANSACTIONS
from sql.connection import CONNECT_TIMEOUT_S, Connection, connect, fetch_one
from sql.seal import seal
from tests.relations import relation
from tests.sql.conftest import Connector
from tests.sql.ledger_rows import FEBRUARY, add_row


@pytest.mark.parametrize(
    ("statement", "kind", "state"),
    [
        ("SELECT 1 FROM nowhere", ConfigError, "42P01"),
        ("SELECT 1 / 0", DataError, "22012"),
        ("SELECT 'x'::uuid", DataError, "22P02"),
        ("SELECT 'x'::date", DataError, "22007"),
        ("SELEC", DataError, "42601"),
        ("SET statement_timeout = 1; SELECT pg_sleep(5)", TransientError, "57014"),
        ("SET ROLE pg_read_all_data; CREATE TABLE public.x ()", ConfigError, "42501"),
        ("DO $$BEGIN RAISE SQLSTATE '40P01'; END$$", TransientError, "40P01"),
        ("DO $$BEGIN RAISE SQLSTATE '40001'; END$$", TransientError, "40001"),
        ("DO $$BEGIN RAISE SQLSTATE '53100'; END$$", TransientError, "53100"),
        ("DO $$BEGIN RAISE SQLSTATE '58030'; END$$", TransientError, "58030"),
        ("DO $$BEGIN RAISE SQLSTATE '08006'; END$$", TransientError, "08006"),
        ("CREATE TEMP TABLE t (i int PRIMARY KEY); INSERT INTO t VALUES (1), (1)", ConflictError, "23505"),
        ("CREATE TEMP TABLE t (i int NOT NULL); INSERT INTO t VALUES (NULL)", DataError, "23502"),
    ],
)
def test_an_sqlstate_has_one_meaning_and_is_named(
    server_settings: Settings, statement: str, kind: type[TreasuryError], state: str
) -> None:
    server = connect(server_settings.database_dsn, "tests")
    with pytest.raises(TreasuryError, match=f"^PostgreSQL {state}: ") as caught, server as connection:
        connection.execute(statement)
    assert type(caught.value) is kind


def test_a_lock_that_is_not_granted_in_time_may_be_tried_again(prepared: Settings, another: Connector) -> None:
    holder = another()
    with holder.transaction():
        holder.execute("LOCK TABLE transactions_partitioned")
        with pytest.raises(TransientError, match="55P03"), connect(prepared.database_dsn, "tests") as connection:
            connection.execute("SET lock_timeout = 10; SELECT 1 FROM transactions_partitioned")


def _lose_session(connection: Connection, other: Connection) -> None:
    other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
    connection.execute("SELECT 1")


def test_a_session_that_the_server_ends_may_be_tried_again(dsn: str, another: Connector) -> None:
    other = another()
    with pytest.raises(TransientError), connect(dsn, "tests") as connection:
        _lose_session(connection, other)


def test_a_write_to_history_or_to_a_sealed_month_is_a_conflict(prepared: Settings, connection: Connection) -> None:
    row_id = add_row(connection, TRANSACTIONS, FEBRUARY.lower)
    with pytest.raises(ConflictError, match="TR001"), connect(prepared.database_dsn, "tests") as other:
        other.execute("UPDATE transactions_partitioned SET amount = 1 WHERE id = %s", (row_id,))
    seal(connection, relation(connection, TRANSACTIONS.partition(FEBRUARY)))
    with pytest.raises(ConflictError, match="TR002"), connect(prepared.database_dsn, "tests") as other:
        add_row(other, TRANSACTIONS, FEBRUARY.lower)


def _with(dsn: str, pattern: str, replacement: str) -> str:
    changed = re.sub(pattern, replacement, dsn)
    assert changed != dsn
    return changed


def test_a_wrong_password_or_database_is_a_setting_to_mend_and_the_password_is_not_told(dsn: str) -> None:
    for wrong in (_with(dsn, r"(//[^:@]*):[^@]*@", r"\1:wrong-password@"), _with(dsn, r"/\w+$", "/nowhere")):
        with pytest.raises(ConfigError) as caught, connect(wrong, "tests"):
            pass
        assert "wrong-password" not in str(caught.value)
        assert str(psycopg.conninfo.conninfo_to_dict(dsn).get("password") or "-") not in str(caught.value)


def test_a_server_that_is_away_may_be_tried_again() -> None:
    with pytest.raises(TransientError), connect("postgresql://x@127.0.0.1:1/x", "tests"):
        pass


@pytest.mark.slow
def test_a_server_that_accepts_and_never_answers_is_given_up_on_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(TransientError), connect(f"postgresql://x@127.0.0.1:{silent.getsockname()[1]}/x", "tests"):
            pass
    assert time.monotonic() - started < CONNECT_TIMEOUT_S + 5


def test_the_projects_own_errors_pass_unchanged(dsn: str) -> None:
    with pytest.raises(DataError, match=r"^mine$"), connect(dsn, "tests"):
        raise DataError("mine")


def test_a_session_is_in_utc_and_says_what_it_is_for(dsn: str, another: Connector) -> None:
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    another().execute(f"ALTER DATABASE \"{name}\" SET timezone = 'Africa/Johannesburg'")
    with connect(dsn, "tests") as connection:
        row = fetch_one(connection, "SELECT current_setting('timezone'), current_setting('application_name')")
    assert row == ("UTC", "treasury tests")


def test_a_row_that_must_be_there_and_is_not_is_an_error(connection: Connection) -> None:
    with pytest.raises(TransientError, match=r"no row where one must be$"):
        fetch_one(connection, "SELECT 1 WHERE false")
