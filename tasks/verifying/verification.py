"""The archive verified from its bucket: the log, every month that must exist, and what else lies in its folders.

Needs no database: PostgreSQL is one more witness where it is there. Changes nothing in the archive; safe to run again.
"""

import random
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath

from config import Settings
from ledger.counts import counted
from ledger.errors import DataError, DeepTierError, NotFoundError
from ledger.months import Month
from ledger.transparency.policies import LogPolicy
from sql.connection import Connection
from storage.layout import CERTIFICATES, HOLDS, MANIFESTS, ORDERS, RETURNS, TREES
from storage.marker import KEY as MARKER
from storage.marker import Marker
from storage.store import ObjectStore
from storage.unreadable import MOVED
from tasks.transparency.archived_log import CHECKPOINT
from tasks.transparency.timestamps import read_certificates
from tasks.verifying.findings import VerificationReport
from tasks.verifying.gone_months import certificate_keys, check_gone, check_records, gone_keys, gone_months
from tasks.verifying.known_log import KnownLog, know_log
from tasks.verifying.log_verification import LogVerification
from tasks.verifying.month_verification import MonthVerification
from tasks.verifying.remembered_log import RememberedLog, recall, remember
from tasks.verifying.verified_log import ExpectedMonth, VerifiedLog

_ATTEMPTS = 3
PartKey = tuple[str, str, int]
"""A table, a month as YYYY-MM, and the number of a part."""
_DATA = re.compile(r"[^/]+/month=\d{4}-\d{2}/.+")
_RECORDS = tuple(f"{folder}/" for folder in (HOLDS, ORDERS, RETURNS, CERTIFICATES))


@dataclass(frozen=True, slots=True)
class VerificationScope:
    """The months that are verified, and how. ``sample``: the objects of so many months are read, the others looked at.
    ``parts``: those of these parts are read, the others looked at. ``former``: of the parts that went back to warm,
    those whose objects with rows have these keys are read then.
    """

    table: str | None = None
    first: Month | None = None
    last: Month | None = None
    deep: bool = False
    sample: int | None = None
    parts: frozenset[PartKey] | None = None
    former: frozenset[str] = frozenset()

    def reads_former(self, expected: ExpectedMonth) -> bool:
        """Return whether the objects of a part that went back to warm are read."""
        is_chosen = any(stored.key in self.former for stored in expected.objects)
        return is_chosen if self.parts is not None else self.sample is None

    def includes(self, expected: ExpectedMonth) -> bool:
        """Return whether a part of a month is in the scope."""
        month = Month.parse(expected.month)
        is_in_span = (self.first is None or self.first <= month) and (self.last is None or month <= self.last)
        return is_in_span and self.table in (None, expected.table)

    def require_any(self, months: Iterable[ExpectedMonth]) -> None:
        """Raise NotFoundError where a table or a span is named, and no month that must exist is in it."""
        is_narrow = self.table is not None or self.first is not None or self.last is not None
        if is_narrow and not any(map(self.includes, months)):
            named = " ".join(str(part) for part in (self.table, self.first, self.last) if part is not None)
            raise NotFoundError(f"{named}: the log has no archived month of this table or in this span")


def verify_archive(
    settings: Settings,
    scope: VerificationScope,
    connection: Connection | None = None,
    policy: LogPolicy | None = None,
    chance: random.Random | None = None,
) -> VerificationReport:
    """Verify the archive; everything that is wrong is in the report.

    ``connection`` is None for an archive that is verified alone, by the keys of ``policy`` or of this home. What was
    verified is remembered in the home where nothing is wrong. Raises ConfigError where nobody names a key of the log,
    NotFoundError for a scope without a month, and the store's errors.
    """
    store = ObjectStore(settings)
    known = know_log(settings, store, connection, policy)
    if known is None:
        return _of_nothing(store)
    remembered = recall(settings.home, known.origin)
    if _is_unpublished(known, remembered, store):
        report = _of_nothing(store)
        report.notes.append("no log was published yet: `treasury log publish`")
        return report
    report, log, listed = _verified_log(settings, store, known, remembered)
    _check_marker(store, known, log, report)
    _check_months(settings, store, listed, log, scope, report, chance or random.SystemRandom())
    check_records(store, log.records, report)
    check_gone(listed, log.gone, report)
    _check_strays(listed, known, log, report)

    def know_again() -> KnownLog | None:
        return know_log(settings, store, connection, policy)

    _check_stray_records(listed, known, log, report, know_again)
    _check_catalogue(known, log, report, know_again)
    if not report.findings:
        scope.require_any([*log.months, *log.returned, *gone_months(log.gone)])
    if log.remembered is not None and not report.findings:
        remember(settings.home, log.remembered)
    return report


