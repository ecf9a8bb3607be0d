"""A read-only database: the readiness check fails, and the API answers 503 so that clients try again."""

import httpx
import psycopg

from config import Settings
from servers import lease
from tests.api.conftest import MakeKey, serving
from tests.api.ledger_rows import BODY, keyed

PATH = "/api/v1/transactions"


def set_read_only(settings: Settings, value: str) -> None:
    """What managed services do when a disk is full: new sessions read only, until it is set back."""
    with psycopg.connect(settings.database_dsn, autocommit=True) as admin:
        admin.execute("SET default_transaction_read_only = off")
        admin.execute(f"ALTER DATABASE {admin.info.dbname} SET default_transaction_read_only = {value}")


def test_posts_are_503_and_the_process_is_not_ready_until_the_database_takes_writes_again(
    ready: Settings, make_key: MakeKey
) -> None:
    key, sent = make_key(), keyed("order-1")
    set_read_only(ready, "on")
    with serving(ready) as url, httpx.Client(base_url=url, timeout=30, headers=key) as client:
        answer = client.post(PATH, json=BODY, headers=sent)
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:treasury:problem:unavailable")
        assert "Retry-After" in answer.headers
        assert client.get("/health/ready").status_code == 503
        assert client.get(PATH, params={"wallet_id": "w"}).status_code == 200
        set_read_only(ready, "off")
        lease.wait(lambda: client.get("/health/ready").status_code == 200, 30, "the process to be ready")
        lease.wait(lambda: client.post(PATH, json=BODY, headers=sent).status_code == 201, 30, "posts to be taken")
