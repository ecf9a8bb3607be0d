"""Verify an audit kit on a machine of your own: the public log, the manifests and trees of all months, and proof files.

    python verify_kit.py [FOLDER]                    the unpacked kit; default: the folder of this file
    python verify_kit.py [FOLDER] --policy FILE      with the log's keys as a person gave them to you
    python verify_kit.py [FOLDER] --data COPY        also the objects with rows, in a copy of the bucket
    python verify_kit.py [FOLDER] --data COPY --deep also every row in them (needs pyarrow)
    python verify_kit.py [FOLDER] --proof FILE ...   also proof files
    python verify_kit.py [FOLDER] --before FILE ...  also that the log continues a checkpoint that you kept

Needs Python 3.11 and `cryptography` 48 or newer. Nothing of the project that made the kit is imported on purpose. The
formats are described in docs/transparency-log.md, docs/archive-format.md and docs/proofs.md, and by C2SP (c2sp.org).
Exits with 0 and one line for each thing that was verified, or with 1 and one line for each that is wrong. Exits with 2
for options that do not fit together, and where `cryptography` is absent or too old.
"""
# ruff: noqa: INP001, T201  # a script that stands alone, and prints

import argparse
import base64
import hashlib
import json
import struct
import sys
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal, getcontext
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
except ImportError:  # absent, or an older one, as some systems bring it
    print("this needs `cryptography` 48 or newer:", file=sys.stderr)
    print("    python3 -m venv venv && venv/bin/pip install 'cryptography>=48'", file=sys.stderr)
    sys.exit(2)

SEPARATOR, NULL = "\x1f", "\x1e"
HEADER = f"{NULL}group-v1"
CHUNK = TILE = 256
ED25519, COSIGNATURE, MLDSA44 = 1, 4, 6
Key = tuple[str, bytes, int, bytes]  # name, key id, type, public key


class WrongError(Exception):
    """Something is not what it must be."""


def require(condition: object, text: str) -> None:
    if not condition:
        raise WrongError(text)


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def unbase64(text: str) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        raise WrongError(f"{text[:40]!r} is not Base64") from None
    require(base64.b64encode(content).decode() == text, f"{text[:40]!r} is not canonical Base64")
    return content


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WrongError(f"{path}: {error.strerror}") from None


# RFC 6962


def leaf_hash(content: bytes) -> bytes:
    return sha256(b"\0" + content)


def root_of(hashes: list[bytes]) -> bytes:
    """The root over hashes: pairs, level by level; an odd last one moves up unchanged."""
    while len(hashes) > 1:
        pairs = [sha256(b"\1" + hashes[i] + hashes[i + 1]) for i in range(0, len(hashes) - 1, 2)]
        hashes = pairs + hashes[len(hashes) - len(hashes) % 2 :]
    return hashes[0] if hashes else sha256(b"")


def root_by_range(leaves: list[bytes], start: int, size: int, path: list[bytes]) -> bytes:
    """The root that leaves from ``start`` on, and the roots of all largest subtrees beside them, lead to."""
    stop = start + len(leaves)
    require(leaves and start >= 0 and stop <= size, "the proof names leaves outside the tree")
    rest = iter(path)

    def root(first: int, last: int) -> bytes:
        if last <= start or first >= stop:
            sibling = next(rest, None)
            require(sibling is not None, "the path of the proof is too short")
            return sibling or b""
        if last - first == 1:
            return leaves[first - start]
        middle = first + (1 << ((last - first - 1).bit_length() - 1))
        left = root(first, middle)
        return sha256(b"\1" + left + root(middle, last))

    computed_root = root(0, size)
    require(next(rest, None) is None, "the path of the proof is too long")
    return computed_root


