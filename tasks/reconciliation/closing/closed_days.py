"""Closed days: their internal rows as they were, whether they still are, and what becomes of a change.

At closing the internal rows are read again and compared with those that the run had read. Afterwards each run of the
supplier, and `treasury recon verify`, compares them with what they were at closing. A change that nothing explains is a
break of the next open day and an alert, once. The next comparison is made with the state that was found.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from psycopg.errors import LockNotAvailable
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from config import Settings
from ledger.business_days import day_start
from ledger.errors import DataError, RefusalError, VerificationError
from ledger.installation import Owner
from ledger.people import SYSTEM
from ledger.policy import Tier
from ledger.statements import BreakClass
from sql.connection import Connection, fetch_one
from sql.queries import load
from sql.storing import check_stored, fetch_stored
from storage.spool import spool_folder
from storage.store import ObjectStore, describe_file
from tasks.alerting.store import raise_alert, resolve_alert
from tasks.archiving.catalogue import MonthState, month_states
from tasks.archiving.ownership import find_owner
from tasks.reconciliation.alert_rules import CHANGED, changed_alert, subject_of
from tasks.reconciliation.closing.internal_days import DayChange, OwnDay, OwnDays, own_days
from tasks.reconciliation.runs.internal_rows import TABLE

_QUERIES = load("closed_days")
_PERIODS = load("reconciliation_periods")
_SHOWN = 5
_DAYS_AT_ONCE = 7  # what bounds the room that their rows take in the engine and on its disk


@dataclass(frozen=True, slots=True)
class KeptDay:
    """A day's internal rows and where a line of each is in the archive. ``run_id``: the run that they are those of."""

    day: date
    run_id: int
    own: OwnDay
    object_key: str
    object_sha256: bytes


@dataclass(frozen=True, slots=True)
class Compared:
    """Days that are as their runs read them. ``noted`` are the writes that were known before they were read."""

    days: tuple[KeptDay, ...]
    noted: frozenset[int]

    @property
    def together(self) -> dict[date, OwnDay]:
        """The days by themselves."""
        return {day.day: day.own for day in self.days}

    @property
    def digest(self) -> bytes:
        """SHA-256 over the digests of the days, in their order."""
        return hashlib.sha256(b"".join(bytes.fromhex(day.own.digest) for day in self.days)).digest()


@dataclass(frozen=True, slots=True)
class ClosedDay:
    """A closed day as it was when it was last compared. ``written``: it has been written to since."""

    state_id: int
    day: date
    period_id: int
    first_day: date
    last_day: date
    row_count: int
    sums: dict[str, dict[str, Any]]
    digest: bytes
    object_key: str
    object_sha256: bytes
    written: bool

    @property
    def own(self) -> OwnDay:
        """The rows as they were."""
        return OwnDay(self.row_count, self.digest.hex(), self.sums)


@dataclass(frozen=True, slots=True)
class Change:
    """A closed day that is not what it was. ``parts`` are by currency; none where every change is an end that the
    record of a break explains. ``object_key`` is where its rows are now kept.
    """

    state: ClosedDay
    own: OwnDay
    parts: tuple[DayChange, ...]
    object_key: str
    object_sha256: bytes

    def text(self, supplier: str) -> str:
        """The change for people."""
        parts = "; ".join(f"{part.currency}: {part.text()}" for part in self.parts)
        period = f"{self.state.first_day} to {self.state.last_day}"
        return (
            f"{supplier} {self.state.day} is in the closed period {period}, and its internal rows have changed "
            f"({parts}): {self.state.own.text()} then, {self.own.text()} now"
        )


@dataclass(frozen=True, slots=True)
class Looked:
    """The result of a comparison of closed days, and the notes of writes that it answers."""

    changes: tuple[Change, ...] = ()
    noted: tuple[int, ...] = ()

    def texts(self, supplier: str) -> Iterator[str]:
        """A sentence for each change that became a break."""
        yield from (f"{change.text(supplier)}." for change in self.changes if change.parts)


