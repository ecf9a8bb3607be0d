"""The supplier API tests, on demand: a table of checks with their latencies; the run fails when one of them does."""

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from pydantic import BaseModel, ConfigDict, Field

from config import load_settings
from flows.parameters import SupplierName, only_suppliers
from ledger.errors import DataError
from tasks.steps import check_suppliers_step
from tasks.vending.supplier_tests import TrialCheck, TrialResult


class SupplierTestParameters(BaseModel):
    """The suppliers to test."""

    model_config = ConfigDict(extra="forbid")

    suppliers: list[SupplierName] = Field(
        default_factory=list, description="Empty: every supplier that is enabled", json_schema_extra=only_suppliers
    )


@flow(name="test-suppliers")
def test_suppliers(parameters: SupplierTestParameters = SupplierTestParameters()) -> list[TrialCheck]:  # noqa: PT028  # a flow
    """Ask each supplier everything that its client can ask, buying for small amounts; never in production.

    Safe to run again. Raises DataError naming the checks that failed.
    """
    checks = check_suppliers_step(load_settings(), parameters.suppliers)
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
    return checks
