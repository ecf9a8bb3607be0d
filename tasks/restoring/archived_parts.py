"""An archived part of a month on its way back: fetched and compared with the log; its loaded rows compared with it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from config import Settings
from ledger.columns import Column
from ledger.errors import VerificationError
from ledger.fields import Fields
from ledger.months import Month
from ledger.tables import TieredTable
from ledger.transparency.events import Archived, LoggedObject
from sql.connection import Connection
from sql.fields import read_fields
from sql.log import archived_part
from sql.relations import Parents, Relation
from storage.manifest import Manifest
from storage.month_tree import ReadFile, read_file
from storage.store import ObjectStore, StoredFile
from tasks.archiving.catalogue import MonthState
from tasks.archiving.verify import compare, read_held_rows
from tasks.verifying.month_verification import table_of


@dataclass(frozen=True, slots=True)
class FetchedPart:
    """A part as it was archived: its event, its manifest, and a local copy of its file."""

    archived: Archived
    manifest: Manifest
    file: Path


def fetch_part(
    connection: Connection, settings: Settings, table: TieredTable, state: MonthState, spool: Path
) -> FetchedPart:
    """The manifest and the file of a part, both compared with what the catalogue, and so the log, says.

    Raises VerificationError for an object that is another one, DeepTierError for one that must be restored first, and
    the store's errors.
    """
    archived = archived_part(connection, table.name, state.month.first_day, state.catalogue.part)
    store = ObjectStore(settings)
    content = store.read_bytes(archived.manifest.key)
    _require(StoredFile.of(content).sha256.hex() == archived.manifest.sha256, archived.manifest.key)
    manifest = Manifest.from_bytes(content, archived.manifest.key)
    (described,) = manifest.files
    said = next(stored for stored in archived.objects if stored.key == described.key)
    file = spool / "archived.parquet"
    _require(_is(said, store.fetch(said.key, file)), said.key)
    return FetchedPart(archived, manifest, file)


def _is(said: LoggedObject, stored: StoredFile) -> bool:
    return (said.size_bytes, said.sha256) == (stored.size_bytes, stored.sha256.hex())


def _require(holds: bool, key: str) -> None:
    if not holds:
        raise VerificationError(f"{key} is not the object that was archived: run `treasury verify`")


def table_fields(connection: Connection, table: TieredTable) -> Fields:
    """The columns of a table with their numbers, as they are now and as they were."""
    return read_fields(connection, table, Parents.of(connection, table).hot)


def present_names(fields: Fields, archived: Sequence[Column]) -> list[Column]:
    """``archived`` columns with the names of today; one whose name another column has is ``<name>_field_<number>``."""
    living = {field.field_id: field.name for field in fields.living}
    taken = {living[column.field_id] for column in archived if column.field_id in living}
    named = []
    for column in archived:
        name = living.get(column.field_id or 0)
        if name is None:
            name = column.name if column.name not in taken else f"{column.name}_field_{column.field_id}"
        named.append(replace(column, name=name))
    return named


def verify_copy(
    settings: Settings,
    what: str,
    manifest: Manifest,
    columns: Sequence[Column],
    relation: Relation,
    file: Path,
    spool: Path,
) -> None:
    """Compare loaded rows with the archive as a month is compared before it leaves: each row, the sums, the root.

    ``columns`` are those of the file under the names that they have in ``relation``. Raises VerificationError.
    """
    table, month = table_of(manifest), Month.parse(manifest.month)
    read: ReadFile = read_file(settings, table, manifest.layout.columns, month, file, spool)
    if read.tree.head != manifest.head:
        raise VerificationError(f"{what}: the rows of the archive do not lead to the root that was archived")
    named = {old.name: new.name for old, new in zip(manifest.layout.columns, columns, strict=True)}
    held = read_held_rows(settings, _renamed(table, named), columns, relation, month, spool)
    compare(table, relation, held, read)


def _renamed(table: TieredTable, names: dict[str, str]) -> TieredTable:
    """The table as it was when the month was archived, under the names that the columns have now."""

    def one(name: str | None) -> str | None:
        return None if name is None else names.get(name, name)

    return table.model_copy(
        update={
            "time_column": names.get(table.time_column, table.time_column),
            "key_column": names.get(table.key_column, table.key_column),
            "money_columns": tuple(names.get(name, name) for name in table.money_columns),
            "currency_column": one(table.currency_column),
            "type_column": one(table.type_column),
            "status_column": one(table.status_column),
        }
    )
