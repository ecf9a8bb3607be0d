"""A row's time is never far off PostgreSQL's: while the API's clock is wrong it stores nothing, and says so."""

import asyncio
import time

import httpx
import psycopg
import pytest

from api.connections import clock as api_clock
from api.connections.database import Database
from config import Settings
from ledger.errors import ClockError, TransientError
from sql import clock
from tests.api.conftest import MakeKey, serving

BODY = {"user_id": "u-1", "wallet_id": "w-1", "type": "payment", "amount": "120.50", "currency": "ZAR"}
OFF = {"an hour ahead": 3600.0, "an hour behind": -3600.0, "two days ahead": 172_800.0, "two days behind": -172_800.0}


class Skew:
    """A clock that can be set while the API runs."""

    def __init__(self) -> None:
        self.off_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.off_s


@pytest.fixture
def skew(monkeypatch: pytest.MonkeyPatch) -> Skew:
    skew = Skew()
    monkeypatch.setattr(clock, "wall_clock_s", skew)
    return skew


def post(client: httpx.Client, key: str) -> httpx.Response:
    return client.post("/api/v1/transactions", json=BODY, headers={"Idempotency-Key": key})


def stored(database: "psycopg.Connection[tuple[object, ...]]") -> int:
    row = database.execute("SELECT count(*) FROM transactions").fetchone()
    assert row is not None
    return int(str(row[0]))


@pytest.mark.parametrize("off_s", OFF.values(), ids=OFF)
def test_an_api_that_starts_with_a_wrong_clock_stores_nothing(
    ready: Settings, make_key: MakeKey, database: "psycopg.Connection[tuple[object, ...]]", skew: Skew, off_s: float
) -> None:
    key = make_key()
    skew.off_s = off_s
    with serving(ready) as url, httpx.Client(base_url=url, timeout=30, headers=key) as client:
        for number in range(3):
            assert post(client, f"order-{number}").status_code == 503
        batch = client.post("/api/v1/transactions/batch", json=[BODY], headers={"Idempotency-Key": "batch-1"})
        assert batch.status_code in (400, 422, 503)
    assert stored(database) == 0


@pytest.mark.parametrize("off_s", OFF.values(), ids=OFF)
def test_a_clock_that_is_set_while_the_api_runs_is_seen_by_the_next_row(
    api: httpx.Client, database: "psycopg.Connection[tuple[object, ...]]", skew: Skew, off_s: float
) -> None:
    assert post(api, "before").status_code == 201
    skew.off_s = off_s
    assert post(api, "while").status_code == 503
    assert stored(database) == 1
    skew.off_s = 0.0
    assert post(api, "while").status_code == 201
    assert stored(database) == 2


def test_reading_goes_on_under_a_wrong_clock(api: httpx.Client, skew: Skew) -> None:
    row = post(api, "before").json()["id"]
    skew.off_s = 3600.0
    assert api.get(f"/api/v1/transactions/{row}").status_code == 200
    assert api.get("/api/v1/transactions?wallet_id=w-1").status_code == 200
    assert post(api, "before").headers.get("Idempotent-Replayed") in (None, "true")


def test_a_comparison_that_finds_the_clock_wrong_counts_also_where_the_steady_clock_moved_along(
    ready: Settings, skew: Skew
) -> None:
    """As in a machine that was held for an hour, whose clocks both went on from where they were."""

    async def compared() -> None:
        database = Database(ready)
        await database.open()
        steady = Skew()
        own = api_clock.Clock(database, ready.clock_tolerance_s, steady)
        try:
            async with own.running():
                own.now()
                skew.off_s = steady.off_s = -3600.0
                own.now()  # not to be seen without PostgreSQL
                await own._compare()
                with pytest.raises(ClockError, match="behind PostgreSQL"):
                    own.now()
        finally:
            await database.close()

    asyncio.run(compared())


def test_a_clock_that_was_never_compared_makes_no_row(ready: Settings) -> None:
    own = api_clock.Clock(Database(ready), ready.clock_tolerance_s)
    with pytest.raises(TransientError, match="was not compared"):
        own.now()
