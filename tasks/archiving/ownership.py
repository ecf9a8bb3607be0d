"""One writer of an archive: whether this database may write to the archive or remove from it.

Before each piece of work the marker in the archive's prefix is read, compared with PostgreSQL, and given a fresh token.
A copy of the database, however exact, does not know the token that the original wrote after the copy was taken. The
original does not know the copy's: whichever side comes second is refused. Reading the archive asks nothing of this.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID, uuid4

from config import Settings
from ledger.errors import DataError, OwnershipError
from ledger.installation import Identity, Installation, Owner
from sql.connection import Connection
from sql.installation import (
    add_event,
    confirm,
    installation_lock,
    intend,
    known_objects,
    make_installation,
    own_uploads,
    read_identity,
    read_installation,
)
from storage.layout import MANIFESTS, TREES
from storage.marker import KEY, Marker, is_same_location, location_of, read_marker, write_marker
from storage.store import ObjectStore, StoredFile

_SHOWN = 3


class OwnershipState(StrEnum):
    """The relation of this database to the archive. Only an owner writes; ``free`` becomes one with its first write."""

    OWNER = "owner"
    FREE = "free"
    COPY = "copy"
    REPLACED = "replaced"
    UNFINISHED = "unfinished"
    OVERTAKEN = "overtaken"
    ELSEWHERE = "elsewhere"
    FOREIGN = "foreign"
    UNREADABLE = "unreadable"
    WRONG_BUCKET = "wrong bucket"


MAY_WRITE = frozenset({OwnershipState.OWNER, OwnershipState.FREE})


@dataclass(frozen=True, slots=True)
class Standing:
    """Both sides as they were found, and the state that follows. ``why`` is a sentence about it, with what to do."""

    state: OwnershipState
    why: str
    identity: Identity
    installation: Installation | None
    marker: Marker | None


def check_ownership(
    connection: Connection,
    settings: Settings,
    along: Callable[[], object] = lambda: None,
    on_step: Callable[[str], object] = lambda _: None,
) -> Owner:
    """Prove that this database is the archive's one writer, and move the marker's token on; returns the owner.

    Call it outside of any transaction, before anything is written to or removed from the archive. Costs three requests
    to the store (two reads and a write of some 300 bytes). ``along`` runs in the transaction that records the new token
    before it is written. So what it changes is known to every copy that knows the token. ``on_step`` hears ``intended``
    and ``written``. Safe to run again after any interruption, and from several processes.

    Raises OwnershipError naming what was found and the command that settles it, and the store's errors.
    """
    store = ObjectStore(settings)
    with installation_lock(connection):
        make_installation(connection, read_identity(connection))
        standing = look(connection, settings, store)
        if standing.state not in MAY_WRITE or standing.installation is None:
            raise OwnershipError(standing.why)
        owner = Owner(standing.installation.installation_id, standing.installation.incarnation)
        token = uuid4()
        with connection.transaction():
            intend(connection, owner, token)
            along()
        on_step("intended")
        put_marker(connection, settings, store, owner, token)
        on_step("written")
        with connection.transaction():
            if standing.marker is None:
                add_event(connection, owner, "made", location=location_of(store.url))
            confirm(connection, owner, token, location_of(store.url), standing.identity)
        return owner


def find_owner(connection: Connection, settings: Settings) -> Owner:
    """The owner, where this database is one. Reads only, so that a login without rights on the installation may ask.

    For one object under a key that names the installation. It does not move the token on: what decides about many
    objects, or removes any, calls `check_ownership`. Raises OwnershipError as that does.
    """
    standing = look(connection, settings, ObjectStore(settings))
    if standing.state not in MAY_WRITE or standing.installation is None:
        raise OwnershipError(standing.why)
    return Owner(standing.installation.installation_id, standing.installation.incarnation)


def put_marker(connection: Connection, settings: Settings, store: ObjectStore, owner: Owner, token: UUID) -> None:
    """Write the marker and read it back. Raises OwnershipError when another database wrote at the same moment."""
    marker = Marker(
        installation=owner.installation_id,
        incarnation=owner.incarnation,
        token=token,
        location=location_of(store.url),
        endpoint=settings.s3_endpoint_url if store.url.startswith("s3://") else None,
        written_at=datetime.now(UTC),
    )
    if not write_marker(store, marker):
        raise OwnershipError(f"archive: another database wrote {KEY} at the same moment; run the command again")


def look(connection: Connection, settings: Settings, store: ObjectStore) -> Standing:
    """Return what this database is to the archive now. Reads only; raises the store's errors."""
    identity, installation = read_identity(connection), read_installation(connection)
    try:
        marker = read_marker(store)
    except DataError as error:
        return Standing(OwnershipState.UNREADABLE, _unreadable(error), identity, installation, None)
    state, why = _judge(identity, installation, marker, store.url)
    if state is OwnershipState.FREE and (problem := why_not_free(connection, settings, store)):
        state, why = OwnershipState.WRONG_BUCKET, problem
    return Standing(state, why, identity, installation, marker)


