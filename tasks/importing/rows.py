"""Records to rows: values by the mapping, checked by the ledger's own rules, with an id that makes a rerun harmless."""

import re
from collections.abc import Callable, Sequence
from collections.abc import Mapping as Texts
from datetime import datetime
from typing import Any, NamedTuple

from ledger.errors import FieldError
from ledger.identifiers import derived_id
from ledger.tables import TieredTable
from ledger.transactions import SUPPLIERS, field_names, new_transaction
from tasks.importing.alike_amounts import Origin, Tally
from tasks.importing.amounts import Money, compile_money
from tasks.importing.identity import Namer, fingerprint
from tasks.importing.instants import compile_instant
from tasks.importing.mapping import INSTANT_FIELDS, FieldMapping, FileFormat, Mapping, template_columns
from tasks.importing.records import FileRecord
from tasks.importing.spreadsheets import refuse_remains
from tasks.importing.values import Fields, Getter, Positions, compile_value, read_column

Value = Callable[[Fields], Any]
_LEAST_COLUMNS = 3  # a text with one comma in a line is not a record of a file of two columns
_LINE_END = re.compile(r"\r\n|\r|\n")
_FREE_TEXTS = frozenset({"description"})
_OWN_FIELDS = frozenset({"created_at", "updated_at"})


class Row(NamedTuple):
    """A row ready to load. ``month`` is `Month.index`; ``copy`` its line of a COPY in text format, without
    escapes, in the order of `RowBuilder.columns`. ``identities`` and ``fingerprint``: `tasks.importing.identity`.
    """

    line: int
    text: str
    month: int
    row_id: str
    copy: str
    identities: tuple[str, ...] = ()
    fingerprint: bytes = b""


class RowBuilder:
    """Makes rows of one table out of the records of one file.

    ``header`` names the file's columns. ``now`` (aware) is the instant that no row may lie after. ``namer`` says which
    row a record is. ``suppliers`` are the names of those that there are. `tallies` counts the amounts of each money
    field of which the rows may leave something out.
    """

    def __init__(
        self,
        table: TieredTable,
        mapping: Mapping,
        header: Sequence[str],
        now: datetime,
        namer: Namer,
        suppliers: Sequence[str] = SUPPLIERS,
    ) -> None:
        positions = {name: position for position, name in enumerate(header)}
        self._table = table
        self._suppliers = suppliers
        self._width, self._delimiter = len(header), mapping.file.delimiter
        money = _compile_money(table, mapping, positions)
        self._values = _compile_fields(mapping, positions, money)
        self._metadata = _compile_metadata(mapping, positions, money)
        self._time = _compile_instant_field("created_at", mapping.fields["created_at"], positions, mapping.file)
        self._has_time = {"constant", "default"}.isdisjoint(mapping.fields["created_at"].model_fields_set)
        self._created_at = _created_at(self._time, mapping.earliest_instant, now)
        self._updated_at = _compile_instant_field(
            "updated_at", mapping.fields.get("updated_at"), positions, mapping.file
        )
        self._namer = namer
        self._one_line = _one_line_columns(mapping, header)
        self._counted = {
            name: money_field for name, money_field in money.items() if _may_be_alike(mapping.fields[name])
        }
        self.tallies: dict[str, Tally] = {name: Tally() for name in self._counted}
        self.columns = (table.key_column, *field_names(table), table.time_column, "updated_at")

    def build(self, record: FileRecord) -> Row:
        """The row of ``record``. Raises FieldError for the first thing that is wrong with it."""
        fields = self._check_structure(record)
        created_at = self._created_at(fields)
        checked = new_transaction(self._table, self._values_of(fields), self._suppliers, created_at)
        updated_at = self._updated(fields, created_at)
        cells = ["" if cell is None else str(cell) for cell in (*checked.values(), created_at)]
        values = (*cells, "" if updated_at is None else str(updated_at))
        known_by = [value.strip() for value in values]  # white space around a text makes no other row
        source, identities = self._namer.name(record, known_by)
        row_id = str(derived_id(created_at, source))
        copy = "\t".join((row_id, *cells, str(updated_at or created_at)))
        self._count(fields, checked["currency"])
        month = created_at.year * 12 + created_at.month - 1
        return Row(record.line, record.text, month, row_id, copy, identities, fingerprint(known_by))

    def looks_like_record(self, record: FileRecord) -> bool:
        """Whether ``record``, which is not among the records by the mapping, seems to be one. It has as many columns
        and a time of its own, or cannot be read and has as many delimiters. Or it has quotes that hold such a line. A
        total has no time. Where the mapping gives one to every line, a row can be made of a record.
        """
        if record.problem is not None:
            return self._width > 1 and self._has_delimiters(record.text)
        if record.lines > 1 and self._held_line(record) is not None:
            return True
        try:
            if self._has_time:
                return len(record.fields) == self._width and self._time(record.fields) is not None
            self.build(record)
        except FieldError:
            return False
        return True

    def _count(self, fields: Fields, currency: str) -> None:
        for name, money in self._counted.items():
            text = money.signed(fields) or ""
            if text.strip("-0."):  # zero has no sign
                sign = "-" if text.startswith("-") else "+"
                self.tallies[name][Origin(money.column(fields), sign, money.symbol(fields), currency)] += 1

    def _check_structure(self, record: FileRecord) -> Fields:
        """The fields of a record of the file's shape. Columns that are not mapped are looked at like the others."""
        if record.problem is not None:
            raise FieldError("", record.problem)
        fields = record.fields
        if len(fields) != self._width:
            raise FieldError("", f"has {len(fields)} columns where the file has {self._width}")
        if record.lines > 1:
            self._check_line_breaks(record)
        return fields

    def _check_line_breaks(self, record: FileRecord) -> None:
        """A quote too many swallows the records behind it: those are lines with as many delimiters as a record has."""
        for position, name in self._one_line:
            if "\n" in record.fields[position] or "\r" in record.fields[position]:
                last = record.line + record.lines - 1
                raise FieldError(name, f"must have no line breaks: its quotes hold lines {record.line} to {last}")
        if number := self._held_line(record):
            raise FieldError("", f"has quotes that hold line {number}, which looks like a record")

    def _held_line(self, record: FileRecord) -> int | None:
        """The first line inside the quotes of ``record`` that has as many delimiters as a record."""
        if self._width < _LEAST_COLUMNS:
            return None
        inside = enumerate(_LINE_END.split(record.text)[1:], start=record.line + 1)
        return next((number for number, text in inside if self._has_delimiters(text)), None)

    def _has_delimiters(self, text: str) -> bool:
        return text.count(self._delimiter) == self._width - 1

    def _values_of(self, fields: Fields) -> dict[str, Any]:
        values = {name: value(fields) for name, value in self._values}
        if self._metadata:
            entries = ((name, value(fields)) for name, value in self._metadata)
            values["metadata"] = {name: text for name, text in entries if text is not None}
        return values

    def _updated(self, fields: Fields, created_at: datetime) -> datetime | None:
        updated_at = self._updated_at(fields)
        if updated_at is not None and updated_at < created_at:
            raise FieldError("updated_at", "must not be before created_at")
        return updated_at


