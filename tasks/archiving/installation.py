"""Commands about the installation: look at it, let this database continue it, or make it one of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from config import Settings
from ledger.errors import ConfigError, OwnershipError
from ledger.installation import Installation, Owner
from ledger.months import Month
from ledger.transparency.events import Event
from sql.connection import Connection, connect
from sql.installation import (
    add_event,
    become,
    confirm,
    count_kept,
    former_manifests,
    installation_lock,
    known_objects,
    list_events,
    read_identity,
)
from sql.log import log_lock
from sql.rebuild import has_part
from storage.marker import Marker, is_same_location, location_of
from storage.store import ObjectStore
from tasks.archiving.ownership import (
    MAY_WRITE,
    OwnershipState,
    Standing,
    is_any_there,
    look,
    put_marker,
    why_not_free,
)
from tasks.rebuilding.catalogue import add_archived
from tasks.rebuilding.returned_months import take_over_returns
from tasks.retention.recovery import kept_parts, restore_life
from tasks.transparency.recovery import Ahead, find_ahead, has_leftovers, record_incarnation

Asked = Callable[[str, UUID], bool]


@dataclass(frozen=True, slots=True)
class InstallationReport:
    """The report of `treasury installation show`. ``kept`` counts objects that were left in the bucket on purpose."""

    standing: Standing
    location: str
    kept: int
    events: list[tuple[datetime, UUID, int, str, dict[str, Any]]]


def report_installation(settings: Settings) -> InstallationReport:
    """Return what this database is to its archive, and what happened to it. Reads only."""
    with connect(settings.database_dsn, "installation") as connection:
        store = ObjectStore(settings)
        standing = look(connection, settings, store)
        return InstallationReport(standing, location_of(store.url), count_kept(connection), list_events(connection))


def continue_installation(settings: Settings, asked: Asked) -> str:
    """Let this database take the place of the one that owned the archive; the former one is refused from then on.

    Entries of the public log that this database lacks are taken out of the archive, verified. That is done also where
    the archive is this database's and only the log is ahead. PostgreSQL was then set back by less than a piece of work.
    ``asked`` is given what will be done and the installation's id, and says whether to do it. Returns what was done.
    Safe to run again; killed on the way, it is completed by the next run. Raises OwnershipError where the archive is
    another installation's, or is not the one that the catalogue names; ConfigError when ``asked`` says no.
    """
    with (
        connect(settings.database_dsn, "installation") as connection,
        log_lock(connection),  # before the other, as the publisher takes them
        installation_lock(connection),
    ):
        store = ObjectStore(settings)
        standing = look(connection, settings, store)
        if standing.state in (OwnershipState.FOREIGN, OwnershipState.WRONG_BUCKET):
            raise OwnershipError(standing.why)
        if not _is_log_ahead(connection, settings, standing) and standing.state in MAY_WRITE:
            return f"nothing to do: {standing.why}"
        _require_own_objects(connection, settings, store, standing)
        owner = _next_incarnation(standing)
        change = (
            f"this database ({standing.identity}) continues installation {owner.installation_id} at "
            f"{location_of(store.url)} as incarnation {owner.incarnation}; every other copy of it is refused from now "
            "on"
        )
        _require_consent(asked, change, owner.installation_id)
        _take(connection, settings, store, owner, "continued", standing)
        return f"done: {change}"


def separate_installation(settings: Settings, asked: Asked) -> str:
    """Make this database, a copy, an installation of its own, on an archive of its own. That is another prefix, to
    which the objects were copied, or an empty one where the catalogue names none.

    ``asked`` and safety as in `continue_installation`. Raises OwnershipError where the archive may be the one that
    this database was copied from.
    """
    with (
        connect(settings.database_dsn, "installation") as connection,
        log_lock(connection),  # before the other, as the publisher takes them
        installation_lock(connection),
    ):
        store = ObjectStore(settings)
        standing = look(connection, settings, store)
        if standing.state is OwnershipState.OWNER:
            return f"nothing to do: {standing.why}"
        _require_other_place(connection, settings, store, standing)
        owner = Owner(uuid4(), 1)
        former = standing.installation.installation_id if standing.installation else None
        change = (
            f"this database ({standing.identity}) leaves installation {former or '(none)'} and becomes "
            f"an installation of its own at {location_of(store.url)}; installation {former or 'none'} is not touched"
        )
        _require_consent(asked, change, former or owner.installation_id)
        _take(connection, settings, store, owner, "separated", standing)
        return f"done: {change}; its id is {owner.installation_id}"


def _is_log_ahead(connection: Connection, settings: Settings, standing: Standing) -> bool:
    """Return whether the archive has parts of the log that PostgreSQL lacks. Raises ForkError on a contradiction."""
    own = standing.installation
    if own is None:
        return False
    number = own.installation_id
    return find_ahead(connection, settings, number) is not None or has_leftovers(connection, settings, number)


def _require_consent(asked: Asked, change: str, repeated: UUID) -> None:
    if not asked(change, repeated):
        raise ConfigError("not confirmed: nothing was changed; repeat the installation's id, or give --yes")


def _require_own_objects(connection: Connection, settings: Settings, store: ObjectStore, standing: Standing) -> None:
    """Raise OwnershipError where nothing shows that the archive is the one that the catalogue speaks of."""
    if standing.marker is not None and standing.installation is not None:
        if standing.marker.installation != standing.installation.installation_id:
            raise OwnershipError(
                f"the archive at {location_of(store.url)} belongs to installation {standing.marker.installation}, not "
                f"to {standing.installation.installation_id}: set TREASURY_ARCHIVE_URL to the archive of the latter"
            )
        if not known_objects(connection):
            return
    if problem := why_not_free(connection, settings, store):
        raise OwnershipError(problem)


def _require_other_place(connection: Connection, settings: Settings, store: ObjectStore, standing: Standing) -> None:
    """Raise OwnershipError unless the archive lies elsewhere than the one that this database was copied from."""
    if standing.state is OwnershipState.UNREADABLE:
        raise OwnershipError(standing.why)
    known = [*known_objects(connection), *former_manifests(connection)]
    former = [standing.marker.location] if standing.marker else []
    if known and standing.installation is not None and standing.installation.location is not None:
        former.append(standing.installation.location)
    if any(is_same_location(place, store.url) for place in former):
        raise OwnershipError(
            f"{location_of(store.url)} is the archive that this database was copied from, not one of its own. Copy its "
            "objects to another prefix, set TREASURY_ARCHIVE_URL here to it, then run `treasury installation separate`"
        )
    if known and not is_any_there(store, known):
        raise OwnershipError(
            f"none of the objects that the catalogue names, such as {known[0][0]}, is at {location_of(store.url)}. "
            "Copy them there from the archive that this database was copied from"
        )
    if not known and (standing.marker is not None or why_not_free(connection, settings, store)):
        raise OwnershipError(
            f"{location_of(store.url)} holds objects that this database does not know: set TREASURY_ARCHIVE_URL to an "
            "empty prefix"
        )


def _next_incarnation(standing: Standing) -> Owner:
    own, marker = standing.installation, standing.marker
    installation_id = own.installation_id if own else uuid4()
    return Owner(installation_id, max(_incarnation(own), _incarnation(marker)) + 1)


def _incarnation(writer: Installation | Marker | None) -> int:
    return writer.incarnation if writer else 0


def _take(
    connection: Connection, settings: Settings, store: ObjectStore, owner: Owner, event: str, standing: Standing
) -> None:
    """PostgreSQL first, then the marker: killed between, the database is refused until the command runs again."""
    identity, token = read_identity(connection), uuid4()
    with connection.transaction():
        become(connection, owner, identity, token)
    put_marker(connection, settings, store, owner, token)
    ahead = find_ahead(connection, settings, owner.installation_id)  # again: now the former database may not publish
    with connection.transaction():
        confirm(connection, owner, token, location_of(store.url), identity)
        add_event(connection, owner, event, **_former(standing, store))
        record_incarnation(connection, owner, _former_owner(standing), ahead)
        if ahead is not None:
            _take_over_life(connection, store, owner, ahead)


def _take_over_life(connection: Connection, store: ObjectStore, owner: Owner, ahead: Ahead) -> None:
    """Enter the holds and deletions of the entries that this database lacked, with the rows that holds have kept."""
    events = [Event.from_bytes(entry) for entry in ahead.log.entries[ahead.common :]]
    everything = [Event.from_bytes(entry) for entry in ahead.log.entries]
    take_over_returns(connection, store, owner, everything, ahead.common)
    restore_life(connection, store, events)
    for archived, at in kept_parts(events):
        if not has_part(connection, archived, Month.parse(archived.month).first_day):
            add_archived(connection, store, owner, archived, at)


def _former_owner(standing: Standing) -> Owner | None:
    own = standing.installation
    return Owner(own.installation_id, own.incarnation) if own else None


def _former(standing: Standing, store: ObjectStore) -> dict[str, object]:
    own, marker = standing.installation, standing.marker
    return {
        "state": str(standing.state),
        "location": location_of(store.url),
        "installation": str(own.installation_id) if own else None,
        "incarnation": own.incarnation if own else None,
        "database": str(own.identity) if own else None,
        "marker": marker.model_dump(mode="json") if marker else None,
    }
