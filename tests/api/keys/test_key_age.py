"""How long an idempotency key is remembered: as long as the setting says, and until then nothing is done twice."""

from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest

from config import Settings
from tasks.admin import housekeeping
from tests.api.ledger_rows import BODY, keyed

PATH = "/api/v1/transactions"


def let_age(database: psycopg.Connection[Any], key: str, age: timedelta) -> None:
    changed = database.execute("UPDATE idempotency_keys SET created_at = now() - %s WHERE key = %s", (age, key))
    assert changed.rowcount == 1


def test_keys_replay_until_they_are_past_their_time_and_only_those_are_deleted(
    api: httpx.Client, ready: Settings, database: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "_BATCH_ROWS", 2)
    settings = ready.model_copy(update={"idempotency_hours": 24})
    almost, past = timedelta(hours=24) - timedelta(minutes=1), timedelta(hours=24, minutes=1)
    first = {key: api.post(PATH, json=BODY, headers=keyed(key)) for key in ("young", "almost", "p1", "p2", "p3")}
    let_age(database, "almost", almost)
    for key in ("p1", "p2", "p3"):
        let_age(database, key, past)

    assert housekeeping.purge_idempotency_keys(settings) == 3
    assert housekeeping.purge_idempotency_keys(settings) == 0

    for key in ("young", "almost"):
        again = api.post(PATH, json=BODY, headers=keyed(key))
        assert (again.headers["idempotent-replayed"], again.content) == ("true", first[key].content)
    assert "idempotent-replayed" not in api.post(PATH, json=BODY, headers=keyed("p1")).headers
    assert database.execute("SELECT count(*) FROM transactions_partitioned").fetchone() == (6,)


def test_a_key_that_a_request_holds_is_left_for_the_next_night(
    api: httpx.Client, ready: Settings, database: psycopg.Connection[Any]
) -> None:
    assert api.post(PATH, json=BODY, headers=keyed("k")).status_code == 201
    let_age(database, "k", timedelta(days=9))
    with psycopg.connect(ready.database_dsn) as holding:
        holding.execute("SELECT FROM idempotency_keys WHERE key = 'k' FOR UPDATE")
        assert housekeeping.purge_idempotency_keys(ready) == 0
    assert housekeeping.purge_idempotency_keys(ready) == 1
