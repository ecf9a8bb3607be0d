"""Archived months that cannot have a row are not opened over HTTP either, and whoever changes a filter hides no row."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

from ledger.identifiers import new_id
from ledger.months import Month
from storage.object_ranges import ObjectRanges, Range
from tests.api.ledger_rows import Ledger
from tests.api.transactions.test_reading import PATH, ids

Opened = Callable[..., set[str]]
_MONTHS = 3


class Cold:
    """Cold months, each with rows of a wallet of its own, and the keys of their objects."""

    def __init__(self, ledger: Ledger, this_month: Month) -> None:
        self.ledger, table = ledger, ledger.table(PATH)
        self.months = [this_month.plus(number - 9) for number in range(_MONTHS)]
        self.rows: list[list[dict[str, Any]]] = []
        for number, month in enumerate(self.months):
            moments = [month.lower + timedelta(days=day) for day in range(4)]
            self.rows.append(ledger.add(table, moments, wallet_id=f"wallet-{number}"))
            ledger.cold(table, month)
        self.keys = [
            key for (key,) in self.sql("SELECT object_key FROM archive_months WHERE tier = 'cold' ORDER BY month")
        ]

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements; the rows of the last one."""
        with psycopg.connect(self.ledger.settings.database_dsn, autocommit=True) as connection:
            for statement in statements:
                found = connection.execute(statement)
            return found.fetchall() if found.description else []


@pytest.fixture
def cold(ledger: Ledger, this_month: Month) -> Cold:
    return Cold(ledger, this_month)


@pytest.fixture
def opened(api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Asks the API, and gives the keys of the objects that it read of the store for the answer."""
    keys: set[str] = set()
    read = ObjectRanges.read

    def noted(ranges: ObjectRanges, key: str, wanted: Sequence[Range]) -> list[bytes]:
        keys.add(key)
        return read(ranges, key, wanted)

    def ask(path: str, **query: str) -> set[str]:
        keys.clear()
        assert api.get(path, params=query).status_code in (200, 404)
        return set(keys)

    monkeypatch.setattr(ObjectRanges, "read", noted)
    return ask


def test_a_page_opens_the_months_that_can_have_a_row_alone(cold: Cold, opened: Opened) -> None:
    assert opened(PATH, wallet_id="nobody") == set()
    assert opened(PATH, wallet_id="wallet-0", user_id="user-7") == set()
    assert opened(PATH, wallet_id="wallet-1") == {cold.keys[1]}
    assert opened(PATH, user_id="user-1") == {cold.keys[0], cold.keys[2]}  # memory has what was opened before


def test_a_row_by_id_opens_its_month_alone_and_another_id_opens_none(cold: Cold, opened: Opened) -> None:
    row_id: UUID = cold.rows[2][1]["id"]
    assert opened(f"{PATH}/{row_id}") == {cold.keys[2]}
    assert opened(f"{PATH}/{new_id(cold.months[1].lower, lambda _: 1)}") == set()


_EMPTY = "decode(repeat('00', octet_length(bits)), 'hex')"
_OTHERS = "FROM archive_filters AS o WHERE o.field_id = f.field_id AND o.object_key <> f.object_key"


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "change",
    [
        f"UPDATE archive_filters SET bits = {_EMPTY}",
        f"UPDATE archive_filters AS f SET bits = o.bits {_OTHERS}",
        "UPDATE archive_filters SET bits = substring(bits FOR 32) || substring(bits FROM octet_length(bits) - 7)",
        "DELETE FROM archive_filters",
    ],
)
def test_a_filter_that_somebody_changed_hides_no_row(api: httpx.Client, cold: Cold, change: str) -> None:
    cold.sql(change)
    for number, rows in enumerate(cold.rows):
        items = api.get(PATH, params={"wallet_id": f"wallet-{number}"}).json()["items"]
        assert ids(items) == ids(reversed(rows))
        assert {api.get(f"{PATH}/{row['id']}").status_code for row in rows} == {200}
