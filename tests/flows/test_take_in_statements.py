"""The flow `take_in_statements` through a real Prefect server."""

from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from flows.reconcile_supplier import reconcile_supplier
from flows.take_in_statements import take_in_statements
from ledger.business_days import JOHANNESBURG
from ledger.errors import ConfigError, DataError
from tasks.reconciliation.casework.lists import list_runs
from tasks.statements.intake import Intake, IntakeResult, list_statements
from tests.flows.test_flows import artifacts
from tests.tasks.archiving.ledger import PROJECT, Ledger
from tests.tasks.statements.samples import DAY, FLASH, FLASH_NAME


def test_a_day_is_taken_in_and_shown_and_a_bad_file_fails_the_run(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / FLASH_NAME).write_text(FLASH)
    state = take_in_statements(supplier="flash", day=DAY, url=str(tmp_path), return_state=True)
    assert [(one.name, str(one.result)) for one in state.result()] == [(FLASH_NAME, "taken")]
    assert state.state_details.flow_run_id is not None
    assert FLASH_NAME in artifacts(state.state_details.flow_run_id)["statements"]
    (tmp_path / "recon_20260204.csv").write_text("Date")
    with pytest.raises(DataError, match="cut off"):
        take_in_statements(supplier="flash", day=date(2026, 2, 4), url=str(tmp_path), return_state=True).result()
    assert [one.state for one in list_statements(ledger.settings)] == ["quarantined", "taken"]


@pytest.mark.heavy("tests/tasks/statements tests the rule")
def test_a_late_file_is_taken_and_its_day_reconciled_without_being_asked_for(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TREASURY_SUPPLIERS__FLASH__STATEMENT_URL", str(tmp_path))
    yesterday = datetime.now(JOHANNESBURG).date() - timedelta(days=1)
    late = yesterday - timedelta(days=4)
    for day in (late, yesterday):
        text = FLASH.replace("2026/02/03", f"{day:%Y/%m/%d}")
        (tmp_path / f"recon_{day:%Y%m%d}.csv").write_text(text)
    found = [(one.day, str(one.result)) for one in take_in_statements()]
    assert found == [(yesterday, "taken"), (late, "taken")]
    state = reconcile_supplier(supplier="flash", return_state=True)
    with pytest.raises(DataError, match=f"flash {late}: critical.*flash {yesterday}: critical"):
        state.result()
    assert [one.day for one in list_runs(ledger.settings)] == [yesterday, late]
    assert take_in_statements() == [Intake(f"recon_{yesterday:%Y%m%d}.csv", IntakeResult.KNOWN, yesterday)]
    reconcile_supplier(supplier="flash", return_state=True)
    assert [one.day for one in list_runs(ledger.settings)] == [yesterday, yesterday, late]  # nothing else is due


@pytest.mark.sampled(1)
@pytest.mark.parametrize("day", [date(9999, 12, 31), datetime.now(JOHANNESBURG).date() + timedelta(days=2)])
def test_a_day_that_has_not_come_is_refused_by_name(ledger: Ledger, tmp_path: Path, day: date) -> None:
    with pytest.raises(ConfigError, match=f"day: {day} has not come yet"):
        take_in_statements(supplier="flash", day=day, url=str(tmp_path), return_state=True).result()
    with pytest.raises(ConfigError, match=f"day: {day} has not come yet"):
        reconcile_supplier(supplier="flash", day=day, return_state=True).result()


def test_without_a_place_for_statements_nothing_is_awaited(ledger: Ledger) -> None:
    assert take_in_statements() == []


def test_statements_are_taken_in_before_they_are_reconciled() -> None:
    deployments = {one["name"]: one for one in yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]}
    (schedule,) = deployments["take-in-statements"]["schedules"]
    assert (schedule["cron"], schedule["timezone"]) == ("0 6 * * *", "Africa/Johannesburg")
