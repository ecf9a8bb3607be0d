"""The keys of cache entries, and the names under which entries and tags are known in Redis.

Names and tags in Redis are keyed digests, except for a row's id: no wallet, user or client can be read from them.
"""

import hashlib
from typing import NamedTuple, Self

import msgspec

ROW = "row"
_TAG_BYTES = 12
_PACK = msgspec.msgpack.Encoder().encode


class CacheKey(NamedTuple):
    """One read of one viewer. ``viewer`` is the client whose rows are seen, None for an API key that sees all.

    ``parameters`` are as the request spells them, so that a hit needs no parsing: two spellings of one read are two
    keys.
    """

    table: str
    kind: str
    viewer: str | None
    parameters: tuple[str, ...]

    @classmethod
    def of_row(cls, table: str, viewer: str | None, row_id: str) -> Self:
        """The key of one row."""
        return cls(table, ROW, viewer, (row_id,))


class Names:
    """Makes the names of entries and tags that every process of one API uses. They share ``secret``."""

    def __init__(self, secret: bytes) -> None:
        self._secret = hashlib.blake2b(secret, person=b"treasury cache", digest_size=32).digest()
        self._keyed = hashlib.blake2b(key=self._secret, digest_size=_TAG_BYTES)  # a copy of it costs half a new one

    @property
    def secret(self) -> bytes:
        """The key of the codes that authenticate entries."""
        return self._secret

    @property
    def family(self) -> str:
        """A short text, the same for every holder of the secret: another pepper gives other names."""
        return self._digest("family").hex()[:8]

    def row_tag(self, table: str, row_id: str) -> bytes:
        """The tag of the entries that show one row alone."""
        return self._digest("row", table, row_id)

    def wallet_tag(self, table: str, client_id: str, wallet_id: str) -> bytes:
        """The tag of the pages of one wallet of one client."""
        return self._digest("wallet", table, client_id, wallet_id)

    def user_tag(self, table: str, client_id: str, user_id: str) -> bytes:
        """The tag of the pages of one user of one client."""
        return self._digest("user", table, client_id, user_id)

    def entry(self, key: CacheKey) -> str:
        """The name of an entry: ``table:kind:...``, with the id for one row."""
        table, kind, viewer, parameters = key
        shown = f"{parameters[0]}:" if kind == ROW else ""
        return f"{table}:{kind}:{shown}{self._digest(table, kind, viewer, *parameters).hex()}"

    def _digest(self, *parts: str | None) -> bytes:
        # MessagePack marks where each part ends: no two lists of parts have the same bytes.
        digest = self._keyed.copy()
        digest.update(_PACK(parts))
        return digest.digest()
