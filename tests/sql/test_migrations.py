"""The schema is exactly what the numbered .sql files say, however often and from wherever they are applied."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg.sql import SQL, Identifier
from pydantic import SecretStr

import sql
from config import Settings
from ledger.months import Month
from ledger.tables import TRANSACTIONS
from sql import migrate
from sql.connection import Connection, connect, connection_parameters
from sql.ledger_tables import make_hot_parent
from sql.lookups import filter_blocks, found_lookups
from sql.partitions import ensure_partition
from sql.preparation import prepare_table
from sql.totals import KeptObject, read_kept
from sql.warm import move_to_warm
from storage.filters import hash_of, make_filter, may_have
from tasks.reconciliation.audit.chain import verify_chain
from tests.sql.ledger_rows import add_row

MIGRATIONS = Path(sql.__file__).parent / "migrations"
FILES = sorted((MIGRATIONS / "versions").glob("*.sql"))

# Everything that a migration can make: columns, constraints, indexes, triggers, functions, views.
SCHEMA = """
SELECT 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull || ' '
       || coalesce(pg_get_expr(d.adbin, d.adrelid), '') || ' ' || a.attidentity::text || ' ' || c.relkind::text
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = 'treasury'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'treasury'::regnamespace
UNION ALL
SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'treasury'
UNION ALL
SELECT 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT 'function', proname, '', pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'treasury'::regnamespace
ORDER BY 1, 2, 3
"""


@pytest.fixture
def empty(dsn: str) -> Iterator[str]:
    """The URL of an empty database."""
    name = f"empty_{uuid.uuid4().hex}"
    with psycopg.connect(dsn, autocommit=True) as server:
        server.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        yield f"{dsn.rpartition('/')[0]}/{name}"
        server.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def _schema(dsn: str) -> list[tuple[str, ...]]:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(SCHEMA).fetchall()
    return [row for row in rows if row[1] != "alembic_version"]


def _revision(dsn: str) -> list[tuple[str]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchall()


def test_the_schema_equals_that_of_the_numbered_files(empty: str, dsn: str) -> None:
    with psycopg.connect(empty, **connection_parameters(empty, "tests")) as connection:
        connection.execute("CREATE SCHEMA treasury")
        for file in FILES:
            connection.execute(file.read_text())
    by_hand = _schema(empty)
    assert len(by_hand) > 50
    assert _schema(dsn) == by_hand


def test_upgrading_again_changes_nothing(dsn: str) -> None:
    before = _schema(dsn)
    migrate.upgrade(dsn)
    assert _schema(dsn) == before


def test_statements_that_were_taken_in_before_the_chain_held_them_enter_it(empty: str) -> None:
    """And records that are older than a column keep the digest that they have in the chain."""
    held = next(number for number, file in enumerate(FILES) if file.name.startswith("0008"))
    with psycopg.connect(empty, autocommit=True, **connection_parameters(empty, "tests")) as connection:
        for file in FILES[:held]:
            connection.execute(file.read_text())
        for sha256 in ("a", "b"):
            connection.execute(
                "INSERT INTO statement_files (supplier, name, sha256, size_bytes, state, error, actor)"
                " VALUES ('flash', 'x', sha256(%s::text::bytea), 1, 'quarantined', 'x', 'x')",
                (sha256,),
            )
        for file in FILES[held:]:
            connection.execute(file.read_text())
        assert verify_chain(connection).event_no == 2


def test_filters_that_were_stored_before_their_blocks_had_checks_deny_as_before(empty: str) -> None:
    checked = next(number for number, file in enumerate(FILES) if file.name.startswith("0035"))
    values = [uuid.UUID(int=number * 7919) for number in range(2000)]
    hashes = [hash_of(value) for value in values]
    bits = make_filter([np.unique(np.array(hashes, np.uint64))], 12)
    with psycopg.connect(empty, autocommit=True, **connection_parameters(empty, "tests")) as connection:
        for file in FILES[:checked]:
            connection.execute(file.read_text())
        connection.execute(
            "INSERT INTO archive_lookups (object_key, table_name, month, part, pieces, footer)"
            " VALUES ('k\u00e9y', 'transactions', '2024-01-01', 1, 'pieces', 'footer')"
        )
        connection.execute("INSERT INTO archive_filters VALUES ('k\u00e9y', 5, %s)", (bits,))
        for file in FILES[checked:]:
            connection.execute(file.read_text())
        asked = [("k\u00e9y", 5, hashed) for hashed in [*hashes, hash_of(uuid.uuid4())]]
        blocks = filter_blocks(connection, asked)
        assert blocks.keys() == set(range(len(asked)))  # every check is right
        assert all(may_have(blocks[place], hashed) for place, hashed in enumerate(hashes))
        stored = connection.execute(
            "SELECT object_key, '', sha256('x'), pieces, footer, check_sha256 FROM archive_lookups"
        )
        (found,) = found_lookups(stored.fetchall())
        assert (found.pieces, found.footer) == (b"pieces", b"footer")


def test_kept_totals_of_before_their_columns_were_recorded_hold_for_the_built_in_tables_alone(empty: str) -> None:
    """Months in a class that must be restored before it is read could not be summed again."""
    recorded = next(number for number, file in enumerate(FILES) if file.name.startswith("0040"))
    other = TRANSACTIONS.model_copy(update={"name": "points"})
    with psycopg.connect(empty, autocommit=True, **connection_parameters(empty, "tests")) as connection:
        for file in FILES[:recorded]:
            connection.execute(file.read_text())
        for table in (TRANSACTIONS, other):
            connection.execute(
                "INSERT INTO daily_totals_places (table_name, month, object_key, fingerprint, money_columns, row_count)"
                " VALUES (%s, '2024-01-01', 'key', 'print', '{amount,fee}', 0)",
                (table.name,),
            )
        for file in FILES[recorded:]:
            connection.execute(file.read_text())
        assert read_kept(connection, TRANSACTIONS, [], [KeptObject("key", "print")]).objects == {"key"}
        assert read_kept(connection, other, [], [KeptObject("key", "print")]).objects == set()


def test_two_callers_at_once_migrate_once(empty: str, dsn: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(migrate.upgrade, [empty, empty]))
    assert _schema(empty) == _schema(dsn)
    assert len(_revision(empty)) == 1


def test_the_head_is_the_newest_file_and_every_file_has_its_revision(dsn: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    script = ScriptDirectory.from_config(config)
    revisions = sorted(revision.revision for revision in script.walk_revisions())
    assert revisions == [file.name.split("_")[0] for file in FILES]
    assert script.get_heads() == [revisions[-1]]
    assert _revision(dsn) == [(revisions[-1],)]


def test_a_migration_that_fails_leaves_nothing_behind(empty: str) -> None:
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA treasury")
        connection.execute("CREATE TYPE treasury.imports AS ENUM ()")  # the last that the first migration makes
    with pytest.raises(Exception, match="imports"):
        migrate.upgrade(empty)
    assert _schema(empty) == []


def test_the_catalogue_cannot_call_a_month_cold_without_its_proof(connection: Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="archive_months_cold_is_proved"), connection.transaction():
        connection.execute("INSERT INTO archive_months (table_name, month, tier) VALUES ('t', '2026-02-01', 'cold')")


def test_a_ledger_with_months_in_both_tiers_takes_a_new_supplier_and_still_moves(
    empty: str, server_settings: Settings
) -> None:
    settings = server_settings.model_copy(update={"database_url": SecretStr(empty)})
    vas, first = settings.table("vas_transactions"), Month(2026, 2)
    with connect(empty, "tests") as connection:
        connection.execute("CREATE SCHEMA treasury")
        for file in (file for file in FILES if file.name < "0009"):
            connection.execute(file.read_text())
        make_hot_parent(connection, settings, vas)
        connection.execute(  # as the first migration made it
            "ALTER TABLE vas_transactions_partitioned DROP CONSTRAINT vas_transactions_supplier, ADD CONSTRAINT"
            " vas_transactions_supplier CHECK (supplier IN ('flash', 'mobilemart', 'peach'))"
        )
        prepare_table(connection, settings, vas)
        for distance in range(2):
            ensure_partition(connection, settings, vas, first.plus(distance))
        assert move_to_warm(connection, settings, vas, first)
        with pytest.raises(psycopg.errors.CheckViolation, match="vas_transactions_supplier"):
            add_row(connection, vas, first.plus(1).lower, supplier="voucherly", vas_type="airtime")
        for file in (file for file in FILES if file.name >= "0009"):
            connection.execute(file.read_text())
        add_row(connection, vas, first.plus(1).lower, supplier="voucherly", vas_type="airtime")
        with pytest.raises(psycopg.errors.CheckViolation, match="vas_transactions_supplier"):
            add_row(connection, vas, first.plus(1).lower, supplier="No-Name", vas_type="airtime")
        ensure_partition(connection, settings, vas, first.plus(2))
        assert all(move_to_warm(connection, settings, vas, first.plus(distance)) for distance in (1, 2))
        query = "SELECT DISTINCT convalidated FROM pg_constraint WHERE conname = 'vas_transactions_supplier'"
        assert connection.execute(query).fetchall() == [(True,)]
