"""What each role may do is what is declared, in every database of a cluster; all else is refused by PostgreSQL."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from psycopg.sql import SQL, Identifier
from pydantic import SecretStr

from bench.databases import on_database
from config import Settings
from ledger.errors import ConfigError
from ledger.tables import BUILT_IN, TRANSACTIONS
from sql import roles
from sql.connection import Connection, connect
from sql.partitions import ensure_partition
from sql.preparation import prepare_table
from sql.roles import API, AUDITOR, CATALOGUE, prepare_roles
from sql.warm import move_to_warm
from tasks.admin.setup import prepare_database
from tests.sql.ledger_rows import FEBRUARY

RELATIONS = """
    SELECT relname FROM pg_class
    WHERE relnamespace = 'treasury'::regnamespace AND relkind IN ('r', 'p', 'v') AND NOT relispartition
"""
NEITHER_MAY = [
    "CREATE TABLE mine (a int)",
    "CREATE TEMPORARY TABLE mine (a int)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE ROLE mine",
    "CREATE DATABASE mine",
    "ALTER TABLE transactions_partitioned ADD COLUMN mine int",
    "ALTER TABLE transactions_partitioned DISABLE TRIGGER ALL",
    "ALTER TABLE transactions_partitioned DETACH PARTITION transactions_2026_02",
    "CREATE INDEX mine ON transactions_partitioned (amount)",
    "DROP TABLE transactions_2026_02",
    "DROP TABLE idempotency_keys",
    "TRUNCATE transactions_partitioned",
    "TRUNCATE idempotency_keys",
    "DELETE FROM transactions_partitioned",
    "DELETE FROM transactions_2026_02",
    "DELETE FROM idempotency_keys",
    "DELETE FROM archive_months",
    "UPDATE transactions_partitioned SET amount = 1",
    "UPDATE transactions_partitioned SET client_id = 'mine'",
    "UPDATE transactions_archive_warm SET amount = 1",
    "UPDATE transactions_2026_02 SET status = 'failed'",
    "UPDATE idempotency_keys SET response = ''",
    "UPDATE archive_months SET tier = 'deleted'",
    "UPDATE api_keys SET scopes = '{operations}'",
    "INSERT INTO api_keys (key_id, key_hash, client_id, scopes) VALUES ('k', sha256('k'), 'mine', '{operations}')",
    "INSERT INTO archive_months (table_name, month, tier) VALUES ('transactions', '2026-05-01', 'hot')",
    "INSERT INTO transactions_2026_02 SELECT * FROM transactions_2026_02",
    "INSERT INTO transactions_archive_warm SELECT * FROM transactions_archive_warm",
    "LOCK TABLE transactions_partitioned IN ACCESS EXCLUSIVE MODE",
    "LOCK TABLE transactions_partitioned IN SHARE ROW EXCLUSIVE MODE",
    "SELECT treasury_refuse_sealed()",
    "COPY transactions_archive_warm FROM PROGRAM 'true'",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT * FROM pg_authid",
    "SELECT * FROM alembic_version",
    "SET session_replication_role = replica",
    "SET ROLE treasury",
    "ALTER SYSTEM SET fsync = off",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ('treasury', 'postgres')",
]
API_MAY_NOT = [
    "INSERT INTO archive_events (table_name, month, event) VALUES ('transactions', '2026-02-01', 'warmed')",
    "DELETE FROM archive_events",
    "UPDATE dashboard_sessions SET expires_at = now() + interval '1 year'",
    "SELECT * FROM transactions_2026_02",
    "SELECT * FROM transactions",
    "SELECT * FROM imports",
]
AUDITOR_MAY_NOT = [
    "SELECT * FROM dashboard_sessions",
    "SELECT * FROM api_keys",
    "SELECT key_id FROM api_keys",
    "SELECT * FROM idempotency_keys",
    "INSERT INTO transactions_partitioned SELECT * FROM transactions_partitioned",
    "UPDATE transactions_partitioned SET status = 'failed'",
    "INSERT INTO idempotency_keys VALUES ('a', 'k', '', 201, '')",
]
AUDITOR_MAY = [
    "SELECT * FROM transactions",
    "SELECT * FROM vas_transactions_archive_warm",
    "SELECT * FROM transactions_2026_02",
    "SELECT * FROM archive_months, archive_events, archive_uploads, imports",
    "LOCK TABLE ONLY transactions_partitioned, ONLY transactions_archive_warm IN ACCESS SHARE MODE",
]


@pytest.fixture
def ready(settings: Settings) -> Settings:
    """A prepared database with a month that is hot and one that was moved to warm."""
    prepare_database(settings)
    with connect(settings.database_dsn, "tests") as connection:
        for distance in (0, 1):
            ensure_partition(connection, settings, TRANSACTIONS, FEBRUARY.plus(distance))
        assert move_to_warm(connection, settings, TRANSACTIONS, FEBRUARY)
    return settings


@contextmanager
def as_role(settings: Settings, role: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection with the role's own login."""
    narrowed = settings.for_api() if role == API else settings.for_auditor()
    with psycopg.connect(narrowed.database_dsn, autocommit=True) as connection:
        yield connection


