"""What is acknowledged is durable: servers are killed and restarted at random moments while clients go on storing."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime

import httpx
import psycopg
import pytest

from tests.api.conftest import serving, unlimited
from tests.api.ledger_rows import BODY
from tests.api.server.conftest import Figure
from tests.api.server.site import Load, Site, site

Blow = Callable[[Site, random.Random], None]
KILLS: tuple[Blow, ...] = (Site.kill_postgres, Site.kill_a_worker, Site.kill_the_api)
WEIGHTS = (3, 4, 1)  # the whole API takes seconds to come up again
LONG_ROUNDS = 120
SEED = 20261123


@pytest.fixture(scope="module")
def place() -> Iterator[Site]:
    with site() as running:
        yield running


def strike(place: Site, blows: list[Blow], record: Figure) -> Load:
    """One blow a round, at a random moment. At the end all that was acknowledged in any round is looked for."""
    chance = random.Random(SEED)  # noqa: S311  # moments, not secrets
    load = place.load()
    before = _rows(place)
    with load.running():
        for blow in blows:
            load.wait_for(5)
            time.sleep(chance.uniform(0, 0.3))  # the random moment
            blow(place, chance)
            load.wait_for(5)
    stored = place.check(_with_history(load, before))
    record("blows", dict(Counter(blow.__name__ for blow in blows)))
    record("acknowledged", len(load.acknowledged))
    record("stored", stored)
    record("interrupted requests", load.interrupted)
    return load


def _rows(place: Site) -> dict[str, str]:
    with psycopg.connect(place.settings.database_dsn) as connection:
        return dict(connection.execute("SELECT reference, id::text FROM transactions_partitioned").fetchall())


def _started_at(place: Site) -> datetime:
    with psycopg.connect(place.settings.database_dsn) as connection:
        row = connection.execute("SELECT pg_postmaster_start_time()").fetchone()
    assert row is not None
    return datetime.fromisoformat(str(row[0]))


def _with_history(load: Load, before: dict[str, str]) -> Load:
    """What earlier tests stored must be there as well."""
    return Load(load.url, load.headers, {**before, **load.acknowledged}, load.unexpected, load.interrupted)


@pytest.mark.heavy("a restart of PostgreSQL and a killed Redis under load, and kills without load, have tests")
def test_a_few_kills_lose_nothing_and_double_nothing(place: Site, figure: Figure) -> None:
    load = strike(place, [Site.kill_postgres, Site.kill_a_worker, Site.kill_the_api], figure)
    assert load.interrupted > 0, "nothing was ever interrupted: the blows did not hit"


@pytest.mark.heavy("test_silent_postgres.py loses connections at each step")
def test_a_restart_of_postgresql_under_load_loses_nothing(place: Site, figure: Figure) -> None:
    started = _started_at(place)
    strike(place, [Site.restart_postgres], figure)
    assert _started_at(place) > started


@pytest.mark.heavy("a frozen PostgreSQL is tested beside it")
def test_redis_may_be_killed_and_come_back_under_load(place: Site, figure: Figure) -> None:
    """Writes and reads go on, none is answered 5xx, and what is read afterwards is the present status."""
    load = place.load()
    with load.running(), httpx.Client(base_url=place.url, headers=place.headers, timeout=30) as client:
        load.wait_for(5)
        key, row_id = next(iter(load.acknowledged.items()))
        place.redis.kill()
        killed_s = time.perf_counter()
        load.wait_for(20)
        figure("seconds to the first 20 rows after Redis was killed", round(time.perf_counter() - killed_s, 2))
        assert client.get(f"/api/v1/transactions/{row_id}").json()["reference"] == key
        moved = client.post(f"/api/v1/transactions/{row_id}/status", json={"status": "completed"})
        place.redis.start()
        load.wait_for(20)
        assert moved.json()["status"] == "completed"
        assert client.get(f"/api/v1/transactions/{row_id}").json()["status"] == "completed"
    assert (load.unexpected, load.interrupted) == ([], 0)
    figure("acknowledged while Redis was killed and started", len(load.acknowledged))
    figure("stored", place.check(load))


def test_a_frozen_postgresql_is_answered_503_in_time_and_what_it_took_is_stored_once(
    place: Site, figure: Figure
) -> None:
    """The whole server is stopped, so no new connection helps. A hasty API beside the site's own is asked."""
    hasty = unlimited(place.settings).model_copy(update={"api_statement_timeout_ms": 200})
    with serving(hasty) as url, httpx.Client(base_url=url, headers=place.headers, timeout=30) as client:
        assert _post(client, "before") == 201
        with place.frozen_postgres():
            started_s = time.monotonic()
            first, readiness = _post(client, "frozen"), client.get("/health/ready").status_code
            took_s = time.monotonic() - started_s
        deadline_s = time.monotonic() + 30
        while (again := _post(client, "frozen")) != 201 and time.monotonic() < deadline_s:
            time.sleep(0.1)
    figure("a post and a readiness check on a frozen PostgreSQL, s", round(took_s, 2))
    assert (first, readiness, again) == (503, 503, 201)
    assert took_s < 6, f"it took {took_s:.1f} s"
    assert len([reference for reference in _rows(place) if reference == "frozen"]) == 1


def _post(client: httpx.Client, reference: str) -> int:
    headers = {"Idempotency-Key": reference}
    return client.post("/api/v1/transactions", json={**BODY, "reference": reference}, headers=headers).status_code


@pytest.mark.heavy("tests/servers tests what ends processes")
def test_no_process_outlives_the_supervisor(place: Site) -> None:
    place.kill_the_supervisor()
    deadline_s = time.monotonic() + 30
    while place.api.answers():
        assert time.monotonic() < deadline_s, "a process without a supervisor still answers"
        time.sleep(0.1)
    place.api.start()


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_hundred_kills_lose_nothing_and_double_nothing(place: Site, figure: Figure) -> None:
    chance = random.Random(SEED + 1)  # noqa: S311  # choices, not secrets
    load = strike(place, chance.choices(KILLS, WEIGHTS, k=LONG_ROUNDS), figure)
    assert load.interrupted > 0, "nothing was ever interrupted: the blows did not hit"
