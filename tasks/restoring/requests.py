"""Requests to make deep months readable: the store copies their objects back for some days, and says when it has.

Nothing moves in the catalogue: a month stays deep, and its copy goes away by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg.types.json import Jsonb

from config import Settings
from ledger.errors import ConfigError
from ledger.months import Month, months_between
from ledger.tables import TieredTable
from sql.connection import Connection, connect
from sql.queries import load
from sql.storing import check_stored
from storage.storage_classes import ClassState, StorageClasses
from storage.store import ObjectStore
from tasks.archiving.catalogue import MonthState
from tasks.restoring.restore import archived_states

_TIERS = load("tiers")


class RetrievalTier(StrEnum):
    """How fast, and how dear, a restore is: the names of S3 in lower case."""

    BULK = "bulk"
    STANDARD = "standard"
    EXPEDITED = "expedited"


class Readability(StrEnum):
    """What the store says of an object."""

    READABLE = "readable"
    RESTORING = "being restored"
    REQUESTED = "requested"


# What Amazon S3 says: docs/deep-tier.md has the source. Other stores have times of their own.
_HOURS = {
    ("DEEP_ARCHIVE", RetrievalTier.BULK): "48 hours",
    ("DEEP_ARCHIVE", RetrievalTier.STANDARD): "12 hours",
    ("GLACIER", RetrievalTier.BULK): "12 hours",
    ("GLACIER", RetrievalTier.STANDARD): "5 hours",
    ("GLACIER", RetrievalTier.EXPEDITED): "5 minutes",
}


@dataclass(frozen=True, slots=True)
class RequestedPart:
    """A part of a month: what the store says of its object. ``readable_until`` is the end of a restored copy, UTC.

    ``within`` is how long Amazon S3 takes at most, empty where that is not known.
    """

    table: str
    month: Month
    part: int
    key: str
    size_bytes: int
    storage_class: str
    state: Readability
    readable_until: datetime | None = None
    within: str = ""

    def as_json(self) -> dict[str, Any]:
        """The part in JSON's types."""
        return {
            "table": self.table,
            "month": str(self.month),
            "part": self.part,
            "key": self.key,
            "size_bytes": self.size_bytes,
            "storage_class": self.storage_class,
            "state": str(self.state),
            "readable_until": self.readable_until.isoformat() if self.readable_until else None,
            "within": self.within,
        }


def request_restore(
    settings: Settings, table: TieredTable, first: Month, last: Month, days: int, tier: RetrievalTier
) -> list[RequestedPart]:
    """Ask the store to make the archived parts of some months readable for some days; returns what it says of each.

    A second call asks for nothing that is under way or readable, and shows how far it is. All errors come before
    anything is asked for. Raises ConfigError for a store without such requests or a tier that it does not have. Raises
    the errors of restoring for a month that is not archived. Safe to run again.
    """
    if last < first:
        raise ConfigError(f"months: {last} is before {first}")
    with connect(settings.database_dsn, "restore request") as connection:
        states = [state for month in months_between(first, last) for state in archived_states(connection, table, month)]
        looks = [(state, _look(settings, state, tier)) for state in states]
        return [_asked(connection, settings, table, state, look, days, tier) for state, look in looks]


def _look(settings: Settings, state: MonthState, tier: RetrievalTier) -> ClassState | None:
    """What the store says of a part's object that cannot be read; None for one that can."""
    key = _key(state)
    if ObjectStore(settings).is_readable(key):
        return None
    class_state = StorageClasses(settings).state(key)
    if class_state.storage_class == "DEEP_ARCHIVE" and tier is RetrievalTier.EXPEDITED:
        raise ConfigError(f"--tier expedited: {key} is in DEEP_ARCHIVE, which has standard and bulk only")
    return class_state


def _asked(
    connection: Connection,
    settings: Settings,
    table: TieredTable,
    state: MonthState,
    look: ClassState | None,
    days: int,
    tier: RetrievalTier,
) -> RequestedPart:
    classes, key = StorageClasses(settings), _key(state)
    if look is None:
        class_state = classes.state(key)
        return _part(table, state, class_state, Readability.READABLE, "")
    within = _HOURS.get((look.storage_class, tier), "")
    if look.restoring:
        return _part(table, state, look, Readability.RESTORING, within)
    classes.restore(key, days, tier.value.capitalize())
    detail = Jsonb({"part": state.catalogue.part, "days": days, "tier": str(tier)})
    event = {"table": table.name, "month": state.month.first_day, "event": "restore requested", "detail": detail}
    check_stored(connection.execute(_TIERS["add_event"], event), 1, "archive_events")
    is_readable = ObjectStore(settings).is_readable(key)
    return _part(
        table, state, classes.state(key), Readability.READABLE if is_readable else Readability.REQUESTED, within
    )


def _part(
    table: TieredTable, state: MonthState, class_state: ClassState, readability: Readability, within: str
) -> RequestedPart:
    return RequestedPart(
        table.name,
        state.month,
        state.catalogue.part,
        _key(state),
        class_state.size_bytes,
        class_state.storage_class,
        readability,
        class_state.readable_until,
        "" if readability is Readability.READABLE else within,
    )


def _key(state: MonthState) -> str:
    return state.catalogue.object_key or ""


def is_done(parts: Sequence[RequestedPart]) -> bool:
    """Whether every part can be read."""
    return all(part.state is Readability.READABLE for part in parts)
