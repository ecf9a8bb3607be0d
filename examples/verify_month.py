"""Prove an archived month without this project, offline: from a copy of the bucket, with pyarrow and nothing else.

    python verify_month.py COPY/transactions/month=1993-01/<content id>.manifest.json

The manifest's own name, its file's SHA-256, the field ids, the number of rows, the sum of every money column, whether
the keys are of the month, and the Merkle root over all rows are computed here from the bytes in the copy. Exits with 1
and one line when one of them is not what the manifest says. The formats are described
in docs/archive-format.md; nothing of this project is imported on purpose.
"""
# ruff: noqa: INP001, T201  # a script that stands alone, and prints

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal, getcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

getcontext().prec = 200_000  # sums keep every digit
SEPARATOR, NULL = "\x1f", "\x1e"
TEXT: dict[str, Callable[[Any], str]] = {
    "boolean": lambda value: "t" if value else "f",
    "decimal": lambda value: format(value, "f"),  # Parquet keeps the scale: always two places for money
}


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def rows(file: Path, columns: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows as Python values; instants as microseconds and dates as days since 1970, by a cast of their integers."""
    integers = {"timestamp": pa.int64(), "date": pa.int32()}
    for batch in pq.ParquetFile(file).iter_batches():
        values = [
            batch.column(column["name"]).cast(integers.get(column["kind"], batch.column(column["name"]).type))
            for column in columns
        ]
        yield from pa.Table.from_arrays(values, [column["name"] for column in columns]).to_pylist()


def leaf(row: dict[str, Any], columns: list[dict[str, Any]]) -> bytes:
    """SHA-256 of a zero byte and the row's canonical text."""
    fields = (NULL if row[c["name"]] is None else TEXT.get(c["kind"], str)(row[c["name"]]) for c in columns)
    return sha256(b"\x00" + SEPARATOR.join(fields).encode())


def merkle_root(level: list[bytes]) -> bytes:
    """RFC 6962: neighbours are hashed in pairs, level by level; an odd last one moves up unchanged."""
    while len(level) > 1:
        pairs = [sha256(b"\x01" + level[i] + level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = pairs + level[len(level) - len(level) % 2 :]
    return level[0] if level else sha256(b"")


def field_ids(file: Path) -> dict[str, int]:
    """The number of every column in a file."""
    schema = pq.read_schema(file)
    return {name: int(schema.field(name).metadata[b"PARQUET:field_id"]) for name in schema.names}


def month_of(key: bytes) -> str:
    """The month that a UUID of version 7 tells: its first 48 bits are milliseconds since 1970 UTC."""
    milliseconds = min(int.from_bytes(key[:6], "big"), 253402300799999)  # the last of the year 9999
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds):%Y-%m}"


def verify(path: Path) -> str:
    """What was proved, as one line. Raises ValueError naming the first thing that is not what the manifest says."""

    def require(what: str, found: object, said: object) -> None:
        if found != said:
            raise ValueError(f"{path}: {what}: found {found}, the manifest says {said}")

    content = path.read_bytes()
    manifest = json.loads(content)
    require("the name of the manifest", sha256(content).hex()[:32], path.name.partition("-")[0])
    key, columns, groups = manifest["key_column"], manifest["columns"], manifest["groups"]
    said = {name: sum(Decimal(group["sums"][name]) for group in groups) for group in groups for name in group["sums"]}
    found = dict.fromkeys(said, Decimal(0))
    leaves: list[tuple[bytes, bytes]] = []
    for file in manifest["files"]:
        stored = path.parents[2] / file["key"]
        require(f"SHA-256 of {file['key']}", sha256(stored.read_bytes()).hex(), file["sha256"])
        require(f"field ids of {file['key']}", field_ids(stored), {c["name"]: c["field_id"] for c in columns})
        for row in rows(stored, columns):
            leaves.append((row[key].bytes, leaf(row, columns)))
            found = {name: total + (row[name] or 0) for name, total in found.items()}
    require("rows", len(leaves), manifest["rows"])
    require("sums", found, said)
    is_of_month = all(month_of(key) == manifest["month"] for key, _ in leaves)
    require("keys of the month", is_of_month, manifest["keys_tell_month"])
    require("Merkle root", merkle_root([hashed for _, hashed in sorted(leaves)]).hex(), manifest["digest"])
    return f"{manifest['table']} {manifest['month']}: {len(leaves)} rows, Merkle root {manifest['digest']}: proved"


if __name__ == "__main__":
    try:
        print(verify(Path(sys.argv[1])))
    except (ValueError, OSError) as error:
        sys.exit(str(error))
