"""The audit chain of reconciliation: every statement's file, run, resolution, proposed and closed period is an event
that holds the hash of the one before. What is changed, removed or put in later is found by `verify_chain`.

An event is written in the transaction of what it records: when it cannot be, nothing is.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ledger.errors import TransientError, VerificationError
from sql.connection import Connection
from sql.queries import load
from sql.storing import check_stored

_QUERIES = load("reconciliation_audit")
GENESIS = bytes(32)
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Head:
    """The newest event: its number (0: none yet) and hash. Noted down, it proves later that nothing was cut off."""

    event_no: int
    hash: bytes


_PARTS = ("record", "breaks", "resolutions", "matches")  # of a run; every other record is one
# The kinds of event: what the number of its record is called, and the query that gives the records' digests.
_KINDS = {
    "run": ("run_id", "run_records"),
    "resolution": ("resolution_id", "resolution_records"),
    "proposal": ("proposal_id", "proposal_records"),
    "period": ("period_id", "period_records"),
    "closed_day": ("state_id", "closed_day_records"),
    "statement": ("file_id", "statement_records"),
    "absence": ("absence_id", "absence_records"),
    "withdrawal": ("withdrawal_id", "withdrawal_records"),
}
_Digests = dict[int, tuple[str, ...]]  # of the records of one kind, by number


def canonical_json(content: Mapping[str, Any]) -> str:
    """One text for one content: sorted keys, no spaces, UTF-8 as it is. Money and hashes come as text."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def event_hash(previous: bytes, content: str) -> bytes:
    """SHA-256 over the previous event's hash and this event's content."""
    return hashlib.sha256(previous + content.encode()).digest()


def record_run(connection: Connection, run_id: int) -> Head:
    """Add the event of a run, with digests of its record, breaks, resolutions and matches, to the open transaction."""
    return _record(connection, "run", run_id)


def record_resolution(connection: Connection, *resolution_ids: int) -> Head:
    """Add the event of a resolution to the open transaction, or those of several at once."""
    return _record(connection, "resolution", *resolution_ids)


def record_proposal(connection: Connection, proposal_id: int) -> Head:
    """Add the event of a proposal to close a period, or of taking it back, to the open transaction."""
    return _record(connection, "proposal", proposal_id)


def record_period(connection: Connection, period_id: int) -> Head:
    """Add the event of a closed period to the open transaction."""
    return _record(connection, "period", period_id)


def record_closed_days(connection: Connection, *state_ids: int) -> Head:
    """Add an event for each closed day that was found to be another than it was, to the open transaction. What a day
    was at closing is part of the period's event.
    """
    return _record(connection, "closed_day", *state_ids)


def record_statement(connection: Connection, file_id: int) -> Head:
    """Add the event of a statement's file, taken in or refused, to the open transaction."""
    return _record(connection, "statement", file_id)


def record_absence(connection: Connection, absence_id: int) -> Head:
    """Add the event of a day without a statement, proposed, rejected or confirmed, to the open transaction."""
    return _record(connection, "absence", absence_id)


def record_withdrawal(connection: Connection, *withdrawal_ids: int) -> Head:
    """Add the event of a decision's withdrawal, proposed, rejected or confirmed, to the open transaction."""
    return _record(connection, "withdrawal", *withdrawal_ids)


def _record(connection: Connection, kind: str, *numbers: int) -> Head:
    name, query = _KINDS[kind]
    connection.execute(_QUERIES["lock_chain"])
    records = connection.execute(_QUERIES[query], {name: list(numbers)}).fetchall()
    if len(records) != len(numbers):
        raise TransientError(f"PostgreSQL gave {len(records)} of {len(numbers)} records of the kind {kind}")
    return _append(
        connection,
        [{"event": kind, name: number} | dict(zip(_PARTS, digests, strict=False)) for number, *digests in records],
    )


def head(connection: Connection) -> Head:
    """The newest event."""
    row = connection.execute(_QUERIES["last_event"]).fetchone()
    return Head(row[0], row[1]) if row else Head(0, GENESIS)


def _append(connection: Connection, contents: Sequence[Mapping[str, Any]]) -> Head:
    last = head(connection)
    with connection.cursor() as cursor:
        with cursor.copy(_QUERIES["copy_events"]) as copy:
            for content in contents:
                text = canonical_json({**content, "event_no": last.event_no + 1})
                made = Head(last.event_no + 1, event_hash(last.hash, text))
                copy.write_row((made.event_no, last.hash, made.hash, text))
                last = made
        check_stored(cursor, len(contents), "recon_events")
    return last


def verify_chain(connection: Connection, expected: bytes | None = None) -> Head:
    """Prove that the chain is whole and that the tables hold what it says; returns its head.

    ``expected`` is the hash of an event that was noted down earlier: it must still be there. Raises VerificationError
    that names the first things found. Reading only.
    """
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        recorded: dict[str, _Digests] = {kind: {} for kind in _KINDS}
        problems: list[str] = []
        last = Head(0, GENESIS)
        seen = expected is None
        for event_no, previous, hashed, content in connection.execute(_QUERIES["events"]):
            problems += _problems_of_event(last, event_no, previous, hashed, content)
            _note(recorded, content)
            last = Head(event_no, bytes(hashed))
            seen = seen or last.hash == expected
        if not seen:
            problems.append("the event that was noted down is not in the chain")
        problems += _problems_of_records(connection, recorded)
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise VerificationError(f"audit chain: {'; '.join(problems[:_SHOWN])}{more}")
    return last


def _problems_of_event(last: Head, event_no: int, previous: bytes, hashed: bytes, content: str) -> Iterator[str]:
    if event_no != last.event_no + 1:
        yield f"event {event_no} follows event {last.event_no}"
    if bytes(previous) != last.hash:
        yield f"event {event_no} does not follow from the one before it"
    if event_hash(bytes(previous), content) != bytes(hashed):
        yield f"event {event_no} was changed"


def _note(recorded: Mapping[str, _Digests], content: str) -> None:
    try:
        event = json.loads(content)
        name, _ = _KINDS[event["event"]]
        recorded[event["event"]][event[name]] = tuple(event[part] for part in _PARTS if part in event)
    except (ValueError, KeyError, TypeError):
        return  # an event that is not as it was written has been reported by its hash


def _problems_of_records(connection: Connection, recorded: Mapping[str, _Digests]) -> Iterator[str]:
    for kind, (name, query) in _KINDS.items():
        there = {row[0]: tuple(row[1:]) for row in connection.execute(_QUERIES[query], {name: None})}
        yield from _differences(kind, recorded[kind], there)
    for break_id, state, period_day, wrong_state in connection.execute(_QUERIES["contradicting_states"]):
        present = state if wrong_state else f"accounted in {period_day}"
        yield f"break {break_id} is {present}, and its records say otherwise"


def _differences(kind: str, recorded: _Digests, there: _Digests) -> Iterator[str]:
    for number in sorted(recorded.keys() | there.keys()):
        if number not in there:
            yield f"{kind} {number} was removed"
        elif number not in recorded:
            yield f"{kind} {number} is not in the chain"
        elif recorded[number] != there[number]:
            yield f"{kind} {number} was changed{_which(recorded[number], there[number])}"


def _which(recorded: Sequence[str], there: Sequence[str]) -> str:
    """Return which parts of a run were changed; nothing for a record of one part."""
    if len(there) == 1 or len(recorded) != len(there):
        return ""
    changed = [name for name, part, other in zip(_PARTS, recorded, there, strict=True) if part != other]
    return f" ({', '.join(changed)})"
