"""A guest: the project's own tables are in a schema of their own, nothing is taken, and what was in `public` moves."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from pydantic import SecretStr

from config import Settings, load_settings
from ledger.errors import ConfigError, TransientError
from ledger.months import Month
from ledger.tables import BUILT_IN, TRANSACTIONS, VAS_TRANSACTIONS, TieredTable
from sql import migrate
from sql.connection import Connection, check_session, connect, limited
from sql.ledger_tables import make_hot_parent
from sql.own_schema import VERSIONS, made_until, make_schema, require_catalogue, require_set_up
from sql.partitions import ensure_partition
from sql.preparation import prepare_table
from sql.roles import CATALOGUE, own_relations, prepare_roles
from sql.warm import move_to_warm
from tasks.admin.setup import prepare_database
from tests.sql.ledger_rows import FEBRUARY, add_row

PLACES = """
    SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v')
    ORDER BY 1, 2
"""
FILES = """
    SELECT relname::text, pg_relation_filenode(oid), relacl::text FROM pg_class
    WHERE relkind = 'r' AND relnamespace IN (to_regnamespace('public'), to_regnamespace('treasury')) ORDER BY 1
"""


@pytest.fixture
def company(empty: Settings) -> Iterator[psycopg.Connection]:
    """The company's own connection to its database."""
    with psycopg.connect(empty.database_dsn, autocommit=True) as connection:
        yield connection


def _former(company: psycopg.Connection, settings: Settings, until: str = "0018") -> None:
    """The database as a former version left it: everything in `public`, with rows and privileges."""
    for file in sorted(VERSIONS.glob("*.sql")):
        if file.name[:4] <= until:
            company.execute(file.read_text())
    company.execute("CREATE TABLE alembic_version (version_num varchar(32) CONSTRAINT alembic_version_pkc PRIMARY KEY)")
    company.execute("INSERT INTO alembic_version VALUES (%s)", (until,))
    company.execute(
        "INSERT INTO imports (table_name, file_name, file_sha256, mapping_sha256, read_count, loaded_count,"
        " rejected_count, started_at) VALUES ('t', 'f', sha256('a'), sha256('b'), 3, 2, 1, now())"
    )
    company.execute("GRANT SELECT ON imports TO treasury_auditor")


def test_the_own_tables_are_in_their_schema_and_those_of_the_ledger_in_public(
    empty: Settings, company: psycopg.Connection
) -> None:
    assert prepare_database(empty) == []
    found = company.execute(PLACES).fetchall()
    assert {name for schema, name in found if schema == "treasury"} == set(CATALOGUE)
    assert {name for schema, name in found if schema == "public"} == {
        name for table in BUILT_IN for name in (table.name, table.hot_parent, table.warm_parent)
    }
    functions = "SELECT DISTINCT pronamespace::regnamespace::text FROM pg_proc WHERE proname LIKE 'treasury%'"
    assert company.execute(functions).fetchall() == [("treasury",)]


def test_an_own_table_that_a_crash_would_empty_is_named_at_set_up(empty: Settings, company: psycopg.Connection) -> None:
    """After a crash, a repeated post would be stored a second time."""
    assert prepare_database(empty) == []
    company.execute("ALTER TABLE treasury.idempotency_keys SET UNLOGGED")
    (problem,) = prepare_database(empty)
    assert "ALTER TABLE treasury.idempotency_keys SET LOGGED" in problem
    company.execute("ALTER TABLE treasury.idempotency_keys SET LOGGED")
    assert prepare_database(empty) == []


def test_a_companys_tables_of_the_same_names_are_left_alone(empty: Settings, company: psycopg.Connection) -> None:
    for name in ("alerts", "imports", "installation", "api_keys", "alembic_version"):
        company.execute(SQL("CREATE TABLE {} AS SELECT 'theirs' AS text").format(Identifier(name)))
    before = company.execute(FILES).fetchall()
    assert prepare_database(empty) == []
    after = {row[0]: row for row in company.execute(FILES.replace("to_regnamespace('treasury')", "0")).fetchall()}
    assert [after[row[0]] for row in before] == before
    with connect(empty.database_dsn, "tests") as connection:
        assert connection.execute("SELECT count(*) FROM alerts").fetchone() == (0,)
        assert {relation.schema for relation in own_relations(connection)} == {"treasury"}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("until", ["0018", "0014"])
