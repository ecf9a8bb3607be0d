"""A registered table must be what it is described as; what does not fit is named before anything is made."""

import psycopg
import pytest

from config import Settings, load_settings
from ledger.columns import Column, ColumnKind
from ledger.errors import ConfigError
from ledger.tables import TRANSACTIONS, VAS_TRANSACTIONS, TieredTable
from sql.catalog import columns_of
from sql.connection import Connection
from sql.preparation import prepare_table
from sql.relations import find_relation
from tests.relations import relation

EVENTS = load_settings(
    tables={"events": {"money_columns": ["value"], "cold_sort": ["card_id"], "terminal_statuses": ["done"]}}
).table("events")
COLUMNS = {
    "id": "uuid NOT NULL",
    "card_id": "text NOT NULL",
    "value": "numeric(12, 4)",
    "currency": "varchar(3) NOT NULL",
    "status": "text NOT NULL",
    "created_at": "timestamptz NOT NULL",
}
PARTITIONING = "PARTITION BY RANGE (created_at)"


def _create(
    connection: Connection,
    partitioning: str = PARTITIONING,
    key: str | None = "PRIMARY KEY (id, created_at)",
    **changes: str | None,
) -> None:
    columns = {**COLUMNS, **changes}
    lines = [f"{name} {kind}" for name, kind in columns.items() if kind is not None] + ([key] if key else [])
    connection.execute(f"CREATE TABLE public.events_partitioned ({', '.join(lines)}) {partitioning}")


def test_a_third_table_gets_its_warm_parent_its_guards_and_its_view(settings: Settings, connection: Connection) -> None:
    _create(connection)
    connection.execute("CREATE INDEX idx_events_user_created ON events_partitioned (card_id, created_at DESC)")
    connection.execute("CREATE INDEX idx_events_status_created ON events_partitioned (status, created_at DESC)")
    columns = prepare_table(connection, settings, EVENTS)
    assert columns == columns_of(connection, relation(connection, "events_archive_warm"))
    indexes = connection.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'events_archive_warm' ORDER BY 1")
    assert indexes.fetchall() == [("events_archive_warm_pkey",), ("idx_events_archive_warm_user_created",)]
    guarded = "SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = 'treasury_guard_history' ORDER BY 1"
    assert [name for (name,) in connection.execute(guarded) if name.startswith("events")] == [
        "events_archive_warm",
        "events_partitioned",
    ]
    assert connection.execute("SELECT * FROM events").fetchall() == []


def test_a_type_column_that_is_absent_or_of_another_kind_is_named(settings: Settings, connection: Connection) -> None:
    typed = EVENTS.model_copy(update={"type_column": "kind"})
    for kind in (None, "integer NOT NULL"):
        _create(connection, kind=kind)
        _refused(connection, settings, r"events_partitioned\.kind must be a column of kind text, found", typed)


@pytest.mark.parametrize("table", [TRANSACTIONS, EVENTS], ids=lambda table: table.name)
def test_a_second_time_it_only_looks(settings: Settings, connection: Connection, table: TieredTable) -> None:
    if table is EVENTS:
        _create(connection)
    columns = prepare_table(connection, settings, table)
    connection.execute("SET default_transaction_read_only = on")
    assert prepare_table(connection, settings, table) == columns


def test_a_guard_that_was_dropped_comes_back(settings: Settings, connection: Connection) -> None:
    _create(connection)
    prepare_table(connection, settings, EVENTS)
    connection.execute("DROP TRIGGER treasury_guard_history ON events_archive_warm")
    prepare_table(connection, settings, EVENTS)
    found = connection.execute("SELECT 1 FROM pg_trigger WHERE tgrelid = 'events_archive_warm'::regclass").fetchall()
    assert len(found) == 1


def test_a_guard_follows_the_terminal_statuses_of_the_settings(settings: Settings, connection: Connection) -> None:
    """A status that became terminal is finished for the archive, so its rows must not change either."""
    _create(connection)
    prepare_table(connection, settings, EVENTS)
    connection.execute(
        "CREATE TABLE events_2026 PARTITION OF events_partitioned FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')"
    )
    connection.execute(
        "INSERT INTO events_partitioned VALUES (gen_random_uuid(), 'c', 1, 'ZAR', 'void', '2026-05-01 00:00+00')"
    )
    connection.execute("UPDATE events_partitioned SET value = 2")
    wider = EVENTS.model_copy(update={"terminal_statuses": frozenset({"done", "void", "d\u00e9j\u00e0 \\ 'vu'"})})
    prepare_table(connection, settings, wider)
    with pytest.raises(psycopg.Error, match="is void: a terminal row never changes"):
        connection.execute("UPDATE events_partitioned SET value = 3")
    connection.execute("SET default_transaction_read_only = on")
    prepare_table(connection, settings, wider)


