"""The lookups of archived files in PostgreSQL: what the archive has as objects, copied where one query reads it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sql.connection import Connection
from sql.queries import load
from sql.storing import check_stored

_QUERIES = load("lookups")
LOOKUPS = _QUERIES["lookups"]
FILTER_BLOCKS = _QUERIES["filter_blocks"]


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
    values = named | {"object_key": object_key, "pieces": pieces, "footer": footer}
    check_stored(connection.execute(_QUERIES["add_lookup"], values), 1, "archive_lookups")
    for field_id, bits in filters.items():
        values = {"object_key": object_key, "field_id": field_id, "bits": bits}
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
    """The rows of `LOOKUPS`."""
    return [FoundLookup(key, name, *map(bytes, contents)) for key, name, *contents in rows]


def filter_blocks(connection: Connection, asked: Sequence[tuple[str, int, int]]) -> dict[int, bytes]:
    """For each place in ``asked`` the block of a filter; nothing for a file without one. ``asked`` are the key of a
    file, the number of a column, and the hash of a value.
    """
    found = connection.execute(FILTER_BLOCKS, blocks_asked(asked), binary=True)
    return {place: bytes(block) for place, block in found}


def blocks_asked(asked: Sequence[tuple[str, int, int]]) -> dict[str, list[Any]]:
    """The parameters of `FILTER_BLOCKS`."""
    return {
        "places": list(range(len(asked))),
        "keys": [key for key, _, _ in asked],
        "field_ids": [field_id for _, field_id, _ in asked],
        "highs": [hashed >> 32 for _, _, hashed in asked],
    }
