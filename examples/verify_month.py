"""Prove an archived month without this project, offline: from a copy of the bucket, with pyarrow and nothing else.

    python verify_month.py COPY/_treasury/manifests/transactions/1993-01/<content id>.manifest.json

It checks the manifest's own name, the SHA-256 of its objects, the field ids, the number of rows and their order. It
checks the sum of every money column, whether the keys are of the month, and the Merkle root over all rows and group
headers. All are computed here from the bytes in the copy. Exits with 1 and one line when one of them is not what the
manifest says. The formats are described in docs/archive-format.md; nothing of this project is imported on purpose.
"""
# ruff: noqa: INP001, T201  # a script that stands alone, and prints

import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal, getcontext
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SEPARATOR, NULL = "\x1f", "\x1e"
CHUNK = 256
TEXT: dict[str, Callable[[Any], str]] = {
    "boolean": lambda value: "t" if value else "f",
    "decimal": lambda value: format(value, "f"),  # Parquet keeps the scale: always two places for money
}
Row = dict[str, Any]


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def read_rows(file: Path, columns: list[dict[str, Any]]) -> Iterator[Row]:
    """The rows as Python values; instants as microseconds and dates as days since 1970, by a cast of their integers."""
    integers = {"timestamp": pa.int64(), "date": pa.int32()}
    for batch in pq.ParquetFile(file).iter_batches():
        values = [
            batch.column(column["name"]).cast(integers.get(column["kind"], batch.column(column["name"]).type))
            for column in columns
        ]
        yield from pa.Table.from_arrays(values, [column["name"] for column in columns]).to_pylist()


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
    """The month that a UUID of version 7 contains: its first 48 bits are milliseconds since 1970 UTC."""
    milliseconds = min(int.from_bytes(key[:6], "big"), 253402300799999)  # the last of the year 9999
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds):%Y-%m}"


class Month:
    """The rows of one manifest, as texts and leaves."""

    def __init__(self, manifest: dict[str, Any]) -> None:
        self.manifest = manifest
        self.columns: list[dict[str, Any]] = manifest["columns"]
        self.kinds = {column["name"]: column["kind"] for column in self.columns}
        self.scales = {column["name"]: column["scale"] for column in self.columns}

    def field(self, row: Row, name: str) -> str:
        return NULL if row[name] is None else TEXT.get(self.kinds[name], str)(row[name])

    def leaf(self, row: Row) -> bytes:
        """SHA-256 of a zero byte and the row's canonical text."""
        text = SEPARATOR.join(self.field(row, column["name"]) for column in self.columns)
        return sha256(b"\x00" + text.encode())

    def place(self, row: Row) -> tuple[tuple[bool, Any], ...]:
        """Return what the file is sorted by, NULL last; Python compares texts as their UTF-8 bytes, and UUIDs by
        number.
        """
        return tuple((row[name] is None, row[name]) for name in self.manifest["sorted_by"])

    def kind(self, row: Row) -> tuple[str, ...]:
        """The fields of currency, type and status; empty for one that the table does not have."""
        names = (self.manifest["currency_column"], self.manifest["type_column"], self.manifest["status_column"])
        return tuple(self.field(row, name) if name else "" for name in names)

    def header(self, group: str, rows: list[Row], first: bytes) -> bytes:
        """The leaf of a group's header, from all of its rows."""
        counts: dict[tuple[str, ...], int] = defaultdict(int)
        money = self.manifest["money_columns"]
        sums: dict[tuple[str, ...], list[Decimal]] = defaultdict(lambda: [Decimal(0)] * len(money))
        for row in rows:
            counts[self.kind(row)] += 1
            sums[self.kind(row)] = [
                total + (row[name] or 0) for total, name in zip(sums[self.kind(row)], money, strict=True)
            ]
        totals: list[str] = []
        for kind in sorted(counts, key=lambda kind: [(field == NULL, field) for field in kind]):
            shown = (
                f"{total or abs(total):.{self.scales[name]}f}" for total, name in zip(sums[kind], money, strict=True)
            )
            totals += [*kind, str(counts[kind]), *shown]
        digest = sha256(SEPARATOR.join((first.hex(), *totals)).encode()).hex()
        return sha256(b"\x00" + SEPARATOR.join((f"{NULL}group-v1", group, str(len(rows)), digest)).encode())

    def leaves(self, rows: list[Row]) -> list[bytes]:
        """All leaves of the tree, in their order."""
        column = self.manifest["group_column"]
        if column is None:
            return [self.leaf(row) for row in rows]
        all_leaves = []
        for group, of_group in groupby(rows, lambda row: self.field(row, column)):
            members = list(of_group)
            leaves = [self.leaf(row) for row in members]
            all_leaves += [self.header(group, members, leaves[0]), *leaves]
        return all_leaves


def verify(path: Path) -> str:
    """Return what was proved, as one line. Raises ValueError naming the first thing that contradicts the manifest."""

    def require(what: str, value: object, said: object) -> None:
        if value != said:
            raise ValueError(f"{path}: {what}: found {value}, the manifest says {said}")

    content, copy = path.read_bytes(), path.parents[4]
    manifest = json.loads(content)
    require("the name of the manifest", sha256(content).hex()[:32], path.name.partition("-")[0])
    month, tree = Month(manifest), manifest["tree"]
    rows: list[Row] = []
    for file in manifest["files"]:
        stored = copy / file["key"]
        require(f"SHA-256 of {file['key']}", sha256(stored.read_bytes()).hex(), file["sha256"])
        require(f"field ids of {file['key']}", field_ids(stored), {c["name"]: c["field_id"] for c in month.columns})
        rows += read_rows(stored, month.columns)
    require("rows", len(rows), manifest["rows"])
    require("order of the rows", all(month.place(a) <= month.place(b) for a, b in pairwise(rows)), True)
    said = {
        name: sum(Decimal(total["sums"][name]) for total in manifest["totals"]) for name in manifest["money_columns"]
    }
    require("sums", {name: sum(row[name] or 0 for row in rows) for name in said}, said)
    is_of_month = all(month_of(row[manifest["key_column"]].bytes) == manifest["month"] for row in rows)
    require("keys of the month", is_of_month, manifest["keys_tell_month"])
    leaves = month.leaves(rows)
    require("leaves", len(leaves), tree["leaves"])
    chunks = [merkle_root(leaves[start : start + CHUNK]) for start in range(0, len(leaves), CHUNK)]
    require("Merkle root", merkle_root(chunks).hex(), tree["root"])
    roots = (copy / tree["key"]).read_bytes()
    require(f"SHA-256 of {tree['key']}", sha256(roots).hex(), tree["sha256"])
    require(f"roots of the chunks in {tree['key']}", roots.hex(), b"".join(chunks).hex())
    return f"{manifest['table']} {manifest['month']}: {len(rows)} rows, Merkle root {tree['root']}: proved"


if __name__ == "__main__":
    getcontext().prec = 200_000  # sums keep every digit
    if len(sys.argv) != 2 or not sys.argv[1].endswith(".manifest.json"):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    try:
        print(verify(Path(sys.argv[1])))
    except (ValueError, OSError) as error:
        sys.exit(str(error))