def test_what_a_former_version_made_in_public_moves_without_being_rewritten(
    empty: Settings, company: psycopg.Connection, until: str
) -> None:
    with connect(empty.database_dsn, "tests") as connection:
        prepare_roles_of_the_cluster(connection, empty)
    _former(company, empty, until)
    if until == "0014":  # a table of theirs, that this version of the product did not have yet
        company.execute("CREATE TABLE installation (theirs int)")
    before = {name: rest for name, *rest in company.execute(FILES).fetchall()}
    assert prepare_database(empty) == []
    places = {name: schema for schema, name in company.execute(PLACES).fetchall()}
    moved = {name for kind, name in made_until(until) if kind == "TABLE"} | {"alembic_version"}
    assert {places[name] for name in moved} == {"treasury"}
    after = {name: rest for name, *rest in company.execute(FILES).fetchall()}
    assert {name: after[name][0] for name in moved} == {name: before[name][0] for name in moved}
    assert "treasury_auditor=r" in after["imports"][1]
    assert company.execute("SELECT read_count FROM treasury.imports").fetchall() == [(3,)]
    if until == "0014":
        assert company.execute("SELECT to_regclass('public.installation') IS NOT NULL").fetchone() == (True,)


def prepare_roles_of_the_cluster(connection: Connection, settings: Settings) -> None:
    """The roles are the cluster's: made whatever the database has."""
    prepare_roles(connection, settings)


def test_the_guards_of_a_former_version_go_on_after_the_move(empty: Settings, company: psycopg.Connection) -> None:
    _former_ledger(empty, company)
    migrate.upgrade(empty.database_dsn)
    with connect(empty.database_dsn, "tests") as connection:
        prepare_table(connection, empty, VAS_TRANSACTIONS)
        row = add_row(connection, VAS_TRANSACTIONS, FEBRUARY.lower, status="pending")
        connection.execute(
            "INSERT INTO recon_periods (supplier, first_day, last_day, actor, reason)"
            " VALUES ('flash', '2026-02-01', '2026-02-28', 'a', 'closed')"
        )
        with pytest.raises(psycopg.Error) as raised:
            connection.execute("UPDATE vas_transactions_partitioned SET amount = 1 WHERE id = %s", (row,))
        assert raised.value.sqlstate == "TR003"
        with pytest.raises(psycopg.Error) as raised:
            connection.execute("DELETE FROM vas_transactions_partitioned WHERE id = %s", (row,))
        assert raised.value.sqlstate == "TR001"
        assert move_to_warm(connection, empty, VAS_TRANSACTIONS, FEBRUARY)


def _former_ledger(settings: Settings, company: psycopg.Connection) -> None:
    """A ledger whose guards and month were made while everything was in `public`."""
    with connect(settings.database_dsn, "tests") as connection:
        make_hot_parent(connection, settings, VAS_TRANSACTIONS)
    _former(company, settings)
    company.execute(
        "CREATE TRIGGER treasury_guard_history BEFORE UPDATE OR DELETE ON vas_transactions_partitioned FOR EACH ROW"
        " EXECUTE FUNCTION treasury_guard_history('id', 'created_at', 'status', 'completed')"
    )
    company.execute(
        "CREATE TRIGGER treasury_guard_period BEFORE UPDATE ON vas_transactions_partitioned FOR EACH ROW"
        " EXECUTE FUNCTION treasury_guard_period()"
    )
    company.execute(
        "CREATE TABLE vas_transactions_2026_02 PARTITION OF vas_transactions_partitioned"
        " FOR VALUES FROM ('2026-02-01 00:00:00+00') TO ('2026-03-01 00:00:00+00')"
    )
    company.execute(
        "INSERT INTO archive_months (table_name, month, tier) VALUES ('vas_transactions', '2026-02-01', 'hot')"
    )


@pytest.mark.heavy("what a former version made moves whole or not at all in one transaction")
def test_a_move_that_was_killed_has_moved_nothing_and_is_made_by_the_next(
    empty: Settings, company: psycopg.Connection
) -> None:
    _former(company, empty)
    company.execute("CREATE SCHEMA treasury")
    with company.transaction():
        company.execute("LOCK TABLE vend_failures")  # the last that moves
        killed = limited(empty.database_dsn, 1500)
        with pytest.raises(TransientError), connect(killed, "tests") as connection:
            make_schema(connection)
    assert {schema for schema, _ in company.execute(PLACES).fetchall()} == {"public"}
    migrate.upgrade(empty.database_dsn)
    assert {schema for schema, name in company.execute(PLACES).fetchall() if name in CATALOGUE} == {"treasury"}


def test_the_schema_is_a_setting(empty: Settings, company: psycopg.Connection) -> None:
    own = empty.model_copy(update={"own_schema": "ledger_of_acme"})
    assert prepare_database(own) == []
    with connect(own.database_dsn, "tests") as connection:
        require_set_up(connection)
        check_session(connection)
        assert connection.execute("SHOW search_path").fetchone() == ("ledger_of_acme,public,pg_temp",)
        ensure_partition(connection, own, TRANSACTIONS, FEBRUARY)
        add_row(connection, TRANSACTIONS, FEBRUARY.lower)
    found = {schema for schema, name in company.execute(PLACES).fetchall() if name in CATALOGUE}
    assert found == {"ledger_of_acme"}
    with connect(empty.database_dsn, "tests") as connection, pytest.raises(ConfigError, match="=ledger_of_acme"):
        require_catalogue(connection)


