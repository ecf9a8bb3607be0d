"""Days for which a supplier sends no statement: declared by two people, or by the supplier's settings.

A declared day gets a statement without lines, so that everything behind the intake works as for any other day. The
internal rows of the day become breaks, the day counts as reconciled once it was run, and its period can be closed. A
statement that comes after all takes its place.
"""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

from config import Settings
from ledger.business_days import bounds
from ledger.errors import RefusalError
from ledger.people import REASON_CHARACTERS, SYSTEM, Person, check_text
from sql.connection import Connection, connect
from sql.queries import load
from sql.storing import fetch_stored
from suppliers.statement import STATEMENT_SCHEMA, ParsedStatement, finish
from tasks.reconciliation.audit import chain
from tasks.reconciliation.closing.periods import check_open
from tasks.statements.intake import file_row, lock_intake, store_table
from tasks.statements.lateness import resolve_late

NAME = "no statement"
_QUERIES = load("statements")


class AbsenceState(StrEnum):
    """The state of a declaration."""

    PROPOSED = "proposed"
    REJECTED = "rejected"
    CONFIRMED = "confirmed"


@dataclass(frozen=True, slots=True)
class _Declaration:
    """A person's declaration that a supplier's day has no statement, and why."""

    supplier: str
    day: date
    who: Person
    reason: str

    def record(self, action: AbsenceState, file_id: int | None = None) -> dict[str, Any]:
        """The record's values."""
        names = {"actor": self.who.name, "account": self.who.account, "reason": self.reason}
        return {"supplier": self.supplier, "day": self.day, "action": action, "file_id": file_id} | names

    @property
    def statement(self) -> ParsedStatement:
        """The statement without lines that stands for the day; its content is the declaration."""
        content = {"supplier": self.supplier, "day": str(self.day), "declared": NAME, "reason": self.reason}
        text = json.dumps(content, sort_keys=True, ensure_ascii=False).encode()
        return finish(self.supplier, NAME, self.day, text, [STATEMENT_SCHEMA.empty_table()])


def declare_absence(
    settings: Settings,
    supplier: str,
    day: date,
    actor: str,
    reason: str,
    *,
    account: str | None = None,
    reject: bool = False,
    now: datetime | None = None,
) -> AbsenceState:
    """Propose that the supplier sends no statement for a Johannesburg day, or confirm what somebody else has proposed.

    ``reject`` ends a proposal instead; its author may, too. ``account`` is what ``actor`` works under, by default the
    same. Raises RefusalError, naming supplier and day, when the day is not over at the aware instant ``now`` (default:
    this one). It does so when the day has a statement or is in a closed period, or the same person would confirm.
    Raises FieldError for a name or a reason that is none. Safe to run again: a day is declared once.
    """
    settings.suppliers.require(supplier)
    who = Person(actor, account or actor)
    who.check()
    check_text("reason", reason, REASON_CHARACTERS)
    declared = _Declaration(supplier, day, who, reason)
    with connect(settings.database_dsn, "statements") as connection:
        proposal = _proposal(connection, declared)
        if reject:
            return _rejected(connection, declared)
        _require_possible(connection, declared, now or datetime.now(UTC))
        if proposal is None:
            return _proposed(connection, declared)
        _require_second(declared, proposal)
        return _confirmed(settings, connection, declared, proposal)


def declare_by_settings(settings: Settings, supplier: str, day: date, now: datetime | None = None) -> bool:
    """Declare a day that ``statement_none_on`` of the supplier names, by its date or its weekday, once it is over.

    False when it names no such day, or the day has a statement or is in a closed period. Safe to run again.
    """
    named = {str(day), f"{day:%A}".lower()} & set(settings.suppliers.everyone[supplier].statement_none_on)
    if not named:
        return False
    reason = f"statement_none_on of {supplier} names {', '.join(sorted(named))}"
    declared = _Declaration(supplier, day, Person(SYSTEM, SYSTEM), reason)
    with connect(settings.database_dsn, "statements") as connection:
        try:
            _require_possible(connection, declared, now or datetime.now(UTC))
        except RefusalError:
            return False
        _confirmed(settings, connection, declared, None)
    return True


