"""The lookups of archived files in PostgreSQL: what the archive has as objects, copied where one query reads it.

Copies are checked where they are read, because an answer that believes a changed one is short and looks whole.
"""

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from ledger.errors import DataError
from sql.connection import Connection
from sql.queries import load
from sql.storing import check_stored

_QUERIES = load("lookups")
LOOKUPS = _QUERIES["lookups"]
FILTER_BLOCKS = _QUERIES["filter_blocks"]
BLOCK_BYTES = 32  # of a filter (storage/filters.py)
_STRETCH_BLOCKS = 8  # that have one check: a question reads so many of each filter, and archiving hashes few
_CHECK_BYTES = 8


def add_lookup(
    connection: Connection,
    table: str,
    month: date,
    part: int,
    object_key: str,
    pieces: bytes,
    footer: bytes,
    filters: Mapping[int, bytes],
) -> None:
    """Enter the lookup of a part of a month (its first day), in place of that of an earlier attempt. ``filters`` are by
    the numbers of columns. In the caller's transaction; safe to run again.
    """
    named = {"table": table, "month": month, "part": part}
    connection.execute(_QUERIES["forget_part"], named)
    check = _check_of_lookup(object_key, pieces, footer)
    values = named | {"object_key": object_key, "pieces": pieces, "footer": footer, "check_sha256": check}
    check_stored(connection.execute(_QUERIES["add_lookup"], values), 1, "archive_lookups")
    for field_id, bits in filters.items():
        values = {"object_key": object_key, "field_id": field_id, "bits": _with_checks(object_key, field_id, bits)}
        check_stored(connection.execute(_QUERIES["add_filter"], values), 1, "archive_filters")


def forget_lookups(connection: Connection, table: str, month: date, parts: Sequence[int]) -> None:
    """Take away the lookups of parts whose deletion begins. Safe to run again."""
    connection.execute(_QUERIES["forget_parts"], {"table": table, "month": month, "parts": list(parts)})


@dataclass(frozen=True, slots=True)
class FoundLookup:
    """The lookup of a file. ``name`` is its table and month, ``sha256`` that of its bytes."""

    object_key: str
    name: str
    sha256: bytes
    pieces: bytes
    footer: bytes


def read_lookups(connection: Connection, keys: Sequence[str]) -> list[FoundLookup]:
    """The lookups of those of the files ``keys`` that have one."""
    return found_lookups(connection.execute(LOOKUPS, {"keys": list(keys)}, binary=True).fetchall())


def found_lookups(rows: Iterable[tuple[Any, ...]]) -> list[FoundLookup]:
    """The rows of `LOOKUPS`. Raises DataError naming the file whose row somebody has changed."""
    return [_found(key, name, *map(bytes, contents)) for key, name, *contents in rows]


def _found(key: str, name: str, sha256: bytes, pieces: bytes, footer: bytes, check: bytes) -> FoundLookup:
    if check != _check_of_lookup(key, pieces, footer):
        raise DataError(
            f"{name}: the row of {key} in archive_lookups is not the one that was stored: somebody changed it. "
            "`treasury catalog rebuild` makes it again from the archive"
        )
    return FoundLookup(key, name, sha256, pieces, footer)


def filter_blocks(connection: Connection, asked: Sequence[tuple[str, int, int]]) -> dict[int, bytes]:
    """For each place in ``asked`` the block of a filter; nothing for a file without one. ``asked`` are the key of a
    file, the number of a column, and the hash of a value.
    """
    return found_blocks(asked, connection.execute(FILTER_BLOCKS, blocks_asked(asked), binary=True).fetchall())


def found_blocks(asked: Sequence[tuple[str, int, int]], rows: Iterable[tuple[int, int, bytes]]) -> dict[int, bytes]:
    """The blocks in rows of `FILTER_BLOCKS`, by their places in ``asked``.

    A block that is not the one that was stored is left out: its month is read, so that the answer is right.
    """
    block_by_place = {}
    for place, blocks, content in rows:
        key, field_id, hashed = asked[place]
        number = ((hashed >> 32) * blocks) >> 32
        stretch, check = bytes(content[:-_CHECK_BYTES]), bytes(content[-_CHECK_BYTES:])
        if check == _check_of_stretch(key, field_id, number // _STRETCH_BLOCKS, blocks, stretch):
            at = number % _STRETCH_BLOCKS * BLOCK_BYTES
            block_by_place[place] = stretch[at : at + BLOCK_BYTES]
    return block_by_place


def _with_checks(object_key: str, field_id: int, bits: bytes) -> bytes:
    """A filter in stretches, each with its check behind it."""
    size, blocks = _STRETCH_BLOCKS * BLOCK_BYTES, len(bits) // BLOCK_BYTES
    parts = []
    for number, at in enumerate(range(0, len(bits), size)):
        stretch = bits[at : at + size]
        parts += [stretch, _check_of_stretch(object_key, field_id, number, blocks, stretch)]
    return b"".join(parts)


def _check_of_stretch(object_key: str, field_id: int, number: int, blocks: int, stretch: bytes) -> bytes:
    place = struct.pack(">iii", field_id, number, blocks)
    return hashlib.sha256(b"".join((object_key.encode(), place, stretch))).digest()[:_CHECK_BYTES]


def _check_of_lookup(object_key: str, pieces: bytes, footer: bytes) -> bytes:
    parts = (hashlib.sha256(part).digest() for part in (object_key.encode(), pieces, footer))
    return hashlib.sha256(b"".join(parts)).digest()


def blocks_asked(asked: Sequence[tuple[str, int, int]]) -> dict[str, list[Any]]:
    """The parameters of `FILTER_BLOCKS`."""
    return {
        "places": list(range(len(asked))),
        "keys": [key for key, _, _ in asked],
        "field_ids": [field_id for _, field_id, _ in asked],
        "highs": [hashed >> 32 for _, _, hashed in asked],
    }