def _is_unpublished(known: KnownLog, remembered: RememberedLog | None, store: ObjectStore) -> bool:
    """Return whether PostgreSQL itself says that the log was never published, and nobody knows better."""
    database = known.database
    is_new = database is not None and database.published_size == 0 and remembered is None and known.policy is None
    return is_new and store.find_bytes(f"{known.folder}/{CHECKPOINT}") is None


def _of_nothing(store: ObjectStore) -> VerificationReport:
    """The report of an archive whose database has archived nothing."""
    report = VerificationReport()
    for key in store.sizes(""):
        if _DATA.fullmatch(key) or key.startswith((MANIFESTS, TREES)):
            report.add(key, "PostgreSQL has archived nothing, and no log names it")
    return report


def _verified_log(
    settings: Settings, store: ObjectStore, known: KnownLog, remembered: RememberedLog | None
) -> tuple[VerificationReport, VerifiedLog, Mapping[str, int]]:
    """The log; once more where it was published meanwhile."""
    certificates = [] if settings.tsa_certificates is None else read_certificates(settings.tsa_certificates)
    for attempt in range(_ATTEMPTS):
        checkpoint = _find_checkpoint(store, known)
        listed, report = store.sizes(""), VerificationReport()
        log = LogVerification(store, known, listed, report).run(remembered, certificates)
        is_still = _find_checkpoint(store, known) == checkpoint
        if not report.findings or is_still or attempt == _ATTEMPTS - 1:
            break
    return report, log, listed


def _find_checkpoint(store: ObjectStore, known: KnownLog) -> bytes | None:
    """The checkpoint's bytes; None for one that is absent or must be restored first, which the log's findings name."""
    with suppress(DeepTierError):
        return store.find_bytes(f"{known.folder}/{CHECKPOINT}")
    return None


def _check_marker(store: ObjectStore, known: KnownLog, log: VerifiedLog, report: VerificationReport) -> None:
    """The marker names the installation of the log; PostgreSQL knows its token."""
    try:
        content = store.find_bytes(MARKER)
    except DeepTierError:
        report.add(MARKER, MOVED)
        return
    if content is None:
        report.add(MARKER, "is missing: the first write to an archive makes it")
        return
    try:
        marker = Marker.from_bytes(content)
    except DataError as error:
        report.add(MARKER, str(error))
        return
    if f"treasury/{marker.installation}" != known.origin:
        report.add(MARKER, f"names the installation {marker.installation}, and the log is {known.origin}")
    elif log.is_whole and marker.incarnation < log.incarnation:
        report.add(MARKER, f"names the incarnation {marker.incarnation}, and the log has events of {log.incarnation}")
    if known.database is not None and known.database.marker:
        report.add(MARKER, known.database.marker)


def _check_months(
    settings: Settings,
    store: ObjectStore,
    listed: Mapping[str, int],
    log: VerifiedLog,
    scope: VerificationScope,
    report: VerificationReport,
    chance: random.Random,
) -> None:
    wanted = [expected for expected in log.months if scope.includes(expected)]
    read = set(range(len(wanted)))
    if scope.sample is not None and scope.sample < len(wanted):
        read = set(chance.sample(range(len(wanted)), scope.sample))
    if scope.parts is not None:
        read = {
            number
            for number, expected in enumerate(wanted)
            if (expected.table, expected.month, expected.part) in scope.parts
        }
    months = MonthVerification(settings, store, listed, report)
    for number, expected in enumerate(wanted):
        if number in read:
            months.verify(expected, deep=scope.deep)
        else:
            months.look(expected)
    for former in log.returned:
        if scope.includes(former):
            months.check_former(former, read=scope.reads_former(former))
    for (table, month), (index, returned) in sorted(log.in_work.items()):
        report.notes.append(
            f"{table} {month} went back to warm by entry {index}, in work until {returned.until}: its rows are in "
            "PostgreSQL, and its former objects stay"
        )


