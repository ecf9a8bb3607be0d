"""The obstacles to reading a relation whole, or to moving it to the archive: found before anything is done."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from sql.connection import Connection
from sql.errors import hidden_by_policy
from sql.queries import load
from sql.relations import Relation

_QUERIES = load("obstacles")
_TABLE = "r"
_SHAPES = {"f": "a foreign table: its rows are in another database", "p": "divided into partitions itself"}


class Policed(NamedTuple):
    """A relation whose row-level security is in force for some logins."""

    relation: Relation
    logins: list[str]

    def __str__(self) -> str:
        return f"{self.relation} for {', '.join(self.logins)}"


def hidden_relations(connection: Connection, relations: Collection[Relation]) -> Mapping[Relation, str]:
    """Those of ``relations`` that have rows which this login may not see, and what to do about it."""
    hidden = {}
    for relation, (_, _, _, is_policed, policies) in _look(connection, relations).items():
        if is_policed:
            named = f"; its policies: {', '.join(policies)}" if policies else ""
            hidden[relation] = f"{hidden_by_policy(str(relation))}{named}"
    return hidden


def obstacles(connection: Connection, relations: Collection[Relation]) -> Mapping[Relation, str]:
    """Those of ``relations`` that cannot be archived as they are, and why. They are not seen whole, have no heap of
    their own or belong to another role. A crash empties them, or other objects depend on them.
    """
    reasons = unlogged_relations(connection, relations) | dict(hidden_relations(connection, relations))
    for relation, (kind, is_owner, owner, _, _) in _look(connection, relations).items():
        if kind != _TABLE:
            reasons[relation] = (
                f"{relation} is {_SHAPES.get(kind, 'no table')}; a month is archived from one plain table"
            )
        elif not is_owner:
            reasons[relation] = (
                f"{relation} belongs to {owner}: ALTER TABLE {relation} OWNER TO the owner of its parent"
            )
    return dependents(connection, relations) | reasons


def unlogged_relations(connection: Connection, relations: Collection[Relation]) -> dict[Relation, str]:
    """Those of ``relations`` that are UNLOGGED, and what to do about it."""
    by_oid = {relation.oid: relation for relation in relations}
    oids = connection.execute(_QUERIES["unlogged"], {"relations": list(by_oid)}).fetchall()
    unlogged = [by_oid[oid] for (oid,) in oids]
    return {
        relation: f"{relation} is UNLOGGED, so a crash or a failover empties it: ALTER TABLE {relation} SET LOGGED"
        for relation in unlogged
    }


def dependents(connection: Connection, relations: Collection[Relation]) -> dict[Relation, str]:
    """Those of ``relations`` that cannot be moved or dropped because something depends on them, and what."""
    by_oid = {relation.oid: relation for relation in relations}
    rows = connection.execute(_QUERIES["dependents"], {"relations": list(by_oid)}).fetchall()
    advice = "drop or change that first"
    return {by_oid[oid]: f"{by_oid[oid]} cannot leave its table: {', '.join(names)}; {advice}" for oid, names in rows}


def missing_constraints(connection: Connection, partition: Relation, warm: Relation) -> str | None:
    """Return why ``partition`` cannot be attached to the warm parent, or cannot without a look at its rows; or None."""
    missing = connection.execute(
        _QUERIES["missing_constraints"], {"partition": partition.oid, "parent": warm.oid}
    ).fetchall()
    if not missing:
        return None
    names = ", ".join(name for (name,) in missing)
    return f"{partition} lacks constraints of {warm} ({names}): add them to it, or drop them there"


def policed_relations(
    connection: Connection, relations: Collection[Relation], logins: Collection[str]
) -> list[Policed]:
    """Those of ``relations`` whose row-level security is in force for any of ``logins``."""
    parameters = {"relations": [relation.oid for relation in relations], "logins": sorted(logins)}
    rows = connection.execute(_QUERIES["policed"], parameters).fetchall()
    return [Policed(Relation(*row[:3]), row[3]) for row in rows]


def _look(connection: Connection, relations: Collection[Relation]) -> dict[Relation, tuple[Any, ...]]:
    by_oid = {relation.oid: relation for relation in relations}
    rows = connection.execute(_QUERIES["obstacles"], {"relations": list(by_oid)}).fetchall()
    return {by_oid[row[0]]: row[1:] for row in rows}