def test_a_table_that_does_not_exist_is_named(settings: Settings, connection: Connection) -> None:
    with pytest.raises(ConfigError, match="table events: there is no events_partitioned in the database"):
        prepare_table(connection, settings, EVENTS)


def _refused(connection: Connection, settings: Settings, reason: str, table: TieredTable = EVENTS) -> None:
    """The table that was made is refused with ``reason``, nothing was added to it; then it is dropped."""
    with pytest.raises(ConfigError, match=reason):
        prepare_table(connection, settings, table)
    assert connection.execute("SELECT to_regclass('events_archive_warm')").fetchone() == (None,)
    connection.execute("DROP TABLE events_partitioned")


def test_a_table_must_be_partitioned_by_range_of_its_time_column(settings: Settings, connection: Connection) -> None:
    key = "PRIMARY KEY (id, created_at)"
    for partitioning, constraint in (
        ("", key),
        ("PARTITION BY LIST (status)", None),
        ("PARTITION BY HASH (created_at)", key),
        ("PARTITION BY RANGE (updated_at)", None),
        ("PARTITION BY RANGE (created_at, id)", key),
        ("PARTITION BY RANGE ((updated_at - created_at))", None),
    ):
        _create(connection, partitioning, constraint, updated_at="timestamptz")
        _refused(connection, settings, "events_partitioned is not partitioned by range of created_at")


def test_a_described_column_that_is_absent_or_of_another_kind_is_named(
    settings: Settings, connection: Connection
) -> None:
    for column, kind in (
        ("id", "text NOT NULL"),
        ("value", "bigint"),
        ("value", None),
        ("currency", None),
        ("currency", "integer NOT NULL"),
        ("status", "boolean NOT NULL"),
        ("status", None),
        ("created_at", "date NOT NULL"),
        ("card_id", None),
    ):
        _create(connection, PARTITIONING, "PRIMARY KEY (id, created_at)", **{column: kind})
        _refused(connection, settings, column)


def test_a_column_that_the_archive_cannot_keep_exactly_is_refused_by_name(
    settings: Settings, connection: Connection
) -> None:
    floats = ("double precision", "real", "money", "numeric", "numeric(39, 2)")
    times = ("timestamp", "time", "interval")
    others = ("json", "bytea", "text[]", "char(3)", "inet", "int4range")
    for kind in (*floats, *times, *others):
        _create(connection, extra=kind)
        _refused(connection, settings, r"events_partitioned\.extra: the archive cannot keep a column of type")


def _changed(connection: Connection, table: TieredTable, column: str, kind: str) -> None:
    """The hot parent as an application makes it that has another type for one column."""
    hot = table.hot_parent
    connection.execute(f"CREATE TABLE draft (LIKE {hot} INCLUDING DEFAULTS)")
    connection.execute(f"ALTER TABLE draft ALTER {column} TYPE {kind}")
    connection.execute(f"DROP TABLE {hot}")
    connection.execute(
        f"CREATE TABLE {hot} (LIKE draft INCLUDING DEFAULTS, PRIMARY KEY (id, created_at)) {PARTITIONING}"
    )


@pytest.mark.parametrize(
    ("table", "column", "kind"),
    [
        (TRANSACTIONS, "amount", "numeric(18,1)"),
        (TRANSACTIONS, "fee", "numeric(18)"),
        (VAS_TRANSACTIONS, "commission", "numeric(18,0)"),
        (TRANSACTIONS, "created_at", "timestamptz(0)"),
        (TRANSACTIONS, "updated_at", "timestamptz(2)"),
        (VAS_TRANSACTIONS, "processed_at", "timestamptz(0)"),
    ],
)
def test_a_column_that_would_round_what_is_stored_is_refused_by_name(
    settings: Settings, connection: Connection, table: TieredTable, column: str, kind: str
) -> None:
    _changed(connection, table, column, kind)
    with pytest.raises(ConfigError, match=rf"{table.hot_parent}\.{column} is .*rounds.*make it (numeric|timestamptz)"):
        prepare_table(connection, settings, table)
    assert find_relation(connection, table.warm_parent) is None


@pytest.mark.parametrize(
    ("column", "kind"),
    [("amount", "numeric(20,4)"), ("created_at", "timestamptz"), ("updated_at", "timestamptz(6)")],
)
def test_a_wider_column_is_as_good(settings: Settings, connection: Connection, column: str, kind: str) -> None:
    _changed(connection, TRANSACTIONS, column, kind)
    assert prepare_table(connection, settings, TRANSACTIONS)


def test_a_third_table_may_have_money_and_times_as_it_likes(settings: Settings, connection: Connection) -> None:
    _create(connection, value="numeric(12, 0)", created_at="timestamptz(0) NOT NULL")
    assert prepare_table(connection, settings, EVENTS)


