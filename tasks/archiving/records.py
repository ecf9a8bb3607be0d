"""The records beside the months: objects that say who held, released, deleted or sent back what."""

from config import Settings
from sql.connection import connect
from sql.records import begin_record
from storage.store import ObjectStore


def put_record(settings: Settings, content: bytes, key: str) -> None:
    """Put a record into the archive, after PostgreSQL has noted that it begins: what a killed run leaves is known then.

    The note has a connection of its own: it stays where the caller's transaction is rolled back. Raises the store's
    errors.
    """
    with connect(settings.database_dsn, "records") as connection:
        begin_record(connection, key)
    ObjectStore(settings).put_bytes(content, key)
