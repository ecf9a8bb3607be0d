"""What the tiers cost and save, from the catalogue and PostgreSQL, and what `treasury tiers --cost` says of it."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from config.prices import PriceSettings
from ledger.policy import Tier
from tasks.retention.costs import CostAhead, prices_of, sum_of_costs_ahead, table_costs
from tests.archives import Archives, month_in_each_tier
from tests.cli.in_process import run_here
from tests.tasks.archiving.ledger import COLD, Ledger


@pytest.fixture
def tiers(ledger: Ledger, archives: Archives) -> Ledger:
    """A month in each tier, with prices at which some kilobytes can be seen."""
    archives.begin(ledger.settings, month_in_each_tier)
    prices = PriceSettings(hot_gb=Decimal(100_000), warm_gb=Decimal(100_000), cold_gb=Decimal(20_000))
    return Ledger(ledger.settings.model_copy(update={"prices": prices}), ledger.store)


def test_costs_are_of_the_bytes_that_the_catalogue_and_postgresql_name(tiers: Ledger) -> None:
    (found,) = table_costs(tiers.settings, [tiers.table])
    amounts = {one.tier: one for one in found.now.tiers}
    known = tiers.catalogue(COLD)
    assert (amounts[Tier.COLD].months, amounts[Tier.COLD].bytes) == (1, known["object_bytes"])
    assert amounts[Tier.COLD].cost == Decimal(known["object_bytes"]) / 10**9 * 20_000
    in_postgres = amounts[Tier.HOT].bytes + amounts[Tier.WARM].bytes
    assert found.now.all_hot_bytes == in_postgres + known["postgres_bytes"]
    assert found.now.other_bytes == known["tree"]["size_bytes"] + known["lookup"]["size_bytes"]
    assert amounts[Tier.HOT].bytes > 0
    year, ten_years = found.ahead
    assert (year.months, ten_years.months) == (12, 120)
    assert 0 < year.total < ten_years.total < ten_years.all_hot


def test_the_deep_tier_costs_what_cold_does_until_it_has_a_storage_class(ledger: Ledger) -> None:
    prices = prices_of(ledger.settings)
    assert prices.gigabyte[Tier.DEEP] == prices.gigabyte[Tier.COLD]
    deep = prices_of(ledger.settings.model_copy(update={"deep_storage_class": "DEEP_ARCHIVE"}))
    assert deep.gigabyte[Tier.DEEP] == ledger.settings.prices.deep_gb


def test_the_command_says_what_is_saved_for_people_and_for_programs(
    tiers: Ledger, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    variables = tiers.settings.environment()
    answer = run_here(capsys, tmp_path, variables, "tiers", "--cost", "--json", "--table", "transactions")
    assert answer.returncode == 0, answer.stderr
    (found,) = json.loads(answer.stdout)
    costs = [tier["cost"] for tier in (*found["tiers"].values(), found["other_objects"])]
    assert abs(sum(map(Decimal, [*costs, found["requests"]])) - Decimal(found["total"])) <= Decimal("0.03")
    assert Decimal(found["total"]) < Decimal(found["all_hot"])
    assert [one["months"] for one in found["ahead"]] == [12, 120]
    shown = run_here(capsys, tmp_path, variables, "tiers", "--cost", "--table", "transactions")
    assert f", {found['saved_percent']} %" in shown.stdout
    assert f" {found['other_objects']['cost']} " in next(
        line for line in shown.stdout.splitlines() if "other objects" in line
    )
    assert "the next 10 years: " in shown.stdout


def test_the_years_ahead_of_several_tables_are_summed_span_by_span() -> None:
    year, ten_years = CostAhead(12, Decimal(10), Decimal(40), 0), CostAhead(120, Decimal(200), Decimal(900), 0)
    other = (CostAhead(12, Decimal(5), Decimal(20), 1), CostAhead(120, Decimal(50), Decimal(100), 0))
    assert sum_of_costs_ahead([(year, ten_years), (), other]) == (
        CostAhead(12, Decimal(15), Decimal(60), 1),
        CostAhead(120, Decimal(250), Decimal(1000), 0),
    )
    assert sum_of_costs_ahead([]) == sum_of_costs_ahead([()]) == ()
    assert [(cost.span, cost.saved_share) for cost in other] == [("12 months", None), ("10 years", Decimal("0.5"))]


def test_a_table_without_rows_has_costs_and_no_forecast(
    ledger: Ledger, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ledger.fill(COLD.plus(24), rows=0)
    answer = run_here(capsys, tmp_path, ledger.settings.environment(), "tiers", "--cost")
    assert answer.returncode == 0, answer.stderr
    (_, vas) = table_costs(ledger.settings, list(ledger.settings.registry.values()))
    assert vas.ahead == ()
    assert "nothing is stored yet" in answer.stdout
