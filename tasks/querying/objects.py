"""The archived objects that a question reads: each must be the one that was proved.

Somebody may have put another file under its key, such as that of another month: its rows are outside the month's
bounds, and the answer would be short. What the catalogue says of an object is compared with the object's footer.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from ledger.errors import DataError
from storage.engine import literal


@dataclass(frozen=True, slots=True)
class ArchivedObject:
    """What the catalogue of months says of an object. ``name`` is its table and month, ``key`` its place."""

    name: str
    rows: int
    size_bytes: int
    key: str = ""


def check_objects(duck: duckdb.DuckDBPyConnection, objects: Mapping[str, ArchivedObject]) -> None:
    """Raise DataError for the first of ``objects``, by address, that has another size or number of rows than the one
    that was proved. Reads their footers, which the engine keeps for the question itself.
    """
    if not objects:
        return
    duck.execute("SET parquet_metadata_cache = true")
    addresses = ", ".join(map(literal, objects))
    found = duck.execute(
        f"SELECT file_name, num_rows, file_size_bytes FROM parquet_file_metadata([{addresses}])"
    ).fetchall()
    for address, rows, size_bytes in found:
        known = objects[address]
        if (rows, size_bytes) != (known.rows, known.size_bytes):
            raise DataError(
                f"SQL: {known.name}: {address} has {rows} rows in {size_bytes} bytes; {known.rows} rows in "
                f"{known.size_bytes} bytes were proved. Somebody has put another file there: put the right one back"
            )
