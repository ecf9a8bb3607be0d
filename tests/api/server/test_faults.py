"""When something breaks inside, an answer tells nothing of it, and the log nothing of the row."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import pytest

from tests.api.ledger_rows import BODIES, BODY, PATHS, keyed
from tests.api.server.conftest import Log

INSIDE = ("select", "insert", "psycopg", "traceback", "relation", "constraint", "column", "postgres", ".py", "line ")
PATH = "/api/v1/transactions"
NO_ROW = "01a20733-cc6b-74a3-a860-71497a499eb9"
FAULTS = {
    "a table is gone": "DROP TABLE transactions_partitioned CASCADE; DROP TABLE vas_transactions_partitioned CASCADE",
    "a column is gone": "ALTER TABLE transactions_partitioned DROP COLUMN amount CASCADE;"
    "ALTER TABLE vas_transactions_partitioned DROP COLUMN amount CASCADE",
    "a trigger fails": "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS "
    "$$BEGIN RAISE EXCEPTION 'row % of SELECT', NEW; END$$;"
    "CREATE TRIGGER broken BEFORE INSERT ON transactions_partitioned FOR EACH ROW EXECUTE FUNCTION broken();"
    "CREATE TRIGGER broken BEFORE INSERT ON vas_transactions_partitioned FOR EACH ROW EXECUTE FUNCTION broken()",
    "the privileges are gone": "REVOKE ALL ON transactions_partitioned, vas_transactions_partitioned FROM treasury_api;"
    "REVOKE ALL ON archive_months, idempotency_keys FROM treasury_api",
}


@pytest.fixture
def break_it(database: psycopg.Connection[Any]) -> Callable[[str], None]:
    """Breaks the database behind the API."""
    return lambda name: _run(database, FAULTS[name])


def _run(database: psycopg.Connection[Any], statements: str) -> None:
    for statement in statements.split(";") if "$$" not in statements else (statements,):
        database.execute(statement.encode())


@pytest.mark.parametrize("name", FAULTS)
def test_an_answer_tells_nothing_of_the_inside(
    api: httpx.Client, break_it: Callable[[str], None], log: Log, name: str
) -> None:
    break_it(name)
    refused = 0
    for path in PATHS:
        secret = BODIES[path] | {"description": "visible to nobody", "wallet_id": "w-visible-to-nobody"}
        for response in (
            api.post(path, json=secret, headers=keyed()),
            api.post(f"{path}/batch", json={"items": [secret]}, headers=keyed()),
            api.get(path, params={"wallet_id": "w-visible-to-nobody"}),
            api.get(f"{path}/{NO_ROW}"),
            api.post(f"{path}/{NO_ROW}/status", json={"status": "failed"}),
        ):
            refused += response.status_code >= 500
            if response.status_code >= 400:
                assert response.headers["content-type"] == "application/problem+json"
                assert not [word for word in INSIDE if word in response.text.lower()], response.text
    assert refused > 0, "the fault had no effect"
    assert "visible to nobody" not in json.dumps(log())
    assert "w-visible-to-nobody" not in json.dumps(log())


def test_the_log_tells_what_the_answer_does_not(api: httpx.Client, break_it: Callable[[str], None], log: Log) -> None:
    break_it("a table is gone")
    response = api.post(PATH, json=BODY, headers=keyed())
    (line,) = [line for line in log() if line.get("request_id") == response.json()["request_id"] and "error" in line]

    assert response.status_code == 500
    assert line["level"] == "ERROR"
    assert line["at"]
    assert api.get("/health/live").status_code == 200
