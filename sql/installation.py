"""The installation's row in PostgreSQL: the identity of this database, the lock around its changes, and each change."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from ledger.installation import Identity, Installation, Owner
from sql.connection import Connection, fetch_one
from sql.queries import load
from sql.session_lock import session_lock
from sql.storing import check_stored

_QUERIES = load("installation")


@contextmanager
def installation_lock(connection: Connection) -> Iterator[None]:
    """Keep every other check of this database's ownership out. Raises TransientError after five minutes of waiting."""
    with session_lock(connection, _QUERIES["lock"], _QUERIES["unlock"], "the installation"):
        yield


def read_identity(connection: Connection) -> Identity:
    """Return what PostgreSQL says of the connected database."""
    may_read = fetch_one(connection, _QUERIES["may_read_control"])[0]
    system = fetch_one(connection, _QUERIES["system_identifier"])[0] if may_read else None
    return Identity(system, int(fetch_one(connection, _QUERIES["database_oid"])[0]))


def read_installation(connection: Connection) -> Installation | None:
    """The row, None before this database first wrote to an archive."""
    row = connection.execute(_QUERIES["current"]).fetchone()
    if row is None:
        return None
    number, incarnation, system, oid, tokens, location, confirmed_at = row
    return Installation(number, incarnation, Identity(system, oid), tuple(tokens), location, confirmed_at)


def make_installation(connection: Connection, identity: Identity) -> None:
    """Make the row with a random id, unless it is there. Safe to run again."""
    connection.execute(_QUERIES["make"], _named(uuid4(), identity))


def intend(connection: Connection, owner: Owner, token: UUID) -> None:
    """Record a token before it is put into the marker."""
    check_stored(connection.execute(_QUERIES["intend"], _of(owner) | {"token": token}), 1, "installation")


def confirm(connection: Connection, owner: Owner, token: UUID, location: str, identity: Identity) -> None:
    """Record that the marker of the archive at ``location`` holds ``token``."""
    named = {"token": token, "location": location, "system_identifier": identity.system_identifier}
    check_stored(connection.execute(_QUERIES["confirm"], _of(owner) | named), 1, "installation")


def become(connection: Connection, owner: Owner, identity: Identity, token: UUID) -> None:
    """Make this database ``owner``, with ``token`` as the only one that its marker may hold."""
    named = _named(owner.installation_id, identity) | {"incarnation": owner.incarnation, "token": token}
    check_stored(connection.execute(_QUERIES["become"], named), 1, "installation")


def add_event(connection: Connection, owner: Owner, event: str, **detail: object) -> None:
    """Write down what happened to the installation: ``made``, ``continued`` or ``separated``."""
    row = _of(owner) | {"event": event, "detail": Jsonb(detail)}
    check_stored(connection.execute(_QUERIES["add_event"], row), 1, "installation_events")


def list_events(connection: Connection) -> list[tuple[datetime, UUID, int, str, dict[str, Any]]]:
    """Every event, the oldest first."""
    return [(at, number, incarnation, event, detail) for at, number, incarnation, event, detail in _events(connection)]


def _events(connection: Connection) -> list[Any]:
    return connection.execute(_QUERIES["events"]).fetchall()


def known_objects(connection: Connection) -> list[tuple[str, bytes]]:
    """Some objects that the catalogue says are in the archive, with their SHA-256; empty where it names none."""
    return [(key, sha256) for key, sha256 in connection.execute(_QUERIES["known_objects"])]


def former_manifests(connection: Connection) -> list[tuple[str, bytes]]:
    """Some manifests of months that went back to warm, with their SHA-256: objects that stay in the archive."""
    return [(key, sha256) for key, sha256 in connection.execute(_QUERIES["former_manifests"])]


def own_uploads(connection: Connection, keys: list[str]) -> set[str]:
    """Of ``keys`` those that this database recorded before their upload."""
    return {key for (key,) in connection.execute(_QUERIES["own_uploads"], {"keys": keys})}


def count_kept(connection: Connection) -> int:
    """Return how many objects were left in the bucket because another database may need them."""
    return int(fetch_one(connection, _QUERIES["kept_uploads"])[0])


def _of(owner: Owner) -> dict[str, object]:
    return {"installation_id": owner.installation_id, "incarnation": owner.incarnation}


def _named(installation_id: UUID, identity: Identity) -> dict[str, object]:
    return {
        "installation_id": installation_id,
        "system_identifier": identity.system_identifier,
        "database_oid": identity.database_oid,
    }
