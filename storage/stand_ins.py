"""Stand-ins of months: tables with three rows, of NULLs, of the lowest and of the highest values of every type.

The engine's statistics of them rule out nothing, so its optimizer drops a stand-in only for the month's own bounds.
"""

from collections.abc import Iterator, Mapping, Sequence

import duckdb

from ledger.columns import Column, ColumnKind
from storage.engine import identifier, sql_type

_EXTREMES: Mapping[ColumnKind, tuple[str, str]] = {
    ColumnKind.UUID: ("'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"),
    ColumnKind.TEXT: ("''", "repeat(chr(1114111), 32)"),
    ColumnKind.JSON: ("''", "repeat(chr(1114111), 32)"),
    ColumnKind.BOOLEAN: ("false", "true"),
    ColumnKind.INTEGER: ("-9223372036854775808", "9223372036854775807"),
    ColumnKind.TIMESTAMP: ("'-infinity'", "'infinity'"),
    ColumnKind.DATE: ("'-infinity'", "'infinity'"),
}


def create_stand_in(connection: duckdb.DuckDBPyConnection, name: str, columns: Sequence[Column]) -> None:
    """Create the table ``name`` (quoted where it must be) with ``columns``, and fill it."""
    typed = ", ".join(f"{identifier(column.name)} {sql_type(column)}" for column in columns)
    lows, highs = zip(*(_extremes(column) for column in columns), strict=True)
    nulls = ", ".join("NULL" for _ in columns)
    connection.execute(f"CREATE TABLE {name} ({typed})")
    connection.execute(f"INSERT INTO {name} VALUES ({nulls}), ({', '.join(lows)}), ({', '.join(highs)})")


def _extremes(column: Column) -> tuple[str, str]:
    if column.kind is ColumnKind.DECIMAL:
        scale = column.scale or 0
        digits = "9" * ((column.precision or 0) - scale) + "." + "9" * scale
        return f"-{digits}", digits
    return _EXTREMES[column.kind]


def scanned_tables(node: object) -> Iterator[str]:
    """Every table that a plan scans, wherever it is in the tree."""
    if isinstance(node, list):
        for item in node:
            yield from scanned_tables(item)
    elif isinstance(node, dict):
        table = node.get("extra_info", {}).get("Table") if isinstance(node.get("extra_info"), dict) else None
        if isinstance(table, str):
            yield table.rsplit(".", 1)[-1].strip('"')
        yield from scanned_tables(node.get("children", []))
