"""The records beside the months: objects that say who held, released, deleted or sent back what."""

import secrets
from collections.abc import Mapping
from typing import Any

import rfc8785

from config import Settings
from ledger.installation import Owner
from ledger.transparency.events import LoggedObject, logged
from sql.connection import connect
from sql.records import begin_record
from storage.store import ObjectStore

_SALT_BYTES = 16
_NONCE_BYTES = 4


def put_record(settings: Settings, content: bytes, key: str) -> None:
    """Put a record into the archive, after PostgreSQL has noted that it begins: what a killed run leaves is known then.

    The note has a connection of its own: it stays where the caller's transaction is rolled back. Raises the store's
    errors.
    """
    with connect(settings.database_dsn, "records") as connection:
        begin_record(connection, key)
    ObjectStore(settings).put_bytes(content, key)


def put_salted_record(
    settings: Settings, owner: Owner, folder: str, name: str, record: Mapping[str, Any]
) -> LoggedObject:
    """`put_record` under a key of its own, with a salt: nobody finds its content by trying values against its hash."""
    content = rfc8785.dumps({**record, "salt": secrets.token_hex(_SALT_BYTES)})
    key = f"{folder}/{name}-{owner.short}-{secrets.token_hex(_NONCE_BYTES)}.json"
    put_record(settings, content, key)
    return logged(key, content)
