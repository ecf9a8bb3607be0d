"""The keys of the archive's objects: nobody else can intend one of them."""

import secrets

from ledger.installation import Owner
from storage.store import StoredFile

_KEY_DIGITS = 32
_NONCE_BYTES = 4


def object_key(content: StoredFile, folder: str, owner: Owner, attempt: int, suffix: str) -> str:
    """A fresh key in ``folder``: by content, installation and attempt, and by chance for exact copies."""
    digits = content.sha256.hex()[:_KEY_DIGITS]
    return f"{folder}/{digits}-{owner.short}-{attempt}-{secrets.token_hex(_NONCE_BYTES)}.{suffix}"
