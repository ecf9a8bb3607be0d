"""What the tiers cost is the same in the command, on the page and in the artifact, whatever happened to the months."""

import json
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from api.dashboard.formats import cost, percent, size
from api.dashboard.life import LIFE
from cli.costs import money
from config import Settings
from config.prices import PriceSettings
from config.retention import RetentionSettings
from flows import artifacts
from ledger.counts import counted
from ledger.months import Month
from ledger.policy import Tier
from ledger.scopes import Scope
from ledger.sizes import human_bytes
from ledger.storage_costs import CostOfMonth
from ledger.transparency.policies import LogPolicy
from sql.connection import connect
from sql.restored import Request
from tasks.admin.keys import create_key
from tasks.admin.setup import prepare_database
from tasks.archiving.late_rows import open_late_rows
from tasks.archiving.to_deep import deepen
from tasks.rebuilding.catalogue import rebuild_catalogue
from tasks.restoring.back_to_warm import return_month
from tasks.retention.costs import SPANS, TableCost, table_costs
from tasks.transparency.publish import publish_log
from tasks.transparency.report import policy_text
from tests.api.conftest import serving, unlimited
from tests.api.dashboard.person import Document, Person
from tests.api.dashboard.test_pages import check_html
from tests.archives import Archives
from tests.cli.in_process import run_here
from tests.conftest import own_database
from tests.databases import Databases
from tests.tasks.archiving.ledger import ROWS, Ledger, make_row
from tests.tasks.retention.aged import age, approved, delete, hold

KEPT, DEEP, LATE, RETURNED, HOT = Month(2014, 1), Month(2018, 5), Month(2024, 3), Month(2024, 4), Month(2026, 10)
WALLET = "wallet-3"
# A kilobyte is some cents, and each tier has a price of its own.
PRICES = PriceSettings(
    hot_gb=Decimal(300_000), warm_gb=Decimal(200_000), cold_gb=Decimal(90_000), deep_gb=Decimal(10_000)
)
WHO = Request("anna", "os anna", "a correction that the auditors ask for", timedelta(days=7))


@pytest.fixture
def ledger(settings: Settings, archives: Archives) -> Ledger:
    """Months of every tier: one with a late part open, one with rows that a hold keeps, one that is warm again."""
    archives.begin(settings, _months_of_every_kind)
    return Ledger(settings, settings.home)


def _months_of_every_kind(settings: Settings) -> None:
    ledger = Ledger(settings.model_copy(update={"retention": RetentionSettings(grace_days=0)}), settings.home)
    age(ledger, KEPT, DEEP, LATE, RETURNED)
    ledger.fill(HOT)
    hold(ledger, KEPT, WALLET)
    approved(ledger)
    delete(ledger)
    deepen(ledger.settings, ledger.table, DEEP)
    return_month(ledger.settings, ledger.table, RETURNED, WHO)
    open_late_rows(ledger.settings, ledger.table, LATE)
    with connect(ledger.settings.database_dsn, "tests") as connection:
        ledger.insert(connection, ledger.table, [make_row(ledger.table, LATE, ROWS)])
    publish_log(ledger.settings)


def priced(settings: Settings) -> Settings:
    return unlimited(settings).model_copy(update={"prices": PRICES, "deep_storage_class": "DEEP_ARCHIVE"})


@pytest.fixture
def rebuilt(
    ledger: Ledger, databases: Databases, server_settings: Settings, template: str, tmp_path: Path
) -> Iterator[Ledger]:
    """The same archive behind a database that was lost, and whose catalogue was rebuilt."""
    policy = LogPolicy.parse(policy_text(ledger.settings).encode())
    with own_database(databases, server_settings, template, tmp_path / "new") as empty:
        own = {"archive_url": ledger.settings.archive_url, "home": ledger.settings.home}
        settings = empty.model_copy(update=own)
        prepare_database(settings)
        rebuild_catalogue(settings, policy)
        found = Ledger(settings, ledger.store)
        found.fill(HOT)
        yield found


