"""What the import knows of rows that are deleted: their identities, ids and fingerprints."""

from config import Settings
from ledger.identifiers import id_bounds
from ledger.months import Month
from ledger.tables import TieredTable
from sql.connection import Connection, fetch_one
from sql.deletions import month_parts
from sql.queries import load
from storage.engine import identifier, literal
from tasks.querying.query import run_query

_QUERIES = load("imports")


def forget_imported_rows(connection: Connection, settings: Settings, table: TieredTable, month: Month) -> None:
    """Remove what the import knows of the rows of ``month`` that no tier has any more.

    Their file is refused after that, because their month takes no rows. Safe to run again. Raises the store's errors
    where held rows cannot be read.
    """
    first_id, end_id = id_bounds(month)
    named = {"table": table.name, "month": month.first_day, "first_id": first_id, "end_id": end_id}
    (is_known,) = fetch_one(connection, _QUERIES["has_identities"], named)
    if is_known:
        held = _held(connection, settings, table, month)
        connection.execute(_QUERIES["forget_identities"], named | {"held": held})


def _held(connection: Connection, settings: Settings, table: TieredTable, month: Month) -> list[str]:
    """The ids of the rows of ``month`` that some tier has: holds keep them."""
    with connection.transaction():
        parts = month_parts(connection, table.name, month)
    if not parts:
        return []
    key_column, time_column = identifier(table.key_column), identifier(table.time_column)
    query = (
        f"SELECT {key_column}::text AS key FROM {identifier(table.name)} "  # noqa: S608
        f"WHERE {time_column} >= TIMESTAMPTZ {literal(month.lower.isoformat())} "
        f"AND {time_column} < TIMESTAMPTZ {literal(month.upper.isoformat())}"
    )
    with run_query(settings, query) as answer:
        return [str(key) for batch in answer.batches for key in batch.column("key").to_pylist()]