def compare_with_runs(settings: Settings, connection: Connection, supplier: str, first: date, last: date) -> Compared:
    """The internal rows of every day as they are, when they are those that the newest run of the day read. Ends that
    the record of a break explains are left out of the comparison. Nothing is locked: see `is_current`.

    Raises RefusalError naming the days whose rows are others, and what became of those.
    """
    asked = {"supplier": supplier, "first": first, "last": last}
    noted = frozenset(row[0] for row in connection.execute(_QUERIES["noted_changes"], asked))
    runs = connection.execute(_QUERIES["counting_runs"], asked).fetchall()
    old = [run_id for _, run_id, own, *_ in runs if own is None]
    if old:
        reason = f"run {old[0]} was made before the rows that a run reads were kept; run its day again"
        raise RefusalError(f"{supplier} {first} to {last}: {reason}")
    compared: list[KeptDay | str] = []
    with spool_folder(settings.spool, "closing") as folder:
        for start in range(0, len(runs), _DAYS_AT_ONCE):
            together = runs[start : start + _DAYS_AT_ONCE]
            with own_days(settings, supplier, together[0][0], together[-1][0]) as reader:
                now = reader.read([run[0] for run in together])
                compared += [
                    _compared(settings, connection, reader, supplier, run, now[run[0]], folder) for run in together
                ]
    problems = [day_or_problem for day_or_problem in compared if isinstance(day_or_problem, str)]
    if problems:
        more = f"; and {len(problems) - _SHOWN} more days" if len(problems) > _SHOWN else ""
        raise RefusalError(f"{supplier} {first} to {last}: {'; '.join(problems[:_SHOWN])}{more}: run the day again")
    return Compared(tuple(day_or_problem for day_or_problem in compared if isinstance(day_or_problem, KeptDay)), noted)


def _compared(
    settings: Settings,
    connection: Connection,
    reader: OwnDays,
    supplier: str,
    run: tuple[Any, ...],
    now: OwnDay,
    folder: Path,
) -> KeptDay | str:
    """A day as it is, or in what it is not what its run read."""
    day, run_id, own, key, sha256 = run
    was = OwnDay(**own)
    if now.digest == was.digest:
        return KeptDay(day, run_id, now, key, sha256)
    parts = _changes(settings, connection, reader, (supplier, day), (key, sha256), folder)
    if not parts:
        owner = find_owner(connection, settings)
        return KeptDay(day, run_id, now, *_stored(settings, reader, owner, (supplier, day), now, folder))
    changes = ", ".join(f"{part.text()} in {part.currency}" for part in parts)
    then_and_now = f"{was.text()} then, {now.text()} now"
    return f"the internal rows of {day} are not those that run {run_id} read: {changes}; {then_and_now}"


def writers_have_ended(settings: Settings, connection: Connection, supplier: str) -> bool:
    """Return whether every transaction that began to write into former days before now has ended. To be asked before
    the rows are read: a later transaction sees the proposal to close them, and notes what it writes.
    """
    try:
        with connection.transaction():
            _keep_writers_out(settings, connection, supplier)
    except LockNotAvailable:
        return False
    return True


def _keep_writers_out(settings: Settings, connection: Connection, supplier: str) -> None:
    connection.execute(_QUERIES["set_lock_timeout"], {"timeout": f"{settings.lock_timeout_ms}ms"})
    connection.execute(_QUERIES["keep_writers_out"], {"supplier": supplier})


def is_current(
    settings: Settings, connection: Connection, supplier: str, first: date, last: date, compared: Compared
) -> bool:
    """Return whether nobody has changed the days since they were compared; in the open transaction, which keeps writers
    out from here on. The caller holds the chain, so no run is written down meanwhile.

    Raises psycopg.errors.LockNotAvailable when writers do not end in time: then roll back and try again.
    """
    _keep_writers_out(settings, connection, supplier)
    asked = {"supplier": supplier, "first": first, "last": last}
    noted = {row[0] for row in connection.execute(_QUERIES["noted_changes"], asked)}
    runs = {row[0]: row[1] for row in connection.execute(_QUERIES["counting_runs"], asked)}
    return noted <= compared.noted and runs == {day.day: day.run_id for day in compared.days}