@pytest.mark.parametrize("name", ["public", "pg_catalog", "information_schema", "No", "a b", ""])
def test_a_schema_that_is_not_free_is_refused_by_the_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREASURY_SCHEMA", name)
    with pytest.raises(ConfigError, match=r"^TREASURY_SCHEMA: "):
        load_settings()


def test_options_of_the_address_stay_beside_the_schema(empty: Settings) -> None:
    url = f"{empty.database_dsn}?options=-c%20statement_timeout%3D4s&connect_timeout=3"
    own = empty.model_copy(update={"own_schema": "acme", "database_url": SecretStr(url)})
    with connect(own.database_dsn, "tests") as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("4s",)
        assert connection.execute("SHOW search_path").fetchone() == ("acme,public,pg_temp",)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "theirs", ["CREATE TABLE treasury.bonds (x int)", "CREATE FUNCTION treasury.f() RETURNS int LANGUAGE sql RETURN 1"]
)
def test_a_schema_of_that_name_that_is_somebody_elses_is_refused_by_name(
    empty: Settings, company: psycopg.Connection, theirs: str
) -> None:
    company.execute("CREATE SCHEMA treasury")
    company.execute(theirs)
    before = company.execute(PLACES).fetchall()
    with pytest.raises(
        ConfigError, match=r"the schema treasury .* somebody else's \(it has (bonds|f)\).*TREASURY_SCHEMA"
    ):
        prepare_database(empty)
    assert company.execute(PLACES).fetchall() == before
    assert prepare_database(empty.model_copy(update={"own_schema": "ledger"})) == []


def test_an_empty_schema_that_an_administrator_made_is_used(empty: Settings, company: psycopg.Connection) -> None:
    company.execute("CREATE SCHEMA treasury")
    assert prepare_database(empty) == []


def test_looking_at_a_database_makes_nothing_in_it(empty: Settings, company: psycopg.Connection) -> None:
    with connect(empty.database_dsn, "tests") as connection:
        with pytest.raises(ConfigError, match="no tables of Treasury in its schema treasury: `treasury setup`"):
            require_set_up(connection)
        _former(company, empty)
        with pytest.raises(ConfigError, match="of an older version of Treasury: `treasury setup`"):
            require_set_up(connection)
    migrate.upgrade(empty.database_dsn)
    for revision, answer in (("0017", "of an older version"), ("9999", "of a newer version")):
        company.execute("UPDATE treasury.alembic_version SET version_num = %s", (revision,))
        with connect(empty.database_dsn, "tests") as connection, pytest.raises(ConfigError, match=answer):
            require_set_up(connection)


TAKEN = {
    "a table of the view's name": ("CREATE TABLE transactions (id int)", "a table called transactions"),
    "a view of other tables": ("CREATE VIEW transactions AS SELECT 1 AS x", "a view called transactions"),
    "a sequence": ("CREATE SEQUENCE transactions", "a sequence called transactions"),
    "a type": ("CREATE TYPE transactions AS ENUM ('a')", "a type called transactions"),
    "the warm parent's name": ("CREATE TABLE transactions_archive_warm (id int)", "called transactions_archive_warm"),
    "an index of the hot parent": (
        "CREATE TABLE t (id int); CREATE INDEX idx_transactions_user_created ON t (id)",
        "an index called idx_transactions_user_created",
    ),
    "an index of the warm parent": (
        "CREATE TABLE t (id int); CREATE INDEX idx_transactions_archive_warm_user_created ON t (id)",
        "an index called idx_transactions_archive_warm_user_created",
    ),
    "the hot parent's name": ("CREATE TABLE transactions_partitioned (id int)", "transactions_partitioned"),
}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("what", TAKEN)
def test_a_taken_name_is_refused_by_name_and_the_other_table_goes_on(
    empty: Settings, company: psycopg.Connection, what: str
) -> None:
    statement, told = TAKEN[what]
    company.execute(statement)
    theirs = company.execute(FILES).fetchall()
    (problem,) = prepare_database(empty)
    assert told in problem
    with connect(empty.database_dsn, "tests") as connection:
        assert ensure_partition(connection, empty, VAS_TRANSACTIONS, FEBRUARY)
        add_row(connection, VAS_TRANSACTIONS, FEBRUARY.lower)
    after = company.execute(FILES).fetchall()
    assert [row for row in after if row[0] in {name for name, *_ in theirs}] == theirs


