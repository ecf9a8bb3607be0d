"""Page cursors: the id of the last row, signed together with the question that it belongs to."""

import base64
import binascii
import hashlib
import hmac
from uuid import UUID

from ledger.errors import FieldError

_ID_BYTES = 16
_SIGNATURE_BYTES = 16
_RULE = "must be the next_cursor of the page before, with all other parameters but limit unchanged"


class Cursors:
    """Makes and reads cursors. ``secret`` must be the same in every process that serves one API."""

    def __init__(self, secret: bytes) -> None:
        self._secret = hmac.digest(secret, b"page cursor", hashlib.sha256)  # not the key that API keys are hashed with

    def write(self, question: bytes, last: UUID) -> str:
        """The cursor behind row ``last`` of the answer to ``question``."""
        return base64.urlsafe_b64encode(last.bytes + self._signature(question, last.bytes)).decode().rstrip("=")

    def read(self, question: bytes, cursor: str) -> UUID:
        """The id in ``cursor``. Raises FieldError unless it was made here, for the same question."""
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise FieldError("cursor", _RULE) from None
        last = raw[:_ID_BYTES]
        # The text is compared, not what it decodes to: base64 has several spellings of the same bytes.
        if len(last) != _ID_BYTES or not hmac.compare_digest(
            cursor.encode(), self.write(question, UUID(bytes=last)).encode()
        ):
            raise FieldError("cursor", _RULE)
        return UUID(bytes=last)

    def _signature(self, question: bytes, last: bytes) -> bytes:
        return hmac.digest(self._secret, last + question, hashlib.sha256)[:_SIGNATURE_BYTES]