def insert_first_states(connection: Connection, supplier: str, period_id: int, compared: Compared) -> None:
    """Write down what the days of a period are as it is closed; in the open transaction, before the period's event."""
    for day in compared.days:
        _insert_state(connection, supplier, period_id, day, None)


def find_changes(settings: Settings, connection: Connection, owner: Owner, supplier: str, folder: Path) -> Looked:
    """Return what has changed in the supplier's newest closed days, and in older ones that were written to since. Their
    rows as they are go into the archive; `write_down` does the rest. To be called by the one run that reconciles the
    supplier, which proved ``owner`` by `tasks.archiving.ownership`.

    A day whose month is archived cannot change and is left to `verify_closed_days`.
    """
    most = settings.reconciliation.closed_days_checked
    noted, states = _states(settings, connection, supplier, most, archived_too=False)
    changes = [
        change
        for span in _spans(states)
        for change in _changes_of_span(settings, connection, owner, supplier, span, folder)
    ]
    return Looked(tuple(changes), noted)


def write_down(connection: Connection, settings: Settings, supplier: str, run_id: int, looked: Looked) -> list[int]:
    """The new states of changed days, and a break, its record and an alert for each change that nothing explains. All
    are in the transaction of the run, before its event. Returns the states, for `chain.record_closed_days` after it.
    """
    made = []
    for change in looked.changes:
        kept = KeptDay(change.state.day, run_id, change.own, change.object_key, change.object_sha256)
        made.append(_insert_state(connection, supplier, change.state.period_id, kept, change.state.state_id))
        for part in change.parts:
            _insert_break(connection, settings, supplier, run_id, change, part)
        if change.parts:
            alert = changed_alert(supplier, change.state.day, change.text(supplier), _evidence(change))
            raise_alert(connection, alert, event_id=f"closed day state {made[-1]}")
    connection.execute(_QUERIES["forget_changes"], {"changes": list(looked.noted)})
    return made


def end_alert(connection: Connection, supplier: str, day: date) -> None:
    """Resolve the alert about a closed day once nothing of its changes waits any more; in the open transaction."""
    waits = fetch_one(connection, _QUERIES["waiting_changes"], {"supplier": supplier, "day": day})[0]
    if not waits:
        resolve_alert(connection, CHANGED, subject_of(supplier, day))


def verify_closed_days(settings: Settings, connection: Connection) -> int:
    """Read the internal rows of every closed day afresh, the archived ones too, and compare; returns how many days.
    Reading only.

    Raises VerificationError that names the first days that have changed and are in no break yet. Days of deleted months
    are left out.
    """
    looked, problems = 0, []
    for (supplier,) in connection.execute(_QUERIES["suppliers_with_states"]).fetchall():
        _, states = _states(settings, connection, supplier, None, archived_too=True)
        looked += len(states)
        for span in _spans(states):
            with own_days(settings, supplier, span[0].day, span[-1].day) as reader:
                now = reader.read([day.day for day in span])
            problems += [
                f"{supplier} {day.day}: {day.own.text()} when it was closed, {now[day.day].text()} now"
                for day in span
                if now[day.day].digest != day.own.digest
            ]
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        shown = "; ".join(problems[:_SHOWN])
        raise VerificationError(
            f"the internal rows of closed days have changed: {shown}{more}; the supplier's next run has the rows"
        )
    return looked