def refusal(connection: psycopg.Connection[Any], statement: str) -> type[psycopg.Error] | None:
    """How PostgreSQL refuses a statement; None when it does not."""
    outside = statement.startswith(("CREATE DATABASE", "ALTER SYSTEM"))
    try:
        with nullcontext() if outside else connection.transaction(force_rollback=True):
            connection.execute(statement)
    except psycopg.Error as error:
        return type(error)
    return None


@pytest.mark.parametrize(("role", "further"), [(API, API_MAY_NOT), (AUDITOR, AUDITOR_MAY_NOT)])
def test_what_is_not_declared_is_refused_by_postgresql(ready: Settings, role: str, further: list[str]) -> None:
    with as_role(ready, role) as connection:
        assert connection.execute("SELECT usesuper FROM pg_user WHERE usename = current_user").fetchone() == (False,)
        for statement in (*NEITHER_MAY, *further):
            # Each is one that the parser and the planner take: only the privilege is missing.
            assert refusal(connection, statement) is InsufficientPrivilege, statement


def test_what_the_auditor_needs_is_allowed_in_months_of_either_tier(ready: Settings) -> None:
    with as_role(ready, AUDITOR) as connection, connection.transaction():
        for statement in AUDITOR_MAY:
            connection.execute(statement)


def test_every_table_of_the_migrations_is_declared(connection: Connection) -> None:
    hot_parents = {table.hot_parent for table in BUILT_IN}
    assert {name for (name,) in connection.execute(RELATIONS)} - hot_parents == set(CATALOGUE)


def test_a_second_time_it_only_looks(ready: Settings) -> None:
    with connect(ready.database_dsn, "tests") as connection:
        connection.execute("SET default_transaction_read_only = on")
        assert prepare_roles(connection, ready) == []


def test_what_somebody_granted_or_took_by_hand_is_set_right(ready: Settings) -> None:
    with psycopg.connect(ready.database_dsn, autocommit=True) as owner:
        owner.execute(f"GRANT DELETE, UPDATE (amount) ON transactions_partitioned TO {API}")
        owner.execute("GRANT SELECT ON api_keys TO PUBLIC")
        owner.execute(f"REVOKE SELECT ON archive_months FROM {API}")
        owner.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
        owner.execute("GRANT EXECUTE ON FUNCTION treasury_refuse_sealed() TO PUBLIC")
    assert prepare_database(ready) == []
    with as_role(ready, AUDITOR) as connection:
        for statement in ("SELECT * FROM api_keys", "CREATE TABLE mine (a int)", "SELECT treasury_refuse_sealed()"):
            with pytest.raises(InsufficientPrivilege):
                connection.execute(statement)
    with as_role(ready, API) as connection:
        connection.execute("SELECT * FROM archive_months")
        for statement in ("DELETE FROM transactions_partitioned", "UPDATE transactions_partitioned SET amount = 1"):
            with pytest.raises(InsufficientPrivilege):
                connection.execute(statement)


def test_a_role_gets_in_where_public_was_shut_out(ready: Settings) -> None:
    with psycopg.connect(ready.database_dsn, autocommit=True) as owner:
        name = Identifier(owner.info.dbname)
        owner.execute(SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(name))
        owner.execute("REVOKE USAGE ON SCHEMA public FROM PUBLIC")
    assert prepare_database(ready) == []
    for role in (API, AUDITOR):
        with as_role(ready, role) as connection:
            connection.execute("SELECT FROM archive_months")


def test_a_third_table_is_the_auditor_s_to_read_and_not_the_api_s(settings: Settings) -> None:
    tables = {"events": {"money_columns": ["value"], "cold_sort": ["id"], "status_column": None}}
    further = settings.model_copy(update={"tables": tables})
    events = Settings(tables=tables).table("events")
    with connect(settings.database_dsn, "tests") as owner:
        owner.execute(
            "CREATE TABLE events_partitioned (id uuid, value numeric(9, 2), currency varchar(3),"
            " created_at timestamptz, PRIMARY KEY (id, created_at)) PARTITION BY RANGE (created_at)"
        )
        prepare_table(owner, further, events)
        ensure_partition(owner, further, events, FEBRUARY)
    with as_role(settings, AUDITOR) as connection:
        connection.execute("SELECT * FROM events, events_2026_02")
    with as_role(settings, API) as connection, pytest.raises(InsufficientPrivilege):
        connection.execute("SELECT * FROM events_partitioned")


