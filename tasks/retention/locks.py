"""Write once: a month's objects are locked until its deletion date, and held in the store as long as a hold keeps it.

The store is asked after PostgreSQL has recorded what for, so a run that was killed is completed by the next. What the
store does not keep as it was asked is a difference: it is asked again, and people are notified.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time

from config import Settings
from ledger.alerts import Alert, AlertRule, Severity
from ledger.counts import counted
from ledger.errors import ConfigError, TreasuryError, VerificationError
from ledger.holds import Hold, holds_on
from ledger.months import Month
from ledger.retention import due_on
from sql.clock import read_now
from sql.connection import Connection, connect
from sql.holds import open_holds
from sql.locks import (
    LockedObject,
    Promise,
    archived_objects,
    clear_hold,
    intend_hold,
    intend_retention,
    placed_holds,
    promised_until,
    promises,
    took_hold,
    took_retention,
)
from storage.object_locks import LockMode, ObjectLocks
from storage.versions import ObjectVersion, VersionedStore
from tasks.alerting.store import raise_alert, resolve_alert
from tasks.retention.subjects import has_column

DIFFERING = "locks-differ"
UNHELD = "store-holds-wait"
_SUBJECT = "archive"
_SHOWN = 20


def lock_rules(_: Settings) -> list[AlertRule]:
    """The store does not keep what it was asked to."""
    return [
        AlertRule(
            DIFFERING,
            "The object store does not keep objects as it was asked to",
            Severity.CRITICAL,
            "the nightly comparison finds a version without its retention or its legal hold, or with an unknown one",
        ),
        AlertRule(
            UNHELD,
            "A legal hold is not on the store's objects yet",
            Severity.WARNING,
            "the store did not take the hold or its release; the nightly comparison tries again",
        ),
    ]


@dataclass(frozen=True, slots=True)
class LockComparison:
    """The result of a comparison: objects looked at, versions that were locked, held and released, and differences."""

    objects: int = 0
    locked: int = 0
    held: int = 0
    released: int = 0
    differences: tuple[str, ...] = ()


def write_once_mode(settings: Settings, locks: ObjectLocks) -> LockMode | None:
    """The mode that objects are locked in; None where they are not.

    Raises ConfigError where the settings require a lock and the bucket has none.
    """
    if settings.write_once == "off":
        return None
    if locks.are_offered():
        return LockMode.COMPLIANCE if settings.write_once == "compliance" else LockMode.GOVERNANCE
    if settings.write_once == "offered":
        return None
    raise ConfigError(
        f"TREASURY_WRITE_ONCE is {settings.write_once}, and {settings.archive_location} has no Object Lock: make a "
        "bucket with Object Lock, or set TREASURY_WRITE_ONCE=offered"
    )


def lock_new_objects(
    connection: Connection, settings: Settings, table: str, month: Month, part: int, keys: Sequence[str]
) -> int:
    """Lock the objects of a month that is about to go cold, each of one version; returns how many versions.

    Raises VerificationError where an object has other versions than the one that was read back. Raises ConfigError
    where the settings require a lock that the bucket does not have, and the store's errors. Safe to run again.
    """
    locks = ObjectLocks(settings)
    mode = write_once_mode(settings, locks)
    if mode is None:
        return 0
    work = _Comparison(connection, settings, locks, mode, open_holds(connection), read_now(connection))
    objects = [LockedObject(table, month.first_day, part, key) for key in keys]
    for locked in objects:
        versions = work.store.versions(locked.object_key)
        if len(versions) != 1:
            raise VerificationError(
                f"{locked.object_key}: has {len(versions)} versions, and one was written: somebody replaced it"
            )
        work.keep(locked, versions[0], None)
    return len(objects)


def compare_locks(
    settings: Settings, table: str | None = None, first: Month | None = None, last: Month | None = None
) -> LockComparison:
    """Compare the locks of the store with what they must be, of all archived months or of some, and ask for what lacks.

    Safe to run again and beside other work. Raises ConfigError where the settings require a lock that the bucket does
    not have, and the store's errors.
    """
    locks = ObjectLocks(settings)
    mode = write_once_mode(settings, locks)
    if mode is None:
        return LockComparison()
    with connect(settings.database_dsn, "locks") as connection:
        work = _Comparison(connection, settings, locks, mode, open_holds(connection), read_now(connection))
        return work.compare(archived_objects(connection, table, first, last))


def check_locks(settings: Settings) -> LockComparison:
    """`compare_locks` of everything, with an alert that names each difference.

    Raises VerificationError naming the differences, after everything that lacks was asked for again.
    """
    comparison = compare_locks(settings)
    with connect(settings.database_dsn, "locks") as connection:
        lines = [*comparison.differences, *shortened(connection, settings)]
        resolve_alert(connection, UNHELD, _SUBJECT)
        if not lines:
            resolve_alert(connection, DIFFERING, _SUBJECT)
            return comparison
        alert = Alert(
            DIFFERING,
            _SUBJECT,
            Severity.CRITICAL,
            f"{len(lines)} differences between the locks of the store and what it was asked for; the first: {lines[0]}",
            "Find out who changes locks or replaces objects in the bucket. What was missing was asked for again: run "
            "`treasury policy check`, and `treasury storage-check` to see what the store really keeps.",
            {"differences": lines[:_SHOWN]},
        )
        raise_alert(connection, alert)
    raise VerificationError("; ".join(lines))


def follow_hold(settings: Settings, hold: Hold) -> None:
    """Bring the store's legal holds up to a hold that was placed or released.

    The hold itself is in PostgreSQL already, and keeps the rows. Where the store does not take it, an alert says so
    and the nightly comparison tries again.
    """
    scope = hold.scope
    try:
        compare_locks(settings, scope.table, scope.first, scope.last)
    except TreasuryError as error:
        with connect(settings.database_dsn, "locks") as connection:
            alert = Alert(
                UNHELD,
                _SUBJECT,
                Severity.WARNING,
                f"{hold.name}: {error}",
                "Nothing is deleted meanwhile. The nightly comparison tries again; `treasury hold show` has the hold.",
                {},
            )
            raise_alert(connection, alert)


def release_store_holds(connection: Connection, settings: Settings, key: str) -> None:
    """Take this project's legal holds off an object that is deleted. One that somebody else placed stays."""
    locks = ObjectLocks(settings)
    for version in placed_holds(connection, key):
        if any(stored_version.version == version for stored_version in VersionedStore(settings).versions(key)):
            locks.hold(key, version, on=False)
        clear_hold(connection, key, version)


