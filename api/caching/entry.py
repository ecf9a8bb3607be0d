"""A rendered answer: as it was just read, and as an entry of the cache."""

import base64
import hashlib
from dataclasses import dataclass, field

_ETAG_BYTES = 15
# A browser may keep the answer, but must ask each time whether it is still current; a proxy must not keep it at all.
_NOT_SHARED = ((b"cache-control", b"private, no-cache"), (b"vary", b"Authorization"))


@dataclass(frozen=True, slots=True)
class Fresh:
    """An answer as it was just read. ``final``: no later read can give another one. ``ttl_s`` 0 is not kept."""

    body: bytes
    ttl_s: float
    final: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
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
