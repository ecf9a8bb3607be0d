"""The records of holds, deletions and returns in the archive: those whose upload this database has begun."""

from sql.connection import Connection
from sql.queries import load
from sql.storing import check_stored

_QUERIES = load("records")


def begin_record(connection: Connection, key: str) -> None:
    """Note that the upload of a record begins; in a transaction of its own, which outlives the run."""
    check_stored(connection.execute(_QUERIES["begin"], {"object_key": key}), 1, "archive_records")


def known_records(connection: Connection) -> frozenset[str]:
    """Every record that this database has begun, or knows from its log."""
    return frozenset(key for (key,) in connection.execute(_QUERIES["known"]))
