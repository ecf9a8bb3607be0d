"""The tree of an archived month: which leaves it has, in which order, and what a group header says.

The tree is flat and follows RFC 6962. Its leaves are in the order of the rows in the file. Where many rows may share
the first column of that order (the group column: a wallet), one header precedes the rows of each group. It names the
group, its number of rows and a hash of its totals. So a header and its rows prove that the group has these rows in the
month and no others.

A leaf is SHA-256(0x00 || text). The text of a row is defined in `ledger.canonical`; that of a header here. A row's text
never begins as a header's does: in it U+001E is a whole field.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from ledger.canonical import FIELD_SEPARATOR, NULL_MARK, ROW_FORMAT
from ledger.columns import Column, ColumnKind
from ledger.errors import VerificationError
from ledger.merkle import EMPTY_ROOT, HASH_BYTES, fold, leaf_hash
from ledger.money import add_exactly

if TYPE_CHECKING:  # the models of the settings: a check of a proof needs none of them
    from ledger.tables import TieredTable

DIGEST_METHOD: Literal["sha256-rfc6962-file-order-v1"] = "sha256-rfc6962-file-order-v1"
GROUP_FORMAT: Literal["group-v1"] = "group-v1"
HEADER_MARK = f"{NULL_MARK}{GROUP_FORMAT}"
CHUNK_LEAVES: Literal[256] = 256  # a complete subtree, whose root is kept beside the file


@dataclass(frozen=True, slots=True)
class TreeHead:
    """A tree in two values: the number of its leaves, rows and headers together, and its root of 32 bytes."""

    leaves: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Layout:
    """How the rows of a month are laid out: their columns in the order of the text, and what each column is for.

    ``group_column`` is None where the first column of the order is the key or the time: such rows have no headers.
    """

    columns: tuple[Column, ...]
    sorted_by: tuple[str, ...]
    group_column: str | None
    money_columns: tuple[str, ...]
    currency_column: str | None
    type_column: str | None
    status_column: str | None

    @property
    def kind_columns(self) -> tuple[str | None, str | None, str | None]:
        """The columns that totals are taken by: currency, type and status; None for one that the rows do not have."""
        return self.currency_column, self.type_column, self.status_column

    @classmethod
    def of(cls, table: "TieredTable", columns: Sequence[Column]) -> "Layout":
        """The layout of a table's rows with these columns."""
        return cls(
            columns=tuple(columns),
            sorted_by=table.cold_order,
            group_column=table.group_column,
            money_columns=table.money_columns,
            currency_column=table.currency_column,
            type_column=table.type_column,
            status_column=table.status_column,
        )

    def to_record(self) -> dict[str, Any]:
        """The layout as JSON values; a column is its field id, name and kind, and a decimal's precision and scale."""
        return {
            "columns": [
                [column.field_id or 0, column.name, str(column.kind), *_digits(column)] for column in self.columns
            ],
            "sorted_by": list(self.sorted_by),
            "group_column": self.group_column,
            "money_columns": list(self.money_columns),
            "currency_column": self.currency_column,
            "type_column": self.type_column,
            "status_column": self.status_column,
            "row_format": ROW_FORMAT,
            "group_format": GROUP_FORMAT,
        }

    @classmethod
    def from_record(cls, record: Any) -> "Layout":
        """Read what `to_record` made. Raises VerificationError for anything else."""
        try:
            columns = tuple(_described(*column) for column in record["columns"])
            layout = cls(
                columns=columns,
                sorted_by=tuple(record["sorted_by"]),
                group_column=record["group_column"],
                money_columns=tuple(record["money_columns"]),
                currency_column=record["currency_column"],
                type_column=record["type_column"],
                status_column=record["status_column"],
            )
        except (KeyError, TypeError, ValueError):
            raise VerificationError("the layout of the month cannot be read") from None
        if layout.to_record() != record:
            raise VerificationError("the layout of the month is not of a format that is known")
        return layout

    def column(self, name: str) -> Column:
        """The column of that name. Raises VerificationError for a layout without it."""
        for column in self.columns:
            if column.name == name:
                return column
        raise VerificationError(f"the columns have no {name!r}")

    def fields(self, row: str) -> dict[str, str]:
        """The fields of a row's text by the columns' names. Raises VerificationError for another number of fields."""
        fields = row.split(FIELD_SEPARATOR)
        if len(fields) != len(self.columns):
            raise VerificationError(f"a row has {len(fields)} fields, not {len(self.columns)}")
        return {column.name: field for column, field in zip(self.columns, fields, strict=True)}

    def place(self, fields: Mapping[str, str]) -> tuple[Any, ...]:
        """The place of a row in the file: values that compare as the file is sorted."""
        return tuple(sort_value(self.column(name), fields[name]) for name in self.sorted_by)


