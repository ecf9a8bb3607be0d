"""Base 64 of RFC 4648, section 4, with one text for one content: padding and unused bits are checked."""

import base64
import binascii

from ledger.errors import VerificationError


def encode(content: bytes) -> str:
    """The text of ``content``."""
    return base64.b64encode(content).decode("ascii")


def decode(text: str, what: str) -> bytes:
    """The bytes of ``text``. Raises VerificationError naming ``what`` for any text that `encode` does not make."""
    try:
        content = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise VerificationError(f"{what} is not Base 64") from None
    if encode(content) != text:
        raise VerificationError(f"{what} is not canonical Base 64")
    return content
