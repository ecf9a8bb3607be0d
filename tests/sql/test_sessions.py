"""Every session sees the rows as they are: what a role, a database or the environment sets is pinned or refused."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from config import Settings
from ledger.errors import ConfigError
from ledger.tables import TRANSACTIONS
from sql import migrate
from sql.connection import PINNED, Connection, check_found, check_session_of, connect, connection_parameters
from sql.partitions import ensure_partition
from sql.preparation import prepare_table
from sql.relations import find_relation
from storage.engine import engine
from tasks.querying.link import linked, postgres_query
from tests.relations import hot_months, relation
from tests.sql.conftest import Connector
from tests.sql.ledger_rows import FEBRUARY, add_row

OWN = ("archive_months", "alembic_version")
_PATIENT = "-c idle_session_timeout=0 -c statement_timeout=0"  # a busy machine needs more than the defaults give
OTHER = {
    "row_security": "on",
    "search_path": "decoy, pg_catalog, public",
    "gin_fuzzy_search_limit": "1",
    "TimeZone": "America/New_York",
    "DateStyle": "German",
    "IntervalStyle": "sql_standard",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "xmlbinary": "hex",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "default_transaction_isolation": "serializable",
    "synchronous_commit": "off",
    "statement_timeout": "1ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "idle_session_timeout": "1ms",
    "client_encoding": "latin1",
}


def shown(connection: psycopg.Connection[Any], name: str) -> str:
    """A parameter of this session."""
    row = connection.execute(SQL("SHOW {}").format(Identifier(name))).fetchone()
    assert row is not None
    return str(row[0])


@pytest.fixture
def other_defaults(dsn: str, another: Connector) -> str:
    """The URL of a database whose every default is another than what this project needs."""
    admin = another()
    admin.execute("CREATE SCHEMA decoy")
    name = admin.info.dbname
    for setting, value in (OTHER | _newest(admin)).items():
        values = ", ".join(f"'{part.strip()}'" for part in value.split(","))
        admin.execute(f"ALTER DATABASE {name} SET {setting} = {values}")
    return dsn


def _newest(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """Others that PostgreSQL has since 17. Its limit must leave time for the first query of a session."""
    return {"transaction_timeout": "1s"} if connection.info.server_version >= 170000 else {}


def test_what_a_database_sets_does_not_reach_a_session(other_defaults: str) -> None:
    with connect(other_defaults, "tests") as connection:
        names = [*OTHER, *_newest(connection)]
        found = {name: shown(connection, name) for name in names}
    assert {name: found[name].replace(" ", "") for name in PINNED if name in OTHER} == {
        name: value.replace(" ", "") for name, value in PINNED.items() if name in OTHER
    }
    assert {value for name, value in found.items() if name.endswith("timeout")} == {"0"}
    assert found["client_encoding"] == "UTF8"


def test_the_address_may_set_limits_and_nothing_that_is_pinned(dsn: str) -> None:
    options = "-c statement_timeout=4s -c idle_session_timeout=1h -c row_security=on -c search_path=pg_catalog"
    with connect(make_conninfo(dsn, options=options), "tests") as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("4s",)
        assert connection.execute("SHOW idle_session_timeout").fetchone() == ("1h",)
        assert connection.execute("SHOW row_security").fetchone() == ("off",)
        assert connection.execute("SHOW search_path").fetchone() == ("treasury,public,pg_temp",)


def test_the_address_may_set_the_limit_of_a_transaction(dsn: str, another: Connector) -> None:
    if not _newest(another()):
        pytest.skip("PostgreSQL 15 and 16 have no transaction_timeout")
    with connect(make_conninfo(dsn, options="-c transaction_timeout=1h"), "tests") as connection:
        assert connection.execute("SHOW transaction_timeout").fetchone() == ("1h",)


def test_the_engines_link_is_such_a_session_too(settings: Settings, other_defaults: str) -> None:
    names = ("row_security", "search_path", "TimeZone", "bytea_output", "default_transaction_isolation")
    limits = ("statement_timeout", "idle_session_timeout", "transaction_timeout")
    query = "SELECT " + ", ".join(f"current_setting('{name}', true) AS {name}" for name in (*names, *limits))
    with engine(settings) as duck, linked(duck, settings, links=1):
        found = duck.execute(f"SELECT * FROM {postgres_query(0, query)}").fetchone()
    assert found is not None
    assert found[: len(names)] == tuple(PINNED[name] for name in names)
    assert set(found[len(names) :]) <= {"0", None}  # PostgreSQL 15 and 16 have no transaction_timeout


def test_the_session_of_a_pool_has_no_limits_but_those_that_the_pool_sets(other_defaults: str) -> None:
    async def limits() -> tuple[Any, ...]:
        parameters = connection_parameters(other_defaults, "tests")
        connection = await psycopg.AsyncConnection.connect(other_defaults, autocommit=True, **parameters)
        async with connection:
            await check_session_of(connection)
            names = ("idle_session_timeout", "transaction_timeout")
            query = "SELECT " + ", ".join(f"current_setting('{name}', true)" for name in names)
            return await (await connection.execute(query)).fetchone() or ()

    assert set(asyncio.run(limits())) <= {"0", None}


def test_migrations_wait_for_one_another_whatever_the_limit_of_a_transaction_is(other_defaults: str) -> None:
    with psycopg.connect(other_defaults, autocommit=True, options=_PATIENT) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (0x7472_6561_0001,))
        with ThreadPoolExecutor(1) as pool:
            upgrading = pool.submit(migrate.upgrade, other_defaults)
            time.sleep(1.5)
            assert not upgrading.done()
            other.execute("SELECT pg_advisory_unlock(%s)", (0x7472_6561_0001,))
            upgrading.result()


@pytest.mark.parametrize("name", ["PGTZ", "PGDATESTYLE"])
def test_what_libpq_sends_after_the_options_is_refused_by_name(
    dsn: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    setting, value = {"PGTZ": ("TimeZone", "America/New_York"), "PGDATESTYLE": ("DateStyle", "German")}[name]
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"{setting} is .*{name}"), connect(dsn, "tests"):
        pass


@pytest.mark.parametrize(
    ("setting", "value"),
    [("session_replication_role", "replica"), ("zero_damaged_pages", "on"), ("ignore_checksum_failure", "on")],
)
def test_what_only_a_superuser_sets_is_refused_by_name(dsn: str, another: Connector, setting: str, value: str) -> None:
    admin = another()
    admin.execute(f"ALTER DATABASE {admin.info.dbname} SET {setting} = {value}")
    with pytest.raises(ConfigError, match=f"{setting} is '{value}'"), connect(dsn, "tests"):
        pass


def test_a_pooler_that_drops_the_options_is_refused(dsn: str) -> None:
    with psycopg.connect(dsn) as plain:
        names = (*PINNED, "session_replication_role", "zero_damaged_pages", "ignore_checksum_failure")
        found = tuple(shown(plain, name) for name in names)
    with pytest.raises(ConfigError, match="row_security is 'on' in this session, must be 'off'"):
        check_found(found)


def test_the_bounds_of_partitions_are_read_whatever_the_defaults_are(settings: Settings, other_defaults: str) -> None:
    with connect(other_defaults, "tests") as connection:
        prepare_table(connection, settings, TRANSACTIONS)
        ensure_partition(connection, settings, TRANSACTIONS, FEBRUARY)
        assert hot_months(connection, TRANSACTIONS) == {FEBRUARY: "transactions_2026_02"}


def test_a_table_of_the_same_name_in_a_schema_before_public_is_not_meant(
    settings: Settings, dsn: str, another: Connector
) -> None:
    admin = another()
    admin.execute("CREATE SCHEMA decoy")
    for schema, name in (("public", "transactions_partitioned"), *(("treasury", name) for name in OWN)):
        admin.execute(f"CREATE TABLE decoy.{name} AS SELECT * FROM {schema}.{name}")
    admin.execute(f"ALTER DATABASE {admin.info.dbname} SET search_path = decoy, public, treasury")
    migrate.upgrade(dsn)
    with connect(dsn, "tests") as connection:
        prepare_table(connection, settings, TRANSACTIONS)
        assert ensure_partition(connection, settings, TRANSACTIONS, FEBRUARY)
        assert relation(connection, "transactions_partitioned").schema == "public"
        assert connection.execute("SELECT count(*) FROM treasury.archive_months").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM decoy.archive_months").fetchone() == (0,)


def test_a_temporary_table_hides_none_of_ours(prepared: Settings, connection: Connection) -> None:
    connection.execute("CREATE TEMPORARY TABLE archive_months (month date)")
    connection.execute("CREATE TEMPORARY TABLE transactions_partitioned (id uuid)")
    assert FEBRUARY in hot_months(connection, TRANSACTIONS)
    assert connection.execute("SELECT count(*) > 0 FROM archive_months").fetchone() == (True,)


def test_a_name_that_several_schemas_have_is_refused_unless_the_search_path_decides(connection: Connection) -> None:
    for schema in ("one", "two"):
        connection.execute(f"CREATE SCHEMA {schema}")
        connection.execute(f"CREATE TABLE {schema}.events_partitioned (id uuid)")
    with pytest.raises(ConfigError, match=r"events_partitioned: several schemas have one \(one, two\)"):
        find_relation(connection, "events_partitioned")
    connection.execute("CREATE TABLE public.events_partitioned (id uuid)")
    assert relation(connection, "events_partitioned").schema == "public"
    connection.execute("DROP TABLE public.events_partitioned, one.events_partitioned")
    assert str(relation(connection, "events_partitioned")) == "two.events_partitioned"


def test_a_database_whose_tables_are_in_another_schema_gets_no_second_empty_set(dsn: str, another: Connector) -> None:
    admin = another()
    admin.execute("ALTER SCHEMA treasury RENAME TO ours")
    with pytest.raises(ConfigError, match=r"the tables of this project are in schema ours .*TREASURY_SCHEMA=ours"):
        migrate.upgrade(dsn)
    assert admin.execute("SELECT to_regnamespace('treasury')").fetchone() == (None,)


def test_the_guards_mean_postgresqls_own_functions_whatever_the_writer_puts_before_them(
    prepared: Settings, connection: Connection, another: Connector
) -> None:
    row_id = add_row(connection, TRANSACTIONS, FEBRUARY.lower)
    writer = another()
    writer.execute("CREATE SCHEMA evil")
    writer.execute("CREATE FUNCTION evil.to_jsonb(anyelement) RETURNS jsonb LANGUAGE sql AS $$SELECT '{}'::jsonb$$")
    writer.execute("SET search_path = evil, pg_catalog, public")
    with pytest.raises(psycopg.Error) as raised:
        writer.execute("UPDATE transactions_partitioned SET amount = 1 WHERE id = %s", (row_id,))
    assert raised.value.sqlstate == "TR001"
