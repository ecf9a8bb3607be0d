"""Proof files by https://c2sp.org/tlog-proof: that an entry is in a log, with the checkpoint that says so."""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.errors import VerificationError
from ledger.merkle import HASH_BYTES
from ledger.merkle_proofs import root_from_path
from ledger.transparency import base64
from ledger.transparency.checkpoints import Checkpoint, parse_size
from ledger.transparency.policies import LogPolicy

_HEADER = "c2sp.org/tlog-proof@v1"
_EXTRA = "extra "
_INDEX = "index "
_LONGEST_PATH = 63


@dataclass(frozen=True, slots=True)
class TlogProof:
    """The place of an entry, its inclusion path, and a signed checkpoint. ``extra`` is not authenticated by it."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def to_bytes(self) -> bytes:
        """The file."""
        extra = [] if self.extra is None else [f"{_EXTRA}{base64.encode(self.extra)}"]
        lines = [_HEADER, *extra, f"{_INDEX}{self.index}", *map(base64.encode, self.path), "", ""]
        return "\n".join(lines).encode() + self.checkpoint

    @classmethod
    def from_bytes(cls, content: bytes) -> "TlogProof":
        """Read a file. Raises VerificationError for one that is malformed; nothing is verified yet."""
        head, separator, checkpoint = content.partition(b"\n\n")
        try:
            lines = head.decode().split("\n")
        except UnicodeDecodeError:
            raise VerificationError("the proof is not UTF-8") from None
        if lines.pop(0) != _HEADER or not separator:
            raise VerificationError(f"the proof does not begin with the line {_HEADER}")
        extra = None
        if lines and lines[0].startswith(_EXTRA):
            extra = base64.decode(lines.pop(0).removeprefix(_EXTRA), "the extra data of the proof")
        if not lines or not lines[0].startswith(_INDEX):
            raise VerificationError("the proof has no line with the index")
        index = parse_size(lines.pop(0).removeprefix(_INDEX), "the index of the proof")
        return cls(index, _path(lines), checkpoint, extra)

    def check(self, leaf: bytes, policy: LogPolicy) -> Checkpoint:
        """The checkpoint, when ``leaf`` (32 bytes, RFC 6962) is the entry at `index` of a log of the policy.

        Raises VerificationError otherwise.
        """
        checkpoint, _ = policy.check(self.checkpoint)
        if root_from_path(leaf, self.index, checkpoint.size, self.path) != checkpoint.root:
            raise VerificationError(f"the path does not lead from the entry {self.index} to the root of the checkpoint")
        return checkpoint


def _path(lines: Sequence[str]) -> tuple[bytes, ...]:
    if len(lines) > _LONGEST_PATH:
        raise VerificationError(f"the path of the proof has more than {_LONGEST_PATH} hashes")
    path = tuple(base64.decode(line, "a hash of the proof") for line in lines)
    if any(len(step) != HASH_BYTES for step in path):
        raise VerificationError(f"a hash of the proof is not {HASH_BYTES} bytes long")
    return path