def shown(
    ledger: Ledger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> tuple[CostOfMonth, Document]:
    """What the months cost, once the command, the artifact and the page have said the same; and the page."""
    settings = priced(ledger.settings)
    with connect(settings.database_dsn, "tests") as connection:
        connection.execute("ANALYZE")  # the page takes rows in PostgreSQL as estimated, the command counts new ones
    costs = table_costs(settings, [ledger.table])
    (known,) = (one.as_json("USD") for one in costs)
    answer = run_here(capsys, folder, settings.environment(), "tiers", "--cost", "--json", "--table", "transactions")
    assert json.loads(answer.stdout) == [known], answer.stderr
    assert f"the next 10 years: {money(costs[0].ahead[1].total)} USD" in said(settings, capsys, folder)
    (row,) = artifact(settings, ledger, monkeypatch)
    assert (row["USD a month"], row["all hot"]) == (known["total"], known["all_hot"])
    assert row["saved"] == ("" if known["saved_percent"] is None else f"{known['saved_percent']} %")
    assert row["months of unknown size"] == known["unknown_months"]
    for tier, amount in known["tiers"].items():
        months = counted(amount["months"], "month")
        assert row[tier] == f"{months}, {human_bytes(amount['bytes'])}: {amount['cost']}"
    other = known["other_objects"]
    assert row["other objects"] == f"{human_bytes(other['bytes'])}: {other['cost']}"
    assert row["of it requests"] == known["requests"]
    check_years_ahead(row, known["ahead"])
    now = costs[0].now
    page = read(settings, LIFE)
    check_page(page, costs[0])
    saved = f"{cost(now.saved)} ({percent(now.saved_share)})"
    figures = (size(now.other_bytes), cost(now.total), cost(now.all_hot), saved)
    assert " ".join(" ".join(("transactions", *figures)).split()) in page.text
    return now, page


def said(settings: Settings, capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    """What the command says for people."""
    return run_here(capsys, folder, settings.environment(), "tiers", "--cost", "--table", "transactions").stdout


def check_years_ahead(row: dict[str, Any], known: list[dict[str, Any]]) -> None:
    """The artifact has the years ahead as the command has them."""
    assert [ahead["months"] for ahead in known] == list(SPANS)
    for ahead in known:
        name = f"the next {SPANS[ahead['months']]}"
        assert row[name] == ahead["total"]
        assert row[f"{name}, all hot"] == ("unknown" if ahead["unknown_months"] else ahead["all_hot"])
        assert row[f"{name}, saved"] == ("" if ahead["saved_percent"] is None else f"{ahead['saved_percent']} %")


def check_page(page: Document, costs: TableCost) -> None:
    """The page has the price of each tier, and the years ahead, as the command has them."""
    for ahead in costs.ahead:
        hot = "unknown" if ahead.unknown else cost(ahead.all_hot)
        assert line("transactions", ahead.span, cost(ahead.total), hot, percent(ahead.saved_share)) in page.text
    assert "treasury tiers --cost" not in page.text
    table = page.text.partition("USD a month transactions ")[2].partition(" What the tiers cost")[0]
    rows = {row.partition(" ")[0]: row for row in table.split(" transactions ")}
    stored = [tier for tier in costs.now.tiers if tier.months]
    assert set(rows) == {str(tier.tier) for tier in stored}
    assert all(rows[str(tier.tier)].endswith(f" {line(cost(tier.cost))}") for tier in stored)


def line(*cells: str) -> str:
    """Cells as the text of a page has them."""
    return " ".join(" ".join(cells).split())


def artifact(settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(artifacts, "create_table_artifact", lambda *, table, **_: made.extend(table))
    artifacts.publish_costs(table_costs(settings, [ledger.table]), "USD")
    return made


def read(settings: Settings, path: str) -> Document:
    """A page, for somebody who may read the archive."""
    with serving(settings) as url:
        person = Person(url, create_key(settings, "acme", (Scope.ARCHIVE_READ, Scope.READ_ALL)))
        with person.client:
            person.sign_in(LIFE)
            document = person.read(path)
    check_html(document)
    return document


def test_command_page_and_artifact_say_the_same_of_the_parts_that_there_are(
    ledger: Ledger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now, page = shown(ledger, capsys, monkeypatch, tmp_path)
    tiers = {one.tier: one for one in now.tiers}
    stored = {
        tier: ledger.sql("SELECT object_bytes, postgres_bytes FROM archive_months WHERE tier = %s AND month > %s", *of)
        for tier, of in ((tier, (str(tier), KEPT.first_day)) for tier in (Tier.COLD, Tier.DEEP))
    }
    assert {tier: tiers[tier].bytes for tier in stored} == {tier: known[0][0] for tier, known in stored.items()}
    leaves = "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree(%s) WHERE isleaf"
    in_postgres = [
        ledger.sql(leaves, parent)[0][0] for parent in ("transactions_partitioned", "transactions_archive_warm")
    ]
    assert [tiers[Tier.HOT].bytes, tiers[Tier.WARM].bytes] == in_postgres
    assert now.all_hot_bytes == sum(in_postgres) + sum(known[0][1] for known in stored.values())
    other = "SELECT sum(size_bytes) FROM stored_objects WHERE kind <> 'rows' AND month > %s"
    assert (
        now.other_bytes
        == ledger.sql(other, KEPT.first_day)[0][0]
        > ledger.sql("SELECT sum(size_bytes) FROM former_objects")[0][0]
        > 0
    )
    assert {tier: (one.months, one.unknown) for tier, one in tiers.items()} == {
        Tier.HOT: (2, 0),
        Tier.WARM: (1, 0),
        Tier.COLD: (2, 1),  # what the rows that the hold keeps took in PostgreSQL is not known
        Tier.DEEP: (1, 0),
    }
    assert "transactions: the size of 1 month is not known, so that it is in neither sum." in page.text
    titles = {str(one["href"]): str(one["title"]) for one in page.all("a") if str(one.get("href")).startswith("life/")}
    assert titles[f"life/transactions/{LATE}"].startswith("cold and hot, ")


def test_a_month_of_which_a_hold_kept_rows_has_these_and_no_others(ledger: Ledger) -> None:
    rows, kept_bytes = ledger.sql(
        "SELECT row_count, object_bytes FROM archive_months WHERE month = %s AND tier = 'cold'", KEPT.first_day
    )[0]
    page = read(priced(ledger.settings), f"{LIFE}/transactions/{KEPT}")
    bytes_now = " ".join(size(kept_bytes).split())
    assert f"This month is cold, {rows} rows, {bytes_now}," in page.text
    assert f"Rows {rows} Bytes now {bytes_now} In PostgreSQL before {size(None)} " in page.text


def test_a_rebuilt_catalogue_says_of_how_many_months_it_does_not_know_the_size(
    rebuilt: Ledger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now, page = shown(rebuilt, capsys, monkeypatch, tmp_path)
    tiers = {one.tier: (one.months, one.unknown) for one in now.tiers if one.months}
    assert tiers == {Tier.HOT: (1, 0), Tier.COLD: (2, 2), Tier.DEEP: (1, 1)}
    assert now.total == now.all_hot > 0
    assert "transactions: the size of 3 months is not known, so that they are in neither sum." in page.text
