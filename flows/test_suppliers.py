"""The supplier API tests, on demand: a table of checks with their latencies; the run fails when one of them does."""

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact

from config import load_settings
from flows.console import explained, finished
from flows.parameters import Suppliers
from ledger.errors import DataError
from tasks.steps import check_suppliers_step
from tasks.vending.supplier_tests import TrialCheck, TrialResult


@flow(name="test-suppliers")
@explained("test-suppliers")
def test_suppliers(suppliers: Suppliers = ()) -> list[TrialCheck]:  # noqa: PT028  # a flow
    """Ask each supplier everything that its client can ask, buying for small amounts; never in production.

    Safe to run again. Raises DataError naming the checks that failed.
    """
    checks = check_suppliers_step(load_settings(), suppliers)
    rows = [
        {
            "supplier": check.supplier,
            "check": check.name,
            "result": check.result.value,
            "ms": check.latency_ms,
            "detail": check.detail,
        }
        for check in checks
    ]
    create_table_artifact(key="supplier-tests", table=rows, description="What each supplier was asked")
    failed = [
        f"{check.supplier} {check.name}: {check.detail}" for check in checks if check.result is TrialResult.FAILED
    ]
    get_run_logger().info("%d checks, %d failed", len(checks), len(failed))
    if failed:
        raise DataError("; ".join(failed))
    names = ", ".join(dict.fromkeys(check.supplier for check in checks))
    passed = sum(check.result is TrialResult.PASSED for check in checks)
    return finished(checks, f"test {names}: {passed} of {len(checks)} checks passed" if names else "nothing to test")
