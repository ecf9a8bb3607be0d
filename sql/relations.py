"""Relations of PostgreSQL, each meant by its OID and written with its schema: a name alone may be another table's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self
from weakref import WeakKeyDictionary

import psycopg
from psycopg import errors
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier

from ledger.errors import ConfigError, ConflictError
from ledger.tables import TieredTable
from sql.connection import LEDGER_SCHEMA, Connection
from sql.queries import load

_QUERIES = load("relations")
_SCHEMAS: WeakKeyDictionary[psycopg.AsyncConnection[TupleRow], dict[str, str]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True, order=True)
class Relation:
    """A table, view, index or partition. ``oid`` says which it is; ``schema`` and ``name`` are where it was found."""

    oid: int
    schema: str
    name: str

    @property
    def identifier(self) -> Identifier:
        """The relation in the text of a statement."""
        return Identifier(self.schema, self.name)

    def sibling(self, name: str) -> Identifier:
        """The identifier of another relation of the same schema, such as one that is to be made there."""
        return Identifier(self.schema, name)

    def __str__(self) -> str:
        """The name for a message, with the schema unless it is the one that names without a schema are found in."""
        return self.name if self.schema == LEDGER_SCHEMA else f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Parents:
    """The parents of a tiered table. None where there is none yet."""

    hot: Relation | None
    warm: Relation | None

    @classmethod
    def of(cls, connection: Connection, table: TieredTable) -> Self:
        """The parents as they are now: the warm one is looked for in the schema of the hot one.

        Raises ConfigError when several schemas have a hot parent and the search path does not decide.
        """
        hot = find_relation(connection, table.hot_parent)
        if hot is None:
            return cls(None, find_relation(connection, table.warm_parent))
        return cls(hot, find_in_schema(connection, hot.schema, table.warm_parent))

    @property
    def found(self) -> tuple[Relation, ...]:
        """The parents that there are, the hot one first: the order in which everybody locks them."""
        return tuple(parent for parent in (self.hot, self.warm) if parent is not None)


def lock_parents(connection: Connection, table: TieredTable) -> Parents:
    """The parents, locked against moves: the tier map that is read next stays true until the transaction ends.

    Raises ConfigError, and the transaction goes on, when one cannot be locked: this login may not read it, or something
    else has its name.
    """
    parents = Parents.of(connection, table)
    if not parents.found:
        return parents
    names = SQL(", ").join(SQL("ONLY {}").format(parent.identifier) for parent in parents.found)
    try:
        with connection.transaction():
            connection.execute(SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))
    except (errors.InsufficientPrivilege, errors.WrongObjectType) as error:
        raise ConfigError(f"table {table.name}: {error.diag.message_primary}") from error
    return parents


def find_relation(connection: Connection, name: str) -> Relation | None:
    """The relation called ``name``: the one on the search path, else the only one in any schema. None: there is none.

    Raises ConfigError that names the schemas when there are several and none is on the search path.
    """
    return _chosen(name, connection.execute(_QUERIES["called"], {"name": name}).fetchall())


def _chosen(name: str, rows: Sequence[TupleRow]) -> Relation | None:
    relations = [Relation(*row[:3]) for row in rows]
    if len(relations) > 1 and not rows[0][3]:
        places = ", ".join(relation.schema for relation in relations)
        raise ConfigError(
            f"{name}: several schemas have one ({places}): rename all but one, or move it to {LEDGER_SCHEMA}"
        )
    return relations[0] if relations else None


def ledger_schema(connection: Connection, table: TieredTable) -> str:
    """The schema of the parents and the view of ``table``; `LEDGER_SCHEMA` where there is no hot parent yet.

    Raises ConfigError as `find_relation` does.
    """
    hot = find_relation(connection, table.hot_parent)
    return LEDGER_SCHEMA if hot is None else hot.schema


async def ledger_schema_of(connection: psycopg.AsyncConnection[TupleRow], table: TieredTable) -> str:
    """`ledger_schema` for a connection of an asynchronous pool. It is looked up once and remembered for the connection,
    until `forget_schemas`.
    """
    known = _SCHEMAS.setdefault(connection, {})
    if table.name not in known:
        cursor = await connection.execute(_QUERIES["called"], {"name": table.hot_parent})
        hot = _chosen(table.hot_parent, await cursor.fetchall())
        if hot is None:
            return LEDGER_SCHEMA
        known[table.name] = hot.schema
    return known[table.name]


def forget_schemas() -> None:
    """Look the schemas up again: for callers to whom PostgreSQL said that there is no such table."""
    _SCHEMAS.clear()


def find_in_schema(connection: Connection, schema: str, name: str) -> Relation | None:
    """The relation ``name`` of one schema."""
    row = connection.execute(_QUERIES["in_schema"], {"schema": schema, "name": name}).fetchone()
    return None if row is None else Relation(*row)


def check_partition(connection: Connection, partition: Relation, parent: Relation) -> None:
    """Raise ConflictError unless ``partition`` is still what its name means, and a partition of ``parent``.

    To be called under a lock of the partition, before a statement that cannot be undone and that has to name it.
    """
    if connection.execute(_QUERIES["is_partition"], _of(partition) | {"parent": parent.oid}).fetchone() is None:
        raise ConflictError(f"{partition} was renamed, replaced or detached from {parent} meanwhile; run it again")


def _of(relation: Relation) -> dict[str, object]:
    return {"oid": relation.oid, "schema": relation.schema, "name": relation.name}
