"""What is asked and what is kept: the names of entries and tags, and the answers themselves.

Names and tags in Redis are keyed digests, but for a row's id: no wallet, user or client can be read from them.
"""

import base64
import hashlib
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import msgspec

ROW = "row"
_TAG_BYTES = 12
_ETAG_BYTES = 15
_PACK = msgspec.msgpack.Encoder().encode


class Question(NamedTuple):
    """One question of one viewer. ``viewer`` is the client whose rows are seen, None for a key that sees all.

    ``asked`` is what is asked for in its own words, so that a hit needs no parsing: two spellings of one question are
    two questions.
    """

    table: str
    kind: str
    viewer: str | None
    asked: tuple[str, ...]

    @classmethod
    def of_row(cls, table: str, viewer: str | None, row_id: str) -> Self:
        """The question for one row."""
        return cls(table, ROW, viewer, (row_id,))


@dataclass(frozen=True, slots=True)
class Fresh:
    """An answer as it was just read. ``final``: no later read can give another one. ``ttl_s`` 0 is not kept."""

    body: bytes
    ttl_s: float
    final: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer with its strong validator, ready to be sent."""

    body: bytes
    final: bool
    etag: bytes = field(init=False)
    headers: tuple[tuple[bytes, bytes], ...] = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.blake2b(self.body, digest_size=_ETAG_BYTES).digest()
        etag = b'"' + base64.urlsafe_b64encode(digest) + b'"'
        object.__setattr__(self, "etag", etag)
        object.__setattr__(self, "headers", ((b"etag", etag), *_NOT_SHARED))


# A browser may keep the answer, but must ask each time whether it still holds; a proxy must not keep it at all.
_NOT_SHARED = ((b"cache-control", b"private, no-cache"), (b"vary", b"Authorization"))


class Names:
    """Makes the names under which entries and tags are known in every process of one API. ``secret`` is theirs."""

    def __init__(self, secret: bytes) -> None:
        self._secret = hashlib.blake2b(secret, person=b"treasury cache", digest_size=32).digest()
        self._keyed = hashlib.blake2b(key=self._secret, digest_size=_TAG_BYTES)  # a copy of it costs half a new one

    @property
    def secret(self) -> bytes:
        """What entries are authenticated with."""
        return self._secret

    @property
    def family(self) -> str:
        """Short and the same for all who have the secret: another pepper makes other clients of the same names."""
        return self._digest("family").hex()[:8]

    def row_tag(self, table: str, row_id: str) -> bytes:
        """The tag of the answers that show one row alone."""
        return self._digest("row", table, row_id)

    def wallet_tag(self, table: str, client_id: str, wallet_id: str) -> bytes:
        """The tag of the pages of one wallet of one client."""
        return self._digest("wallet", table, client_id, wallet_id)

    def user_tag(self, table: str, client_id: str, user_id: str) -> bytes:
        """The tag of the pages of one user of one client."""
        return self._digest("user", table, client_id, user_id)

    def entry(self, question: Question) -> str:
        """The name of an entry: ``table:kind:...``, with the id where one row is asked for."""
        table, kind, viewer, asked = question
        shown = f"{asked[0]}:" if kind == ROW else ""
        return f"{table}:{kind}:{shown}{self._digest(table, kind, viewer, *asked).hex()}"

    def _digest(self, *parts: str | None) -> bytes:
        # MessagePack tells where each part ends: no two lists of parts give the same bytes.
        digest = self._keyed.copy()
        digest.update(_PACK(parts))
        return digest.digest()