@pytest.mark.heavy("a taken name is tested beside it")
def test_a_table_of_the_view_s_name_beside_a_third_table_concerns_that_table_alone(
    empty: Settings, company: psycopg.Connection
) -> None:
    company.execute(
        "CREATE TABLE events_partitioned (id uuid, created_at timestamptz, amount numeric(12,2),"
        " PRIMARY KEY (id, created_at)) PARTITION BY RANGE (created_at)"
    )
    company.execute("CREATE TABLE events (id int)")
    fields = {"currency_column": None, "status_column": None, "money_columns": ["amount"], "cold_sort": ["amount"]}
    own = empty.model_copy(update={"tables": {"events": fields}})
    (problem,) = prepare_database(own)
    assert problem.startswith("table events: the database has a table called events, a name that its view over hot and")
    assert company.execute("SELECT to_regclass('events_archive_warm')").fetchone() == (None,)


def _view_columns(connection: Connection) -> list[str]:
    where = "attrelid = 'transactions'::regclass AND attnum > 0"
    found = connection.execute(f"SELECT attname::text FROM pg_attribute WHERE {where} ORDER BY attnum")
    return [name for (name,) in found]


def _on_both(connection: Connection, table: TieredTable, change: str) -> None:
    for parent in (table.hot_parent, table.warm_parent):
        connection.execute(f"ALTER TABLE {parent} {change}")


def test_a_column_that_both_parents_get_reaches_the_view_and_what_others_made_upon_it_stays(
    prepared: Settings, connection: Connection
) -> None:
    connection.execute("CREATE VIEW public.theirs AS SELECT id, tier FROM transactions")
    connection.execute("GRANT SELECT ON transactions TO pg_monitor")
    before = _view_columns(connection)
    _on_both(connection, TRANSACTIONS, "ADD COLUMN channel text")
    prepare_table(connection, prepared, TRANSACTIONS)
    assert _view_columns(connection) == [*before, "channel"]
    add_row(connection, TRANSACTIONS, FEBRUARY.lower, channel="web")
    add_row(connection, TRANSACTIONS, FEBRUARY.plus(1).lower, channel="app")
    assert move_to_warm(connection, prepared, TRANSACTIONS, FEBRUARY)
    assert connection.execute("SELECT tier, channel FROM transactions ORDER BY 1").fetchall() == [
        ("hot", "app"),
        ("warm", "web"),
    ]
    assert connection.execute("SELECT count(*) FROM public.theirs").fetchone() == (2,)
    connection.execute("SET default_transaction_read_only = on")
    prepare_table(connection, prepared, TRANSACTIONS)


def test_a_column_that_was_renamed_is_renamed_in_the_view(prepared: Settings, connection: Connection) -> None:
    _on_both(connection, TRANSACTIONS, "RENAME COLUMN description TO remark")
    prepare_table(connection, prepared, TRANSACTIONS)
    assert "remark" in _view_columns(connection)
    assert "description" not in _view_columns(connection)
    granted = "SELECT has_table_privilege('treasury_auditor', 'transactions', 'SELECT')"
    assert connection.execute(granted).fetchone() == (True,)


def test_a_view_that_must_be_made_again_is_refused_with_what_depends_on_it(
    prepared: Settings, connection: Connection
) -> None:
    connection.execute("CREATE VIEW public.theirs AS SELECT description FROM transactions")
    _on_both(connection, TRANSACTIONS, "RENAME COLUMN description TO remark")
    with pytest.raises(ConfigError, match=r"view transactions: .* view theirs depends on view transactions"):
        prepare_table(connection, prepared, TRANSACTIONS)
    connection.execute("DROP VIEW public.theirs")
    prepare_table(connection, prepared, TRANSACTIONS)


def test_a_view_that_somebody_dropped_is_made_again(prepared: Settings, connection: Connection) -> None:
    connection.execute("DROP VIEW transactions")
    prepare_table(connection, prepared, TRANSACTIONS)
    assert connection.execute("SELECT count(*) FROM transactions").fetchone() == (0,)


def test_sql_of_people_without_our_search_path_goes_on(prepared: Settings) -> None:
    month = Month(2026, 2)
    with psycopg.connect(prepared.database_dsn, autocommit=True, options="-c search_path=public") as person:
        person.execute(f"ALTER TABLE {TRANSACTIONS.partition(month)} SET (autovacuum_enabled = off)")
        with connect(prepared.database_dsn, "tests") as connection:
            row = add_row(connection, TRANSACTIONS, FEBRUARY.lower, status="pending")
        person.execute("UPDATE transactions_partitioned SET status = 'completed' WHERE id = %s", (row,))
        with pytest.raises(psycopg.Error) as raised:
            person.execute("DELETE FROM transactions_partitioned WHERE id = %s", (row,))
        assert raised.value.sqlstate == "TR001"
        assert person.execute("SELECT tier FROM transactions").fetchall() == [("hot",)]
