"""Entries and their replay: canonical, strict, and what they come to."""

import json
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.errors import DataError
from ledger.transparency.events import (
    AuditHead,
    Body,
    Deleted,
    DeletionBegun,
    Event,
    Held,
    Incarnation,
    KeyRotated,
    LoggedObject,
    LogOpened,
    PeriodClosed,
    PeriodReopened,
    Released,
    Restored,
    Reverified,
    origin_of,
)
from ledger.transparency.replay import Index, check_numbers, index_of, replay, replay_entries
from tests.tasks.transparency.test_publish import SHA, archived

NUMBER = UUID("21127f18-0354-4ed5-b89e-fd29868b2fe7")
AT = datetime(2026, 11, 29, 12, 0, 0, 123000, tzinfo=UTC)
MONTH: dict[str, Any] = {"table": "transactions", "month": "2024-03"}
DAYS: dict[str, Any] = {"supplier": "flash", "first_day": date(2026, 2, 1), "last_day": date(2026, 2, 28)}
HEAD = AuditHead(event_no=7, hash=SHA)
BEGUN = DeletionBegun(
    **MONTH,
    parts=(1,),
    certificate="DEL-1",
    plan_sha256=SHA,
    record=LoggedObject(key="_treasury/deletions/DEL-1.json", size_bytes=1, sha256=SHA),
)
BODIES: list[Body] = [
    LogOpened(origin=origin_of(NUMBER)),
    archived("2024-03"),
    Reverified(**MONTH, part=1, deep=True, manifest_sha256=SHA, details={"bytes": 7}),
    Restored(**MONTH, details={"until": "2026-12-24"}),
    Held(**MONTH, hold="court order 7"),
    Released(**MONTH, hold="court order 7"),
    BEGUN,
    Deleted(**MONTH, part=1, manifest_sha256=SHA),
    PeriodClosed(**DAYS, audit_head=HEAD),
    PeriodReopened(**DAYS, audit_head=HEAD),
    KeyRotated(old=(), new=("a", "b")),
    Incarnation(kind="continued", former=None),
]


def event(body: Body, number: int = 1, incarnation: int = 1) -> Event:
    return Event(installation=NUMBER, incarnation=incarnation, number=number, happened_at=AT, body=body)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.event)
def test_an_entry_is_canonical_and_read_as_it_was_written(body: Body) -> None:
    entry = event(body).to_bytes()
    assert Event.from_bytes(entry) == event(body)
    content = json.loads(entry)
    assert entry == json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert content["format"] == "treasury-event-v1"
    assert content["happened_at"] == "2026-11-29T12:00:00.123Z"


def _changed(change: Any) -> bytes:
    content = json.loads(event(archived("2024-03")).to_bytes())
    change(content)
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (b"", "truncated"),
        (b"{}", "installation"),
        (json.dumps(json.loads(event(BODIES[0]).to_bytes())).encode(), "not in canonical form"),
        (_changed(lambda one: one.update(more=1)), "unknown field `more`"),
        (_changed(lambda one: one["body"].update(more=1)), r"unknown field `more` - at `\$\.body`"),
        (_changed(lambda one: one["body"].update(event="unknown")), "Invalid value 'unknown'"),
        (_changed(lambda one: one["body"].update(month="2024-13")), r"at `\$\.body\.month`"),
        (_changed(lambda one: one["body"].update(rows=2**53)), r"at `\$\.body\.rows`"),
        (_changed(lambda one: one["body"].update(objects=[])), r"at `\$\.body\.objects`"),
        (_changed(lambda one: one.update(format="treasury-event-v2")), "format"),
        (_changed(lambda one: one.update(number=0)), "number"),
    ],
)
def test_what_is_no_entry_is_refused_by_name(entry: bytes, told: str) -> None:
    with pytest.raises(DataError, match=told):
        Event.from_bytes(entry)


@given(st.floats(allow_nan=True, allow_infinity=True) | st.integers(2**53, 2**70))
def test_numbers_that_json_cannot_keep_are_refused_before_they_are_written(value: float) -> None:
    body = replace(archived("2024-03"), layout={"deep": [{"value": value}]})
    with pytest.raises(DataError, match="event archived: "):
        event(body).to_bytes()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_what_is_written_of_a_month_is_read_again(record: dict[str, Any]) -> None:
    body = replace(archived("2024-03"), layout=record)
    assert Event.from_bytes(event(body).to_bytes()).body == body


