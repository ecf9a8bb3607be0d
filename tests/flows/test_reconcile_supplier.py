"""The flow `reconcile_supplier` through a real Prefect server: what it reconciles, shows, and how it ends."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.exceptions import ParameterTypeError

from flows.reconcile_supplier import named_days, reconcile_supplier
from ledger.errors import ConfigError, DataError, TransientError
from ledger.transactions import Supplier
from tests.flows.test_flows import artifacts
from tests.tasks.archiving.ledger import PROJECT, Ledger
from tests.tasks.reconciliation.books import DAY, Books


def test_a_day_is_reconciled_shown_and_written_down(ledger: Ledger, tmp_path: Path) -> None:
    books = Books(ledger.settings, tmp_path)
    for _ in range(120):
        books.both()
    books.own(amount=Decimal("40.00"))
    statement = str(books.statement())
    dry = reconcile_supplier(supplier="flash", day=DAY, statement=statement, dry_run=True)
    assert [result.run_id for result in dry] == [None]
    state = reconcile_supplier(supplier="flash", day=DAY, statement=statement, return_state=True)
    (result,) = state.result()
    assert result.summary.digest == dry[0].summary.digest
    assert books.breaks() == [("missing_there",)]
    assert state.state_details.flow_run_id is not None
    shown = artifacts(state.state_details.flow_run_id)
    assert set(shown) == {"reconciliation-flash", "reconciliation-flash-report"}
    assert "| missing_there | 1 | 0 | 0 | -40.00 |" in shown["reconciliation-flash-report"]
    assert '"verdict": "passed"' in shown["reconciliation-flash"]


@pytest.mark.heavy("a day that is reconciled is tested beside it")
def test_a_critical_day_fails_the_run_and_is_written_down(ledger: Ledger, tmp_path: Path) -> None:
    books = Books(ledger.settings, tmp_path)
    books.own()
    state = reconcile_supplier(supplier="flash", day=DAY, statement=str(books.statement()), return_state=True)
    with pytest.raises(DataError, match=f"flash {DAY}: critical"):
        state.result()
    assert len(books.sql("SELECT * FROM recon_runs")) == 1


def test_a_day_without_its_statement_fails_and_names_every_day(ledger: Ledger) -> None:
    state = reconcile_supplier(supplier="peach", day=DAY, last_day=DAY + timedelta(days=1), return_state=True)
    with pytest.raises(DataError, match=rf"peach {DAY}: no statement.*; peach 2026-02-04: no statement"):
        state.result()


@pytest.mark.heavy("tests/tasks/reconciliation/test_runs.py tests the rule")
def test_a_server_that_is_away_for_one_day_stops_no_other_and_what_was_done_is_shown(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = Books(ledger.settings, tmp_path)
    books.both()
    statement = str(books.statement(DAY + timedelta(days=1)))

    def located(_: object, __: str, day: date) -> str:
        if day == DAY:
            raise TransientError("PostgreSQL: away")
        return statement

    monkeypatch.setattr("flows.reconcile_supplier.statement_of", located)
    state = reconcile_supplier(supplier="flash", day=DAY, last_day=DAY + timedelta(days=1), return_state=True)
    with pytest.raises(TransientError, match="PostgreSQL: away"):
        state.result()
    assert state.state_details.flow_run_id is not None
    assert '"verdict": "passed"' in artifacts(state.state_details.flow_run_id)["reconciliation-flash"]


TODAY = date(2026, 2, 10)


def test_the_form_means_yesterday_a_day_or_a_range() -> None:
    assert named_days(TODAY, None, None, only_one=False) == [date(2026, 2, 9)]
    assert named_days(TODAY, DAY, None, only_one=True) == [DAY]
    three = [DAY, DAY + timedelta(days=1), DAY + timedelta(days=2)]
    assert named_days(TODAY, DAY, three[-1], only_one=False) == three


@pytest.mark.parametrize(
    ("day", "last_day", "named"),
    [
        (date(2026, 2, 11), None, "has not come yet"),
        (DAY, DAY - timedelta(days=1), "the first before the last"),
        (DAY, TODAY, "of one day"),
    ],
)
def test_a_form_that_makes_no_sense_is_refused(day: date, last_day: date | None, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        named_days(TODAY, day, last_day, only_one=True)


def test_a_supplier_that_there_is_not_is_refused_by_the_form() -> None:
    with pytest.raises(ParameterTypeError, match="flash"):
        reconcile_supplier.validate_parameters({"supplier": "blitz"})


def test_a_float_is_one_field_of_the_form_and_is_compared(ledger: Ledger, tmp_path: Path) -> None:
    books = Books(ledger.settings, tmp_path)
    books.both(amount=Decimal("100.00"))
    form: dict[str, Any] = {"supplier": "flash", "day": DAY, "statement": str(books.statement()), "dry_run": True}
    with pytest.raises(ParameterTypeError, match="float_movement"):
        reconcile_supplier.validate_parameters(form | {"float_movement": "5000.00,0.00"})
    [result] = reconcile_supplier(**form, float_movement="5000.00,0.00,4900.00,gross")
    assert result.summary.figures["float"]["consumed_less_statement"] == "0.0000"


def test_every_supplier_has_a_deployment_whose_parameters_fit_the_form() -> None:
    deployments = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]
    ours = [one for one in deployments if one["entrypoint"].endswith(":reconcile_supplier")]
    forms = [reconcile_supplier.validate_parameters(one["parameters"]) for one in ours]
    assert {form["supplier"] for form in forms} == set(Supplier)
    assert {one["schedules"][0]["timezone"] for one in ours} == {"Africa/Johannesburg"}