def root_by_path(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root that an inclusion path leads to: siblings from the leaf up."""
    require(0 <= index < size, "the proof names a leaf outside the tree")
    rest = list(path)

    def root(first: int, last: int) -> bytes:
        if last - first == 1:
            return leaf
        middle = first + (1 << ((last - first - 1).bit_length() - 1))
        require(rest, "the path of the proof is too short")
        sibling = rest.pop()  # the outermost is the last
        if index < middle:
            return sha256(b"\1" + root(first, middle) + sibling)
        return sha256(b"\1" + sibling + root(middle, last))

    computed_root = root(0, size)
    require(not rest, "the path of the proof is too long")
    return computed_root


# Signed notes, checkpoints, policies


def parse_key(text: str) -> Key:
    name, key_id, encoded = [*text.split("+", 2), "", ""][:3]
    content = unbase64(encoded)
    computed_id = sha256(name.encode() + b"\n" + content)[:4]
    require(name and computed_id.hex() == key_id, f"the verifier key {text[:60]} is not well formed")
    return name, computed_id, content[0], content[1:]


def is_valid(key: Key, text: str, signature: bytes) -> bool:
    name, _, kind, public = key
    try:
        if kind == ED25519:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, text.encode())
            return True
        (time_s,) = struct.unpack(">Q", signature[:8])
        if kind == COSIGNATURE:
            message = f"cosignature/v1\ntime {time_s}\n{text}".encode()
            Ed25519PublicKey.from_public_bytes(public).verify(signature[8:], message)
            return True
        origin, size, root = text.split("\n")[:3]
        message = b"subtree/v1\n\0" + bytes([len(name.encode())]) + name.encode() + struct.pack(">Q", time_s)
        message += bytes([len(origin.encode())]) + origin.encode() + struct.pack(">QQ", 0, int(size)) + unbase64(root)
        MLDSA44PublicKey.from_public_bytes(public).verify(signature[8:], message)
        return kind == MLDSA44
    except (InvalidSignature, ValueError, struct.error):
        return False


def open_note(content: bytes, keys: list[Key]) -> tuple[str, list[Key]]:
    """The text of a note and those of ``keys`` that signed it; one of them that does not verify refuses all."""
    try:
        text, separator, signatures = content.decode().rpartition("\n\n")
    except UnicodeDecodeError:
        raise WrongError("the note is not UTF-8") from None
    require(separator and signatures.endswith("\n"), "the note has no signatures")
    signed = []
    for line in signatures[:-1].split("\n"):
        name, _, encoded = line.removeprefix("\u2014 ").partition(" ")
        require(line.startswith("\u2014 "), "a signature line of the note is malformed")
        signature = unbase64(encoded)
        for key in keys:
            if (key[0], key[1]) == (name, signature[:4]):
                require(is_valid(key, f"{text}\n", signature[4:]), f"a signature of {name} is not valid")
                signed.append(key)
    return f"{text}\n", signed


class Policy:
    """The logs, witnesses, groups and the quorum of a policy file (c2sp.org/tlog-policy)."""

    def __init__(self, text: str) -> None:
        self.logs: list[Key] = []
        self.witnesses: dict[str, Key] = {}
        self.groups: dict[str, tuple[int, list[str]]] = {}
        self.quorum = ""
        for line in text.splitlines():
            kind, *words = line.split() or ["#"]
            if kind == "log":
                self.logs.append(parse_key(words[0]))
            elif kind == "witness":
                self.witnesses[words[0]] = parse_key(words[1])
            elif kind == "group":
                members = words[2:]
                named = {"all": len(members), "any": 1}
                self.groups[words[0]] = (named.get(words[1]) or int(words[1]), members)
            elif kind == "quorum":
                self.quorum = words[0]
            else:
                require(kind.startswith("#"), f"the policy has a line that is not known: {line[:60]}")
        require(self.logs and self.quorum, "the policy has no log or no quorum")

    def is_witnessed(self, name: str, signed: list[Key]) -> bool:
        if name == "none":
            return True
        if name in self.witnesses:
            return self.witnesses[name] in signed
        require(name in self.groups, f"the policy does not say what {name} is")
        threshold, members = self.groups[name]
        return sum(self.is_witnessed(member, signed) for member in members) >= threshold

    def open(self, content: bytes) -> tuple[str, int, bytes, list[Key]]:
        """Origin, size and root of a checkpoint that the policy accepts, and the keys that signed it."""
        text, signed = open_note(content, [*self.logs, *self.witnesses.values()])
        lines = text.split("\n")
        require(len(lines) >= 4 and lines[1].isdecimal(), "the note is not a checkpoint")
        wanted = [key for key in self.logs if key[0] == lines[0]]
        require(wanted, f"the policy has no key of the log {lines[0]}")
        for kind in {key[2] for key in wanted}:  # neither kind of key is enough alone
            name = {ED25519: "Ed25519", MLDSA44: "ML-DSA-44"}.get(kind, f"type {kind}")
            of_kind = [key for key in wanted if key[2] == kind]
            require(any(key in signed for key in of_kind), f"the checkpoint lacks the {name} signature of {lines[0]}")
        require(self.is_witnessed(self.quorum, signed), f"the quorum {self.quorum} of witnesses is missed")
        return lines[0], int(lines[1]), unbase64(lines[2]), signed


# The log


def tile_name(level: str, index: int, width: int) -> str:
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03d}")
    return f"tile/{level}/{'/'.join(groups)}" + (f".p/{width}" if width < TILE else "")


def split_bundle(content: bytes) -> list[bytes]:
    entries = []
    while content:
        length = int.from_bytes(content[:2], "big")
        require(len(content) >= 2 + length, "a bundle of entries ends within an entry")
        entries.append(content[2 : 2 + length])
        content = content[2 + length :]
    return entries


def read_entries(log: Path, size: int) -> list[bytes]:
    entries: list[bytes] = []
    for start in range(0, size, TILE):
        width = min(TILE, size - start)
        path = log / tile_name("entries", start // TILE, width)
        whole = log / tile_name("entries", start // TILE, TILE)
        bundle = split_bundle(read(path if path.exists() else whole))[:width]
        require(len(bundle) == width, f"{path} does not have {width} entries")
        entries += bundle
    return entries


def check_tiles(log: Path, entries: list[bytes]) -> int:
    """Every tile in the kit has the hashes that follow from the entries."""
    level, hashes, count = 0, [leaf_hash(entry) for entry in entries], 0
    while hashes:
        for path in (file for file in (log / f"tile/{level}").rglob("*") if file.is_file()):
            relative = path.relative_to(log / f"tile/{level}").as_posix()
            place, _, width = relative.partition(".p/")
            index = int(place.replace("x", "").replace("/", ""))
            wanted = b"".join(hashes[index * TILE : index * TILE + int(width or TILE)])
            require(read(path) == wanted, f"{path} does not have the hashes of the entries")
            count += 1
        level, hashes = level + 1, [root_of(hashes[i : i + TILE]) for i in range(0, len(hashes) - TILE + 1, TILE)]
    return count


def replay(entries: list[bytes], origin: str) -> tuple[dict[tuple[str, str, int], dict[str, Any]], list[str]]:
    """The months that must exist, by the log's events, and the keys that sign it now."""
    months: dict[tuple[str, str, int], dict[str, Any]] = {}
    keys: list[str] = []
    numbers: dict[int, int] = defaultdict(int)
    for index, entry in enumerate(entries):
        event = json.loads(entry)
        require(f"treasury/{event['installation']}" == origin, f"entry {index} is of another installation")
        numbers[event["incarnation"]] += 1
        gap = f"entry {index}: an event before it was taken out of the log"
        require(event["number"] == numbers[event["incarnation"]], gap)
        body = event["body"]
        replay_month(months, index, body)
        if body["event"] == "key_rotated":
            require(body["old"] == keys, f"entry {index}: the keys that it replaces did not sign the log before")
            keys = body["new"]
    return months, keys


def replay_month(months: dict[tuple[str, str, int], dict[str, Any]], index: int, body: dict[str, Any]) -> None:
    """The months after an event that archives one, sends one back to PostgreSQL, or deletes one."""
    if body["event"] == "archived":
        months[body["table"], body["month"], body["part"]] = body | {"entry": index}
        return
    gone: set[int] = set()
    if body["event"] == "returned":  # until it is archived again, its parts are what it was
        gone = {part["part"] for part in body["parts"]}
    elif body["event"] == "deletion_begun":
        gone = set(body["parts"])
    elif body["event"] == "deleted":
        gone = {key[2] for key in months if body["part"] in (None, key[2])}
    for key in [key for key in months if key[2] in gone and key[:2] == (body.get("table"), body.get("month"))]:
        del months[key]


def certificates_of(entries: list[bytes]) -> dict[str, list[dict[str, Any]]]:
    """The objects of each certificate of deletion by its number, as the log's events name them. They are the
    certificate, and its page where the event has one.
    """
    bodies = [json.loads(entry)["body"] for entry in entries]
    deleted = [body for body in bodies if body["event"] == "deleted" and body.get("certificate")]
    return {body["certificate"]: [body["record"], *([body["page"]] if body.get("page") else [])] for body in deleted}


def check_certificate(kit: Path, data: Path | None, number: str, records: list[dict[str, Any]]) -> str:
    """A certificate of deletion and its page are those that the log names. None of the objects that it says were
    removed is in the copy of the bucket.
    """
    contents = [read(kit / record["key"]) for record in records]
    for record, content in zip(records, contents, strict=True):
        require(sha256(content).hex() == record["sha256"], f"{record['key']}: another SHA-256")
    said = json.loads(contents[0])
    require(said["certificate"] == number, f"{records[0]['key']}: is of the certificate {said['certificate']}")
    again = [removed["key"] for removed in said["objects"] if data is not None and (data / removed["key"]).exists()]
    require(not again, f"{again[:1]} was deleted and is in the copy of the bucket")
    rows = sum(part["rows"] for part in said["parts"]) - sum(part["rows"] for part in said["kept"])
    return f"{said['table']} {said['month']}: {rows} rows deleted with certificate {number}"


def check_index(content: bytes, table: str, months: dict[Any, Any], keys: list[Key], size: int) -> None:
    text, signed = open_note(content, keys)
    require(signed, f"the index of {table} is signed by no key of the log")
    index = json.loads(text)
    require(index["table"] == table and index["size"] == size, f"the index of {table} is not of {size} entries")
    indexed_months = {(table, month["month"], month["part"]): month for month in index["months"]}
    wanted = {key: body for key, body in months.items() if key[0] == table}
    require(indexed_months.keys() == wanted.keys(), f"the index of {table} does not name the months of the log")
    for key, month in indexed_months.items():
        same = (month["manifest"], month["objects"], month["entry"])
        body = wanted[key]
        require(same == (body["manifest"], body["objects"], body["entry"]), f"the index of {table} is wrong for {key}")


# Rows: texts, headers, order


def fields_of(layout: dict[str, Any], text: str) -> dict[str, str]:
    fields = text.split(SEPARATOR)
    require(len(fields) == len(layout["columns"]), "a row has another number of fields than the layout")
    return {column[1]: field for column, field in zip(layout["columns"], fields, strict=True)}


def kind_of(layout: dict[str, Any], name: str) -> str:
    return str(next(column[2] for column in layout["columns"] if column[1] == name))


def shown(layout: dict[str, Any], fields: dict[str, str]) -> str:
    """Fields as JSON: NULL as null, times in UTC and dates as text, where a calendar of Python has them."""

    def value(name: str, field: str) -> str | None:
        if field == NULL:
            return None
        try:
            if kind_of(layout, name) == "timestamp":
                moment = datetime(1970, 1, 1) + timedelta(microseconds=int(field))  # noqa: DTZ001  # UTC, as the text says
                return moment.isoformat(timespec="microseconds") + "Z"
            if kind_of(layout, name) == "date":
                return (date(1970, 1, 1) + timedelta(days=int(field))).isoformat()
        except (ValueError, OverflowError):
            pass
        return field

    return json.dumps({name: value(name, field) for name, field in fields.items()}, ensure_ascii=False)


def sort_value(layout: dict[str, Any], name: str, field: str) -> tuple[bool, Any]:
    """What a field compares by, NULL last. A field has one spelling: in another one it would lie at another place."""
    kind = kind_of(layout, name)
    if field == NULL:
        return True, None
    read: dict[str, Callable[[str], Any]] = {"integer": int, "timestamp": int, "date": int, "decimal": Decimal}
    value = read.get(kind, str)(field)
    require(
        is_canonical(layout, name, field, value), f"{name}: {field!r} is not of the kind {kind} in its one spelling"
    )
    return False, value


def is_canonical(layout: dict[str, Any], name: str, field: str, value: Any) -> bool:
    """Whether a value is written again as the field that it was read from."""
    match kind_of(layout, name):
        case "uuid":
            return str(UUID(field)) == field
        case "boolean":
            return field in {"f", "t"}
        case "integer" | "timestamp" | "date":
            return str(value) == field
        case "decimal":
            scale = next(column[4] for column in layout["columns"] if column[1] == name)
            is_plain = set(field) <= set("-.0123456789")  # no exponent, whose digits might fill the memory
            return is_plain and f"{value or abs(value):.{scale}f}" == field
    return field.encode().decode() == field and not {SEPARATOR, NULL} & set(field)


def totals_text(layout: dict[str, Any], rows: list[dict[str, str]]) -> str:
    money = layout["money_columns"]
    scales = {column[1]: column[4] for column in layout["columns"] if column[2] == "decimal"}
    counts: dict[tuple[str, ...], int] = defaultdict(int)
    sums: dict[tuple[str, ...], list[Decimal]] = defaultdict(lambda: [Decimal(0)] * len(money))
    kinds = (layout["currency_column"], layout["type_column"], layout["status_column"])
    for row in rows:
        kind = tuple(row[name] if name else "" for name in kinds)
        counts[kind] += 1
        added = [Decimal(0) if row[name] == NULL else Decimal(row[name]) for name in money]
        sums[kind] = [total + amount for total, amount in zip(sums[kind], added, strict=True)]
    parts: list[str] = []
    for kind in sorted(counts, key=lambda kind: [(field == NULL, field.encode()) for field in kind]):
        shown = (
            f"{total or abs(total):.{scales.get(name, 0)}f}" for total, name in zip(sums[kind], money, strict=True)
        )
        parts += [*kind, str(counts[kind]), *shown]
    return SEPARATOR.join(parts)


def header_text(layout: dict[str, Any], group: str, rows: list[str]) -> str:
    totals = totals_text(layout, [fields_of(layout, row) for row in rows])
    digest = sha256(f"{leaf_hash(rows[0].encode()).hex()}{SEPARATOR}{totals}".encode()).hex()
    return SEPARATOR.join((HEADER, group, str(len(rows)), digest))


def parse_header(text: str) -> tuple[str, int]:
    parts = text.split(SEPARATOR)
    is_header = len(parts) == 4 and parts[0] == HEADER and parts[2].isdecimal()
    require(is_header, "a leaf that must be a group header is none")
    return parts[1], int(parts[2])


def place_of(layout: dict[str, Any], text: str) -> tuple[Any, ...]:
    if text.startswith(HEADER):
        return (sort_value(layout, layout["group_column"], parse_header(text)[0]),)
    fields = fields_of(layout, text)
    return tuple(sort_value(layout, name, fields[name]) for name in layout["sorted_by"])


# Proof files


class MonthProof:
    """A proof about one month: its kind, and the checks of each kind."""

    def __init__(self, proof: dict[str, Any], archived: dict[str, Any]) -> None:
        self.proof, self.layout = proof, archived["layout"]
        self.size, self.root = archived["tree"]["size"], bytes.fromhex(archived["tree"]["root"])
        kept = f", the rows that {', '.join(archived['kept']['holds'])} kept" if archived.get("kept") else ""
        self.where = f"part {archived['part']} of the month{kept}"  # what is not in it may be in another part

    def check(self) -> str:
        """What is proved, in a sentence."""
        kinds = {
            "row": self._row,
            "statement": self._statement,
            "absence-of-group": self._no_group,
            "absence-of-row": self._no_row,
        }
        require(self.proof["kind"] in kinds, f"a proof of kind {self.proof['kind']} is not known here")
        return kinds[self.proof["kind"]]()

    def _one(self, place: dict[str, Any]) -> str:
        path = [unbase64(sibling) for sibling in place["path"]]
        computed_root = root_by_path(leaf_hash(place["text"].encode()), place["index"], self.size, path)
        require(computed_root == self.root, "the path does not lead to the root of the month")
        return str(place["text"])

    def _many(self) -> list[str]:
        leaves = [leaf_hash(text.encode()) for text in self.proof["leaves"]]
        path = [unbase64(sibling) for sibling in self.proof["path"]]
        computed_root = root_by_range(leaves, self.proof["index"], self.size, path)
        require(computed_root == self.root, "the path does not lead to the root of the month")
        return list(self.proof["leaves"])

    def _row(self) -> str:
        text = self._one(self.proof)
        require(not text.startswith(HEADER), "a leaf that must be a row is a group header")
        return f"the row {shown(self.layout, fields_of(self.layout, text))} is in the month"

    def _after(self, group: str, other: str) -> None:
        column = self.layout["group_column"]
        is_after = sort_value(self.layout, column, group) > sort_value(self.layout, column, other)
        require(is_after, "the groups of the proof are not in the order of the file")

    def _statement(self) -> str:
        leaves = self._many()
        group, count = parse_header(leaves[0])
        rows = leaves[1:]
        require(len(rows) == count > 0, f"the header says {count} rows, and the proof has {len(rows)}")
        of_group = all(fields_of(self.layout, row)[self.layout["group_column"]] == group for row in rows)
        require(of_group, "a row of the proof is not of the group")
        require(header_text(self.layout, group, rows) == leaves[0], "the rows do not have the totals of the header")
        all_rows = "this row is the only row" if count == 1 else f"these {count} rows are all rows"
        lines = "".join(f"\n      {shown(self.layout, fields_of(self.layout, row))}" for row in rows)
        return f"{all_rows} of {group!r} in {self.where}{lines}"

    def _no_group(self) -> str:
        group, index = self.proof["group"], 0
        before, behind = self.proof["before"], self.proof["behind"]
        if before is not None:
            name, count = parse_header(self._one(before))
            self._after(group, name)
            index = before["index"] + 1 + count
        if behind is None:
            require(index == self.size, "the proof does not reach the end of the month")
        else:
            name, _ = parse_header(self._one(behind))
            require(behind["index"] == index, "there are leaves between the two headers of the proof")
            self._after(name, group)
        return f"there is no row of {group!r} in {self.where}"

    def _no_row(self) -> str:
        leaves = self._many()
        names, place = self.layout["sorted_by"], self.proof["place"]
        require(len(place) == len(names) and len(leaves) < 3, "the place of the proof is not one of the month")
        wanted = tuple(sort_value(self.layout, name, field) for name, field in zip(names, place, strict=True))
        places = [place_of(self.layout, text) for text in leaves]
        first, last = self.proof["index"] == 0, self.proof["index"] + len(leaves) == self.size
        outside = (first and wanted < places[0]) or (last and wanted > places[-1])
        between = len(places) == 2 and places[0] < wanted < places[1]
        require(between or (len(places) == 1 and outside), "the place is not between the leaves of the proof")
        named = shown(self.layout, dict(zip(names, place, strict=True)))
        return f"there is no row with {named} in {self.where}"


def canonical(value: Any) -> bytes:
    """Canonical JSON of what has no numbers but integers (RFC 8785): names are sorted by their UTF-16 units."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        inner = [json.dumps(name, ensure_ascii=False).encode() + b":" + canonical(value[name]) for name in names]
        return b"{" + b",".join(inner) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(canonical, value)) + b"]"
    require(not isinstance(value, float), "a number of the proof is not an integer")
    return json.dumps(value, ensure_ascii=False).encode()


def unpacked(stream: bytes) -> bytes:
    """What one whole zlib stream holds."""
    reader = zlib.decompressobj()
    try:
        content = reader.decompress(stream, 1 << 30)
    except zlib.error:
        raise WrongError("the extra data of the proof is not a zlib stream") from None
    require(reader.eof and not reader.unused_data, "the extra data of the proof is cut, or has an end too many")
    return content


def check_proof(content: bytes, policy: Policy) -> tuple[str, dict[str, Any]]:
    """What a proof file shows: its entry is in the log, and its rows are in the month of the entry; and the entry."""
    head, separator, checkpoint = content.partition(b"\n\n")
    lines = head.decode().split("\n")
    is_proof = separator and lines[0] == "c2sp.org/tlog-proof@v1" and len(lines) > 2
    is_proof = is_proof and lines[1].startswith("extra ") and lines[2].startswith("index ")
    require(is_proof, "the file is not a proof file")
    _, size, root, _ = policy.open(checkpoint)
    extra = json.loads(unpacked(unbase64(lines[1].removeprefix("extra "))))
    require(extra["format"] == "treasury-proof-v1", "the proof is of a format that is not known here")
    entry, index = canonical(extra["entry"]), int(lines[2].removeprefix("index "))
    path = [unbase64(line) for line in lines[3:]]
    require(root_by_path(leaf_hash(entry), index, size, path) == root, "the entry is not in the log")
    body = extra["entry"]["body"]
    require(body["event"] == "archived", "the entry of the proof is not of an archived month")
    said = MonthProof(extra["proof"], body).check()
    return f"{body['table']} {body['month']}, part {body['part']}: {said}", body | {"entry": index}


# Months


def row_texts(path: Path, manifest: dict[str, Any]) -> Iterator[str]:
    """The texts of the rows of a file, in its order. Needs pyarrow."""
    import pyarrow as pa  # noqa: PLC0415  # for --deep only
    import pyarrow.parquet as pq  # noqa: PLC0415

    columns = manifest["columns"]
    casts = {"timestamp": pa.int64(), "date": pa.int32()}
    shown: dict[str, Callable[[Any], str]] = {
        "boolean": lambda value: "t" if value else "f",
        "decimal": lambda value: format(value, "f"),
    }
    for batch in pq.ParquetFile(path).iter_batches():
        values = []
        for column in columns:
            column_values = batch.column(column["name"])
            cast = column_values.cast(casts[column["kind"]]) if column["kind"] in casts else column_values
            show = shown.get(column["kind"], str)
            values.append([NULL if value is None else show(value) for value in cast.to_pylist()])
        for row in zip(*values, strict=True):
            yield SEPARATOR.join(row)


def leaves_of(layout: dict[str, Any], rows: list[str]) -> list[bytes]:
    """All leaves of a month from its rows, with a header before each group."""
    if layout["group_column"] is None:
        return [leaf_hash(row.encode()) for row in rows]
    leaves: list[bytes] = []
    start = 0
    groups = [fields_of(layout, row)[layout["group_column"]] for row in rows]
    for stop in range(1, len(rows) + 1):
        if stop == len(rows) or groups[stop] != groups[start]:
            members = rows[start:stop]
            leaves.append(leaf_hash(header_text(layout, groups[start], members).encode()))
            leaves += [leaf_hash(row.encode()) for row in members]
            start = stop
    return leaves


def check_month(kit: Path, data: Path | None, body: dict[str, Any], *, deep: bool) -> str:
    """One part of a month: its manifest and tree, and its rows where they are at hand."""
    content = read(kit / body["manifest"]["key"])
    require(sha256(content).hex() == body["manifest"]["sha256"], f"{body['manifest']['key']}: another SHA-256")
    manifest = json.loads(content)
    kept = body.get("kept")
    if kept:
        proofs = read(kit / kept["proofs"]["key"])
        require(sha256(proofs).hex() == kept["proofs"]["sha256"], f"{kept['proofs']['key']}: another SHA-256")
    tree = manifest["tree"]
    head = (tree["leaves"], tree["root"], manifest["rows"])
    require(head == (body["tree"]["size"], body["tree"]["root"], body["rows"]), "the manifest is not the log's")
    roots = read(kit / tree["key"])
    require(sha256(roots).hex() == tree["sha256"], f"{tree['key']}: another SHA-256")
    chunks = [roots[i : i + 32] for i in range(0, len(roots), 32)]
    require(root_of(chunks).hex() == tree["root"], f"{tree['key']}: does not lead to the root of the month")
    read_too = "manifest and tree"
    for file in manifest["files"] if data is not None else []:
        path = (data or kit) / file["key"]
        with path.open("rb") as opened:
            computed_sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        require(
            (computed_sha256, path.stat().st_size) == (file["sha256"], file["size_bytes"]),
            f"{file['key']}: another SHA-256",
        )
        read_too = "manifest, tree and rows' bytes"
        if deep:
            check_rows(path, manifest, body["layout"], chunks)
            read_too = "manifest, tree and every row"
    return f"{body['table']} {body['month']}, part {body['part']}: {body['rows']} rows, {read_too}"


def check_rows(path: Path, manifest: dict[str, Any], layout: dict[str, Any], chunks: list[bytes]) -> None:
    rows = list(row_texts(path, manifest))
    require(len(rows) == manifest["rows"], f"{path}: {len(rows)} rows, the manifest says {manifest['rows']}")
    places = [place_of(layout, row) for row in rows]
    require(all(place <= other for place, other in pairwise(places)), f"{path}: rows out of order")
    leaves = leaves_of(layout, rows)
    computed_chunks = [root_of(leaves[start : start + CHUNK]) for start in range(0, len(leaves), CHUNK)]
    require(computed_chunks == chunks, f"{path}: the rows do not lead to the tree of the month")


def check_continued(content: bytes, origin: str, entries: list[bytes]) -> int:
    """The size of a kept checkpoint of the log. The keys that the log had then must have signed it. The log's first
    entries must lead to its root now.
    """
    lines = open_note(content, [])[0].split("\n")
    require(len(lines) >= 4 and lines[1].isdecimal(), "the note is not a checkpoint")
    size, root = int(lines[1]), unbase64(lines[2])
    require(lines[0] == origin, f"is a checkpoint of the log {lines[0]}, and the kit is of {origin}")
    set_back = f"has {size} entries, and the log of the kit {len(entries)}: the log was set back, or the kit is older"
    require(size <= len(entries), set_back)
    require(root_of([leaf_hash(entry) for entry in entries[:size]]) == root, "the log's first entries were changed")
    keys = [parse_key(text) for text in replay(entries[:size], origin)[1]]
    _, signed = open_note(content, keys)
    require(keys and all(key in signed for key in keys), "lacks a signature of the keys that the log had then")
    return size


def then(body: dict[str, Any] | None) -> str:
    """What the log says of a part of a month now."""
    return "the part is not archived any more" if body is None else f"entry {body['entry']} archived it again"


class Kit:
    """The checks of a kit, each reported; `wrong` is how many failed."""

    def __init__(self, folder: Path, policy: Policy) -> None:
        self.folder, self.policy, self.wrong = folder, policy, 0
        self.certificates: dict[str, list[dict[str, Any]]] = {}
        self.origin, self.entries = "", list[bytes]()

    def report(self, what: str, error: Exception | None = None) -> None:
        self.wrong += error is not None
        print(f"WRONG {what}: {error}" if error else f"ok    {what}")

    def log(self) -> dict[tuple[str, str, int], dict[str, Any]]:
        """Checkpoint, entries, tiles, indexes; the months of the log."""
        log = self.folder / "log"
        origin, size, root, _ = self.policy.open(read(log / "checkpoint"))
        entries = read_entries(log, size)
        require(root_of([leaf_hash(entry) for entry in entries]) == root, "the entries do not lead to the signed root")
        months, keys = replay(entries, origin)
        parsed = [parse_key(text) for text in keys]
        _, signed = open_note(read(log / "checkpoint"), parsed)
        require(all(key in signed for key in parsed), "the checkpoint lacks a signature of the log's keys")
        tiles = check_tiles(log, entries)
        for table in sorted({key[0] for key in months}):
            check_index(read(log / "index" / table), table, months, parsed, size)
        self.report(f"log {origin}: {size} entries, {tiles} tiles, {len(keys)} signatures")
        self.certificates = certificates_of(entries)
        self.origin, self.entries = origin, entries
        return months

    def before(self, path: Path) -> None:
        """The log continues a checkpoint that was kept: nothing before it was changed or taken away."""
        try:
            size = check_continued(read(path), self.origin, self.entries)
            self.report(f"{path.name}: the log continues this checkpoint of {size} entries")
        except (WrongError, ValueError, KeyError, TypeError) as error:
            self.report(path.name, error)

    def deletions(self, data: Path | None) -> None:
        for number, records in sorted(self.certificates.items()):
            try:
                self.report(check_certificate(self.folder, data, number, records))
            except (WrongError, OSError, ValueError, KeyError, TypeError) as error:
                self.report(f"certificate {number}", error)

    def months(self, months: dict[Any, dict[str, Any]], wanted: set[str] | None, data: Path | None, deep: bool) -> None:
        for (table, month, part), body in sorted(months.items()):
            if wanted is not None and month not in wanted:
                continue
            try:
                self.report(check_month(self.folder, data, body, deep=deep))
            except (WrongError, OSError, ValueError, KeyError, TypeError) as error:
                self.report(f"{table} {month}, part {part}", error)

    def proof(self, path: Path, months: dict[Any, dict[str, Any]]) -> None:
        try:
            said, body = check_proof(read(path), self.policy)
            self.report(f"{path.name}: {said}")
            now = months.get((body["table"], body["month"], body["part"]))
            if now is None or now["entry"] != body["entry"]:
                was = f"the month as entry {body['entry']} archived it"
                print(f"note  {path.name}: is of {was}; by the log, {then(now)}")
        except (WrongError, ValueError, KeyError, TypeError, ArithmeticError, StopIteration) as error:
            self.report(path.name, error)


def policy_in(path: Path) -> Policy:
    try:
        return Policy(read(path).decode())
    except UnicodeDecodeError:
        raise WrongError(f"{path}: is not a policy") from None


def main() -> int:
    getcontext().prec = 200_000  # sums keep every digit
    parser = argparse.ArgumentParser(description="Verify an audit kit.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--policy", type=Path, help="the log's keys; default: the file `policy` of the kit")
    parser.add_argument("--data", type=Path, help="a copy of the bucket with the objects that have rows")
    parser.add_argument("--deep", action="store_true", help="decode every row (needs --data and pyarrow)")
    parser.add_argument("--proof", type=Path, action="append", default=[], help="a proof file")
    parser.add_argument("--before", type=Path, action="append", default=[], help="a checkpoint of an earlier kit")
    options = parser.parse_args()
    if options.data is not None and not options.data.is_dir():
        parser.error(f"--data: {options.data} is not a folder")
    if options.deep and options.data is None:
        parser.error("--deep decodes the rows in a copy of the bucket: name it with --data")
    if options.deep and find_spec("pyarrow") is None:
        parser.error("--deep needs pyarrow: pip install pyarrow")
    keys = options.policy or options.folder / "policy"
    try:
        kit = Kit(options.folder, policy_in(keys))
        contents = json.loads(read(options.folder / "kit.json"))
        months = kit.log()
    except (WrongError, ValueError, KeyError, TypeError, IndexError) as error:
        print(f"WRONG {error}")
        return 1
    if options.policy is None:
        print("note  the keys are those of the kit: compare them with what a person of the log's side gave you")
    wanted = None if contents["months"] is None else set(contents["months"])
    kit.months(months, wanted, options.data, options.deep)
    kit.deletions(options.data)
    for path in options.before:
        kit.before(path)
    for path in options.proof:
        kit.proof(path, months)
    return 1 if kit.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
