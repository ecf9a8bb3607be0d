"""The identity of a record, so that no row is loaded twice. Pure; `tasks.importing.known_rows` looks it up in
PostgreSQL.

With a key, the texts of its columns are the identity, below the source's name and the table. A record with that key is
that row, whatever the mapping makes of the other columns. Without a key two things can be known. A line of the same
file is the same row: an identity of the file's content and the line's number. And equal values may be the same row: an
identity of the mapped values and of how often they were seen in the file. Whether they are, in another file, only the
mapping can say (`identity`).

An identity is 128 bits of a hash, written as a UUID. The fingerprint of a row is a digest of all its values. It also
has 16 bits of a checksum of each value, to show which of them differ.
"""

import struct
import zlib
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import NamedTuple, Protocol
from unicodedata import category

from ledger.errors import FieldError
from ledger.tables import TieredTable
from tasks.importing.mapping import FileFormat, Mapping
from tasks.importing.records import FileRecord
from tasks.importing.spreadsheets import refuse_remains
from tasks.importing.values import Getter, Positions, changed, read_column

_DIGEST_BYTES = 16
_CHECKSUM = 0xFFFF
_UNSEEN = frozenset({"Cc", "Cf"})  # Unicode's controls and format characters

Values = Sequence[str]


class Occurrences(Protocol):
    """Counts how often a text was seen in the file."""

    def next_number(self, line: str) -> int:
        """1 for the first time that ``line`` is given, then 2, and so on."""


class Named(NamedTuple):
    """The source of a row's id, and its identities: the first is looked for first."""

    source: bytes
    identities: tuple[str, ...]


class Namer(Protocol):
    """Names the row of a record."""

    def name(self, record: FileRecord, values: Values) -> Named:
        """The name of the row of ``record``, which has ``values``. Raises FieldError where it cannot be known."""


class KeyNamer:
    """By the key's columns. A key is trimmed. Empty texts are refused, and those with what nobody can see in them."""

    def __init__(self, mapping: Mapping, table: TieredTable, positions: Positions) -> None:
        self._prefix = _prefix(mapping, table)
        self._key = mapping.key
        self._getters = [_key_part(column, positions, mapping.file) for column in mapping.key]

    def name(self, record: FileRecord, values: Values) -> Named:  # a key is the same whatever the values are
        """By the key alone. Raises FieldError for a column of the key that is empty or damaged."""
        parts = [getter(record.fields) for getter in self._getters]
        if None in parts:
            raise FieldError(self._key[parts.index(None)], "is empty, and it identifies the row")
        source = self._prefix + "\0".join(parts).encode()  # type: ignore[arg-type]  # no part is None here
        return Named(source, (_identity(b"key", source),))


def _key_part(column: str, positions: Positions, format_: FileFormat) -> Getter:
    return changed(read_column(column, positions, format_), lambda text: _seen(column, refuse_remains(column, text)))


def _seen(column: str, text: str) -> str:
    """``text``. Raises FieldError where it is another key than people see. Joined files have a byte order mark in their
    middle, and texts that were copied from a page have zero-width spaces.
    """
    if not text.isprintable() and any(category(character) in _UNSEEN for character in text):
        raise FieldError(column, "has a character that cannot be seen, and it identifies the row")
    return text


class ValuesNamer:
    """By the file's content and the line, and by the values and how often the file has had them."""

    def __init__(self, mapping: Mapping, table: TieredTable, content: bytes, occurrences: Occurrences) -> None:
        self._prefix = _prefix(mapping, table)
        self._content = content
        self._count = occurrences.next_number

    def name(self, record: FileRecord, values: Values) -> Named:
        """By both."""
        text = "\t".join(values)
        source = self._prefix + f"{text}\0{self._count(text)}".encode()
        line = _identity(b"line", self._prefix + self._content + str(record.line).encode())
        return Named(source, (line, _identity(b"values", source)))


class LineNamer:
    """By the file's content and the line alone: equal values of another file are another row."""

    def __init__(self, mapping: Mapping, table: TieredTable, content: bytes) -> None:
        self._prefix = _prefix(mapping, table) + content

    def name(self, record: FileRecord, values: Values) -> Named:  # a line is the same whatever the values are
        """By the line."""
        source = self._prefix + str(record.line).encode()
        return Named(source, (_identity(b"line", source),))


def make_namer(
    mapping: Mapping, table: TieredTable, positions: Positions, content: bytes, occurrences: Callable[[], Occurrences]
) -> Namer:
    """The namer that ``mapping`` asks for. ``content`` is the SHA-256 of the file, decompressed."""
    if mapping.key:
        return KeyNamer(mapping, table, positions)
    if mapping.identity == "file":
        return LineNamer(mapping, table, content)
    return ValuesNamer(mapping, table, content, occurrences())


def fingerprint(values: Values) -> bytes:
    """The digest and the checksums of the values of a row, which are texts without tabs in the order of its columns."""
    digest = blake2b("\t".join(values).encode(), digest_size=_DIGEST_BYTES).digest()
    checksums = [zlib.crc32(value.encode()) & _CHECKSUM for value in values]
    return digest + struct.pack(f">{len(checksums)}H", *checksums)


def differing(stored: bytes, read: bytes, names: Sequence[str]) -> list[str]:
    """The names of the values that differ between two fingerprints of rows with the columns ``names``."""
    if stored[:_DIGEST_BYTES] == read[:_DIGEST_BYTES]:
        return []
    if len(stored) != len(read):  # stored when the table had other columns
        return ["a value"]
    pairs = zip(_checksums(stored), _checksums(read), names, strict=True)
    return [name for before, now, name in pairs if before != now] or ["a value"]


def _checksums(fingerprint_: bytes) -> tuple[int, ...]:
    checksums = fingerprint_[_DIGEST_BYTES:]
    return struct.unpack(f">{len(checksums) // 2}H", checksums)


def _prefix(mapping: Mapping, table: TieredTable) -> bytes:
    return f"{mapping.name}\0{table.name}\0".encode()


def _identity(kind: bytes, source: bytes) -> str:
    return blake2b(source, digest_size=_DIGEST_BYTES, person=kind).hexdigest()
