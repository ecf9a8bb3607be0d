"""The archived objects that a question reads: each must be the one that was proved.

Somebody may have put another file under its key, such as that of another month. Its rows are outside the month's
bounds, and the answer would be short. What the catalogue says of an object is compared with the object's footer.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

import duckdb

from config import Settings
from ledger.errors import DataError
from sql.connection import Connection
from sql.lookups import read_lookups
from storage.archive_files import PROTOCOL, ArchiveFiles, path_of
from storage.engine import archived, literal, renamed, url_of
from storage.object_reader import ArchivedFile, ObjectReader
from storage.readable import naming_unreadable
from tasks.archiving.catalogue import MonthState


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


def path_of_part(state: MonthState) -> str:
    """The engine's path of an archived part that has a lookup."""
    return path_of(bytes(state.catalogue.object_sha256 or b"").hex(), state.tier, str(state.month))


def source_of(settings: Settings, state: MonthState, names: Sequence[tuple[str, str]] | None) -> str:
    """A FROM item of an archived part: checked bytes alone, where it has a lookup. ``names`` as in `renamed`."""
    if state.catalogue.has_lookup:
        return renamed(f"read_parquet({literal(path_of_part(state))}, hive_partitioning = false)", names)
    return archived(settings, state.catalogue.object_key or "", names)


def objects_of(settings: Settings, table: str, states: Iterable[MonthState]) -> dict[str, ArchivedObject]:
    """The objects of archived parts of a table, by the addresses that their FROM items have."""
    return {
        _address(settings, state): ArchivedObject(
            f"{table} {state.month}",
            state.catalogue.row_count or 0,
            state.catalogue.object_bytes or 0,
            state.catalogue.object_key or "",
            bytes(state.catalogue.object_sha256 or b"").hex(),
            state.catalogue.has_lookup,
        )
        for state in states
    }


def _address(settings: Settings, state: MonthState) -> str:
    return path_of_part(state) if state.catalogue.has_lookup else url_of(settings, state.catalogue.object_key or "")


@contextmanager
def reading_checked(
    duck: duckdb.DuckDBPyConnection, connection: Connection, settings: Settings, objects: Mapping[str, ArchivedObject]
) -> Iterator[None]:
    """Let an engine of its own read the FROM items of ``objects`` inside the block: what was proved, and nothing else.

    Raises DataError for an object that is not the one that was proved, DeepTierError for one that must be restored
    first, and the store's errors. ``connection`` is where the objects are looked up.
    """
    with (
        naming_unreadable(settings, [item.key for item in objects.values()]),
        closing(ObjectReader(settings)) as reader,
    ):
        files = ArchiveFiles(reader)
        load_files(connection, files, objects.values())
        files.register(duck)
        try:
            check_objects(duck, objects)
            yield
        except duckdb.Error as error:
            failure = files.failure_in(str(error))  # the engine has its text alone
            if failure is None:
                raise
            raise failure from error
        finally:
            duck.unregister_filesystem(PROTOCOL)


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
        raise DataError(f"{absent[0].name}: archive_lookups has no row of {absent[0].key}: somebody removed it")
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
                f"{known.name}: {address} has {rows} rows in {size_bytes} bytes; {known.rows} rows in "
                f"{known.size_bytes} bytes were proved. Somebody has put another file there: put the right one back"
            )
