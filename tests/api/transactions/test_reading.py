"""Reading: every tier, every row exactly once, also while months move; pages that are complete and without doubles."""

import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.transactions.cursor import Cursors
from ledger.identifiers import new_id
from ledger.months import Month
from tests.api.conftest import MakeKey
from tests.api.ledger_rows import BODY, PATHS, Ledger, keyed
from tests.examples import examples

PATH = "/api/v1/transactions"
MILLISECOND = timedelta(milliseconds=1)


def pages(api: httpx.Client, path: str = PATH, **query: Any) -> Iterator[list[dict[str, Any]]]:
    """The pages of a question, following the cursors."""
    cursor: dict[str, str] = {}
    while True:
        response = api.get(path, params={**query, **cursor})
        assert response.status_code == 200, response.text
        yield response.json()["items"]
        if response.json()["next_cursor"] is None:
            return
        cursor = {"cursor": response.json()["next_cursor"]}


def ids(rows: Any) -> list[str]:
    return [str(row["id"]) for row in rows]


def newest_first(rows: list[dict[str, Any]]) -> list[str]:
    return ids(sorted(rows, key=lambda row: (row["created_at"], row["id"]), reverse=True))


@pytest.mark.parametrize("path", PATHS)
def test_a_row_reads_the_same_in_every_tier(api: httpx.Client, ledger: Ledger, this_month: Month, path: str) -> None:
    table, month = ledger.table(path), this_month.plus(-5)
    (row,) = ledger.add(table, [month.lower], metadata={"b": [1, "x"], "a": None}, reference="R-1")
    address = f"{path}/{row['id']}"
    hot = api.get(address)
    ledger.warm(table, month)
    warm = api.get(address)
    ledger.archive(table, month)
    cold = api.get(address)

    assert hot.status_code == 200
    assert hot.json()["metadata"] == {"b": [1, "x"], "a": None}
    assert hot.content == warm.content == cold.content
    assert api.get(path, params={"wallet_id": BODY["wallet_id"]}).json()["items"] == [hot.json()]


def test_a_row_that_is_not_there_is_not_found(api: httpx.Client, ledger: Ledger, this_month: Month) -> None:
    table, month = ledger.table(PATH), this_month.plus(-5)
    ledger.add(table, [month.lower])
    ledger.cold(table, month)

    for moment in (month.lower, this_month.lower, this_month.plus(50).lower, datetime(1970, 1, 1, tzinfo=UTC)):
        assert api.get(f"{PATH}/{new_id(moment, random.getrandbits)}").status_code == 404


@pytest.mark.parametrize("tier", ["hot", "cold"])
def test_a_client_sees_its_own_rows_only(
    api: httpx.Client, ledger: Ledger, this_month: Month, make_key: Any, tier: str
) -> None:
    table, month = ledger.table(PATH), this_month.plus(-5)
    (row,) = ledger.add(table, [month.lower])
    if tier == "cold":
        ledger.cold(table, month)
    address, question = f"{PATH}/{row['id']}", {"wallet_id": row["wallet_id"]}
    other = make_key("other")
    auditor = make_key("auditor", ["transactions:read", "read:all"])

    assert api.get(address, headers=other).status_code == 404
    assert api.get(PATH, params=question, headers=other).json()["items"] == []
    assert api.get(address, headers=auditor).status_code == 200
    assert ids(api.get(PATH, params=question, headers=auditor).json()["items"]) == [str(row["id"])]


@pytest.mark.parametrize(
    "row_id",
    ["1", "01a20733cc6b74a3a86071497a499eb9", "{01a20733-cc6b-74a3-a860-71497a499eb9}",
     "01a20733-cc6b-74a3-a860-71497a499eb", "01a20733-cc6b-74a3-a860-71497a499ebg"],
)  # fmt: skip
def test_an_id_that_is_no_uuid_is_refused(shared_api: httpx.Client, row_id: str) -> None:
    response = shared_api.get(f"{PATH}/{row_id}")
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "id")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "wallet_id"),
        ({"wallet_id": ""}, "wallet_id"),
        ({"wallet_id": "w" * 65}, "wallet_id"),
        ({"user_id": "u\0"}, "user_id"),
        ({"wallet_id": "w", "limit": "0"}, "limit"),
        ({"wallet_id": "w", "limit": "501"}, "limit"),
        ({"wallet_id": "w", "limit": "ten"}, "limit"),
        ({"wallet_id": "w", "limit": "-1"}, "limit"),
        ({"wallet_id": "w", "limit": "\u0661"}, "limit"),
        ({"wallet_id": "w", "from": "yesterday"}, "from"),
        ({"wallet_id": "w", "from": "2026-01-01"}, "from"),
        ({"wallet_id": "w", "from": "2026-02-03 10.15"}, "from"),
        ({"wallet_id": "w", "from": "2026-02-03 10-15"}, "from"),
        ({"wallet_id": "w", "to": "2026-02-01+02:00"}, "to"),
        ({"wallet_id": "w", "to": "20260203101"}, "to"),
        ({"wallet_id": "w", "to": "2026-13-01T00:00:00Z"}, "to"),
        ({"wallet_id": "w", "to": "2026-01-01T00:00:00"}, "to"),
        ({"wallet_id": "w", "from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "to"),
        ({"wallet_id": "w", "status": "done"}, "status"),
        ({"wallet_id": "w", "type": "gift"}, "type"),
        ({"wallet_id": "w", "cursor": ""}, "cursor"),
        ({"wallet_id": "w", "cursor": "AAAA"}, "cursor"),
        ({"wallet_id": "w", "cursor": "ü"}, "cursor"),
        ({"wallet_id": "w", "walet_id": "x"}, "walet_id"),
        ([("wallet_id", "w"), ("wallet_id", "x")], "wallet_id"),
    ],
)  # fmt: skip
def test_a_parameter_that_breaks_a_rule_is_named(shared_api: httpx.Client, query: Any, field: str) -> None:
    response = shared_api.get(PATH, params=query)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)