def shortened(connection: Connection, settings: Settings) -> list[str]:
    """The months that a lock keeps longer than their table's policy says now: a promise that is not shortened."""
    lines = []
    for table in settings.registry.values():
        longer = {
            month: until
            for month, until in promised_until(connection, table.name).items()
            if until > _end(settings, table.name, month)
        }
        if longer:
            month, until = min(longer.items())
            lines.append(
                f"{table.name}: retention_months {table.policy.retention_months} is less than the promise of the locks "
                f"of {counted(len(longer), 'month')}: {month} is locked until {until:%Y-%m-%d}. Nothing of them is "
                "deleted before: set retention_months back"
            )
    return lines


def _end(settings: Settings, table: str, month: Month) -> datetime:
    """When a month may be deleted: the first instant of its due date, UTC."""
    return datetime.combine(due_on(settings.table(table).policy, month), time(), UTC)


@dataclass(frozen=True, slots=True)
class _Comparison:
    """A comparison in hand."""

    connection: Connection
    settings: Settings
    locks: ObjectLocks
    mode: LockMode
    holds: Sequence[Hold]
    now: datetime

    @property
    def store(self) -> VersionedStore:
        return VersionedStore(self.settings)

    def compare(self, objects: Sequence[LockedObject]) -> LockComparison:
        counts = {"locked": 0, "held": 0, "released": 0}
        differences: list[str] = []
        known = promises(self.connection, [locked.object_key for locked in objects])
        store = self.store
        for locked in objects:
            if locked.table_name not in self.settings.registry:
                continue
            versions = [version for version in store.versions(locked.object_key) if not version.is_marker]
            if len(versions) > 1:
                differences.append(f"{locked.object_key}: has {len(versions)} versions, and one was written")
            for version in versions:
                promise = known.get((locked.object_key, version.version))
                differences += self.differences(locked, version, promise)
                for what in self.keep(locked, version, promise):
                    counts[what] += 1
        return LockComparison(len(objects), **counts, differences=tuple(differences))

    def keep(self, locked: LockedObject, version: ObjectVersion, promise: Promise | None) -> list[str]:
        """Ask the store for what a version lacks; returns what was asked for."""
        done = []
        if (
            promise is None
            and version.locked_until is not None
            and version.locked_until > self.now
            and version.lock_mode
        ):
            # Of a former database, or by a rule of the bucket: a promise like any other.
            intend_retention(self.connection, locked, version.version, version.lock_mode, version.locked_until)
            took_retention(self.connection, locked.object_key, version.version, version.locked_until)
        until = self.wanted_until(locked, promise)
        if until > self.now and (version.locked_until is None or version.locked_until < until):
            mode = LockMode.stronger(version.lock_mode, self.mode)
            intend_retention(self.connection, locked, version.version, mode, until)
            self.locks.retain(locked.object_key, version.version, mode, until)
            took_retention(self.connection, locked.object_key, version.version, until)
            done.append("locked")
        is_wanted, is_ours = self.is_held(locked), promise is not None and promise.hold_placed_at is not None
        if is_wanted and not version.legal_hold:
            intend_hold(self.connection, locked, version.version)
            self.locks.hold(locked.object_key, version.version, on=True)
            took_hold(self.connection, locked.object_key, version.version)
            done.append("held")
        elif is_ours and not is_wanted:
            if version.legal_hold:
                self.locks.hold(locked.object_key, version.version, on=False)
                done.append("released")
            clear_hold(self.connection, locked.object_key, version.version)
        return done

    def wanted_until(self, locked: LockedObject, promise: Promise | None) -> datetime:
        """Until when a version must be kept: by the policy, or by a former one that promised longer."""
        wanted = _end(self.settings, locked.table_name, Month.of(locked.month))
        promised = None if promise is None else promise.locked_until
        return wanted if promised is None else max(wanted, promised)

    def is_held(self, locked: LockedObject) -> bool:
        """Whether an open hold keeps rows of the object's month."""
        table = self.settings.table(locked.table_name)
        whole, some = holds_on(self.holds, locked.table_name, Month.of(locked.month))
        subjects = {hold.scope.subject for hold in some if hold.scope.subject is not None}
        return bool(whole) or any(has_column(self.connection, table, subject) for subject in subjects)

    def differences(self, locked: LockedObject, version: ObjectVersion, promise: Promise | None) -> Iterator[str]:
        """What the store does not keep as it was asked to, of a version."""
        named = f"{locked.object_key}, version {version.version}"
        promised = None if promise is None else promise.kept_until
        if promised is not None and promised > self.now:
            if version.locked_until is None:
                yield f"{named}: its retention until {promised:%Y-%m-%d} was taken off"
            elif version.locked_until < promised:
                yield f"{named}: its retention until {promised:%Y-%m-%d} ends on {version.locked_until:%Y-%m-%d} now"
        is_ours = promise is not None and promise.hold_placed_at is not None
        was_taken = promise is not None and promise.hold_taken_at is not None
        if was_taken and not version.legal_hold and self.is_held(locked):
            yield f"{named}: the store's legal hold was taken off, and {locked} is held"
        elif version.legal_hold and not is_ours and not self.is_held(locked):
            yield f"{named}: the store has a legal hold that no hold of Treasury asks for"
