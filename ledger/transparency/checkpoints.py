"""Checkpoints by https://c2sp.org/tlog-checkpoint@v1.0.0: origin, size and root of a log, as the text of a note."""

import re
from dataclasses import dataclass

from ledger.errors import VerificationError
from ledger.merkle import HASH_BYTES
from ledger.transparency import base64

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
LARGEST_SIZE = 2**63 - 1
_LINES = 3


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log. ``extensions`` are further lines, which this project neither writes nor reads."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The note's text, with its last newline."""
        return "\n".join((self.origin, str(self.size), base64.encode(self.root), *self.extensions, ""))

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Read a note's text. Raises VerificationError for one that is not a checkpoint."""
        lines = text.split("\n")
        if len(lines) <= _LINES or lines.pop() != "" or not all(lines):
            raise VerificationError("the text is not a checkpoint: it needs at least three lines and no empty one")
        origin, size, root, *extensions = lines
        return cls(origin, parse_size(size, "the size of the checkpoint"), _root(root), tuple(extensions))


def parse_size(text: str, what: str) -> int:
    """A decimal number without leading zeroes, below 2**63. Raises VerificationError naming ``what``."""
    if not _SIZE.fullmatch(text) or int(text) > LARGEST_SIZE:
        raise VerificationError(f"{what} is not a decimal number below 2**63 without leading zeroes")
    return int(text)


def _root(text: str) -> bytes:
    root = base64.decode(text, "the root of the checkpoint")
    if len(root) != HASH_BYTES:
        raise VerificationError(f"the root of the checkpoint is not {HASH_BYTES} bytes long")
    return root
