"""The archived objects that a question reads: each must be the one that was proved.

Somebody may have put another file under its key, such as that of another month. Its rows are outside the month's
bounds, and the answer would be short. What the catalogue says of an object is compared with the object's footer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import duckdb

from ledger.errors import DataError
from sql.connection import Connection
from sql.lookups import read_lookups
from storage.archive_files import ArchiveFiles
from storage.engine import literal
from storage.object_reader import ArchivedFile


@dataclass(frozen=True, slots=True)
class ArchivedObject:
    """What the catalogue of months says of an object. ``name`` is its table and month. One with a lookup is read by
    pieces, and each is checked.
    """

    name: str
    rows: int
    size_bytes: int
    key: str
    sha256: str
    has_lookup: bool


def load_files(connection: Connection, files: ArchiveFiles, objects: Iterable[ArchivedObject]) -> None:
    """Make the objects that have a lookup known to ``files``, from PostgreSQL's copies.

    Raises DataError where PostgreSQL has none: somebody has removed it.
    """
    missing = {
        archived_object.key: archived_object
        for archived_object in objects
        if archived_object.has_lookup and files.find_file(archived_object.sha256) is None
    }
    if not missing:
        return
    lookups = read_lookups(connection, list(missing))
    known = {lookup.object_key for lookup in lookups}
    if absent := [archived_object for key, archived_object in missing.items() if key not in known]:
        raise DataError(f"SQL: {absent[0].name}: archive_lookups has no row of {absent[0].key}: somebody removed it")
    files.add(
        ArchivedFile(lookup.name, lookup.object_key, lookup.sha256.hex(), lookup.pieces, lookup.footer)
        for lookup in lookups
    )


def check_objects(duck: duckdb.DuckDBPyConnection, objects: Mapping[str, ArchivedObject]) -> None:
    """Raise DataError for the first of ``objects``, by address, that has another size or number of rows than the one
    that was proved. Reads their footers, which the engine keeps for the question itself. Those with a lookup are
    checked where they are read.
    """
    objects = {address: item for address, item in objects.items() if not item.has_lookup}
    if not objects:
        return
    duck.execute("SET parquet_metadata_cache = true")
    addresses = ", ".join(map(literal, objects))
    footers = duck.execute(
        f"SELECT file_name, num_rows, file_size_bytes FROM parquet_file_metadata([{addresses}])"
    ).fetchall()
    for address, rows, size_bytes in footers:
        known = objects[address]
        if (rows, size_bytes) != (known.rows, known.size_bytes):
            raise DataError(
                f"SQL: {known.name}: {address} has {rows} rows in {size_bytes} bytes; {known.rows} rows in "
                f"{known.size_bytes} bytes were proved. Somebody has put another file there: put the right one back"
            )
