"""Returns of months to warm that the log has and PostgreSQL lacks: after a lost database, or one that was set back.

The rows of a month that had gone back are not in the archive. Its former objects are, and must not be forgotten.
"""

import json
from collections.abc import Sequence
from datetime import date, datetime, timedelta

from ledger.errors import DataError, VerificationError
from ledger.months import Month
from ledger.transparency.events import Archived, Event, Returned
from sql.connection import Connection
from sql.restored import Request
from sql.returns import MonthReturn, add_former_part, add_return, has_return
from storage.store import ObjectStore, StoredFile


def restore_returns(connection: Connection, store: ObjectStore, events: Sequence[Event]) -> None:
    """Enter the returns of ``events``, all of a log in their order, and the former objects of the months.

    What PostgreSQL has already is left, and a month whose deletion has begun since has no former objects. In the
    caller's transaction. Raises VerificationError for a record that is not the one of the log, and the store's errors.
    """
    for index, event in enumerate(events):
        if isinstance(event.body, Returned) and not has_return(connection, event.body.record.key):
            made = _read(store, event.body)
            number = add_return(connection, made)
            for archived in former_parts(events, index, event.body):
                add_former_part(connection, number, archived)


def former_parts(events: Sequence[Event], index: int, returned: Returned) -> list[Archived]:
    """The parts that an event ``returned`` at ``index`` replaces, as they were archived before it."""
    parts: dict[int, Archived] = {}
    wanted = {part.part: part.manifest_sha256 for part in returned.parts}
    for event in events[:index]:
        body = event.body
        if not isinstance(body, Archived) or (body.table, body.month) != (returned.table, returned.month):
            continue
        if wanted.get(body.part) == body.manifest.sha256:
            parts[body.part] = body
    return [parts[part] for part in sorted(parts)]


def _read(store: ObjectStore, body: Returned) -> MonthReturn:
    content = store.read_bytes(body.record.key)
    if StoredFile.of(content).sha256.hex() != body.record.sha256:
        raise VerificationError(f"{body.record.key}: its SHA-256 is not the one in the log")
    try:
        said = json.loads(content)
        who = Request(said["actor"], said["account"], said["reason"], timedelta(0))
        at, until = datetime.fromisoformat(said["at"]), date.fromisoformat(said["until"])
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{body.record.key}: is not a record of a return") from None
    return MonthReturn(body.table, Month.parse(body.month), body.rows, who, at, until, body.record.key)