def _require_possible(connection: Connection, declared: _Declaration, now: datetime) -> None:
    name = f"{declared.supplier} {declared.day}"
    if now < bounds(declared.day)[1]:
        raise RefusalError(f"{name}: the day is not over yet, so its statement may still come")
    of_day = {"supplier": declared.supplier, "day": declared.day}
    if connection.execute(_QUERIES["current_file"], of_day).fetchone() is not None:
        raise RefusalError(f"{name}: the day has a statement: `treasury statements list --day {declared.day}`")
    check_open(connection, declared.supplier, declared.day)


def _require_second(declared: _Declaration, proposal: tuple[Any, ...]) -> None:
    _, actor, account = proposal
    if declared.who.is_same_as(actor, account):
        name = f"{declared.supplier} {declared.day}"
        raise RefusalError(f"{name}: {actor} has proposed it under {account}; somebody else must confirm")


def _proposal(connection: Connection, declared: _Declaration) -> tuple[Any, ...] | None:
    """Number, actor and account of the proposal that nobody has rejected or confirmed."""
    of_day = {"supplier": declared.supplier, "day": declared.day}
    return connection.execute(_QUERIES["open_absence"], of_day).fetchone()


def _proposed(connection: Connection, declared: _Declaration) -> AbsenceState:
    with connection.transaction():
        lock_intake(connection, declared.supplier)
        if (other := _proposal(connection, declared)) is not None:
            raise RefusalError(f"{declared.supplier} {declared.day}: {other[1]} has just proposed it; confirm that")
        _insert(connection, declared.record(AbsenceState.PROPOSED))
    return AbsenceState.PROPOSED


def _rejected(connection: Connection, declared: _Declaration) -> AbsenceState:
    with connection.transaction():
        lock_intake(connection, declared.supplier)
        if _proposal(connection, declared) is None:
            name = f"{declared.supplier} {declared.day}"
            raise RefusalError(f"{name}: nothing is proposed that could be rejected")
        _insert(connection, declared.record(AbsenceState.REJECTED))
    return AbsenceState.REJECTED


def _confirmed(
    settings: Settings, connection: Connection, declared: _Declaration, proposal: tuple[Any, ...] | None
) -> AbsenceState:
    """Take in the statement without lines, and write the record, together. ``proposal`` is confirmed, which must still
    be the open one; None where the settings declare the day.
    """
    parsed = declared.statement
    key, stored = store_table(settings, connection, parsed)
    with connection.transaction():
        lock_intake(connection, declared.supplier)
        _require_possible(connection, declared, datetime.max.replace(tzinfo=UTC))  # again: now nobody else may add one
        if proposal is not None and _proposal(connection, declared) != proposal:
            name = f"{declared.supplier} {declared.day}"
            raise RefusalError(f"{name}: the proposal was rejected meanwhile, so nothing is confirmed")
        row = file_row(declared.supplier, parsed.name, parsed.sha256, 0, declared.who.name) | {
            "day": declared.day,
            "state": "taken",
            "line_count": 0,
            "sums": json.dumps(parsed.totals),
            "object_key": key,
            "object_sha256": stored.sha256,
        }
        (file_id,) = fetch_stored(connection, _QUERIES["add_file"], row, "statement_files")
        chain.record_statement(connection, file_id)
        _insert(connection, declared.record(AbsenceState.CONFIRMED, file_id))
        resolve_late(connection, declared.supplier, declared.day)
    return AbsenceState.CONFIRMED


def _insert(connection: Connection, record: dict[str, Any]) -> None:
    (absence_id,) = fetch_stored(connection, _QUERIES["add_absence"], record, "statement_absences")
    chain.record_absence(connection, absence_id)