def test_a_cursor_belongs_to_its_question(api: httpx.Client, make_key: Any) -> None:
    for _ in range(2):
        api.post(PATH, json=BODY, headers=keyed())
    cursor = api.get(PATH, params={"wallet_id": "wallet-1", "limit": 1}).json()["next_cursor"]
    question = {"wallet_id": "wallet-1", "cursor": cursor}

    assert len(api.get(PATH, params=question).json()["items"]) == 1
    for other in (
        {**question, "wallet_id": "wallet-2"},
        {**question, "status": "pending"},
        {**question, "cursor": cursor[:-1] + ("A" if cursor[-1] != "A" else "B")},
    ):
        assert api.get(PATH, params=other).status_code == 422
    assert api.get(PATH, params=question, headers=make_key("other")).status_code == 422


@given(st.binary(max_size=20), st.text(max_size=60))
def test_a_made_up_cursor_is_never_believed(secret: bytes, cursor: str) -> None:
    with pytest.raises(Exception, match="cursor: must be"):
        Cursors(secret).read(b"question", cursor)


@pytest.mark.heavy("test_a_month_that_moves_is_always_seen_once reads pages of all tiers")
def test_pages_are_complete_and_without_doubles_over_all_tiers(
    api: httpx.Client, ledger: Ledger, this_month: Month
) -> None:
    """Rows of three wallets over six months, many in one millisecond. The fourth month back stays warm while a later
    one is cold: a month that was held back must still come in its place.
    """
    table, dice = ledger.table(PATH), random.Random(7)  # noqa: S311  # rows, not secrets
    months = [this_month.plus(-distance) for distance in range(6)]
    rows: list[dict[str, Any]] = []
    for wallet in ("a", "b", "c"):
        for status in ("completed", "failed"):
            moments = [month.lower + dice.randrange(4) * MILLISECOND for month in months for _ in range(4)]
            rows += ledger.add(table, moments, wallet_id=wallet, status=status, user_id=f"of-{wallet}")
    ledger.warm(table, months[2])
    ledger.cold(table, months[3])
    ledger.warm(table, months[4])
    ledger.cold(table, months[5])

    edges = st.sampled_from([month.lower + offset * MILLISECOND for month in months for offset in (0, 2)])

    @settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        asked=st.fixed_dictionaries(
            {}, optional={"status": st.sampled_from(["completed", "failed"]), "from": edges, "to": edges}
        ),
        name=st.sampled_from(["wallet_id", "user_id"]),
        limit=st.sampled_from([1, 2, 5, 17, 500]),
    )
    def every_page(asked: dict[str, Any], name: str, limit: int) -> None:
        first, last = asked.get("from", months[-1].lower), asked.get("to", this_month.upper)
        if first >= last:
            return
        wanted = [
            row
            for row in rows
            if row["wallet_id"] == "b" and asked.get("status") in (None, row["status"])
            if first <= row["created_at"] < last
        ]
        times: dict[str, Any] = {key: asked[key].isoformat() for key in ("from", "to") if key in asked}
        query = {**asked, **times, name: "b" if name == "wallet_id" else "of-b", "limit": limit}
        found = list(pages(api, **query))
        assert [row_id for page in found for row_id in ids(page)] == newest_first(wanted)
        assert all(len(page) == limit for page in found[:-1])

    every_page()