def _check_strays(listed: Mapping[str, int], known: KnownLog, log: VerifiedLog, report: VerificationReport) -> None:
    """Objects in the folders of data that no month names: known leftovers are counted, others are findings."""
    there = (*log.months, *log.returned)
    named = {key for month in there for key in (month.manifest.key, *(stored.key for stored in month.objects))}
    uploads = known.database.uploads if known.database is not None else {}
    gone = gone_keys(log.gone)
    for key in listed:
        is_data = _DATA.fullmatch(key) or key.startswith((f"{MANIFESTS}/", f"{TREES}/"))
        is_of_table = key.partition("/")[0] in log.tables
        if key in named or key in gone or not (is_data or is_of_table):
            continue
        if key in uploads or key in log.former:
            report.counts["leftovers"] += 1
        else:
            report.add(
                key,
                "is named by no entry of the log: a run that is under way or was interrupted left it, or somebody put "
                "it there",
            )


def _check_stray_records(
    listed: Mapping[str, int],
    known: KnownLog,
    log: VerifiedLog,
    report: VerificationReport,
    know_again: Callable[[], KnownLog | None],
) -> None:
    """Records that no entry names. A certificate of this installation is a finding, unless its deletion is under way:
    somebody may show it. So is a record that PostgreSQL, where it is there, has not begun itself. Of the others a run
    that was killed leaves some, or their events wait: one note counts them.
    """
    if not log.is_whole:
        return
    ours = f"{CERTIFICATES}/DEL-{known.origin.removeprefix('treasury/')[:8]}-"
    named = {record.key for _, record in log.records} | set(certificate_keys(log.gone))
    under_way = {
        deletion.begun[1].certificate for deletion in log.gone.values() if deletion.begun and deletion.deleted is None
    }
    strays = [key for key in listed if key.startswith(_RECORDS) and key not in named]
    for key in strays:
        if key.startswith(ours) and PurePosixPath(key).stem not in under_way:
            report.add(key, "is a certificate that no entry of the log names: it is not valid")
    others = [key for key in strays if not key.startswith(ours)]
    if known.database is not None:
        begun = known.database.records
        if not set(others) <= begun and (again := know_again()) is not None and again.database is not None:
            begun = again.database.records  # one may have been begun since
        for key in others:
            if key not in begun:
                report.add(key, "is a record that no entry of the log names, and that this database has not made")
        others = [key for key in others if key in begun]
    if others:
        report.notes.append(
            f"{counted(len(others), 'record')} of holds, deletions or returns not in the log, such as {others[0]}. The "
            "event waits, an interrupted run or another installation left it, or somebody put it there"
        )


def _check_catalogue(
    known: KnownLog, log: VerifiedLog, report: VerificationReport, know_again: Callable[[], KnownLog | None]
) -> None:
    """The months of the log and those of PostgreSQL's catalogue are the same, but for those whose events wait.

    ``know_again`` is asked where one differs: a month may have been archived and published since ``known`` was read.
    """
    if known.database is None or not log.is_whole:
        return
    if waiting := known.database.waiting:
        waits = counted(waiting, "event waits for its", "events wait for their")
        report.notes.append(f"{waits} publication: `treasury log publish`")
    differing = _differing(known, log)
    if differing:
        again = know_again()
        differing = [] if again is None else [part for part in _differing(again, log) if part in differing]
    for table, month, part in differing:
        report.add(f"{table} {month}, part {part}", "the log and PostgreSQL's catalogue name different manifests")


def _differing(known: KnownLog, log: VerifiedLog) -> list[tuple[str, str, int]]:
    """The parts that the log and the catalogue do not agree on, and of whose month no event waits."""
    if known.database is None:
        return []
    logged = {(month.table, month.month, month.part): month.manifest.sha256 for month in log.months}
    catalogued = {(month.table, month.month, month.part): month.manifest.sha256 for month in known.database.months}
    return [
        part
        for part in sorted(logged.keys() | catalogued.keys())
        if logged.get(part) != catalogued.get(part) and part[:2] not in known.database.waiting_months
    ]
