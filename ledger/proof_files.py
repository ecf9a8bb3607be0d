"""Proof files: what is proved of a month, the log's entry of the month, and the signed checkpoint that has the entry.

A file is a ``c2sp.org/tlog-proof@v1`` of the entry. Its extra data is canonical JSON of format ``treasury-proof-v1``,
compressed by zlib (RFC 1950). It has the entry, which any reader of the log finds at the file's index, and the proof
within the month (`ledger.month_proofs`).
"""

import json
import zlib
from dataclasses import dataclass
from typing import Any

import msgspec
import rfc8785

from ledger.errors import DataError, VerificationError
from ledger.merkle import leaf_hash
from ledger.month_proofs import MonthProof, Proved, check_month_proof, parse_month_proof
from ledger.month_tree import DIGEST_METHOD, Layout, TreeHead
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.events import Archived, Event
from ledger.transparency.policies import LogPolicy
from ledger.transparency.proof_files import TlogProof

FORMAT = "treasury-proof-v1"
MOST_BYTES = 1 << 30  # of a file, and of its extra data when it is unpacked
_NAMES = {"format", "entry", "proof"}


@dataclass(frozen=True, slots=True)
class CheckedProof:
    """What a proof file shows under a policy: of which month, by which entry, in a log of which size.

    ``layout`` describes the rows of the month, those of ``proved`` too.
    """

    event: Event
    archived: Archived
    index: int
    checkpoint: Checkpoint
    proved: Proved
    layout: Layout


def write_proof(entry: bytes, proof: MonthProof, index: int, path: tuple[bytes, ...], checkpoint: bytes) -> bytes:
    """The file. ``entry`` is the log's entry at ``index``, ``path`` its inclusion path to the signed checkpoint."""
    content = {"format": FORMAT, "entry": json.loads(entry), "proof": msgspec.to_builtins(proof)}
    return TlogProof(index, path, checkpoint, pack(rfc8785.dumps(content))).to_bytes()


def check_proof(content: bytes, policy: LogPolicy) -> CheckedProof:
    """What a proof file shows to somebody who trusts the logs of ``policy``. Needs no database and no archive.

    Raises VerificationError for anything that does not hold, naming it.
    """
    file = TlogProof.from_bytes(content)
    extra = _extra(file.extra)
    entry = _canonical(extra["entry"])
    checkpoint = file.check(leaf_hash(entry), policy)
    try:
        event = Event.from_bytes(entry)
    except DataError as error:
        raise VerificationError(f"the log's entry cannot be read: {error}") from None
    archived = event.body
    if not isinstance(archived, Archived) or archived.tree.method != DIGEST_METHOD:
        raise VerificationError("the log's entry is not of an archived month whose tree is known here")
    head = TreeHead(archived.tree.size, bytes.fromhex(archived.tree.root))
    layout = Layout.from_record(archived.layout)
    proved = check_month_proof(parse_month_proof(extra["proof"]), head, layout, _named_part(archived))
    return CheckedProof(event, archived, file.index, checkpoint, proved, layout)


def _named_part(archived: Archived) -> str:
    """A part of a month, in words: whoever has one file cannot know whether the month has further parts."""
    kept = f", the rows that {', '.join(archived.kept.holds)} kept" if archived.kept else ""
    return f"part {archived.part} of the month{kept}"


def pack(content: bytes) -> bytes:
    """The extra data of a file from its JSON: names and hashes of a proof take a third of their room."""
    return zlib.compress(content, 9)


def unpack(extra: bytes) -> bytes:
    """The JSON of a file's extra data. Raises VerificationError for anything but one whole zlib stream."""
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(extra, MOST_BYTES)
    except zlib.error:
        raise VerificationError("the extra data of the proof file is not a zlib stream") from None
    if not stream.eof or stream.unused_data:
        raise VerificationError(
            f"the extra data of the proof file is cut, has an end too many, or is over {MOST_BYTES >> 20} MiB"
        )
    return content


def _extra(packed: bytes | None) -> dict[str, Any]:
    if packed is None:
        raise VerificationError("the proof file has no extra data: it proves an entry of the log alone")
    content = unpack(packed)
    try:
        extra = json.loads(content)
    except (ValueError, RecursionError):
        raise VerificationError("the extra data of the proof file is not JSON") from None
    if not isinstance(extra, dict) or extra.get("format") != FORMAT or set(extra) != _NAMES:
        raise VerificationError(f"the extra data of the proof file is not a {FORMAT}")
    if _canonical(extra) != content:
        raise VerificationError("the extra data of the proof file is not in canonical form")
    return extra


def _canonical(value: Any) -> bytes:
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, RecursionError, ValueError):
        raise VerificationError("the extra data of the proof file has no canonical form") from None