def _judge(identity: Identity, own: Installation | None, marker: Marker | None, url: str) -> tuple[OwnershipState, str]:
    if own is not None and not own.identity.is_same(identity):
        return OwnershipState.COPY, _copy(own, identity)
    if marker is None:
        return OwnershipState.FREE, f"the archive at {location_of(url)} has no {KEY} yet: the first write makes it"
    if own is None or marker.installation != own.installation_id:
        return OwnershipState.FOREIGN, _foreign(own, marker, url)
    return _judge_own(own, marker, url)


def _judge_own(own: Installation, marker: Marker, url: str) -> tuple[OwnershipState, str]:
    """The same of a marker that names this installation."""
    if marker.incarnation != own.incarnation:
        return _other_incarnation(own, marker)
    if marker.token not in own.tokens:
        return OwnershipState.OVERTAKEN, _overtaken(own, marker)
    if not is_same_location(marker.location, url):
        return OwnershipState.ELSEWHERE, _elsewhere(marker, url)
    return (
        OwnershipState.OWNER,
        f"installation {own.installation_id}, incarnation {own.incarnation}, owns {location_of(url)}",
    )


def _copy(own: Installation, identity: Identity) -> str:
    return (
        f"this database is a copy of the one that owns installation {own.installation_id}, or was moved: that one is "
        f"{own.identity}, this one is {identity}. {_EITHER}"
    )


def _other_incarnation(own: Installation, marker: Marker) -> tuple[OwnershipState, str]:
    if marker.incarnation < own.incarnation:
        unfinished = f"`treasury installation continue` did not end: {KEY} still has incarnation {marker.incarnation}"
        return OwnershipState.UNFINISHED, f"{unfinished}, this database is {own.incarnation}. Run it again"
    return OwnershipState.REPLACED, (
        f"another database continues installation {own.installation_id} as incarnation {marker.incarnation} (last "
        f"written {_at(marker)}); this one is incarnation {own.incarnation}. {_EITHER}"
    )


def _overtaken(own: Installation, marker: Marker) -> str:
    return (
        f"another copy of this database wrote to the archive as installation {own.installation_id} ({_at(marker)}), or "
        f"this one was set back to an earlier state. {_EITHER}"
    )


def _elsewhere(marker: Marker, url: str) -> str:
    return (
        f"the archive of installation {marker.installation} was made at {marker.location} and is read at "
        f"{location_of(url)}. If its objects moved, run `treasury installation continue`; if they were copied and the "
        "archive there goes on, `treasury installation separate`"
    )


def _foreign(own: Installation | None, marker: Marker, url: str) -> str:
    this = f"this database is installation {own.installation_id}" if own else "this database has archived nothing yet"
    return (
        f"the archive at {location_of(url)} belongs to installation {marker.installation} (last written "
        f"{_at(marker)}); {this}. Set TREASURY_ARCHIVE_URL to another prefix"
    )


def _unreadable(error: DataError) -> str:
    return (
        f"archive: {error}. Restore the object from a version or a backup of the bucket, or run "
        "`treasury installation continue` if no other database writes there"
    )


def _at(marker: Marker) -> str:
    return f"{marker.written_at:%Y-%m-%d %H:%M:%S} UTC"


_EITHER = (
    "If this database takes the place of the other, run `treasury installation continue` here. If both go on, copy the "
    "objects to another prefix, set TREASURY_ARCHIVE_URL here to it, then run `treasury installation separate`"
)


def why_not_free(connection: Connection, settings: Settings, store: ObjectStore) -> str:
    """Return why an archive without a marker is not this database's to take; empty when it is.

    It is when an object that the catalogue names is really there, or the catalogue names none and no unknown one is.
    """
    known = known_objects(connection)
    if known:
        if is_any_there(store, known):
            return ""
        return (
            f"the archive at {location_of(store.url)} has neither {KEY} nor any of the objects that the catalogue "
            f"names, such as {known[0][0]}. TREASURY_ARCHIVE_URL names another bucket or prefix, or the objects are "
            "lost"
        )
    if unknown := unknown_objects(connection, settings, store):
        return (
            f"the archive at {location_of(store.url)} has no {KEY} but holds {len(unknown)} objects that this database "
            f"did not write, such as {', '.join(unknown[:_SHOWN])}. Set TREASURY_ARCHIVE_URL to an empty prefix"
        )
    return ""


def is_any_there(store: ObjectStore, known: list[tuple[str, bytes]]) -> bool:
    """Return whether at least one of the objects is in the store with the bytes that the catalogue says."""
    contents = ((store.find_bytes(key), sha256) for key, sha256 in known)
    return any(content is not None and StoredFile.of(content).sha256 == sha256 for content, sha256 in contents)


def unknown_objects(connection: Connection, settings: Settings, store: ObjectStore) -> list[str]:
    """The keys below the folders of the registered tables, and of what belongs to them, that no upload of this database
    was recorded for.
    """
    folders = [*settings.registry, MANIFESTS, TREES]
    keys = [key for folder in folders for key in store.keys(folder)]
    mine = own_uploads(connection, keys)
    return [key for key in keys if key not in mine]
