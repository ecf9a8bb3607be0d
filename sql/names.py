"""The names that a ledger table needs in its schema. One that something else has is not taken: the table is refused."""

from collections.abc import Collection, Mapping

from ledger.errors import ConfigError
from ledger.tables import TieredTable
from sql.connection import LEDGER_SCHEMA, Connection
from sql.queries import load

_QUERIES = load("views")


def require_free(connection: Connection, table: TieredTable, schema: str, wanted: Mapping[str, str]) -> None:
    """Raise ConfigError that names what has one of the ``wanted`` names in ``schema``. The value is the purpose."""
    for name, kind in taken_names(connection, schema, wanted).items():
        raise taken(table, schema, name, kind, wanted[name])


def taken(table: TieredTable, schema: str, name: str, kind: str, purpose: str) -> ConfigError:
    """The refusal of a table one of whose names something else has."""
    place = name if schema == LEDGER_SCHEMA else f"{schema}.{name}"
    return ConfigError(
        f"table {table.name}: the database has {kind} called {place}, a name that {purpose} needs. "
        "Nothing was changed; rename one of the two"
    )


def taken_names(connection: Connection, schema: str, names: Collection[str]) -> dict[str, str]:
    """Those of ``names`` that a relation or a type in ``schema`` has, and what kind of thing it is."""
    rows = connection.execute(_QUERIES["taken"], {"schema": schema, "names": list(names)}).fetchall()
    return {name: kind for name, kind in rows}  # noqa: C416  # the rows' type is wider
