"""The numbers of a table's columns in PostgreSQL: given once, when a column is first seen, and never again."""

from collections.abc import Iterable
from typing import Any

from config import Settings
from ledger.fields import ColumnPlace, Field, Fields
from ledger.installation import Identity
from ledger.tables import TieredTable
from sql.connection import Connection, fetch_one
from sql.installation import read_identity
from sql.maintenance import run_ddl
from sql.queries import load
from sql.relations import Relation
from sql.storing import check_stored

_QUERIES = load("fields")


def read_fields(connection: Connection, table: TieredTable, hot: Relation | None) -> Fields:
    """The columns of ``table`` by number, as they are now. Reads only: a column that was just added is ``new``."""
    if hot is None or not fetch_one(connection, _QUERIES["has_fields"])[0]:
        return Fields()
    identity = read_identity(connection)
    known = connection.execute(_QUERIES["fields"], {"table": table.name}).fetchall()
    attributes = connection.execute(_QUERIES["attributes"], {"relation": hot.oid}).fetchall()
    return Fields.of(
        known_fields(known), [(name, ColumnPlace(identity, hot.oid, number)) for name, number in attributes]
    )


def known_fields(records: Iterable[Any]) -> list[Field]:
    """The fields in records of the query `fields`."""
    return [
        Field(field_id, name, tuple(former), ColumnPlace(Identity(system, database), relation, attribute), is_dropped)
        for field_id, name, former, system, database, relation, attribute, is_dropped in records
    ]


def assign_fields(connection: Connection, settings: Settings, table: TieredTable, hot: Relation) -> Fields:
    """Give every column of ``table`` that has none a number, and note new names and dropped columns.

    Safe to run again, then it only looks, and from several processes.
    """
    if not fetch_one(connection, _QUERIES["has_fields"])[0]:
        return Fields()
    fields = read_fields(connection, table, hot)
    if fields == _as_stored(connection, table):
        return fields
    run_ddl(connection, settings, lambda: _store(connection, table, hot))
    return read_fields(connection, table, hot)


def _as_stored(connection: Connection, table: TieredTable) -> Fields:
    """Return what `read_fields` gives when nothing has changed: its order is that of the attributes, not of the
    numbers.
    """
    known = known_fields(connection.execute(_QUERIES["fields"], {"table": table.name}).fetchall())
    living = sorted((field for field in known if not field.is_dropped), key=lambda field: field.place.attribute)
    return Fields(tuple(living), tuple(field for field in known if field.is_dropped))


def _store(connection: Connection, table: TieredTable, hot: Relation) -> None:
    """Write down what has changed; under the maintenance lock nobody else does."""
    fields = read_fields(connection, table, hot)
    for field in fields.living:
        _execute(connection, "keep_field", table, field)
    for field in fields.dropped:
        if not field.is_dropped:
            _execute(connection, "drop_field", table, field)
    last = max((field.field_id for field in (*fields.living, *fields.dropped)), default=0)
    for number, (name, place) in enumerate(fields.new, last + 1):
        _execute(connection, "add_field", table, Field(number, name, (), place))


def _execute(connection: Connection, query: str, table: TieredTable, field: Field) -> None:
    parameters = {
        "table": table.name,
        "field_id": field.field_id,
        "name": field.name,
        "former_names": list(field.former_names),
        "system_identifier": field.place.identity.system_identifier,
        "database_oid": field.place.identity.database_oid,
        "relation_oid": field.place.relation_oid,
        "attribute": field.place.attribute,
    }
    check_stored(connection.execute(_QUERIES[query], parameters), 1, "archive_columns")
