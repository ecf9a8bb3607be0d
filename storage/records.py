"""Records of what people decided, as objects of the archive that the public log names."""

import secrets
from collections.abc import Mapping
from typing import Any

import rfc8785

from ledger.installation import Owner
from ledger.transparency.events import LoggedObject, logged
from storage.store import ObjectStore

_SALT_BYTES = 16
_NONCE_BYTES = 4


def put_record(store: ObjectStore, owner: Owner, folder: str, name: str, record: Mapping[str, Any]) -> LoggedObject:
    """Store a record under a key of its own, with a salt: nobody finds its content by trying values against its hash.

    Raises the store's errors.
    """
    content = rfc8785.dumps({**record, "salt": secrets.token_hex(_SALT_BYTES)})
    key = f"{folder}/{name}-{owner.short}-{secrets.token_hex(_NONCE_BYTES)}.json"
    store.put_bytes(content, key)
    return logged(key, content)