def test_a_month_that_moves_is_always_seen_once(api: httpx.Client, ledger: Ledger, this_month: Month) -> None:
    """Readers ask without a pause while two months go from hot to warm to cold."""
    table = ledger.table(PATH)
    months = [this_month.plus(-distance) for distance in (4, 5)]
    rows = ledger.add(table, [month.lower + number * MILLISECOND for month in months for number in range(3)])
    expected, asked, moved = newest_first(rows), 0, threading.Event()
    wrong: list[list[str] | list[int]] = []

    def read_pages() -> None:
        nonlocal asked
        with httpx.Client(base_url=api.base_url, headers=api.headers, timeout=30) as client:
            while not moved.is_set():
                found = [row_id for page in pages(client, wallet_id="wallet-1") for row_id in ids(page)]
                asked += 1
                if found != expected:
                    wrong.append(found)

    def read_ids() -> None:
        nonlocal asked
        with httpx.Client(base_url=api.base_url, headers=api.headers, timeout=30) as client:
            while not moved.is_set():
                answers = [client.get(f"{PATH}/{row_id}").status_code for row_id in expected]
                asked += 1
                if set(answers) != {200}:
                    wrong.append(answers)

    readers = [threading.Thread(target=read) for read in (read_pages, read_ids)]
    for reader in readers:
        reader.start()
    try:
        for month in months:
            ledger.cold(table, month)
    finally:
        moved.set()
        for reader in readers:
            reader.join()
    assert wrong == []
    assert asked > 10


FAR = {
    "infinity": "9999-12-31T23:59:59.999999Z",
    "20000-01-01 00:00+00": "9999-12-31T23:59:59.999999Z",
    "9999-12-31 23:59:59.999999+00": "9999-12-31T23:59:59.999999Z",
    "0001-01-01 00:00+00": "0001-01-01T00:00:00Z",
    "0044-03-15 00:00+00 BC": "0001-01-01T00:00:00Z",
    "-infinity": "0001-01-01T00:00:00Z",
}


@pytest.mark.parametrize("path", PATHS)
def test_a_row_whose_other_times_are_far_or_infinite_is_shown_with_the_nearest_that_json_has(
    api: httpx.Client, ledger: Ledger, this_month: Month, path: str
) -> None:
    table, month = ledger.table(path), this_month.plus(-5)
    own = ["updated_at"] if table.name == "transactions" else ["updated_at", "processed_at"]
    times = list(FAR) if path == PATH else [time for time in FAR if "infinity" not in time]
    rows = [
        row
        for day, time in enumerate(times)
        for row in ledger.far(table, month.lower + timedelta(days=day), dict.fromkeys(own, time))
    ]
    wanted = {str(row["id"]): dict.fromkeys(own, FAR[time]) for row, time in zip(rows, times, strict=True)}

    def shown() -> dict[str, Any]:
        listed = [row for page in pages(api, path, wallet_id=BODY["wallet_id"], limit=2) for row in page]
        assert ids(listed) == newest_first(rows)
        assert [api.get(f"{path}/{row['id']}").json() for row in listed] == listed
        return {row["id"]: {name: row[name] for name in own} for row in listed}

    assert shown() == wanted
    if path != PATH:  # the archive refuses infinity, and keeps every other time
        ledger.cold(table, month)
        assert shown() == wanted


def test_a_row_of_no_month_stops_no_list(api: httpx.Client, ledger: Ledger, this_month: Month) -> None:
    table = ledger.table(PATH)
    (row,) = ledger.add(table, [this_month.lower])
    ledger.execute("CREATE TABLE heap PARTITION OF transactions_partitioned DEFAULT")
    for number, time in enumerate(["infinity", "-infinity", "1969-12-31 00:00+00", "2200-01-01 00:00+00"]):
        (far,) = ledger.far(table, this_month.lower + timedelta(days=number), {"created_at": time})
        assert api.get(f"{PATH}/{far['id']}").status_code == 404
    assert [ids(page) for page in pages(api, wallet_id=BODY["wallet_id"], limit=1)] == [[str(row["id"])]]


def test_a_collation_without_capitals_shows_and_changes_no_row_of_another_client(
    api: httpx.Client, make_key: MakeKey, database: psycopg.Connection[Any], heard: pytest.LogCaptureFixture
) -> None:
    """`treasury setup` refuses such a table. The API that runs already takes acme for no other client than ACME."""
    try:
        database.execute(
            "CREATE COLLATION blurring (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
        )
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("this server is built without ICU")
    database.execute("DROP VIEW transactions")
    for name in ("transactions_partitioned", "transactions_archive_warm"):
        database.execute(f"ALTER TABLE {name} ALTER client_id TYPE varchar(64) COLLATE blurring")
    row = api.post(PATH, json=BODY, headers=keyed())
    assert row.status_code == 201
    with httpx.Client(base_url=api.base_url, headers=make_key("ACME"), timeout=30) as other:
        listed = other.get(PATH, params={"wallet_id": BODY["wallet_id"]})
        changed = other.post(f"{row.headers['location']}/status", json={"status": "completed"})

    assert (listed.status_code, listed.json()["type"]) == (500, "urn:treasury:problem:internal")
    assert "give the column a deterministic collation" in str([record.__dict__ for record in heard.records])
    assert changed.status_code == 404
    assert api.get(row.headers["location"]).json() == row.json()