def _states(
    settings: Settings, connection: Connection, supplier: str, most: int | None, *, archived_too: bool
) -> tuple[tuple[int, ...], list[ClosedDay]]:
    """The notes of writes that this look answers, and the days to look at. A note that comes later is for the next
    look. One of a day that is proposed for closing is left to whoever closes it (`is_current`).
    """
    noted = connection.execute(_QUERIES["answered_changes"], {"supplier": supplier}).fetchall()
    with connection.cursor(row_factory=class_row(ClosedDay)) as cursor:
        states = cursor.execute(_QUERIES["newest_states"], {"supplier": supplier, "most": most}).fetchall()
    months = month_states(connection, settings.table(TABLE))
    wanted = [state for state in states if _is_wanted(state, months, archived_too=archived_too)]
    return tuple(row[0] for row in noted), wanted


def _is_wanted(state: ClosedDay, months: Sequence[MonthState], *, archived_too: bool) -> bool:
    """Return whether a day can be compared, and is worth it: a Johannesburg day may lie in two months of UTC."""
    lower, upper = day_start(state.day), day_start(state.day + timedelta(days=1))
    tiers = [month.tier for month in months if month.month.lower < upper and month.month.upper > lower]
    if Tier.DELETED in tiers:
        return False
    return archived_too or state.written or not tiers or not all(tier.is_archived for tier in tiers)


def _spans(states: Sequence[ClosedDay]) -> Iterator[list[ClosedDay]]:
    """Days without a gap, together, as many as are read at once."""
    span: list[ClosedDay] = []
    for state in states:
        if span and (state.day != span[-1].day + timedelta(days=1) or len(span) == _DAYS_AT_ONCE):
            yield span
            span = []
        span.append(state)
    if span:
        yield span


def _changes_of_span(
    settings: Settings, connection: Connection, owner: Owner, supplier: str, span: Sequence[ClosedDay], folder: Path
) -> Iterator[Change]:
    with own_days(settings, supplier, span[0].day, span[-1].day) as reader:
        now = reader.read([day.day for day in span])
        for state in span:
            own = now[state.day]
            if own.digest == state.own.digest:
                continue
            stored_rows = (state.object_key, state.object_sha256)
            try:
                parts = _changes(settings, connection, reader, (supplier, state.day), stored_rows, folder)
            except DataError:  # the rows as they were are gone from the archive, or are others
                parts = list(_without_rows(state.own, own))
            stored = _stored(settings, reader, owner, (supplier, state.day), own, folder)
            yield Change(state, own, tuple(parts), *stored)


def _changes(
    settings: Settings,
    connection: Connection,
    reader: OwnDays,
    of: tuple[str, date],
    stored_rows: tuple[str, bytes],
    folder: Path,
) -> list[DayChange]:
    """Return what differs from the rows in the archive's object ``stored_rows``, but for ends that a break's record
    explains. Raises DataError when the object is gone or was changed.
    """
    (supplier, day), (key, sha256) = of, stored_rows
    target = folder / f"was-{day}.parquet"
    if ObjectStore(settings).fetch(key, target).sha256 != sha256:
        raise VerificationError(f"{key} was changed")
    ended = reader.compare(day, target)
    target.unlink()
    return reader.changes(_explained(connection, supplier, ended))


def _explained(connection: Connection, supplier: str, ended: Sequence[tuple[str, str]]) -> list[str]:
    if not ended:
        return []
    asked = {
        "supplier": supplier,
        "ids": [row_id for row_id, _ in ended],
        "references": [reference for _, reference in ended if reference],
    }
    explained = connection.execute(_QUERIES["explained_ends"], asked).fetchall()
    ids, references = {row[0] for row in explained}, {row[1] for row in explained if row[0] is None}
    return [row_id for row_id, reference in ended if row_id in ids or reference in references]


def _without_rows(was: OwnDay, now: OwnDay) -> Iterator[DayChange]:
    """Yield what the sums alone show, where the rows as they were are not to be had: of every currency, for a change of
    no money may be in any.
    """
    for currency in sorted(was.sums.keys() | now.sums.keys()):
        before, after = (side.sums.get(currency, {}) for side in (was, now))
        rows = after.get("rows", 0) - before.get("rows", 0)
        moved, amount = (Decimal(after.get(name, 0)) - Decimal(before.get(name, 0)) for name in ("value", "amount"))
        yield DayChange(currency, max(rows, 0), 0, 0, max(-rows, 0), moved, abs(amount))