def _may_be_alike(field: FieldMapping) -> bool:
    """Whether the rows may leave out the sign, the column or the symbol of an amount."""
    return field.sign == "absolute" or field.first_of is not None or len(field.symbols) > 1


def _one_line_columns(mapping: Mapping, header: Sequence[str]) -> list[tuple[int, str]]:
    """The columns in which a line break is a mistake, with their positions."""
    fields = (*mapping.fields.values(), *mapping.metadata.values())
    joined = {field.column for field in fields if field.join_lines} | set(mapping.file.line_breaks)
    return [(position, name) for position, name in enumerate(header) if name not in joined]


def _compile_money(table: TieredTable, mapping: Mapping, positions: Positions) -> dict[str, Money]:
    money: dict[str, Money] = {}
    field = mapping.fields["currency"]

    def symbol(fields: Fields) -> str | None:
        """The symbol may say the currency, which minor units need: it is looked up once both are compiled."""
        return money[field.symbol_of or ""].symbol(fields)

    currency = compile_value("currency", field, positions, mapping.file, symbol if field.symbol_of else None)
    for name, field_mapping in mapping.fields.items():
        if name in table.money_columns:
            money[name] = compile_money(name, field_mapping, positions, mapping.file, currency)
    return money


def _compile_fields(mapping: Mapping, positions: Positions, money: Texts[str, Money]) -> list[tuple[str, Value]]:
    return [
        (name, _compile_field(name, field, positions, mapping.file, money))
        for name, field in mapping.fields.items()
        if name not in _OWN_FIELDS
    ]


def _compile_field(
    name: str, field: FieldMapping, positions: Positions, format_: FileFormat, money: Texts[str, Money]
) -> Value:
    if name in money:
        return money[name].amount
    if name in INSTANT_FIELDS:
        return _compile_instant_field(name, field, positions, format_)
    if name == "status":  # an empty one would be pending, as that of a new payment is
        field = field.model_copy(update={"empty": "reject"})
    getter = compile_value(name, field, positions, format_, _taken(field, money))
    if name in _FREE_TEXTS:
        return getter
    parts = [read_column(column, positions, format_) for column in template_columns(field.template or "")]
    return _without_remains(name, [*parts, getter])


def _without_remains(name: str, getters: Sequence[Getter]) -> Getter:
    """The last of ``getters``, where no spreadsheet has shortened or lost its text or that of another."""

    def read(fields: Fields) -> str | None:
        text = None
        for getter in getters:
            text = getter(fields)
            if text is not None:
                refuse_remains(name, text)
        return text

    return read


def _compile_metadata(mapping: Mapping, positions: Positions, money: Texts[str, Money]) -> list[tuple[str, Getter]]:
    """In the order of the names, so that the order in the mapping does not change what a row is."""
    return [
        (name, compile_value(f"metadata.{name}", field, positions, mapping.file.stripping, _taken(field, money)))
        for name, field in sorted(mapping.metadata.items())
    ]


def _taken(field: FieldMapping, money: Texts[str, Money]) -> Getter | None:
    """Return what a field takes from a money field, if it does."""
    if field.sign_of is not None:
        return money[field.sign_of].sign
    if field.symbol_of is not None:
        return money[field.symbol_of].symbol
    return None if field.column_of is None else money[field.column_of].column


def _compile_instant_field(
    name: str, field: FieldMapping | None, positions: Positions, format_: FileFormat
) -> Callable[[Fields], datetime | None]:
    if field is None:
        return lambda fields: None
    getter = compile_value(name, field, positions, format_.stripping)
    parse = compile_instant(
        name,
        field.format,
        field.timezone,
        nonexistent=field.nonexistent,
        ambiguous=field.ambiguous,
        month_names=field.month_names,
        zones=field.zones,
    )
    return lambda fields: None if (text := getter(fields)) is None else parse(text)


def _created_at(
    get: Callable[[Fields], datetime | None], earliest: datetime, now: datetime
) -> Callable[[Fields], datetime]:
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
