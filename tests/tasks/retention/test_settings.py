"""No policy keeps rows for less than the law says, and the ages of a policy are in their order."""

import pytest

from config import load_settings
from config.retention import RetentionSettings
from ledger.errors import ConfigError


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """No settings file of the working folder."""
    monkeypatch.chdir(str(tmp_path))


def policy(**ages: int) -> dict[str, dict[str, dict[str, int]]]:
    return {"transactions": {"policy": ages}}


def test_a_policy_below_the_legal_minimum_stops_every_start_with_the_law() -> None:
    short = policy(hot_months=3, warm_months=12, cold_months=60, retention_months=83)
    with pytest.raises(
        ConfigError, match=r"table transactions: its policy has retention_months 83, less than .* 84 \("
    ):
        load_settings(tables=short)
    with pytest.raises(ConfigError, match="Companies Act 71 of 2008"):
        load_settings(tables=short)
    least = policy(hot_months=3, warm_months=12, cold_months=60, retention_months=84)
    assert load_settings(tables=least).table("transactions").policy.retention_months == 84


def test_the_minimum_and_its_source_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREASURY_RETENTION__LEGAL_MINIMUM_MONTHS", "132")
    monkeypatch.setenv("TREASURY_RETENTION__LEGAL_SOURCE", "law of another country")
    with pytest.raises(ConfigError, match=r"retention_months 120, less than .* 132 \(law of another country\)"):
        load_settings()


def test_ages_out_of_order_are_refused() -> None:
    with pytest.raises(ConfigError, match="hot_months < warm_months < cold_months < retention_months is required"):
        load_settings(tables=policy(hot_months=3, warm_months=12, cold_months=130, retention_months=120))


@pytest.mark.parametrize("values", [{"approvals": 0}, {"grace_days": -1}, {"legal_minimum_months": 0}, {"other": 1}])
def test_rules_that_are_none_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="TREASURY_RETENTION__"):
        load_settings(retention=values)
    assert RetentionSettings().approvals == 2