def _digits(column: Column) -> tuple[int, ...]:
    return () if column.precision is None or column.scale is None else (column.precision, column.scale)


def _described(field_id: int, name: str, kind: str, precision: int | None = None, scale: int | None = None) -> Column:
    return Column(name, ColumnKind(kind), True, precision, scale, field_id or None)


def sort_value(column: Column, field: str) -> tuple[bool, Any]:
    """What the field of a row's text compares by: NULL after everything, text by its UTF-8 bytes, numbers by value.

    Raises VerificationError for a field that is not the canonical text of a value of the column's kind. With a second
    spelling, such as an id in capital letters, the place of an existing row would look empty.
    """
    if field == NULL_MARK:
        return True, None
    wrong = VerificationError(f"{column.name}: {field!r} is not of the kind {column.kind} in its canonical text")
    is_canonical = _CANONICAL[column.kind].fullmatch(field) is not None
    if not is_canonical or (column.scale is not None and len(field.partition(".")[2]) != column.scale):
        raise wrong
    try:
        return False, _COMPARED[column.kind](field)
    except ValueError:
        raise wrong from None


_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_TEXT = re.compile(f"[^{NULL_MARK}{FIELD_SEPARATOR}]*")
_CANONICAL: Mapping[ColumnKind, re.Pattern[str]] = {  # the texts that `ledger.canonical` defines
    ColumnKind.UUID: re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    ColumnKind.TEXT: _TEXT,
    ColumnKind.JSON: _TEXT,
    ColumnKind.BOOLEAN: re.compile("[ft]"),
    ColumnKind.INTEGER: _INTEGER,
    ColumnKind.DECIMAL: re.compile(r"(?!-[0.]*\Z)-?(0|[1-9][0-9]*)([.][0-9]+)?"),
    ColumnKind.TIMESTAMP: _INTEGER,
    ColumnKind.DATE: _INTEGER,
}
_COMPARED: Mapping[ColumnKind, Callable[[str], Any]] = {
    ColumnKind.UUID: str,
    ColumnKind.TEXT: str.encode,
    ColumnKind.JSON: str.encode,
    ColumnKind.BOOLEAN: str,  # f, t
    ColumnKind.INTEGER: int,
    ColumnKind.DECIMAL: Decimal,
    ColumnKind.TIMESTAMP: int,
    ColumnKind.DATE: int,
}


def totals_text(layout: Layout, rows: Iterable[Mapping[str, str]]) -> str:
    """The totals of a group's rows, given as fields, for each currency, type and status that occurs, in this order and
    NULL last. They are the three fields, the number of rows, and the sum of each money column with all the digits of
    its scale. All of them joined by U+001F.
    """
    counts: dict[_Kind, int] = defaultdict(int)
    sums: dict[_Kind, list[Decimal]] = defaultdict(lambda: [Decimal(0)] * len(layout.money_columns))
    for fields in rows:
        kind = _kind(layout, fields)
        counts[kind] += 1
        amounts = (fields[name] for name in layout.money_columns)
        sums[kind] = [_added(total, field) for total, field in zip(sums[kind], amounts, strict=True)]
    texts: list[str] = []
    for kind in sorted(counts, key=lambda kind: [(field == NULL_MARK, field.encode()) for field in kind]):
        money = zip(layout.money_columns, sums[kind], strict=True)
        texts += [*kind, str(counts[kind]), *(_plain(layout.column(name), total) for name, total in money)]
    return FIELD_SEPARATOR.join(texts)


_Kind = tuple[str, str, str]


def _kind(layout: Layout, fields: Mapping[str, str]) -> _Kind:
    """The row's currency, type and status; empty for a column that the table does not have."""
    currency, kind, status = (fields[name] if name else "" for name in layout.kind_columns)
    return currency, kind, status


def _added(total: Decimal, field: str) -> Decimal:
    return total if field == NULL_MARK else add_exactly(total, Decimal(field))


def _plain(column: Column, total: Decimal) -> str:
    return format(total or abs(total), f".{column.scale or 0}f")


