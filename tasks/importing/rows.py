"""Records to rows: values by the mapping, checked by the ledger's own rules, with an id that makes a rerun harmless."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from ledger.errors import FieldError
from ledger.identifiers import derived_id
from ledger.tables import TieredTable
from ledger.transactions import SUPPLIERS, field_names, new_transaction
from tasks.importing.instants import compile_instant
from tasks.importing.mapping import INSTANT_FIELDS, FieldMapping, FileFormat, Mapping
from tasks.importing.records import Record
from tasks.importing.values import Fields, Getter, Positions, compile_money, compile_value, read_column

Value = Callable[[Fields], Any]


class Row(NamedTuple):
    """A row ready to load. ``month`` is `Month.index`; ``copy`` its line of a COPY in text format, without
    escapes, in the order of `RowBuilder.columns`."""

    line: int
    text: str
    month: int
    row_id: str
    copy: str


class Occurrences(Protocol):
    """Counts how often a line was seen in the file."""

    def next_number(self, line: str) -> int:
        """1 for the first time that ``line`` is given, then 2, and so on."""


class RowBuilder:
    """Makes rows of one table out of the records of one file.

    ``header`` names the file's columns. ``now`` (aware) is the instant that no row may lie after. ``occurrences`` is
    needed by a mapping without a key. ``suppliers`` are the names of those that there are.
    """

    def __init__(
        self,
        table: TieredTable,
        mapping: Mapping,
        header: Sequence[str],
        now: datetime,
        occurrences: Occurrences | None = None,
        suppliers: Sequence[str] = SUPPLIERS,
    ) -> None:
        positions = {name: position for position, name in enumerate(header)}
        self._table = table
        self._suppliers = suppliers
        self._width = len(header)
        self._values = _compile_fields(table, mapping, positions)
        self._metadata = [
            (name, compile_value(f"metadata.{name}", field, positions, mapping.file))
            for name, field in mapping.metadata.items()
        ]
        self._created_at = _created_at(mapping, positions, now)
        self._updated_at = _compile_instant_field(
            "updated_at", mapping.fields.get("updated_at"), positions, mapping.file
        )
        self._source = _source_name(table, mapping, positions, occurrences)
        self.columns = (table.key_column, *field_names(table), table.time_column, "updated_at")

    def build(self, record: Record) -> Row:
        """The row of ``record``. Raises FieldError for the first thing that is wrong with it."""
        if record.problem is not None:
            raise FieldError("", record.problem)
        fields = record.fields
        if len(fields) != self._width:
            raise FieldError("", f"has {len(fields)} columns where the file has {self._width}")
        created_at = self._created_at(fields)
        checked = new_transaction(self._table, self._values_of(fields), self._suppliers)
        row_id = str(derived_id(created_at, self._source(record)))
        cells = [row_id, *checked.values(), created_at, self._updated(fields, created_at)]
        copy = "\t".join(["" if cell is None else str(cell) for cell in cells])
        return Row(record.line, record.text, created_at.year * 12 + created_at.month - 1, row_id, copy)

    def _values_of(self, fields: Fields) -> dict[str, Any]:
        values = {name: value(fields) for name, value in self._values}
        if self._metadata:
            entries = ((name, value(fields)) for name, value in self._metadata)
            values["metadata"] = {name: text for name, text in entries if text is not None}
        return values

    def _updated(self, fields: Fields, created_at: datetime) -> datetime:
        updated_at = self._updated_at(fields)
        if updated_at is None:
            return created_at
        if updated_at < created_at:
            raise FieldError("updated_at", "must not be before created_at")
        return updated_at


def _compile_fields(table: TieredTable, mapping: Mapping, positions: Positions) -> list[tuple[str, Value]]:
    return [
        (name, _compile_field(table, name, field, positions, mapping.file))
        for name, field in mapping.fields.items()
        if name not in {"created_at", "updated_at"}
    ]


def _compile_field(
    table: TieredTable, name: str, field: FieldMapping, positions: Positions, format_: FileFormat
) -> Value:
    if name in INSTANT_FIELDS:
        return _compile_instant_field(name, field, positions, format_)
    getter = compile_value(name, field, positions, format_)
    return compile_money(name, field, getter) if name in table.money_columns else getter


def _compile_instant_field(
    name: str, field: FieldMapping | None, positions: Positions, format_: FileFormat
) -> Callable[[Fields], datetime | None]:
    if field is None:
        return lambda fields: None
    getter = compile_value(name, field, positions, format_)
    parse = compile_instant(name, field.format, field.timezone)
    return lambda fields: None if (text := getter(fields)) is None else parse(text)


def _created_at(mapping: Mapping, positions: Positions, now: datetime) -> Callable[[Fields], datetime]:
    get = _compile_instant_field("created_at", mapping.fields["created_at"], positions, mapping.file)
    earliest = mapping.earliest_instant

    def read(fields: Fields) -> datetime:
        moment = get(fields)
        if moment is None:
            raise FieldError("created_at", "is required")
        if moment < earliest:
            raise FieldError("created_at", f"is before {earliest:%Y-%m-%d}, the earliest that is taken")
        if moment > now:
            raise FieldError("created_at", "is in the future")
        return moment

    return read


def _source_name(
    table: TieredTable, mapping: Mapping, positions: Positions, occurrences: Occurrences | None
) -> Callable[[Record], bytes]:
    """What names the row in the system it comes from: the mapping's name, the table and the key, never the file."""
    prefix = f"{mapping.name}\0{table.name}\0".encode()
    if mapping.key:
        return _by_key(prefix, mapping.key, [read_column(column, positions, mapping.file) for column in mapping.key])
    if occurrences is None:
        raise ValueError("a mapping without a key needs its lines counted")
    count = occurrences.next_number
    return lambda record: prefix + f"{record.text}\0{count(record.text)}".encode()


def _by_key(prefix: bytes, key: Sequence[str], getters: Sequence[Getter]) -> Callable[[Record], bytes]:
    def name(record: Record) -> bytes:
        parts = [getter(record.fields) for getter in getters]
        if None in parts:
            raise FieldError(key[parts.index(None)], "is empty, and it identifies the row")
        return prefix + "\0".join(parts).encode()  # type: ignore[arg-type]  # no part is None here

    return name
