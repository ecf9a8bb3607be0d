"""A witness by https://c2sp.org/tlog-witness@v1.0.0: it remembers the newest checkpoint of each log, and cosigns only
what continues it. One SQLite file, no other state; what it remembers is on the disk before it answers.
"""

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ledger.errors import VerificationError
from ledger.merkle import EMPTY_ROOT, HASH_BYTES
from ledger.merkle_proofs import check_consistency
from ledger.transparency import base64
from ledger.transparency.checkpoints import Checkpoint, parse_size
from ledger.transparency.notes import (
    Note,
    Signature,
    Signer,
    join_note,
    open_note,
    require_types,
    sign_note,
    split_note,
)
from ledger.transparency.verifier_keys import VerifierKey

MOST_BYTES = 256 << 10  # 63 hashes, and more than 16 post-quantum signatures
_MOST_HASHES = 63
_OLD = "old "
_LOCK_TIMEOUT_S = 30
_EVIDENCE_KEPT = 100  # refused checkpoints of each log, the oldest: later ones cannot push them out
_TEXT = "text/plain; charset=utf-8"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS checkpoint (
    origin       TEXT PRIMARY KEY,
    origin_hash  TEXT NOT NULL UNIQUE,
    size         INTEGER NOT NULL,
    root         BLOB NOT NULL,
    note         BLOB NOT NULL      -- with the log's signatures that were verified, and the cosignatures
) STRICT;
CREATE TABLE IF NOT EXISTS refused (
    refused_id  INTEGER PRIMARY KEY,
    origin      TEXT NOT NULL,
    at          TEXT NOT NULL DEFAULT (datetime('now')),
    reason      TEXT NOT NULL,
    note        BLOB NOT NULL       -- signed by the log: evidence, where it contradicts what is remembered
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class WitnessAnswer:
    """An answer over HTTP."""

    status: int
    body: bytes
    content_type: str = _TEXT


class _RefusalError(Exception):
    """A request that is answered with another status than 200."""

    def __init__(self, status: int, text: str, content_type: str = _TEXT) -> None:
        super().__init__(text)
        self.answer = WitnessAnswer(status, f"{text}\n".encode(), content_type)


@dataclass(frozen=True, slots=True)
class _Request:
    """The parsed request of add-checkpoint. ``note`` is verified, ``content`` is as it came."""

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: Checkpoint
    note: Note
    content: bytes


class WitnessService:
    """A witness with its database, its keys and the logs that it knows: their keys by origin. Thread-safe."""

    def __init__(
        self,
        database: Path,
        signers: Sequence[Signer],
        logs: Mapping[str, Sequence[VerifierKey]],
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._signers = signers
        self._logs = logs
        self._now_s = now_s
        with self._open() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)

    def add_checkpoint(self, body: bytes) -> WitnessAnswer:
        """Cosign a checkpoint that continues the newest one; the answers are those of the specification."""
        try:
            request = self._parse(body)
            with self._transaction() as connection:
                cosignatures = self._judge(connection, request)
        except _RefusalError as error:
            return error.answer
        return WitnessAnswer(200, cosignatures)

    def find_checkpoint(self, origin_hash: str) -> WitnessAnswer:
        """The newest cosigned checkpoint of the log whose origin has this SHA-256, in hex."""
        with self._open() as connection:
            query = "SELECT note FROM checkpoint WHERE origin_hash = ?"
            row = connection.execute(query, (origin_hash,)).fetchone()
        return (
            WitnessAnswer(404, b"no checkpoint of this log was cosigned\n")
            if row is None
            else WitnessAnswer(200, row[0])
        )

    def _parse(self, body: bytes) -> _Request:
        """Read a request and verify its signatures: 400, 404 and 403."""
        try:
            old_size, proof, content = _split(body)
            checkpoint = Checkpoint.parse(_text(content))
        except VerificationError as error:
            raise _RefusalError(400, str(error)) from None
        keys = [key for key in self._logs.get(checkpoint.origin, ()) if key.name == checkpoint.origin]
        if not keys:
            raise _RefusalError(404, "the log is not known here")
        try:
            note = open_note(content, keys)
            require_types(note, keys)  # of each kind of key that the policy has of the log
        except VerificationError as error:
            raise _RefusalError(403, str(error)) from None
        if old_size > checkpoint.size:
            raise _RefusalError(400, "the old size is larger than the checkpoint's")
        return _Request(old_size, proof, checkpoint, note, content)

    def _judge(self, connection: sqlite3.Connection, request: _Request) -> bytes:
        """Compare with what is remembered (409 and 422), remember and cosign; returns the cosignature lines."""
        checkpoint = request.checkpoint
        query = "SELECT size, root FROM checkpoint WHERE origin = ?"
        size, root = connection.execute(query, (checkpoint.origin,)).fetchone() or (0, EMPTY_ROOT)
        if request.old_size != size:
            raise _RefusalError(409, str(size), "text/x.tlog.size")
        try:
            _check(request, size, root)
        except VerificationError as error:
            _keep_evidence(connection, request, str(error))
            connection.execute("COMMIT")
            raise _RefusalError(422, str(error)) from None
        _, cosignatures = split_note(sign_note(checkpoint.text, self._signers, int(self._now_s())))
        _remember(connection, request, cosignatures)
        return "".join(cosignature.line for cosignature in cosignatures).encode()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._database, timeout=_LOCK_TIMEOUT_S, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            yield connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One writer at a time from the look to the commit, in every process: no request can overtake another."""
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")


def _split(body: bytes) -> tuple[int, tuple[bytes, ...], bytes]:
    """The old size, the proof and the checkpoint of a request. Raises VerificationError for any other bytes."""
    head, separator, content = body.partition(b"\n\n")
    try:
        first, *hashes = head.decode().split("\n")
    except UnicodeDecodeError:
        raise VerificationError("the request is not UTF-8") from None
    if not separator or not first.startswith(_OLD):
        raise VerificationError("the request is not an old size, a proof, an empty line and a checkpoint")
    if len(hashes) > _MOST_HASHES:
        raise VerificationError(f"the proof has more than {_MOST_HASHES} hashes")
    proof = tuple(base64.decode(line, "a hash of the proof") for line in hashes)
    if any(len(hash_) != HASH_BYTES for hash_ in proof):
        raise VerificationError(f"a hash of the proof is not {HASH_BYTES} bytes long")
    return parse_size(first.removeprefix(_OLD), "the old size"), proof, content


def _text(content: bytes) -> str:
    """The text of a note, whatever its signatures are: a malformed one is answered as one that does not verify."""
    try:
        return content.rpartition(b"\n\n")[0].decode() + "\n"
    except UnicodeDecodeError:
        raise VerificationError("the checkpoint is not UTF-8") from None


def _check(request: _Request, size: int, root: bytes) -> None:
    """Raise VerificationError unless the checkpoint continues the one that is remembered."""
    checkpoint = request.checkpoint
    if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
        raise VerificationError("the root of an empty log is not that of an empty tree")
    check_consistency(size, root, checkpoint.size, checkpoint.root, request.proof)


def _remember(connection: sqlite3.Connection, request: _Request, cosignatures: Sequence[Signature]) -> None:
    checkpoint = request.checkpoint
    note = join_note(checkpoint.text, [*(signature for _, signature in request.note.signed_by), *cosignatures])
    connection.execute(
        "INSERT OR REPLACE INTO checkpoint (origin, origin_hash, size, root, note) VALUES (?, ?, ?, ?, ?)",
        (checkpoint.origin, origin_hash(checkpoint.origin), checkpoint.size, checkpoint.root, note),
    )


def _keep_evidence(connection: sqlite3.Connection, request: _Request, reason: str) -> None:
    origin = request.checkpoint.origin
    values = (origin, reason, request.content)
    connection.execute("INSERT INTO refused (origin, reason, note) VALUES (?, ?, ?)", values)
    connection.execute(
        "DELETE FROM refused WHERE origin = ? AND refused_id NOT IN"
        " (SELECT refused_id FROM refused WHERE origin = ? ORDER BY refused_id LIMIT ?)",
        (origin, origin, _EVIDENCE_KEPT),
    )


def origin_hash(origin: str) -> str:
    """The SHA-256 of a log's origin in hex, as in the address of its checkpoint."""
    return hashlib.sha256(origin.encode()).hexdigest()
