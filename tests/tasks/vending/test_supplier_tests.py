"""The supplier API tests themselves: they pass at a supplier that behaves, and tell when one does not."""

import asyncio
import datetime as dt
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from config import Settings
from ledger.business_days import JOHANNESBURG
from ledger.errors import ConfigError
from servers.lending import running
from suppliers.flash.trials import TRIALS as FLASH
from suppliers.mobilemart.trials import TRIALS as MOBILEMART
from suppliers.peach.trials import TRIALS as PEACH
from suppliers.simulation.app import book_path
from suppliers.simulation.book import Book
from suppliers.simulation.faults import Fault
from suppliers.verdicts import Verdict
from tasks.vending.supplier_tests import TrialCheck, TrialResult, check_suppliers
from tests.suppliers.conftest import NAMES, Simulated, request

PROJECT = Path(__file__).parents[3]


def checks_of(settings: Settings, simulated: Simulated, *names: str) -> list[TrialCheck]:
    return asyncio.run(check_suppliers(settings.model_copy(update={"suppliers": simulated.settings}), names))


def test_every_supplier_passes_and_every_check_has_its_latency(server_settings: Settings, simulated: Simulated) -> None:
    checks = checks_of(server_settings, simulated)
    assert [check for check in checks if check.result is not TrialResult.PASSED] == []
    assert {check.supplier for check in checks} == set(NAMES)
    assert all(check.latency_ms >= 0 for check in checks)
    assert sum("reversal" in check.name for check in checks) == 5
    assert simulated.purchases("flash") != []


@pytest.mark.parametrize(
    ("trials", "verdicts"),
    [
        (
            FLASH,
            set(Verdict) - {Verdict.PENDING, Verdict.CANCELLED, Verdict.RESUBMIT, Verdict.ABSENT, Verdict.CREDENTIALS},
        ),
        (MOBILEMART, {Verdict.INVALID, Verdict.DECLINED, Verdict.UNCERTAIN}),
        (PEACH, {Verdict.PENDING, Verdict.CANCELLED, Verdict.UNCERTAIN, Verdict.DECLINED, Verdict.INVALID}),
    ],
)
def test_each_class_of_error_has_its_trial(trials: Any, verdicts: set[Verdict]) -> None:
    assert {trial.verdict for trial in trials if trial.verdict} >= verdicts


def test_a_supplier_that_does_not_behave_is_told(server_settings: Settings, simulated: Simulated) -> None:
    simulated.plan("peach", *[Fault.BROKEN] * 20)
    (check,) = checks_of(server_settings, simulated, "peach")
    assert (check.name, check.result) == ("authentication", TrialResult.FAILED)
    assert check.detail.startswith("SupplierFailingError")


def test_production_is_never_tested(server_settings: Settings, simulated: Simulated) -> None:
    settings = simulated.with_("flash", environment="production")
    with pytest.raises(ConfigError, match="flash is production"):
        asyncio.run(check_suppliers(server_settings.model_copy(update={"suppliers": settings})))


def test_at_a_sandbox_the_errors_on_demand_are_left_out(server_settings: Settings, simulated: Simulated) -> None:
    settings = simulated.with_("flash", environment="sandbox")
    checks = asyncio.run(check_suppliers(server_settings.model_copy(update={"suppliers": settings}), ["flash"]))
    left_out = [check for check in checks if check.result is TrialResult.LEFT_OUT]
    assert len(left_out) == sum(trial.simulator_only for trial in FLASH)
    assert {check.result for check in checks} == {TrialResult.PASSED, TrialResult.LEFT_OUT}


@pytest.mark.heavy("every supplier passes in one process")
def test_the_command_starts_the_simulators_and_shows_a_table(tmp_path: Path) -> None:
    fast = {name: {"retry_wait_s": 0.01} for name in NAMES}
    answer = subprocess.run(
        [sys.executable, "-m", "cli.main", "suppliers", "test", "peach"],
        env={
            "TREASURY_HOME": str(tmp_path / "home"),
            "TREASURY_PORTS": json.dumps({"suppliers": 0}),
            "TREASURY_SUPPLIERS": json.dumps(fast),
            "PYTHONPATH": str(PROJECT),
            "PATH": "/usr/bin:/bin",
            "COLUMNS": "200",
        },
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert answer.returncode == 0, answer.stderr
    assert "reversal: payment" in answer.stdout
    assert "failed" not in answer.stderr


def test_the_embedded_simulators_keep_their_book_and_stand_in_for_all(
    tmp_path: Path, server_settings: Settings
) -> None:
    own = server_settings.model_copy(update={"home": tmp_path / "home"})
    with running(own, "suppliers") as settings:
        assert settings.suppliers.simulated == []
        flash = settings.suppliers.flash
        simulated = Simulated(str(flash.base_url).removesuffix("/flash"), Book(), settings.suppliers)
        simulated.ask("flash", lambda supplier: supplier.purchase(request(supplier)))
        assert settings.environment()["TREASURY_SUPPLIERS"].count("not-a-secret") == 3
    kept = Book(book_path(own.home))
    assert len(kept.all("flash")) == 1
    kept.close()


def test_the_statements_have_the_formats_of_the_suppliers(simulated: Simulated) -> None:
    for name in NAMES:
        simulated.ask(name, lambda supplier: supplier.purchase(request(supplier)))
    day = dt.datetime.now(JOHANNESBURG).date()
    flash, mobilemart, peach = (
        httpx.get(f"{simulated.url}/{name}/_statement", params={"day": day.isoformat()}) for name in NAMES
    )
    assert f'filename="recon_{day:%Y%m%d}.csv"' in flash.headers["content-disposition"]
    header, line = flash.text.splitlines()
    fields = dict(zip(header.split(";"), line.split(";"), strict=True))
    gross, commission, net = (Decimal(fields[name]) for name in ("Gross Amount", "Commission", "Net Amount"))
    assert (gross, net) == (Decimal("50.0000"), gross - commission)
    first, body, last = mobilemart.text.splitlines()
    assert (first, last) == (f"H|1|{day:%Y%m%d}", "T|3")
    assert len(body.split("|")) == 24
    assert body.split("|")[11] == "8500"
    (settlement,) = json.loads(peach.text)
    assert settlement["amount"] == "120.50"
    assert len(settlement["settlementReference"]) >= 15
