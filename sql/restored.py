"""Copies of archived months in PostgreSQL: their schema, their tables and what is recorded of each."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from psycopg import errors
from psycopg.rows import class_row
from psycopg.sql import SQL, Composable, Identifier, Literal

from ledger.columns import Column, ColumnKind
from ledger.errors import ConfigError, ConflictError
from ledger.months import Month
from ledger.tables import TieredTable
from sql.connection import Connection, fetch_one
from sql.queries import load
from sql.relations import Relation, find_in_schema
from sql.session_lock import try_session_lock
from sql.storing import check_stored, fetch_stored

_QUERIES = load("restored")
_CATALOG = load("catalog")
_MADE_BY = "Made by Treasury: copies of archived months, each dropped when its time is over"
_TYPES = {
    ColumnKind.UUID: "uuid",
    ColumnKind.TEXT: "text",
    ColumnKind.BOOLEAN: "boolean",
    ColumnKind.INTEGER: "bigint",
    ColumnKind.TIMESTAMP: "timestamptz",
    ColumnKind.DATE: "date",
    ColumnKind.JSON: "jsonb",
}


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a part of a month. ``month`` is its first day; instants are UTC. One whose ``purpose`` is ``return`` is
    on its way to warm, and never a copy for people.

    A copy that is ``loading`` belongs to a run that has not ended, or was killed.
    """

    restore_id: int
    table_name: str
    month: date
    part: int
    state: str
    purpose: str
    relation_oid: int
    schema_name: str
    relation_name: str
    row_count: int
    actor: str
    account: str
    reason: str
    begun_at: datetime
    ready_at: datetime | None
    expires_at: datetime | None
    has_expired: bool
    is_there: bool

    @property
    def relation(self) -> Relation:
        """The copy's table."""
        return Relation(self.relation_oid, self.schema_name, self.relation_name)

    @property
    def is_ready(self) -> bool:
        """Whether its rows were compared with the archive."""
        return self.state == "ready"


@contextmanager
def restore_lock(connection: Connection, table: str, month: Month) -> Iterator[None]:
    """Keep other runs away from the copies of a month. Raises ConflictError while one works on them."""
    named = {"table": table, "month": str(month)}
    otherwise = f"{table} {month} is being restored by another run"
    with try_session_lock(connection, _QUERIES["try_lock"], _QUERIES["unlock"], otherwise, named):
        yield


def ensure_schema(connection: Connection, schema: str) -> None:
    """Make the schema of the copies. Raises ConfigError for one of that name that this project did not make."""
    row = connection.execute(_QUERIES["schema_comment"], {"schema": schema}).fetchone()
    if row is None:
        connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(schema)))
        connection.execute(SQL("COMMENT ON SCHEMA {} IS {}").format(Identifier(schema), Literal(_MADE_BY)))
    elif row[0] != _MADE_BY:
        raise ConfigError(
            f"the schema {schema} is not Treasury's: name another one in TREASURY_RESTORED_SCHEMA for restored months"
        )


def copy_name(table: TieredTable, month: Month, part: int) -> str:
    """The name of the copy of a part: that of the partition that it was, and the number of a later part."""
    return table.partition(month) + ("" if part == 1 else f"_part_{part}")


def loading_name(table: TieredTable, month: Month, part: int, process: int) -> str:
    """The name of a part's table while the backend ``process`` loads it.

    It has no words: PostgreSQL cuts a name at 63 bytes, and the table's own may have 40 of them.
    """
    return f"{table.partition(month)}_{part}_{process}"


def make_copy_table(connection: Connection, schema: str, name: str, columns: Sequence[Column]) -> Relation:
    """Make an empty table with these columns. It belongs to the transaction of the caller."""
    described = SQL(", ").join(
        SQL("{} {}{}").format(Identifier(column.name), _type(column), SQL("" if column.nullable else " NOT NULL"))
        for column in columns
    )
    connection.execute(SQL("CREATE TABLE {} ({})").format(Identifier(schema, name), described))
    made = find_in_schema(connection, schema, name)
    assert made is not None  # noqa: S101  # it was made just now
    return made


def _type(column: Column) -> Composable:
    if column.kind is ColumnKind.DECIMAL:
        return SQL("numeric({}, {})").format(Literal(column.precision), Literal(column.scale))
    return SQL(_TYPES[column.kind])


def set_index_memory(connection: Connection) -> None:
    """Let the caller's transaction sort an index of 1,000,000 rows in memory."""
    connection.execute("SET LOCAL maintenance_work_mem = '256MB'")


