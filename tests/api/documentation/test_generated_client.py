"""A client that openapi-python-client generates from the document works, typed, against a running API.

The generator has pins of its own, so it gets an environment of its own, made here by pip.
"""

import importlib
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import httpx
import pytest

from config import Settings
from ledger.scopes import CLIENT_SCOPES
from tasks.admin.keys import create_key
from tests.api.conftest import serving, unlimited

GENERATOR = "openapi-python-client==0.29.1"
WAIT_S = 60.0
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def generate(document: Path, folder: Path, tools: Path) -> None:
    """Write the client of the document into ``folder``. A warning is a failure: a piece of the API would be missing."""
    venv.create(tools, with_pip=True)
    subprocess.run([tools / "bin" / "pip", "install", "--quiet", GENERATOR], check=True)
    generator: list[str | Path] = [
        tools / "bin" / "openapi-python-client",
        "generate",
        "--path",
        document,
        "--output-path",
        folder,
    ]
    environment = {"PATH": f"{tools / 'bin'}:/usr/bin:/bin", "LANG": "C.UTF-8"}  # it calls its own ruff
    subprocess.run([*generator, "--meta", "none", "--fail-on-warning"], check=True, env=environment)


class Generated:
    """The generated package, and an authenticated client of it."""

    def __init__(self, package: str, url: str, key: str) -> None:
        self._package = package
        self.models = importlib.import_module(f"{package}.models")
        client: ModuleType = importlib.import_module(f"{package}.client")
        self.client = client.AuthenticatedClient(base_url=url, token=key)

    def call(self, operation: str, *arguments: Any, **named: Any) -> Any:
        """The typed answer of an operation of transactions."""
        module = importlib.import_module(f"{self._package}.api.transactions.{operation}")
        return module.sync(*arguments, client=self.client, **named)


@pytest.fixture
def generated(ready: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Generated]:
    settings = unlimited(ready).model_copy(update={"api_feed_delay_s": 1.0})
    with serving(settings) as url:
        document, package = tmp_path / "openapi.json", f"generated_{uuid4().hex}"
        document.write_bytes(httpx.get(f"{url}/openapi.json").content)
        generate(document, tmp_path / package, tmp_path / "tools")
        monkeypatch.syspath_prepend(str(tmp_path))
        made = Generated(package, url, create_key(settings, "acme", CLIENT_SCOPES))
        with made.client.get_httpx_client():
            yield made
        for name in [name for name in sys.modules if name.split(".")[0] == package]:
            del sys.modules[name]


def test_a_generated_client_posts_reads_lists_pages_follows_and_gets_errors_as_types(generated: Generated) -> None:
    models, call = generated.models, generated.call
    body = models.NewTransaction(
        user_id="u-1", wallet_id="w-1", type_=models.TransactionType.PAYMENT, amount="120.50", currency="ZAR"
    )
    stored = [call("create_transaction", body=body, idempotency_key=uuid4().hex) for _ in range(3)]
    assert {type(row) for row in stored} == {models.Transaction}
    row = stored[0]
    assert (row.amount, row.fee, row.status, row.metadata.to_dict()) == ("120.50", "0.00", models.Status.PENDING, {})
    assert row.created_at.utcoffset() == timedelta(0)
    assert call("get_transaction", row.id) == row

    first = call("list_transactions", wallet_id="w-1", from_=row.created_at, limit=2)
    second = call("list_transactions", wallet_id="w-1", from_=row.created_at, limit=2, cursor=first.next_cursor)
    assert [one.id for one in first.items + second.items] == [one.id for one in reversed(stored)]
    assert second.next_cursor is None
    assert followed(generated, row.created_at, 3) == [one.id for one in stored]

    ended = call("change_transaction_status", row.id, body=models.StatusChange(status=models.Status.COMPLETED))
    assert ended.status is models.Status.COMPLETED
    batch = call(
        "create_transactions",
        body=models.NewTransactions(items=[body, models.NewTransaction.from_dict(body.to_dict() | {"amount": "0"})]),
        idempotency_key=uuid4().hex,
    )
    assert (batch.stored, batch.rejected, batch.results[1].problem.errors[0].field) == (1, 1, "amount")

    refused = call("list_transactions", wallet_id="w-1", limit=0)
    assert (type(refused), refused.status, refused.errors[0].field) == (models.Problem, 422, "limit")
    absent = call("get_transaction", uuid_of_nothing(row.id))
    assert (type(absent), absent.status, absent.title) == (models.Problem, 404, "Not found")


def uuid_of_nothing(row_id: Any) -> Any:
    """An id like that of a row, of no row."""
    return type(row_id)(int=row_id.int ^ 1)


def followed(generated: Generated, begin: datetime, count: int) -> list[Any]:
    """The ids of so many rows of the feed."""
    page = generated.call("follow_transactions", from_=begin)
    ids, ends_s = [row.id for row in page.items], time.monotonic() + WAIT_S
    while len(ids) < count:
        assert time.monotonic() < ends_s
        time.sleep(0.1)
        page = generated.call("follow_transactions", cursor=page.next_cursor)
        ids += [row.id for row in page.items]
    return ids
