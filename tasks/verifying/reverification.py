"""Every night a part of the archive is read again, row by row, so that no byte is unverified for longer than a setting.

The whole log and the presence and size of every object are verified each night. Of a month that went back to warm the
former objects are read in their turn, byte by byte. What is in a storage class of its own
is looked at in the store, and read when somebody has restored it. What was found whole is recorded, in
the public log too; what is wrong raises an alert.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from config import Settings
from ledger.alerts import Alert, AlertRule, Severity
from ledger.errors import VerificationError
from ledger.months import Month
from ledger.transparency.events import Reverified
from sql.connection import Connection, connect
from sql.log import record_event
from sql.verified import PartAge, mark_verified, part_ages
from storage.marker import KEY as MARKER
from storage.unreadable import MOVED
from tasks.alerting.store import raise_alert, resolve_alert
from tasks.archiving.ownership import check_ownership
from tasks.verifying.findings import ArchiveFinding, CheckedMonth, VerificationReport
from tasks.verifying.storage_classes import look_at_classes
from tasks.verifying.verification import VerificationScope, verify_archive

DAMAGED = "archive-damaged"
ARCHIVE = "archive"
_SHOWN = 20
_MARGIN_DAYS = 10  # nights that may fail before a byte is too old


def verification_rules(_: Settings) -> list[AlertRule]:
    """The archive is not what its log says."""
    title = "Objects of the archive or of its public log are not what was signed"
    return [AlertRule(DAMAGED, title, Severity.CRITICAL, "the nightly verification, or the monthly drill, finds one")]


@dataclass(frozen=True, slots=True)
class Night:
    """What one night read: parts of months, their rows and bytes with rows."""

    parts: int
    rows: int
    size_bytes: int


def choose_parts(ages: Sequence[PartAge], now: datetime, within_days: int) -> list[PartAge]:
    """The parts to read tonight from ``ages``, oldest first: all that come due, and enough bytes for a steady pace.

    Twice as many bytes as a steady pace needs, so that a night that fails is made up for.
    """
    due_at = now - timedelta(days=max(within_days - _MARGIN_DAYS, within_days // 2))
    pace = 2 * sum(age.size_bytes for age in ages) / within_days
    chosen, size_bytes = [], 0
    for age in ages:
        if age.verified_at > due_at and size_bytes >= pace:
            break
        chosen.append(age)
        size_bytes += age.size_bytes
    return chosen


def reverify(settings: Settings, now: datetime | None = None) -> Night:
    """Verify the log, look at all objects, and read what is due. Safe to run again: it then reads what is due next.

    Raises VerificationError naming everything that is wrong, with an alert, after what is whole was recorded. Raises
    the store's errors, and OwnershipError where the archive is not this database's.
    """
    with connect(settings.database_dsn, "verify") as connection:
        looked = look_at_classes(connection, settings)
        ages = sorted([*part_ages(connection), *looked.readable], key=lambda age: age.verified_at)
        chosen = choose_parts(ages, now or datetime.now(UTC), settings.verify_within_days)
        present = frozenset((age.table_name, age.month, age.part) for age in chosen if age.former_key is None)
        former = frozenset(age.former_key for age in chosen if age.former_key is not None)
        scope = VerificationScope(parts=present | looked.changed, former=former, deep=True)
        report = verify_archive(settings, scope, connection)
        for place, text in looked.findings:
            report.add(place, text)
        if ArchiveFinding(MARKER, MOVED) not in report.findings:  # without the marker nobody is known to be the owner
            _record(connection, settings, report.months)
        report_damage(connection, report)
    return Night(len(report.months), report.counts["rows"], sum(month.size_bytes for month in report.months))


def report_damage(connection: Connection, report: VerificationReport, subject: str = ARCHIVE) -> None:
    """Raise the alert and VerificationError where something is wrong; else resolve the alert."""
    if not report.findings:
        resolve_alert(connection, DAMAGED, subject)
        return
    lines = [str(finding) for finding in report.findings]
    alert = Alert(
        DAMAGED,
        subject,
        Severity.CRITICAL,
        f"{len(lines)} things are wrong in the archive; the first: {lines[0]}",
        "Run `treasury verify`, which names all of them. Restore each object from a version or a copy of the bucket: "
        "its SHA-256 is in the log. Find out who writes to the bucket.",
        {"findings": lines[:_SHOWN]},
    )
    raise_alert(connection, alert)
    raise VerificationError("; ".join(lines))


def _record(connection: Connection, settings: Settings, months: Sequence[CheckedMonth]) -> None:
    """Record what was whole; each part with its event in one transaction."""
    if not months:
        return
    owner = check_ownership(connection, settings)
    for month in months:
        with connection.transaction():
            first_day = Month.parse(month.month).first_day
            mark_verified(connection, month.keys, month.table, first_day, month.part, deep=month.deep)
            body = Reverified(
                table=month.table,
                month=month.month,
                part=month.part,
                deep=month.deep,
                manifest_sha256=month.manifest_sha256,
            )
            record_event(connection, owner, body)
