"""Holds and deletions that the log has and PostgreSQL lacks: after a lost database, or one that was set back.

A hold that was forgotten would let rows be deleted, and a deletion that was forgotten would never end. Both are read
from the objects that the events name, each compared with the SHA-256 in the log.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from ledger.errors import DataError, RefusalError, VerificationError
from ledger.holds import Hold, hold_name, hold_number
from ledger.months import Month
from ledger.transparency.events import Archived, Deepened, Deleted, DeletionBegun, Event, Held, LoggedObject, Released
from ledger.transparency.replay import replay
from sql.connection import Connection
from sql.deep import mark_went_deep
from sql.deletions import add_deletion, find_number, restore_certificate
from sql.holds import RELEASED, HoldDecision, add_decision, add_hold, list_holds
from sql.rebuild import mark_gone
from sql.returns import begin_removal
from storage.store import ObjectStore, StoredFile
from tasks.retention.certificates import read_order


def restore_life(connection: Connection, store: ObjectStore, events: Iterable[Event]) -> None:
    """Enter what ``events`` of the log say about holds, the deep tier and deletions, in the caller's transaction.

    What PostgreSQL has already is left. Raises VerificationError for an object that is not the one of the log. Raises
    RefusalError where PostgreSQL has another hold of the same number, and the store's errors.
    """
    events = list(events)
    deep = {index for index, _ in replay(events).deep.values()}  # not of a part that was archived again since
    for index, event in enumerate(events):
        match event.body:
            case Held() as body if body.record is not None:
                _restore_hold(connection, store, body.record)
            case Released() as body if body.record is not None:
                _restore_release(connection, store, hold_number(body.hold), body.record)
            case Deepened() as body if body.part is not None and index in deep:
                month = Month.parse(body.month).first_day
                mark_went_deep(connection, body.table, month, body.part, body.storage_class, event.happened_at)
            case DeletionBegun() as body:
                _restore_begun(connection, store, event, body)
            case Deleted() as body if body.record is not None and body.certificate is not None:
                content = _read(store, body.record)
                restore_certificate(connection, body.certificate, content, body.record.key, event.happened_at)


def _restore_hold(connection: Connection, store: ObjectStore, record: LoggedObject) -> None:
    hold = Hold.from_record(_json(store, record), record.key)
    known = list_holds(connection, hold.number)
    if not known:
        add_hold(connection, hold, record)
    elif known[0].hold != hold:
        raise RefusalError(
            f"{hold.name} in PostgreSQL is another one than {record.key}, which the log names. Note both, and restore "
            "a backup of PostgreSQL from before it was placed. Place it again after `treasury installation continue`"
        )


def _restore_release(connection: Connection, store: ObjectStore, number: int, record: LoggedObject) -> None:
    known = list_holds(connection, number)
    if not known:
        raise DataError(f"{record.key}: releases {hold_name(number)}, which the log does not have")
    if not known[0].is_open:
        return
    said = _json(store, record)
    add_decision(connection, number, _decision("proposed", said["proposed"]))
    add_decision(connection, number, _decision(RELEASED, said["confirmed"]), record)


def _decision(action: str, said: dict[str, str]) -> HoldDecision:
    at = datetime.fromisoformat(said["at"])
    return HoldDecision(action, said["actor"], said["account"], said["reason"], at)


def _restore_begun(connection: Connection, store: ObjectStore, event: Event, body: DeletionBegun) -> None:
    """The parts leave the views, and the next run goes on with the deletion."""
    if find_number(connection, body.certificate) is not None:
        return
    content = _read(store, body.record)
    order = read_order(content, body.record.key)
    month = Month.parse(body.month).first_day
    mark_gone(connection, body.table, month, body.parts, body.certificate, event.happened_at)
    begin_removal(connection, body.table, Month.parse(body.month), body.certificate)
    values = {
        "number": order.number,
        "certificate": order.certificate,
        "request_id": None,
        "table": body.table,
        "month": month,
        "order_content": content,
        "order_key": body.record.key,
        "begun_at": event.happened_at,
        "event_incarnation": event.incarnation,
        "event_number": event.number,
    }
    add_deletion(connection, values, order.objects)


def kept_parts(events: Iterable[Event]) -> list[tuple[Archived, datetime]]:
    """The parts that holds have kept, by ``events``, each with the time of its event."""
    return [
        (event.body, event.happened_at)
        for event in events
        if isinstance(event.body, Archived) and event.body.kept is not None
    ]


def _json(store: ObjectStore, record: LoggedObject) -> dict[str, Any]:
    try:
        record_content = json.loads(_read(store, record))
    except ValueError:
        raise DataError(f"{record.key}: is not JSON") from None
    if not isinstance(record_content, dict):
        raise DataError(f"{record.key}: is not a record")
    return record_content


def _read(store: ObjectStore, record: LoggedObject) -> bytes:
    content = store.read_bytes(record.key)
    if StoredFile.of(content).sha256.hex() != record.sha256:
        raise VerificationError(f"{record.key}: its SHA-256 is not the one in the log")
    return content