def _stored(
    settings: Settings, reader: OwnDays, owner: Owner, of: tuple[str, date], own: OwnDay, folder: Path
) -> tuple[str, bytes]:
    """The rows of a day as they are now, put into the archive: key and SHA-256. Safe to run again."""
    supplier, day = of
    target = folder / f"now-{day}.parquet"
    reader.keep(day, target)
    sha256 = describe_file(target).sha256
    key = f"reconciliation/{supplier}/{day}/closed/{own.digest}-{owner.short}.parquet"
    ObjectStore(settings).put(target, key)
    target.unlink()
    return key, sha256


def _insert_state(connection: Connection, supplier: str, period_id: int, kept: KeptDay, previous: int | None) -> int:
    record = {
        "supplier": supplier,
        "day": kept.day,
        "period_id": period_id,
        "run_id": kept.run_id,
        "previous": previous,
        "rows": kept.own.rows,
        "sums": Jsonb(kept.own.sums),
        "digest": bytes.fromhex(kept.own.digest),
        "object_key": kept.object_key,
        "object_sha256": kept.object_sha256,
    }
    return int(fetch_stored(connection, _QUERIES["insert_state"], record, "recon_closed_days")[0])


def _insert_break(
    connection: Connection, settings: Settings, supplier: str, run_id: int, change: Change, part: DayChange
) -> None:
    (period_day,) = fetch_one(
        connection, _PERIODS["next_open_day"], {"supplier": supplier, "last": change.state.last_day}
    )
    facts = f"{BreakClass.CLOSED_PERIOD_CHANGED}\n{change.state.state_id}\n{change.own.digest}\n{part.currency}"
    record = {
        "run_id": run_id,
        "fingerprint": hashlib.sha256(f"{supplier}\n{change.state.day}\n{facts}".encode()).digest(),
        "supplier": supplier,
        "day": change.state.day,
        "class": str(BreakClass.CLOSED_PERIOD_CHANGED),
        "currency": part.currency,
        "difference": part.amount,
        "variance": -part.moved,
        "escalated": part.amount > settings.reconciliation.escalate_above,
        "own": Jsonb(_facts(change, part)),
        "note": part.text(),
        "period_day": period_day,
    }
    (break_id,) = fetch_stored(connection, _QUERIES["insert_break"], record, "recon_breaks")
    reason = f"the period {change.state.first_day} to {change.state.last_day} is closed"
    named = {"break_id": break_id, "run_id": run_id, "actor": SYSTEM, "reason": reason, "period_day": period_day}
    check_stored(connection.execute(_QUERIES["account_break"], named), 1, "recon_resolutions")


def _facts(change: Change, part: DayChange) -> dict[str, Any]:
    """The internal side of the break: what was, what is, and some of the rows. There is no single row, so no ``id``."""
    was, now = (side.sums.get(part.currency, {}) for side in (change.state.own, change.own))
    return {
        "period": f"{change.state.first_day} to {change.state.last_day}",
        "rows_then": was.get("rows", 0),
        "rows_now": now.get("rows", 0),
        "value_then": was.get("value", "0.00"),
        "value_now": now.get("value", "0.00"),
        "came_in": part.came,
        "changed": part.changed,
        "ended": part.ended,
        "gone": part.gone,
        "digest_then": change.state.digest.hex(),
        "digest_now": change.own.digest,
        "rows_in_archive_then": change.state.object_key,
        "rows_in_archive_now": change.object_key,
        "examples": list(part.examples),
    }


def _evidence(change: Change) -> Mapping[str, Any]:
    return {part.currency: _facts(change, part) for part in change.parts}
