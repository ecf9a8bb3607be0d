"""Archived months that go back to warm in PostgreSQL: the table made like the warm parent, and what is recorded."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg import errors
from psycopg.sql import SQL, Identifier

from ledger.archive_objects import ObjectKind
from ledger.errors import ConflictError, DataError
from ledger.months import Month
from ledger.tables import TieredTable
from ledger.transparency.events import Archived
from sql.connection import Connection, fetch_one
from sql.lookups import forget_lookups
from sql.queries import load
from sql.relations import Relation
from sql.restored import Request
from sql.storing import check_counted, check_stored, fetch_stored
from sql.totals import forget_deleted

RETURN_FORMAT = "treasury-return-v1"
"""Of the object that says who sent a month back to warm, and why."""

_QUERIES = load("returns")
_CATALOG = load("catalog")
_COLUMN = re.compile(r", column (\"?[^:\"]+\"?)")


@dataclass(frozen=True, slots=True)
class CataloguePart:
    """A part of a month as the catalogue has it, under a lock."""

    part: int
    tier: str
    step: str
    manifest_sha256: bytes | None


def generated_columns(connection: Connection, relation: Relation) -> set[str]:
    """The columns of a relation that PostgreSQL computes: no value can be sent for them."""
    return {name for (name,) in connection.execute(_CATALOG["generated"], {"relation": relation.oid})}


def drop_defaults(connection: Connection, relation: Relation, parent: Relation) -> None:
    """Take the defaults off a table that is to be loaded: a column that came later is NULL in archived rows."""
    for name, _ in _defaults(connection, parent):
        statement = SQL("ALTER TABLE {} ALTER COLUMN {} DROP DEFAULT")
        connection.execute(statement.format(relation.identifier, Identifier(name)))


def set_defaults(connection: Connection, relation: Relation, parent: Relation) -> None:
    """Give a table the defaults of the parent."""
    for name, expression in _defaults(connection, parent):
        statement = SQL("ALTER TABLE {} ALTER COLUMN {} SET DEFAULT {}")
        connection.execute(statement.format(relation.identifier, Identifier(name), SQL(expression)))


def _defaults(connection: Connection, parent: Relation) -> list[tuple[str, str]]:
    return [(name, text) for name, text in connection.execute(_QUERIES["defaults"], {"parent": parent.oid})]


def make_constraints(connection: Connection, relation: Relation, parent: Relation) -> None:
    """Give a loaded table the keys, indexes and foreign keys of the parent, so that ATTACH finds them there.

    Raises PostgreSQL's errors for rows that do not fit them: `naming_misfits` names what does not.
    """
    where = {"parent": parent.oid}
    for name, definition in connection.execute(_QUERIES["constraints"], where).fetchall():
        keeps_name = definition.startswith("FOREIGN KEY")  # an index is made with the constraint, and has its name
        named = SQL("CONSTRAINT {} ").format(Identifier(name)) if keeps_name else SQL("")
        connection.execute(SQL("ALTER TABLE {} ADD {}{}").format(relation.identifier, named, SQL(definition)))
    for is_unique, definition in connection.execute(_QUERIES["indexes"], where).fetchall():
        unique = SQL("UNIQUE " if is_unique else "")
        connection.execute(SQL("CREATE {}INDEX ON {} {}").format(unique, relation.identifier, SQL(definition)))


@contextmanager
def naming_misfits(what: str, parent: Relation) -> Iterator[None]:
    """Raise DataError naming the constraint or the column that archived rows do not fit any more, or the partition in
    their place. It never names a value.
    """
    try:
        yield
    except errors.InvalidObjectDefinition as error:
        raise DataError(
            f"{what}: {error.diag.message_primary}, which others have made. Detach it from {parent} first. Nothing was "
            "changed"
        ) from None
    except (errors.IntegrityError, errors.DataError) as error:
        column = _COLUMN.search(error.diag.context or "")
        where = f" (column {column[1]})" if column else ""
        is_quoting = error.sqlstate in ("22P02", "22007")  # their texts have the value
        said = "a value is not one of the column's type" if is_quoting else error.diag.message_primary
        raise DataError(
            f"{what}: its archived rows do not fit {parent} as it is now: {said}{where}. Nothing was changed: change "
            "the table, or restore a copy without --to warm"
        ) from None


def check_plain(connection: Connection, relation: Relation) -> None:
    """Raise ConflictError unless a table is still what its name means, and has no trigger of others."""
    named = {"oid": relation.oid, "schema": relation.schema, "name": relation.name}
    if connection.execute(_QUERIES["is_plain_table"], named).fetchone() is None:
        raise ConflictError(f"{relation} was renamed, replaced or given a trigger meanwhile; run it again")


def merge(connection: Connection, table: TieredTable, part: Relation, into: Relation, names: Sequence[str]) -> None:
    """Add the rows of a part's table to those of another, and compare each with the one that was added.

    In the caller's transaction. Raises NotStoredError where PostgreSQL stores fewer, DataError where a row differs.
    """
    columns = SQL(", ").join(map(Identifier, names))
    wanted = fetch_one(connection, SQL("SELECT count(*) FROM {}").format(part.identifier))[0]
    added = connection.execute(
        SQL("INSERT INTO {0} ({1}) SELECT {1} FROM {2}").format(into.identifier, columns, part.identifier)
    )
    check_stored(added, wanted, str(into))
    same = SQL(
        "SELECT count(*) FROM {} AS one JOIN {} AS other USING ({}, {}) WHERE one.*::text = other.*::text"
    ).format(into.identifier, part.identifier, Identifier(table.key_column), Identifier(table.time_column))
    equal_rows = fetch_one(connection, same)[0]
    if equal_rows != wanted:
        raise DataError(f"{part}: {wanted} rows were added to {into}, and {equal_rows} are the same there")


def lock_parts(connection: Connection, table: str, month: Month) -> list[CataloguePart]:
    """The parts of a month by the catalogue, locked until the end of the transaction."""
    rows = connection.execute(_QUERIES["lock_parts"], _of(table, month)).fetchall()
    return [CataloguePart(*row) for row in rows]


def newest_attempt(connection: Connection, table: str, month: Month) -> int:
    """The highest number of an attempt at a month, whatever it was for."""
    return int(fetch_one(connection, _QUERIES["newest_attempt"], _of(table, month))[0])


@dataclass(frozen=True, slots=True)
class MonthReturn:
    """The return of a month to warm: its rows, who asked for it and why, and when (UTC). It has the last day of the
    work on it, and the object that says so.
    """

    table: str
    month: Month
    rows: int
    who: Request
    returned_at: datetime
    until: date
    record_key: str

    @property
    def row(self) -> dict[str, Any]:
        """The return as parameters of the queries."""
        who = {"actor": self.who.actor, "account": self.who.account, "reason": self.who.reason}
        times = {"returned_at": self.returned_at, "until": self.until}
        return _of(self.table, self.month) | {"rows": self.rows, "record_key": self.record_key} | who | times


def add_return(connection: Connection, made: MonthReturn) -> int:
    """Record a return; returns its number."""
    return int(fetch_stored(connection, _QUERIES["add_return"], made.row, "month_returns")[0])


def has_return(connection: Connection, record_key: str) -> bool:
    """Whether the return that an object is the record of is known."""
    return bool(fetch_one(connection, _QUERIES["has_return"], {"record_key": record_key})[0])


def set_returned(
    connection: Connection, made: MonthReturn, parts: Sequence[int], number: int, attempt: int, objects: int
) -> None:
    """Make the archived ``parts`` of a month one warm part, ``number``, and their ``objects`` former ones of the month.

    In the transaction that attaches the partition. Raises NotStoredError where the catalogue is not what was read.
    """
    return_id = add_return(connection, made)
    others = [part for part in parts if part != number]
    named = made.row | {"return_id": return_id, "part": number, "others": others, "attempt": attempt}
    added = connection.execute(_QUERIES["add_former"], named | {"parts": list(parts)})
    check_stored(added, objects, "former_objects")
    forget_deleted(connection, made.table, made.month, parts)
    forget_lookups(connection, made.table, made.month.first_day, parts)
    query = "set_warm" if number in parts else "add_warm"
    check_stored(connection.execute(_QUERIES[query], named), 1, "archive_months")
    connection.execute(_QUERIES["set_former_uploads"], named)
    connection.execute(_QUERIES["move_uploads"], named)
    connection.execute(_QUERIES["forget_verified"], named)
    check_stored(connection.execute(_QUERIES["remove_parts"], named), len(others), "archive_months")


def extend_work(connection: Connection, table: str, month: Month, until: date) -> tuple[date, int] | None:
    """Let the work on a returned month go on at least to a day; returns the last day and the part. None for a month
    that did not return.
    """
    row = connection.execute(_QUERIES["extend"], _of(table, month) | {"until": until}).fetchone()
    return None if row is None else (row[0], row[1])


def mark_attached(connection: Connection, restore_id: int) -> None:
    """Forget a loaded table as a copy: it is a partition now."""
    check_stored(connection.execute(_QUERIES["attached"], {"restore_id": restore_id}), 1, "restored_months")


def add_former_part(connection: Connection, return_id: int, archived: Archived) -> None:
    """Enter the objects of a part that went back to warm, as the log names them. Safe to run again."""
    month = Month.parse(archived.month)
    named = _of(archived.table, month) | {"return_id": return_id, "part": archived.part}
    kinds = [kind for kind in ObjectKind if kind is not ObjectKind.MANIFEST]
    if archived.kept is None:
        kinds.remove(ObjectKind.PROOFS)
    for place, (kind, archived_object) in enumerate(zip(kinds, archived.objects, strict=False), 1):
        sizes = {"size_bytes": archived_object.size_bytes, "sha256": bytes.fromhex(archived_object.sha256)}
        values = named | sizes | {"object_key": archived_object.key, "place": place, "kind": kind}
        check_counted(connection.execute(_QUERIES["add_former_object"], values), "former_objects")
    manifest = {"object_key": archived.manifest.key, "sha256": bytes.fromhex(archived.manifest.sha256)}
    last = {"place": len(ObjectKind), "kind": ObjectKind.MANIFEST, "size_bytes": None}
    check_counted(connection.execute(_QUERIES["add_former_object"], named | manifest | last), "former_objects")


def has_former_objects(connection: Connection, table: str, month: Month) -> bool:
    """Whether a month has former objects that no deletion removes yet."""
    return bool(fetch_one(connection, _QUERIES["has_former"], _of(table, month))[0])


def begin_removal(connection: Connection, table: str, month: Month, certificate: str) -> None:
    """Record that a deletion removes the former objects of a month."""
    connection.execute(_QUERIES["begin_removal"], _of(table, month) | {"certificate": certificate})


def months_in_work(connection: Connection, table: str | None = None) -> list[tuple[str, Month, date]]:
    """The months that went back to warm and are not archived again: table, month, and the last day of the work."""
    rows = connection.execute(_QUERIES["in_work"], {"table": table}).fetchall()
    return [(name, Month.of(first_day), until) for name, first_day, until in rows]


def _of(table: str, month: Month) -> dict[str, Any]:
    return {"table": table, "month": month.first_day}