def make_copy_indexes(connection: Connection, hot: Relation | None, copy: Relation) -> list[str]:
    """Give a copy the primary key and the indexes of the hot parent; returns the names of those that it cannot have.

    An index of a column that came after the month cannot be made; it is left out.
    """
    if hot is None:
        return []
    wanted = []
    key = connection.execute(_CATALOG["primary_key"], {"relation": hot.oid}).fetchone()
    if key is not None:
        wanted.append(("the primary key", SQL("ALTER TABLE {} ADD {}").format(copy.identifier, SQL(key[0]))))
    for name, definition in connection.execute(_CATALOG["indexes"], {"relation": hot.oid}).fetchall():
        wanted.append((name, SQL("CREATE INDEX ON {} {}").format(copy.identifier, SQL(definition))))
    missing = []
    for name, statement in wanted:
        try:
            with connection.transaction():
                connection.execute(statement)
        except errors.UndefinedColumn:
            missing.append(name)
    return missing


def name_copy(connection: Connection, copy: Relation, name: str, comment: str) -> Relation:
    """Give a copy the name that people look for. Raises ConfigError where something else has the name."""
    try:
        with connection.transaction():
            connection.execute(SQL("ALTER TABLE {} RENAME TO {}").format(copy.identifier, Identifier(name)))
    except errors.DuplicateTable:
        raise ConfigError(f"{copy.schema}.{name} is there already and is not Treasury's: drop or rename it") from None
    named = Relation(copy.oid, copy.schema, name)
    connection.execute(SQL("COMMENT ON TABLE {} IS {}").format(named.identifier, Literal(comment)))
    return named


def drop_copy(connection: Connection, copy: Copy) -> None:
    """Drop the table of a copy and record it, in the caller's transaction. Safe where somebody else has dropped it.

    Raises ConflictError when something depends on the table, or when its name means another table now.
    """
    if copy.is_there:
        relation = find_in_schema(connection, copy.schema_name, copy.relation_name)
        if relation is None or relation.oid != copy.relation_oid:
            raise ConflictError(f"{copy.relation}: the restored table was renamed or moved: drop it yourself")
        try:
            with connection.transaction():
                connection.execute(SQL("DROP TABLE {}").format(copy.relation.identifier))
        except errors.DependentObjectsStillExist as error:
            raise ConflictError(
                f"{copy.relation}: the restored table cannot be dropped: {error.diag.message_detail}"
            ) from None
    check_stored(connection.execute(_QUERIES["dropped"], {"restore_id": copy.restore_id}), 1, "restored_months")


def add_copy(
    connection: Connection,
    table: TieredTable,
    month: Month,
    part: int,
    copy: Relation,
    rows: int,
    who: "Request",
    purpose: str = "copy",
) -> int:
    """Record a copy that is being loaded; returns its number."""
    values = {"table": table.name, "month": month.first_day, "part": part, "rows": rows, "purpose": purpose}
    values |= {"oid": copy.oid, "schema": copy.schema, "name": copy.name}
    values |= {"actor": who.actor, "account": who.account, "reason": who.reason}
    return int(fetch_stored(connection, _QUERIES["add"], values, "restored_months")[0])


def mark_ready(connection: Connection, restore_id: int, name: str, ttl: timedelta) -> datetime:
    """Record that a copy may be read under ``name``; returns when it is dropped."""
    values = {"restore_id": restore_id, "name": name, "ttl": ttl}
    expires_at: datetime = fetch_one(connection, _QUERIES["ready"], values)[0]
    return expires_at


def extend(connection: Connection, restore_id: int, ttl: timedelta) -> datetime:
    """Keep a copy for at least ``ttl`` from now on; returns when it is dropped."""
    expires_at: datetime = fetch_one(connection, _QUERIES["extend"], {"restore_id": restore_id, "ttl": ttl})[0]
    return expires_at


def copies(
    connection: Connection, table: str | None = None, month: Month | None = None, part: int | None = None
) -> list[Copy]:
    """The copies that are not dropped: all of them, or those of a month."""
    where = {"table": table, "month": None if month is None else month.first_day, "part": part}
    with connection.cursor(row_factory=class_row(Copy)) as cursor:
        return cursor.execute(_QUERIES["copies"], where).fetchall()


@dataclass(frozen=True, slots=True)
class Request:
    """The request for a copy: the person and account, the reason, and the days that it stays."""

    actor: str
    account: str
    reason: str
    ttl: timedelta