def totals_hash(first_leaf: bytes, totals: str) -> str:
    """SHA-256 of the group's first leaf in hexadecimal, U+001F and the totals' text, in hexadecimal.

    A neighbour's proof shows the header. The first leaf, which holds the random bits of an id, keeps anyone from
    finding the totals by trying amounts.
    """
    return hashlib.sha256(f"{first_leaf.hex()}{FIELD_SEPARATOR}{totals}".encode()).hexdigest()


def header_text(group: str, rows: int, totals: str) -> str:
    """The text of a group header: mark and version, the group's field as in its rows, their number, `totals_hash`."""
    return FIELD_SEPARATOR.join((HEADER_MARK, group, str(rows), totals))


@dataclass(frozen=True, slots=True)
class Header:
    """What a group header says: the group's field, the number of its rows, and the hash of its totals."""

    group: str
    rows: int
    totals: str

    @classmethod
    def parse(cls, text: str) -> "Header":
        """Read a header's text. Raises VerificationError for anything else, a row too."""
        mark, *fields = text.split(FIELD_SEPARATOR)
        if mark != HEADER_MARK or len(fields) != len(("group", "rows", "totals")) or not fields[1].isdecimal():
            raise VerificationError("a leaf that must be a group header is none")
        header = cls(fields[0], int(fields[1]), fields[2])
        if header_text(header.group, header.rows, header.totals) != text:
            raise VerificationError("a group header is not in its one form")
        return header


def leaf_texts(layout: Layout, rows: Iterable[str]) -> list[str]:
    """The texts of all leaves of a month, from the texts of its rows in any order. This is the definition, and what
    tests compare the archive's own computation with. Raises VerificationError for a text that is not a row.
    """
    described = sorted(((layout.fields(row), row) for row in rows), key=lambda pair: layout.place(pair[0]))
    if layout.group_column is None:
        return [row for _, row in described]
    groups: dict[str, list[tuple[dict[str, str], str]]] = {}
    for fields, row in described:
        groups.setdefault(fields[layout.group_column], []).append((fields, row))
    texts: list[str] = []
    for group, members in groups.items():
        totals = totals_text(layout, (fields for fields, _ in members))
        first = leaf_hash(members[0][1].encode())
        texts += [header_text(group, len(members), totals_hash(first, totals)), *(row for _, row in members)]
    return texts


class ChunkedTree:
    """The subtrees of a month's tree, from the roots of its chunks and the leaves of the chunks that are at hand.

    Raises VerificationError where the roots are not those of the head, or leaves are not those of their chunk.
    """

    def __init__(self, head: TreeHead, chunk_roots: bytes) -> None:
        chunks = -(-head.leaves // CHUNK_LEAVES)
        if len(chunk_roots) != chunks * HASH_BYTES:
            raise VerificationError(f"a tree of {head.leaves} leaves has {chunks} chunks, not {len(chunk_roots)} bytes")
        if (fold(chunk_roots) if chunks else EMPTY_ROOT) != head.root:
            raise VerificationError("the roots of the chunks do not lead to the root of the month")
        self.head = head
        self._roots = chunk_roots
        self._leaves: dict[int, bytes] = {}

    def chunk_of(self, leaf: int) -> range:
        """The leaves of the chunk that ``leaf`` is in."""
        start = leaf - leaf % CHUNK_LEAVES
        return range(start, min(start + CHUNK_LEAVES, self.head.leaves))

    def add(self, first: int, hashes: Sequence[bytes]) -> None:
        """Take the leaves of whole chunks, from the leaf ``first`` on."""
        for offset in range(0, len(hashes), CHUNK_LEAVES):
            chunk, together = (first + offset) // CHUNK_LEAVES, b"".join(hashes[offset : offset + CHUNK_LEAVES])
            if fold(together) != self._roots[chunk * HASH_BYTES : (chunk + 1) * HASH_BYTES]:
                raise VerificationError(f"the leaves {first + offset} and following are not those of the month's tree")
            self._leaves[chunk] = together

    def root_of(self, start: int, stop: int) -> bytes:
        """The root over the leaves ``[start, stop)`` (a `ledger.merkle_proofs.SubtreeRoot`)."""
        chunk, place = divmod(start, CHUNK_LEAVES)
        if place == 0 and (stop % CHUNK_LEAVES == 0 or stop == self.head.leaves):
            return fold(self._roots[chunk * HASH_BYTES : -(-stop // CHUNK_LEAVES) * HASH_BYTES])
        return fold(self._leaves[chunk][place * HASH_BYTES : (place + stop - start) * HASH_BYTES])
