"""The hot parents of the built-in tables, made where no application has made them: in `public`, where people expect
`transactions_partitioned`.
"""

import re

from psycopg import errors
from psycopg.sql import SQL, Identifier

from config import Settings
from ledger.errors import ConfigError
from ledger.tables import TRANSACTIONS, VAS_TRANSACTIONS, TieredTable
from sql.connection import LEDGER_SCHEMA, Connection
from sql.maintenance import run_ddl
from sql.names import require_free
from sql.queries import load
from sql.relations import find_relation
from sql.views import PURPOSE

_QUERIES = load("ledger_tables")
_DEFINITIONS = {
    TRANSACTIONS.name: _QUERIES["make_transactions"],
    VAS_TRANSACTIONS.name: _QUERIES["make_vas_transactions"],
}
_INDEX = re.compile(r"^CREATE INDEX (\w+)", re.MULTILINE)


def make_hot_parent(connection: Connection, settings: Settings, table: TieredTable) -> None:
    """Make the hot parent of a built-in table that no schema has. Safe to run again. For another table it does nothing.

    Raises ConfigError where something else has a name that the table needs, and for a role that may not make it.
    """
    definition = _DEFINITIONS.get(table.name)
    if definition is None:
        return

    def make() -> None:
        if find_relation(connection, table.hot_parent) is not None:
            return  # another process came first: only under the maintenance lock is the answer final
        wanted = dict.fromkeys(_INDEX.findall(definition), "one of its indexes")
        wanted |= {table.hot_parent: "its hot parent", table.warm_parent: "its warm parent", table.name: PURPOSE}
        require_free(connection, table, LEDGER_SCHEMA, wanted)
        connection.execute(SQL("SET LOCAL search_path = {}, pg_temp").format(Identifier(LEDGER_SCHEMA)))
        connection.execute(definition)

    try:
        run_ddl(connection, settings, make)
    except (errors.InsufficientPrivilege, errors.InvalidSchemaName) as error:
        raise ConfigError(
            f"table {table.name}: {table.hot_parent} cannot be made in the schema {LEDGER_SCHEMA}: "
            f"{error.diag.message_primary}. Give the role of TREASURY_DATABASE_URL CREATE on it"
        ) from error