@pytest.mark.heavy("one database is tested beside it")
def test_many_databases_of_one_cluster_are_prepared_at_the_same_time(settings: Settings, template: str) -> None:
    names = [f"many_{uuid4().hex}" for _ in range(4)]

    def prepare(name: str) -> list[str]:
        own = on_database(settings, name)
        with connect(own.database_dsn, "tests") as connection:
            problems = prepare_roles(connection, own)
            for table in BUILT_IN:
                prepare_table(connection, own, table)
                ensure_partition(connection, own, table, FEBRUARY)
            return problems

    with psycopg.connect(settings.database_dsn, autocommit=True) as server:
        for name in names:
            server.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(template)))
        try:
            with ThreadPoolExecutor(2 * len(names)) as pool:
                assert list(pool.map(prepare, 2 * names)) == [[]] * (2 * len(names))
        finally:
            for name in names:
                server.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def test_roles_that_several_make_at_once_are_made_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = uuid4().hex[:8]
    made = (f"made_{mark}_a", f"made_{mark}_b")
    monkeypatch.setattr(roles, "ROLES", made)

    def make(_: int) -> list[str]:
        with connect(settings.database_dsn, "tests") as connection:
            return roles._make_roles(connection)

    with psycopg.connect(settings.database_dsn, autocommit=True) as server:
        try:
            with ThreadPoolExecutor(6) as pool:
                assert list(pool.map(make, range(6))) == [[]] * 6
            found = server.execute("SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname = ANY(%s)", (list(made),))
            assert sorted(found.fetchall()) == [(name, False) for name in made]
        finally:
            for name in made:
                server.execute(SQL("DROP ROLE IF EXISTS {}").format(Identifier(name)))


@pytest.fixture
def plain_owner(settings: Settings) -> Iterator[Settings]:
    """The database in the hands of an ordinary role, as on a managed server: no superuser, no CREATEROLE."""
    name, password = f"owner_{uuid4().hex[:8]}", uuid4().hex
    with psycopg.connect(settings.database_dsn, autocommit=True) as server:
        server.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
        database = f"plain_{uuid4().hex}"
        server.execute(f"CREATE DATABASE {database} OWNER {name}")
        url = psycopg.conninfo.conninfo_to_dict(settings.database_dsn)
        own = SecretStr(f"postgresql://{name}:{password}@{url['host']}:{url['port']}/{database}")
        yield on_database(settings, database).model_copy(update={"database_url": own})
        server.execute(f"DROP DATABASE {database} WITH (FORCE)")
        server.execute(f"DROP ROLE {name}")


def test_an_ordinary_owner_gives_out_privileges_without_a_superuser(plain_owner: Settings) -> None:
    assert prepare_database(plain_owner) == []
    with connect(plain_owner.database_dsn, "tests") as owner:
        ensure_partition(owner, plain_owner, TRANSACTIONS, FEBRUARY)
    with as_role(plain_owner, AUDITOR) as connection:
        connection.execute("SELECT * FROM transactions_2026_02")
        with pytest.raises(InsufficientPrivilege):
            connection.execute("CREATE TEMPORARY TABLE mine (a int)")


def test_without_createrole_the_missing_roles_are_named_with_what_an_administrator_must_run(
    plain_owner: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roles, "ROLES", ("absent_a", "absent_b"))
    (problem,) = prepare_database(plain_owner)
    assert problem.endswith(': CREATE ROLE "absent_a" NOLOGIN; CREATE ROLE "absent_b" NOLOGIN')
    assert problem.startswith("TREASURY_DATABASE_URL: ")


def test_a_table_of_somebody_else_is_a_named_error(plain_owner: Settings, settings: Settings) -> None:
    prepare_database(plain_owner)
    database = psycopg.conninfo.conninfo_to_dict(plain_owner.database_dsn)["dbname"]
    with psycopg.connect(on_database(settings, str(database)).database_dsn, autocommit=True) as superuser:
        superuser.execute(f"ALTER TABLE imports OWNER TO CURRENT_USER; REVOKE SELECT ON imports FROM {AUDITOR}")
    with (
        connect(plain_owner.database_dsn, "tests") as owner,
        pytest.raises(ConfigError, match=r"must own every table: .*imports"),
    ):
        prepare_roles(owner, plain_owner)


def test_a_login_is_made_once_and_a_changed_password_is_set_again(settings: Settings) -> None:
    name = f"login_{uuid4().hex[:8]}"
    url = psycopg.conninfo.conninfo_to_dict(settings.database_dsn)
    logins = [f"postgresql://{name}:{word}@{url['host']}:{url['port']}/{url['dbname']}" for word in ("one", "two")]
    try:
        for login in (logins[0], logins[0], logins[1]):
            roles.ensure_login(settings.database_dsn, login)
            with psycopg.connect(login) as connection:
                assert connection.info.user == name
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(logins[0])
    finally:
        with psycopg.connect(settings.database_dsn, autocommit=True) as server:
            server.execute(SQL("DROP ROLE IF EXISTS {}").format(Identifier(name)))