def _blurring(connection: Connection) -> None:
    """A collation that PostgreSQL holds for a nondeterministic one, also where it is built without ICU."""
    connection.execute("CREATE COLLATION blurring (provider = libc, locale = 'C')")
    connection.execute("UPDATE pg_collation SET collisdeterministic = false WHERE collname = 'blurring'")


@pytest.mark.parametrize("column", ["client_id", "wallet_id", "currency", "description"])
def test_a_text_for_which_different_values_are_equal_is_refused_by_name(
    settings: Settings, connection: Connection, column: str
) -> None:
    _blurring(connection)
    _changed(connection, TRANSACTIONS, column, "varchar(64) COLLATE blurring")
    with pytest.raises(ConfigError, match=rf"transactions_partitioned\.{column} has the collation blurring"):
        prepare_table(connection, settings, TRANSACTIONS)


def test_of_a_third_table_it_is_refused_where_rows_are_told_apart_by_it(
    settings: Settings, connection: Connection
) -> None:
    _blurring(connection)
    for column in ("status", "currency"):
        _create(connection, **{column: "text COLLATE blurring NOT NULL"})
        _refused(connection, settings, rf"events_partitioned\.{column} has the collation blurring")
    _create(connection, note="text COLLATE blurring")
    assert prepare_table(connection, settings, EVENTS)


def test_a_table_without_a_primary_key_is_refused_and_nothing_is_made(
    settings: Settings, connection: Connection
) -> None:
    _create(connection, key=None)
    _refused(connection, settings, "events_partitioned has no primary key")


def test_a_table_whose_rows_the_key_and_the_time_do_not_tell_apart_is_refused(
    settings: Settings, connection: Connection
) -> None:
    for key in ("PRIMARY KEY (id, line, created_at)", "PRIMARY KEY (line, created_at)"):
        _create(connection, key=key, line="integer NOT NULL")
        columns = key.removeprefix("PRIMARY KEY ").strip("()")
        _refused(connection, settings, rf"events_partitioned has the primary key \({columns}\), and a row is known by")
    _create(connection, key="UNIQUE (id, created_at)")
    _refused(connection, settings, "events_partitioned has no primary key")
    _create(connection, key="PRIMARY KEY (created_at, id)")
    assert prepare_table(connection, settings, EVENTS)
    connection.execute("ALTER TABLE events_archive_warm DROP CONSTRAINT events_archive_warm_pkey")
    with pytest.raises(ConfigError, match="events_archive_warm has no primary key"):
        prepare_table(connection, settings, EVENTS)


def test_a_warm_parent_with_other_columns_is_refused(settings: Settings, connection: Connection) -> None:
    _create(connection)
    prepare_table(connection, settings, EVENTS)
    connection.execute("ALTER TABLE events_partitioned ADD COLUMN late text")
    with pytest.raises(ConfigError, match="events_archive_warm and events_partitioned do not have the same columns"):
        prepare_table(connection, settings, EVENTS)


def test_every_type_that_is_kept_is_read_with_its_kind_its_scale_and_its_nullability(connection: Connection) -> None:
    connection.execute(
        "CREATE TABLE kinds (a uuid NOT NULL, b text, c varchar, d varchar(3) NOT NULL, e boolean, f smallint,"
        " g integer, h bigint, i numeric(18,2), j numeric(38,10), k numeric(5), l timestamptz, m timestamptz(3),"
        " n date, gone text, o jsonb)"
    )
    connection.execute("ALTER TABLE kinds DROP COLUMN gone")
    kinds = [column.kind for column in columns_of(connection, relation(connection, "kinds"))]
    assert kinds == [
        ColumnKind.UUID,
        *[ColumnKind.TEXT] * 3,
        ColumnKind.BOOLEAN,
        *[ColumnKind.INTEGER] * 3,
        *[ColumnKind.DECIMAL] * 3,
        *[ColumnKind.TIMESTAMP] * 2,
        ColumnKind.DATE,
        ColumnKind.JSON,
    ]
    found = {column.name: column for column in columns_of(connection, relation(connection, "kinds"))}
    assert found["a"] == Column("a", ColumnKind.UUID, nullable=False)
    assert found["j"] == Column("j", ColumnKind.DECIMAL, nullable=True, precision=38, scale=10)
    assert (found["k"].precision, found["k"].scale) == (5, 0)
    assert columns_of(connection, find_relation(connection, "nowhere")) == ()


def test_a_refused_preparation_leaves_the_connection_usable(settings: Settings, connection: Connection) -> None:
    with pytest.raises(ConfigError):
        prepare_table(connection, settings, EVENTS)
    assert connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE
