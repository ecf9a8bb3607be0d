"""Intake of suppliers' statements: each file once, read strictly, kept as canonical Parquet, or refused whole.

Of a file that is taken in, the archive gets the canonical table, under a key that no other database can intend. The
catalogue gets one row. The file itself is not kept, for a supplier's may hold card numbers. Its SHA-256 is, so that
anybody who has it can prove which one it was. A file that breaks a rule leaves a row with the reason, and an alert.
"""

import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

import pyarrow.parquet as pq

from config import Settings
from ledger.alerts import Alert, Severity
from ledger.business_days import ZONE, bounds
from ledger.card_finder import mask_card_numbers
from ledger.errors import TransientError
from ledger.masking import cut
from sql.connection import Connection, connect
from sql.queries import load
from sql.storing import fetch_stored
from storage.parquet import COMPRESSION, ROW_GROUP_ROWS
from storage.spool import spool_folder
from storage.store import ObjectStore, StoredFile, describe_file
from suppliers.registry import definition_of
from suppliers.statement import ParsedStatement, StatementError
from tasks.alerting.store import raise_alert, resolve_alert
from tasks.archiving.ownership import check_ownership
from tasks.reconciliation.audit.chain import record_statement
from tasks.reconciliation.closing.periods import closed_period
from tasks.statements.alert_rules import NO_LINES, QUARANTINED
from tasks.statements.contents import says_the_same
from tasks.statements.lateness import resolve_late
from tasks.statements.packed import refuse_packed
from tasks.statements.sources import NoFile, StatementFile, find_files

PAGE_LIMIT = 1000
_UNENDED_DAYS = 7
_KEY_DIGITS = 16
_MOST_DAYS = 31
_NAME_LIMIT, _ERROR_LIMIT, _ACTOR_LIMIT = 200, 500, 128
_TO_DO = (
    "Ask the supplier for a right one. Should the file be right and a setting wrong: change the setting, then "
    "`treasury statements take-in --retry`."
)
_NO_FILE = "is not a file: a folder, a pipe, a device, or a link that leads to none"
_QUERIES = load("statements")
_AUDIT = load("reconciliation_audit")


class IntakeResult(StrEnum):
    """The outcome of a file."""

    TAKEN = "taken"
    KNOWN = "known"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Intake:
    """One file of one run. ``line_count`` is of what was taken now; ``error`` of what was refused, now or before,
    or has been replaced since.
    """

    name: str
    result: IntakeResult
    day: date | None = None
    line_count: int | None = None
    error: str = ""

    @property
    def why(self) -> str:
        """Why it was refused or counts no more, or what is to be looked at in what was taken; else empty."""
        return NO_LINES if self.line_count == 0 else self.error


@dataclass(frozen=True, slots=True)
class StatementRecord:
    """A row of the catalogue. ``state``: taken, superseded by a later one of its day, or quarantined."""

    file_id: int
    supplier: str
    day: date | None
    name: str
    sha256: bytes
    state: str
    line_count: int | None
    sums: list[dict[str, Any]] | None
    object_key: str | None
    error: str | None
    actor: str
    taken_at: datetime


def take_in(
    settings: Settings,
    supplier: str,
    day: date | None = None,
    *,
    url: str | None = None,
    actor: str,
    replace: bool = False,
    retry: bool = False,
) -> list[Intake]:
    """Take in what is there for a supplier: the files of ``day``, or every one. Safe to run again, and at once.

    A day that has a statement already keeps it: another content is refused unless ``replace``, and always when the day
    is in a closed period. One without lines gives way to one that has some. With ``replace`` one that was superseded
    counts again when it is the only file there: of several nobody has said which. What was refused once is not read
    again unless ``retry``. Raises ConfigError, TransientError; a bad file stops no other.
    """
    definition_of(settings.suppliers, supplier)
    taken: list[Intake] = []
    for file in find_files(settings, supplier, day, url):
        if isinstance(file, NoFile):
            taken.append(_report_no_file(settings, supplier, file))
            continue
        taken.append(_take_file(settings, supplier, file, actor, replace=replace, retry=retry or replace))
        last = file
    if replace and [intake.result for intake in taken] == [IntakeResult.KNOWN]:
        taken = [_take_again(settings, supplier, last, actor) or taken[0]]
    return taken


def _report_no_file(settings: Settings, supplier: str, entry: NoFile) -> Intake:
    """The alert of a refused statement. The catalogue gets no row: there is no content."""
    reason = f"{entry.name}: {_NO_FILE}"
    alert = _refused(supplier, entry.name, reason, "Look at what is in its place; ask the supplier for the file.")
    with connect(settings.database_dsn, "statements") as connection:
        raise_alert(connection, alert, event_id=f"{entry.name} {_NO_FILE}")
    return Intake(entry.name, IntakeResult.QUARANTINED, error=reason)


def _take_file(
    settings: Settings, supplier: str, file: StatementFile, actor: str, *, replace: bool, retry: bool
) -> Intake:
    with connect(settings.database_dsn, "statements") as connection:
        if (known := _known(connection, supplier, file.name, file.sha256, retry=retry)) is not None:
            return known
        try:
            parsed = _parsed(settings, supplier, file)
            return _keep(settings, connection, parsed, file.size_bytes, actor, replace=replace)
        except StatementError as error:
            return _quarantine(connection, supplier, file, error, actor)


def _parsed(settings: Settings, supplier: str, file: StatementFile) -> ParsedStatement:
    connection = settings.suppliers.everyone[supplier]
    if file.content is None:
        raise StatementError(file.name, f"is larger than statement_limit_mb, {connection.statement_limit_mb} MiB")
    refuse_packed(file.content, file.name)
    return definition_of(settings.suppliers, supplier).statement().parse(file.content, file.name, connection)


def _known(
    connection: Connection, supplier: str, name: str, digest: bytes, day: date | None = None, *, retry: bool
) -> Intake | None:
    """Return what is known of a content; of one without lines only once its ``day`` was read."""
    file = {"supplier": supplier, "sha256": digest, "day": day, "name": _stored_name(name)}
    row = connection.execute(_QUERIES["known_file"], file).fetchone()
    if row is None:
        return None
    state, day, error, superseded, key, taken_at = row
    if state == IntakeResult.TAKEN:
        why = ""
        if superseded:
            why = (
                f"another statement of its day has replaced it; `recon run --statement {key}` compares with it, and"
                " --replace with --url of it alone lets it count again"
            )
        elif _is_early(taken_at, day):
            why = (
                "was taken before its day was over, so what it lacks proves nothing."
                " --replace with --url of it alone says that it has the whole day"
            )
        return Intake(name, IntakeResult.KNOWN, day, error=why)
    return None if retry else Intake(name, IntakeResult.QUARANTINED, day, error=error)


def _take_again(settings: Settings, supplier: str, file: StatementFile, actor: str) -> Intake | None:
    """Let a known content count again for the day that the file says, in an open period. None when no other has
    superseded it, and it was taken after the day was over.
    """
    try:
        parsed = _parsed(settings, supplier, file)
    except StatementError as error:  # under a name of another day, or by other rules than then
        return Intake(file.name, IntakeResult.KNOWN, error=str(error))
    content = {"supplier": supplier, "sha256": file.sha256, "day": parsed.day, "day_end": bounds(parsed.day)[1]}
    with connect(settings.database_dsn, "statements") as connection, connection.transaction():
        lock_intake(connection, supplier)
        row = connection.execute(_QUERIES["superseded_file"], content).fetchone()
        if row is None:
            return None
        file_id, day, line_count, current = row
        try:
            require_open_day(connection, supplier, day, file.name)
        except StatementError as error:
            return Intake(file.name, IntakeResult.KNOWN, day, error=str(error))
        again = {"file_id": file_id, "supersedes": current} | _names(supplier, file.name, actor)
        record_statement(connection, *fetch_stored(connection, _QUERIES["add_file_again"], again, "statement_files"))
        resolve_alert(connection, QUARANTINED, f"{supplier}/{file.name}")
    return Intake(file.name, IntakeResult.TAKEN, day, line_count)


