"""What PostgreSQL did not store as it was sent is never acknowledged, whatever stands in between."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psycopg
import pytest

from tests.api.ledger_rows import BODIES, BODY, PATHS, Ledger, keyed

PATH = PATHS[0]
PROBLEM = "urn:treasury:problem:not-stored"
DROPS = "BEGIN IF NEW.wallet_id = 'lost' THEN RETURN NULL; END IF; RETURN NEW; END"
CHANGES = {
    "an amount": "BEGIN IF NEW.wallet_id = 'lost' THEN NEW.amount := NEW.amount - 1; END IF; RETURN NEW; END",
    "a text": "BEGIN IF NEW.wallet_id = 'lost' THEN NEW.description := 'x'; END IF; RETURN NEW; END",
    "metadata": "BEGIN IF NEW.wallet_id = 'lost' THEN NEW.metadata := '{\"a\": 1}'; END IF; RETURN NEW; END",
}
Interfere = Callable[..., None]


@pytest.fixture
def interfere(database: psycopg.Connection[Any]) -> Iterator[Interfere]:
    """Puts a trigger of somebody else's on a table."""

    def put(body: str, table: str = "transactions_partitioned", event: str = "INSERT") -> None:
        database.execute(f"CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $${body}$$")
        database.execute(f"CREATE TRIGGER meddle BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION meddle()")

    yield put
    database.execute("DROP FUNCTION IF EXISTS meddle() CASCADE")


def count(database: psycopg.Connection[Any], table: str) -> int:
    row = database.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


def check_refused(response: httpx.Response, database: psycopg.Connection[Any], table: str) -> None:
    assert (response.status_code, response.json()["type"]) == (500, PROBLEM)
    assert count(database, table) == count(database, "idempotency_keys") == 0


@pytest.mark.parametrize("path", PATHS)
def test_a_row_that_a_trigger_drops_is_not_acknowledged(
    api: httpx.Client, database: Any, ledger: Ledger, interfere: Interfere, path: str
) -> None:
    table = ledger.table(path).hot_parent
    interfere(DROPS, table)
    lost, key = {**BODIES[path], "wallet_id": "lost"}, keyed()
    check_refused(api.post(path, json=lost, headers=key), database, table)
    check_refused(api.post(path, json=lost, headers=key), database, table)
    assert api.post(path, json=BODIES[path], headers=keyed()).status_code == 201
    database.execute("DROP FUNCTION meddle() CASCADE")
    assert api.post(path, json=lost, headers=key).status_code == 201  # the key was not used up
    assert count(database, table) == 2


@pytest.mark.parametrize("name", CHANGES)
def test_a_row_that_a_trigger_changes_is_not_acknowledged(
    api: httpx.Client, database: Any, interfere: Interfere, name: str
) -> None:
    interfere(CHANGES[name])
    lost = {**BODY, "wallet_id": "lost"}
    check_refused(api.post(PATH, json=lost, headers=keyed()), database, "transactions_partitioned")
    good = api.post(PATH, json=BODY, headers=keyed())
    assert good.status_code == 201
    assert api.get(good.headers["location"]).json() == good.json()


@pytest.mark.parametrize(("column", "kind"), [("amount", "numeric(18,0)"), ("updated_at", "timestamptz(0)")])
def test_a_value_that_the_column_rounds_is_not_acknowledged(
    api: httpx.Client, database: Any, column: str, kind: str
) -> None:
    """`treasury setup` refuses such a table, and an API that runs already may meet one."""
    database.execute("DROP VIEW transactions")
    for name in ("transactions_partitioned", "transactions_archive_warm"):
        database.execute(f"ALTER TABLE {name} ALTER {column} TYPE {kind}")
    check_refused(
        api.post(PATH, json={**BODY, "amount": "0.55"}, headers=keyed()), database, "transactions_partitioned"
    )


def test_a_batch_of_which_one_row_is_dropped_is_not_stored_at_all(
    api: httpx.Client, database: Any, interfere: Interfere
) -> None:
    interfere(DROPS)
    items = [BODY, {**BODY, "wallet_id": "lost"}, BODY]
    check_refused(
        api.post(f"{PATH}/batch", json={"items": items}, headers=keyed()), database, "transactions_partitioned"
    )
    assert api.post(f"{PATH}/batch", json={"items": [BODY, BODY]}, headers=keyed()).json()["stored"] == 2


def test_a_trigger_of_a_partition_is_found_as_one_of_the_parent(
    api: httpx.Client, database: Any, interfere: Interfere
) -> None:
    (partition,) = database.execute(
        "SELECT tableoid::regclass::text FROM transactions_partitioned UNION ALL SELECT to_char(now(), "
        "'\"transactions_\"YYYY_MM') LIMIT 1"
    ).fetchone()
    interfere(CHANGES["an amount"], partition)
    lost = {**BODY, "wallet_id": "lost"}
    check_refused(api.post(PATH, json=lost, headers=keyed()), database, "transactions_partitioned")


@pytest.mark.parametrize("instead", ["NOTHING", "INSERT INTO aside SELECT NEW.id"])
def test_a_rule_in_place_of_the_insert_is_no_201(api: httpx.Client, database: Any, instead: str) -> None:
    database.execute("CREATE TABLE aside (id uuid)")
    database.execute("GRANT INSERT ON aside TO PUBLIC")
    database.execute(f"CREATE RULE meddle AS ON INSERT TO transactions_partitioned DO INSTEAD {instead}")
    check_refused(api.post(PATH, json=BODY, headers=keyed()), database, "transactions_partitioned")
    assert count(database, "aside") == 0


@pytest.mark.parametrize(
    "body", ["BEGIN RETURN NULL; END", "BEGIN NEW.status := 'failed'; RETURN NEW; END"], ids=["drops", "changes"]
)
def test_a_status_that_is_not_stored_is_not_acknowledged(
    api: httpx.Client, database: Any, interfere: Interfere, body: str
) -> None:
    address = api.post(PATH, json=BODY, headers=keyed()).headers["location"]
    interfere(body, event="UPDATE")
    response = api.post(f"{address}/status", json={"status": "completed"})
    assert (response.status_code, response.json()["type"]) == (500, PROBLEM)
    assert database.execute("SELECT status FROM transactions_partitioned").fetchone() == ("pending",)


def test_a_policy_on_the_parent_is_an_error_and_no_empty_page(api: httpx.Client, database: Any) -> None:
    address = api.post(PATH, json=BODY, headers=keyed()).headers["location"]
    database.execute("ALTER TABLE transactions_partitioned ENABLE ROW LEVEL SECURITY")
    page = api.get(PATH, params={"wallet_id": BODY["wallet_id"]})
    assert page.status_code == 500
    assert api.post(PATH, json=BODY, headers=keyed()).status_code == 500
    database.execute("ALTER TABLE transactions_partitioned DISABLE ROW LEVEL SECURITY")
    assert len(api.get(PATH, params={"wallet_id": BODY["wallet_id"]}).json()["items"]) == 1
    assert api.get(address).status_code == 200