def test_the_last_event_of_a_month_counts() -> None:
    again = replace(archived("2024-03"), rows=9)
    state = replay([event(body) for body in (BODIES[0], archived("2024-03"), archived("2024-04"), again)])
    assert (state.size, state.origin, state.tables) == (4, origin_of(NUMBER), {"transactions"})
    assert [(one.index, one.archived.rows) for one in state.months.values()] == [(3, 9), (2, 3)]


def test_a_deleted_month_need_not_exist_and_its_table_is_still_told() -> None:
    parts: list[Body] = [archived("2024-03", 1), archived("2024-03", 2), archived("2024-04", 1)]
    one = replay([event(body) for body in (*parts, Deleted(**MONTH, part=2, manifest_sha256=SHA))])
    assert sorted(one.months) == [("transactions", "2024-03", 1), ("transactions", "2024-04", 1)]
    every = replay([event(body) for body in (*parts, Deleted(**MONTH, manifest_sha256=SHA))])
    assert sorted(every.months) == [("transactions", "2024-04", 1)]
    assert every.tables == {"transactions"}


def test_the_keys_of_a_size_are_those_of_the_rotations_below_it() -> None:
    first, second = KeyRotated(old=(), new=("a",)), KeyRotated(old=("a",), new=("b",))
    state = replay([event(body) for body in (BODIES[0], first, BODIES[4], second)])
    assert [state.keys_at(size) for size in (1, 2, 3, 4)] == [(), ("a",), ("a",), ("b",)]
    assert state.keys == ("b",)


def test_an_entry_that_is_none_is_named_by_its_place() -> None:
    with pytest.raises(DataError, match="log, entry 1: the entry is not a treasury-event-v1"):
        replay_entries([event(BODIES[0]).to_bytes(), b"{}"])


def test_a_number_that_is_missing_or_twice_is_named() -> None:
    check_numbers([event(BODIES[4], 1), event(BODIES[4], 2), event(BODIES[4], 1, 2), event(BODIES[4], 3)])
    for numbers in ((1, 3), (2,), (1, 1)):
        with pytest.raises(DataError, match="an event was taken out before it was published"):
            check_numbers([event(BODIES[4], number) for number in numbers])


def test_an_index_is_one_line_and_strict() -> None:
    state = replay([event(body) for body in (BODIES[0], archived("2024-04"), archived("2024-03"))])
    index = index_of(state, "transactions", bytes(32))
    text = index.to_text()
    assert text.count("\n") == 1
    assert Index.from_text(text) == index
    assert [one.month for one in index.months] == ["2024-03", "2024-04"]
    assert [one.entry for one in index.months] == [2, 1]
    for wrong in ("", "{}\n", text.replace("transactions", "Transactions"), text.rstrip("\n"), " " + text):
        with pytest.raises(DataError):
            Index.from_text(wrong)
    with pytest.raises(DataError, match="log_opened is missing"):
        index_of(replay([event(archived("2024-03"))]), "transactions", bytes(32))


def test_a_field_that_came_later_is_left_out_where_it_has_its_default() -> None:
    """So that entries which were written before keep their bytes."""
    held = event(Held(**MONTH, hold="HOLD-1")).to_bytes()
    assert not {"last_month", "subject", "record"} & set(json.loads(held)["body"])
    assert Event.from_bytes(held).to_bytes() == held
    deleted = json.loads(event(Deleted(**MONTH, part=1, manifest_sha256=SHA)).to_bytes())["body"]
    assert set(deleted) == {"event", "table", "month", "part", "details", "manifest_sha256"}
    wide = event(Held(hold="HOLD-1", month="2024-01", last_month="2024-03", subject="wallet"))
    assert Event.from_bytes(wide.to_bytes()) == wide


def test_a_part_whose_deletion_has_begun_need_not_exist_and_a_deleted_one_is_gone() -> None:
    key = ("transactions", "2024-03", 1)
    before = [event(archived("2024-03")), event(BEGUN)]
    one = replay(before)
    assert (one.months, set(one.gone)) == ({}, {key})
    assert one.gone[key].deleted is None
    done = Deleted(**MONTH, part=1, manifest_sha256=SHA, certificate="DEL-1")
    found = replay([*before, event(done)]).gone[key]
    assert found.deleted is not None
    assert found.archived is not None


def test_an_open_hold_is_what_was_held_and_not_released() -> None:
    holds: list[Body] = [Held(**MONTH, hold="HOLD-1"), Held(**MONTH, hold="HOLD-2"), Released(**MONTH, hold="HOLD-1")]
    assert set(replay(event(body) for body in holds).holds) == {"HOLD-2"}