def _keep(
    settings: Settings, connection: Connection, parsed: ParsedStatement, size_bytes: int, actor: str, *, replace: bool
) -> Intake:
    """Store the table, read it back, then write it down. Killed between, an object is left that the next run finds
    and uses.
    """
    digest, day = parsed.sha256, parsed.day
    if (known := _known(connection, parsed.supplier, parsed.name, digest, day, retry=True)) is not None:
        return known
    if _is_current(settings, connection, parsed):
        resolve_alert(connection, QUARANTINED, f"{parsed.supplier}/{parsed.name}")
        return Intake(parsed.name, IntakeResult.KNOWN, day)
    _current(connection, parsed, replace=replace)
    key, stored = store_table(settings, connection, parsed)
    with connection.transaction():
        lock_intake(connection, parsed.supplier)
        if (known := _known(connection, parsed.supplier, parsed.name, digest, day, retry=True)) is not None:
            return known  # by another process, meanwhile
        current = _current(connection, parsed, replace=replace)  # again: now nobody else may add one
        row = file_row(parsed.supplier, parsed.name, parsed.sha256, size_bytes, actor) | {
            "day": parsed.day,
            "state": "taken",
            "supersedes": current,
            "line_count": parsed.table.num_rows,
            "sums": json.dumps(parsed.totals),
            "object_key": key,
            "object_sha256": stored.sha256,
        }
        record_statement(connection, *fetch_stored(connection, _QUERIES["add_file"], row, "statement_files"))
        resolve_late(connection, parsed.supplier, parsed.day)
        resolve_alert(connection, QUARANTINED, f"{parsed.supplier}/{parsed.name}")
    return Intake(parsed.name, IntakeResult.TAKEN, parsed.day, parsed.table.num_rows)


def lock_intake(connection: Connection, supplier: str) -> None:
    """Until the transaction ends nobody else takes in one of the supplier's, and no period is closed."""
    connection.execute(_QUERIES["lock_supplier"], {"supplier": supplier})
    connection.execute(_AUDIT["lock_chain"])


def require_open_day(connection: Connection, supplier: str, day: date, name: str) -> None:
    """Raise StatementError when the day, which has a statement, is in a closed period."""
    period = closed_period(connection, supplier, day)
    if period is not None:
        raise StatementError(name, f"{day} has a statement, and its period {period} is closed")


def _is_current(settings: Settings, connection: Connection, parsed: ParsedStatement) -> bool:
    """Return whether the statement that the day has says the same: sent again with other line ends, or in another
    order. One that was taken before the day was over gives way also to its equal.
    """
    of_day = {"supplier": parsed.supplier, "day": parsed.day}
    current = connection.execute(_QUERIES["current_file"], of_day).fetchone()
    if current is None or current[1] != parsed.table.num_rows or _is_early(current[3], parsed.day):
        return False
    return says_the_same(settings, current[2], parsed.table)


def _is_early(taken_at: datetime, day: date) -> bool:
    """Whether a statement was taken before its day was over: it cannot be known to have all of the day."""
    return taken_at < bounds(day)[1]


def _current(connection: Connection, parsed: ParsedStatement, *, replace: bool) -> int | None:
    """The number of the file that the day has. Raises StatementError when it has one that may not be replaced.

    One without lines, and one that was taken before the day was over, give way.
    """
    of_day = {"supplier": parsed.supplier, "day": parsed.day}
    current = connection.execute(_QUERIES["current_file"], of_day).fetchone()
    if current is None:
        return None
    require_open_day(connection, parsed.supplier, parsed.day, parsed.name)
    file_id, line_count, _, taken_at = current
    is_early = _is_early(taken_at, parsed.day)
    if not (replace or is_early or (line_count == 0 and parsed.table.num_rows)):
        raise StatementError(parsed.name, f"{parsed.day} has a statement of another content; --replace takes this one")
    return int(file_id)


