"""Page cursors: time and id of the last row, signed together with the question that they belong to."""

import base64
import binascii
import hashlib
import hmac
import struct
from datetime import datetime
from uuid import UUID

from ledger.errors import FieldError
from ledger.identifiers import from_unix_us, unix_us

_PLACE = struct.Struct(">q16s")  # microseconds since 1970, id
_SIGNATURE_BYTES = 16
_RULE = "must be the next_cursor of the page before, with all other parameters but limit unchanged"


class Cursors:
    """Makes and reads cursors. ``secret`` must be the same in every process that serves one API."""

    def __init__(self, secret: bytes) -> None:
        self._secret = hmac.digest(secret, b"page cursor", hashlib.sha256)  # not the key that API keys are hashed with

    def write(self, question: bytes, time: datetime, row_id: UUID) -> str:
        """The cursor behind the row ``row_id`` of ``time``, UTC, of the answer to ``question``."""
        place = _PLACE.pack(unix_us(time), row_id.bytes)
        return base64.urlsafe_b64encode(place + self._signature(question, place)).decode().rstrip("=")

    def read(self, question: bytes, cursor: str) -> tuple[datetime, UUID]:
        """The time and the id in ``cursor``. Raises FieldError unless it was made here, for the same question."""
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise FieldError("cursor", _RULE) from None
        place = raw[: _PLACE.size]
        made = len(place) == _PLACE.size and hmac.compare_digest(raw[_PLACE.size :], self._signature(question, place))
        if not made:
            raise FieldError("cursor", _RULE)
        time_us, row_id = _PLACE.unpack(place)
        last = (from_unix_us(time_us), UUID(bytes=row_id))
        # The text is compared as well, not only what it decodes to: base64 has several spellings of the same bytes.
        if not hmac.compare_digest(cursor.encode(), self.write(question, *last).encode()):
            raise FieldError("cursor", _RULE)
        return last

    def _signature(self, question: bytes, place: bytes) -> bytes:
        return hmac.digest(self._secret, place + question, hashlib.sha256)[:_SIGNATURE_BYTES]
