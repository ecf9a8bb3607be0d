"""A database whose encoding is not UTF-8: a text that it cannot store is refused, and matches no row of a list."""

from collections.abc import Iterator

import httpx
import pytest

from config import Settings
from ledger.scopes import CLIENT_SCOPES
from tasks.admin.keys import create_key
from tests.api.conftest import serving, with_partitions
from tests.api.ledger_rows import BODY, keyed
from tests.databases import encoded_database

PATH = "/api/v1/transactions"


@pytest.fixture
def latin1(settings: Settings, server_settings: Settings) -> Iterator[httpx.Client]:
    """A client of an API on a database in LATIN1."""
    with encoded_database(server_settings, settings, "LATIN1") as encoded:
        key = {"Authorization": f"Bearer {create_key(with_partitions(encoded), 'acme', CLIENT_SCOPES)}"}
        with serving(encoded) as url, httpx.Client(base_url=url, timeout=30, headers=key) as client:
            yield client


def test_a_text_that_the_database_cannot_have_is_a_422_and_is_in_no_row(latin1: httpx.Client) -> None:
    def post(path: str, body: dict[str, object]) -> httpx.Response:
        return latin1.post(path, json=body, headers=keyed())

    answer = post(PATH, {**BODY, "description": "\u65e5\u672c"})
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:treasury:problem:invalid"
    assert answer.json()["detail"] == "A text has a character that the encoding of the database does not have."
    assert post(PATH, {**BODY, "metadata": {"name": "\u65e5\u672c"}}).status_code == 422
    assert post(f"{PATH}/batch", {"items": [BODY, {**BODY, "reference": "\u65e5\u672c"}]}).status_code == 422
    stored = post(PATH, {**BODY, "wallet_id": "zo\u00eb"})
    assert stored.status_code == 201
    for wallet, rows in (("zo\u00eb", [stored.json()]), ("\u65e5\u672c", [])):
        assert latin1.get(PATH, params={"wallet_id": wallet}).json()["items"] == rows
    assert latin1.get(PATH, params={"wallet_id": BODY["wallet_id"]}).json()["items"] == []