def store_table(settings: Settings, connection: Connection, parsed: ParsedStatement) -> tuple[str, StoredFile]:
    """Put the table into the archive and read it back; returns its key, named by file, content and installation.

    Raises OwnershipError when the archive is not this database's, TransientError when what comes back is not what was
    put there.
    """
    owner, store = check_ownership(connection, settings), ObjectStore(settings)
    with spool_folder(settings.spool, "statement") as folder:
        source, back = folder / "statement.parquet", folder / "back.parquet"
        pq.write_table(parsed.table, source, compression=COMPRESSION, row_group_size=ROW_GROUP_ROWS)
        written = describe_file(source)
        name = f"{parsed.sha256.hex()}-{written.sha256.hex()[:_KEY_DIGITS]}-{owner.short}.parquet"
        key = f"statements/{parsed.supplier}/{parsed.day}/{name}"
        store.put(source, key)
        if store.fetch(key, back) != written:
            raise TransientError(f"object store: {key} did not come back as it was written")
    return key, written


def _quarantine(
    connection: Connection, supplier: str, file: StatementFile, error: StatementError, actor: str
) -> Intake:
    """Record the reason and raise an alert. Nothing of the file is kept but its name, size and SHA-256."""
    reason = cut(str(error), _ERROR_LIMIT)
    alert = _refused(supplier, file.name, reason, _TO_DO, line=error.line, field=error.field, rule=error.rule)
    with connection.transaction():
        row = file_row(supplier, file.name, file.sha256, file.size_bytes, actor) | {
            "state": "quarantined",
            "error": reason,
        }
        record_statement(connection, *fetch_stored(connection, _QUERIES["add_file"], row, "statement_files"))
        raise_alert(connection, alert, event_id=f"{file.name} {file.sha256.hex()}")
    return Intake(file.name, IntakeResult.QUARANTINED, error=reason)


def _refused(supplier: str, name: str, reason: str, to_do: str, **evidence: Any) -> Alert:
    title = f"{supplier}'s statement was refused: {reason}"
    more = {"supplier": supplier, "file": name} | evidence
    return Alert(QUARANTINED, f"{supplier}/{name}", Severity.CRITICAL, title, to_do, more)


def file_row(supplier: str, name: str, digest: bytes, size_bytes: int, actor: str) -> dict[str, Any]:
    """The values of a catalogue row, those that only a taken or a refused file has left NULL."""
    nothing = dict.fromkeys(("day", "supersedes", "line_count", "sums", "object_key", "object_sha256", "error"))
    return nothing | _names(supplier, name, actor) | {"sha256": digest, "size_bytes": size_bytes}


def _names(supplier: str, name: str, actor: str) -> dict[str, str]:
    return {"supplier": supplier, "name": _stored_name(name), "actor": cut(mask_card_numbers(actor), _ACTOR_LIMIT)}


def _stored_name(name: str) -> str:
    """A file's name as the catalogue keeps it, for ever: without a card number."""
    return cut(mask_card_numbers(name), _NAME_LIMIT)


def list_statements(
    settings: Settings, supplier: str | None = None, day: date | None = None, limit: int = 100
) -> list[StatementRecord]:
    """Return what came in and what was refused, the newest first, at most ``limit`` up to 1,000."""
    parameters = {"supplier": supplier, "day": day, "limit": min(limit, PAGE_LIMIT)}
    with connect(settings.database_dsn, "statements") as connection:
        return [StatementRecord(*row) for row in connection.execute(_QUERIES["list_files"], parameters)]


def days_to_reconcile(settings: Settings, supplier: str, last: date) -> list[date]:
    """The days up to ``last`` whose statement no run has seen yet: it came late, or another took its place. And of the
    last 7 those with a row under way that its run could not end. At most 31, the oldest first; none of a closed period.
    """
    parameters = {
        "supplier": supplier,
        "last": last,
        "recent": last - timedelta(days=_UNENDED_DAYS),
        "limit": _MOST_DAYS,
        "zone": ZONE,
    }
    with connect(settings.database_dsn, "statements") as connection:
        return [day for (day,) in connection.execute(_QUERIES["days_to_reconcile"], parameters)]
