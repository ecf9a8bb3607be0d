"""The audit chain of reconciliation: every run, resolution and closed period is an event that holds the hash of the
one before. What is changed, removed or put in later is found by `verify_chain`.

An event is written in the transaction of what it records: when it cannot be, nothing is.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger.errors import VerificationError
from sql.connection import Connection, fetch_one
from sql.queries import load

_QUERIES = load("reconciliation")
GENESIS = bytes(32)
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Head:
    """The newest event: its number (0: none yet) and hash. Noted down, it proves later that nothing was cut off."""

    event_no: int
    hash: bytes


@dataclass(slots=True)
class _Recorded:
    """What the events say is in the tables: the digests of records, by number."""

    runs: dict[int, tuple[str, ...]] = field(default_factory=dict)
    resolutions: dict[int, str] = field(default_factory=dict)
    periods: dict[int, str] = field(default_factory=dict)


def canonical_json(content: Mapping[str, Any]) -> str:
    """One text for one content: sorted keys, no spaces, UTF-8 as it is. Money and hashes come as text."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def event_hash(previous: bytes, content: str) -> bytes:
    """SHA-256 over the previous event's hash and this event's content."""
    return hashlib.sha256(previous + content.encode()).digest()


def record_run(connection: Connection, run_id: int) -> Head:
    """Add the event of a run, with digests of its record, breaks, resolutions and matches, to the open transaction."""
    _, record, breaks, resolutions, matches = fetch_one(connection, _QUERIES["run_records"], {"run_id": run_id})
    digests = {"record": record, "breaks": breaks, "resolutions": resolutions, "matches": matches}
    return _append(connection, {"event": "run", "run_id": run_id} | digests)


def record_resolution(connection: Connection, resolution_id: int) -> Head:
    """Add the event of one resolution by a person to the open transaction."""
    _, record = fetch_one(connection, _QUERIES["resolution_records"], {"resolution_id": resolution_id})
    return _append(connection, {"event": "resolution", "resolution_id": resolution_id, "record": record})


def record_period(connection: Connection, period_id: int) -> Head:
    """Add the event of a closed period to the open transaction."""
    _, record = fetch_one(connection, _QUERIES["period_records"], {"period_id": period_id})
    return _append(connection, {"event": "period", "period_id": period_id, "record": record})


def head(connection: Connection) -> Head:
    """The newest event."""
    row = connection.execute(_QUERIES["last_event"]).fetchone()
    return Head(row[0], row[1]) if row else Head(0, GENESIS)


def _append(connection: Connection, content: Mapping[str, Any]) -> Head:
    connection.execute(_QUERIES["lock_chain"])
    last = head(connection)
    text = canonical_json({**content, "event_no": last.event_no + 1})
    made = Head(last.event_no + 1, event_hash(last.hash, text))
    row = {"event_no": made.event_no, "previous_hash": last.hash, "hash": made.hash, "content": text}
    connection.execute(_QUERIES["insert_event"], row)
    return made


def verify_chain(connection: Connection, expected: bytes | None = None) -> Head:
    """Prove that the chain is whole and that the tables hold what it says; returns its head.

    ``expected`` is the hash of an event that was noted down earlier: it must still be there. Raises VerificationError
    that names the first things found. Reading only.
    """
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        recorded = _Recorded()
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


def _note(recorded: _Recorded, content: str) -> None:
    try:
        event = json.loads(content)
        kind = event["event"]
        if kind == "run":
            digests = tuple(event[name] for name in ("record", "breaks", "resolutions", "matches"))
            recorded.runs[event["run_id"]] = digests
        elif kind == "resolution":
            recorded.resolutions[event["resolution_id"]] = event["record"]
        elif kind == "period":
            recorded.periods[event["period_id"]] = event["record"]
    except (ValueError, KeyError, TypeError):
        return  # an event that is not as it was written has been reported by its hash


def _problems_of_records(connection: Connection, recorded: _Recorded) -> Iterator[str]:
    runs = {row[0]: tuple(row[1:]) for row in connection.execute(_QUERIES["run_records"], {"run_id": None})}
    resolutions = dict(_pairs(connection, "resolution_records", "resolution_id"))
    periods = dict(_pairs(connection, "period_records", "period_id"))
    yield from _differences("run", recorded.runs, runs)
    yield from _differences("resolution", recorded.resolutions, resolutions)
    yield from _differences("period", recorded.periods, periods)
    for break_id, state in connection.execute(_QUERIES["contradicting_states"]):
        yield f"break {break_id} is {state}, and its records say otherwise"


def _pairs(connection: Connection, query: str, parameter: str) -> list[tuple[int, str]]:
    return [(row[0], row[1]) for row in connection.execute(_QUERIES[query], {parameter: None})]


_PARTS = ("record", "breaks", "resolutions", "matches")


def _differences(kind: str, told: Mapping[int, Any], there: Mapping[int, Any]) -> Iterator[str]:
    for number in sorted(told.keys() | there.keys()):
        if number not in there:
            yield f"{kind} {number} was removed"
        elif number not in told:
            yield f"{kind} {number} is not in the chain"
        elif told[number] != there[number]:
            yield f"{kind} {number} was changed{_which(told[number], there[number])}"


def _which(told: str | Sequence[str], there: str | Sequence[str]) -> str:
    if isinstance(told, str):
        return ""
    changed = [name for name, one, other in zip(_PARTS, told, there, strict=True) if one != other]
    return f" ({', '.join(changed)})"
