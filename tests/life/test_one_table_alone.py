"""What is wrong with one table concerns that table: the other one takes rows, rolls, moves and is imported into."""

from collections.abc import Callable
from pathlib import Path

import httpx
import psycopg
import pytest

from config import Settings
from ledger.errors import ConfigError
from ledger.scopes import CLIENT_SCOPES
from ledger.tables import TRANSACTIONS
from tasks.admin.keys import create_key
from tasks.admin.setup import prepare_database
from tasks.archiving.calendar import utc_today
from tasks.archiving.outcome import MoveResult
from tasks.archiving.rollover import roll_table
from tasks.importing.run import ImportRequest, import_file
from tests.api.conftest import serving
from tests.api.ledger_rows import BODY, keyed
from tests.tasks.archiving.ledger import COLD, ROWS, TODAY, Ledger
from tests.tasks.importing.conftest import MAPPING, NOW

_EVENTS = {"currency_column": None, "status_column": None, "money_columns": ["amount"], "cold_sort": ["amount"]}


def _point(settings: Settings, company: psycopg.Connection) -> Settings:
    company.execute("ALTER TABLE vas_transactions_partitioned ADD COLUMN place point")
    company.execute("ALTER TABLE vas_transactions_archive_warm ADD COLUMN place point")
    return settings


def _rounding(settings: Settings, company: psycopg.Connection) -> Settings:
    company.execute("DROP VIEW vas_transactions")
    company.execute("ALTER TABLE vas_transactions_partitioned ALTER fee TYPE numeric(18,1)")
    company.execute("ALTER TABLE vas_transactions_archive_warm ALTER fee TYPE numeric(18,1)")
    return settings


def _taken_view(settings: Settings, company: psycopg.Connection) -> Settings:
    company.execute("DROP VIEW vas_transactions")
    company.execute("CREATE TABLE vas_transactions (theirs int)")
    return settings


def _third(settings: Settings, company: psycopg.Connection) -> Settings:
    company.execute(
        "CREATE TABLE events_partitioned (id uuid, created_at timestamptz, amount numeric(12,2),"
        " PRIMARY KEY (id, created_at)) PARTITION BY RANGE (created_at)"
    )
    company.execute("CREATE TABLE events (theirs int)")
    return settings.model_copy(update={"tables": {"events": _EVENTS}})


def _taken_parent(settings: Settings, company: psycopg.Connection) -> Settings:
    company.execute("DROP VIEW vas_transactions")
    company.execute("DROP TABLE vas_transactions_partitioned, vas_transactions_archive_warm")
    company.execute("CREATE TABLE vas_transactions_partitioned (theirs int)")
    return settings


WRONG: dict[str, tuple[Callable[[Settings, psycopg.Connection], Settings], str, str]] = {
    "a column of an unsupported type": (_point, "vas_transactions", "column of type point"),
    "a column that rounds amounts": (
        _rounding,
        "vas_transactions",
        "vas_transactions_partitioned.fee is numeric(18,1)",
    ),
    "the name of a view is taken": (_taken_view, "vas_transactions", "a table called vas_transactions"),
    "the name of a third table is taken": (_third, "events", "a table called events"),
    "the name of a parent is taken": (_taken_parent, "vas_transactions", "vas_transactions_partitioned"),
}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("what", WRONG)
def test_the_other_table_rolls_moves_is_imported_into_and_takes_rows(
    settings: Settings, server_settings: Settings, tmp_path: Path, what: str
) -> None:
    make, name, told = WRONG[what]
    assert prepare_database(settings.model_copy()) == []
    with psycopg.connect(settings.database_dsn, autocommit=True) as company:
        changed = make(settings, company)
    (problem,) = prepare_database(changed)
    assert told in problem
    with pytest.raises(ConfigError, match=name):
        roll_table(changed, changed.table(name), TODAY)

    assert roll_table(changed, TRANSACTIONS, utc_today()).created
    ledger = Ledger(changed, server_settings.home / "s3" / changed.archive_location.removeprefix("s3://"))
    ledger.fill(COLD)
    assert {one.result for one in ledger.night()} == {MoveResult.MOVED}
    assert ledger.whole()[str(COLD), "cold"][0] == ROWS
    file, mapping = tmp_path / "shop.csv", tmp_path / "shop.toml"
    file.write_text("no,wallet,amount,text,at\n1,w1,1.50,,2026-11-20\n")
    mapping.write_text(MAPPING)
    assert import_file(changed, ImportRequest(file, mapping), lambda *_: None, NOW).loaded == 1
    headers = {"Authorization": f"Bearer {create_key(changed, 'shop', CLIENT_SCOPES, None)}", **keyed()}
    with serving(changed) as url, httpx.Client(base_url=url, headers=headers, timeout=30) as api:
        assert api.post("/api/v1/transactions", json=BODY).status_code == 201
        listed = api.get("/api/v1/transactions", params={"wallet_id": "w1"}).json()["items"]
        assert [one["amount"] for one in listed] == ["1.50"]
