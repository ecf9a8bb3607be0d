"""Rows of partitions that others made, over HTTP: each is shown once, or the request is refused with a reason."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest

from config import Settings
from ledger.months import Month
from tests.api.conftest import MakeKey, serving, unlimited
from tests.api.ledger_rows import Ledger
from tests.api.transactions.test_reading import PATH, ids, newest_first, pages

WALLET = {"wallet_id": "wallet-1"}
FEED_DELAY_S = 1.0


def _execute(ledger: Ledger, *statements: str) -> None:
    with psycopg.connect(ledger.settings.database_dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def _of(first: Month, months: int = 1) -> str:
    return f"FOR VALUES FROM ('{first}-01 00:00+00') TO ('{first.plus(months)}-01 00:00+00')"


def _listed(api: httpx.Client, **query: Any) -> list[str]:
    return [row_id for page in pages(api, **WALLET, limit=3, **query) for row_id in ids(page)]


def _archived_rows(ledger: Ledger, month: Month) -> list[dict[str, Any]]:
    """Five rows of a month that is cold."""
    table = ledger.table(PATH)
    rows = ledger.add(table, [month.lower + timedelta(days=number, hours=1) for number in range(5)])
    ledger.cold(table, month)
    return rows


def _made_again(ledger: Ledger, month: Month) -> None:
    _execute(ledger, f"CREATE TABLE again PARTITION OF transactions_partitioned {_of(month)}")


def _store(ledger: Ledger, rows: list[dict[str, Any]]) -> None:
    ledger.store(ledger.table(PATH), rows)


def _late(ledger: Ledger, moments: list[datetime]) -> list[dict[str, Any]]:
    rows = ledger.rows(ledger.table(PATH), moments)
    _store(ledger, rows)
    return rows


@pytest.mark.sampled(1)
@pytest.mark.parametrize("kind", ["made again", "default", "quarter"])
def test_rows_of_partitions_that_others_made_are_listed_and_found(
    api: httpx.Client, ledger: Ledger, this_month: Month, kind: str
) -> None:
    month = this_month.plus(-9)
    archived = _archived_rows(ledger, month)
    late_month = month if kind == "made again" else month.plus(-3)
    if kind == "made again":
        _made_again(ledger, month)
    elif kind == "default":
        _execute(ledger, "CREATE TABLE heap PARTITION OF transactions_partitioned DEFAULT")
    else:
        _execute(ledger, f"CREATE TABLE quarter PARTITION OF transactions_partitioned {_of(month.plus(-3), 3)}")
    late = _late(ledger, [late_month.lower + timedelta(days=number, minutes=7) for number in range(4)])

    assert _listed(api) == newest_first([*archived, *late])
    assert _listed(api, to=late_month.plus(1).lower.isoformat()) == newest_first(
        [row for row in [*archived, *late] if Month.of(row["created_at"]) == late_month]
    )
    for row in (*archived, *late):
        answer = api.get(f"{PATH}/{row['id']}")
        assert (answer.status_code, answer.json()["id"]) == (200, str(row["id"]))


def test_rows_that_were_copied_back_from_the_archive_are_shown_once(
    api: httpx.Client, ledger: Ledger, this_month: Month
) -> None:
    month = this_month.plus(-9)
    archived = _archived_rows(ledger, month)
    _made_again(ledger, month)
    _store(ledger, archived[:3])
    late = _late(ledger, [month.lower + timedelta(days=9)])
    assert _listed(api) == newest_first([*archived, *late])
    assert api.get(f"{PATH}/{archived[1]['id']}").status_code == 200


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "changes", [{"amount": "120.51"}, {"metadata": '{"n": 2}'}, {"wallet_id": "wallet-2"}, {"client_id": "other"}]
)
def test_a_row_that_the_archive_has_with_other_values_is_refused(
    api: httpx.Client, ledger: Ledger, this_month: Month, changes: dict[str, Any]
) -> None:
    """A page shows one of the two; which of them is right only a person can know."""
    month = this_month.plus(-9)
    archived = _archived_rows(ledger, month)
    _made_again(ledger, month)
    _store(ledger, [archived[2] | changes])

    answers = [api.get(f"{PATH}/{archived[2]['id']}")]
    if "client_id" not in changes:  # the list is of one client, and has the archived row alone
        answers.append(api.get(PATH, params={"wallet_id": changes.get("wallet_id", "wallet-1")}))
    for answer in answers:
        assert answer.status_code == 503, answer.text
        assert answer.json()["detail"] == f"The row {archived[2]['id']} is stored twice, with different values."
    assert api.get(f"{PATH}/{archived[1]['id']}").status_code == 200
    later = {**WALLET, "from": month.plus(1).lower.isoformat()}
    assert api.get(PATH, params=later).json()["items"] == []


@pytest.fixture
def feed_api(ready: Settings, make_key: MakeKey) -> Iterator[httpx.Client]:
    prompt = unlimited(ready).model_copy(update={"api_feed_delay_s": FEED_DELAY_S})
    with serving(prompt) as url, httpx.Client(base_url=url, headers=make_key(), timeout=30) as client:
        yield client


def test_the_feed_has_rows_of_a_default_partition_and_refuses_a_month_made_again(
    feed_api: httpx.Client, ledger: Ledger, this_month: Month
) -> None:
    month = this_month.plus(-9)
    _archived_rows(ledger, month)
    _execute(ledger, "CREATE TABLE heap PARTITION OF transactions_partitioned DEFAULT")
    late = _late(ledger, [month.plus(3).lower + timedelta(days=number) for number in range(3)])
    since = month.plus(1).lower.isoformat().replace("+00:00", "Z")
    answer = feed_api.get(f"{PATH}/feed", params={"from": since})
    assert ids(answer.json()["items"]) == [str(row["id"]) for row in late]

    _execute(ledger, "ALTER TABLE transactions_partitioned DETACH PARTITION heap")
    _made_again(ledger, month)
    _late(ledger, [month.lower + timedelta(days=9)])
    before = month.lower.isoformat().replace("+00:00", "Z")
    answer = feed_api.get(f"{PATH}/feed", params={"from": before})
    assert (answer.status_code, f"{month}: that month is archived" in answer.text) == (422, True)


def test_a_month_that_is_half_detached_is_refused(api: httpx.Client, ledger: Ledger, this_month: Month) -> None:
    """An interrupted DETACH ... CONCURRENTLY leaves it attached, and out of its parent's sight."""
    table, month = ledger.table(PATH), this_month.plus(-5)
    (row,) = ledger.add(table, [month.lower + timedelta(days=2)])
    (other,) = ledger.add(table, [this_month.lower])
    dsn = ledger.settings.database_dsn
    with psycopg.connect(dsn) as reader, psycopg.connect(dsn, autocommit=True) as connection:
        reader.execute("SELECT count(*) FROM transactions_partitioned")
        connection.execute("SET statement_timeout = '500ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute(
                f"ALTER TABLE transactions_partitioned DETACH PARTITION {table.partition(month)} CONCURRENTLY"
            )
    for answer in (api.get(PATH, params=WALLET), api.get(f"{PATH}/{row['id']}")):
        assert (answer.status_code, str(month) in answer.json()["detail"]) == (503, True)
    assert api.get(f"{PATH}/{other['id']}").status_code == 200
    _execute(ledger, f"ALTER TABLE transactions_partitioned DETACH PARTITION {table.partition(month)} FINALIZE")
    _execute(ledger, f"ALTER TABLE transactions_partitioned ATTACH PARTITION {table.partition(month)} {_of(month)}")
    assert api.get(f"{PATH}/{row['id']}").status_code == 200
