"""The cost of the end of a month's life: the plan of ten years of two tables, and the deletion of one month."""

import time
from typing import Any

from bench.scratch import fill_month, scratch
from config import Settings
from config.retention import RetentionSettings
from ledger.errors import DataError
from ledger.months import Month
from sql.connection import connect
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month
from tasks.retention.approvals import approve, request_deletion
from tasks.retention.deletion import delete_months
from tasks.retention.deletion_plan import plan_deletion

_MONTHS = 120
_ROWS = 100_000
_OLD = Month(2014, 1)
_TARGET_PLAN_S, _TARGET_DELETE_S = 2.0, 5.0
_ADD = """
    INSERT INTO archive_months (table_name, month, part, tier, row_count, sums, digest, object_key, object_bytes,
                                object_sha256, manifest_key, manifest_sha256, verified_at, cold_at, tree)
    SELECT t, m, 1, 'cold', 1000, '{}', sha256('r'), t || m, 1, sha256('o'), t || m || 'm', sha256('m'), now(), now(),
           '{}'
    FROM unnest(ARRAY['transactions', 'vas_transactions']) AS t,
         generate_series('2004-01-01'::date, '2013-12-01'::date, interval '1 month') AS m
"""


def run() -> dict[str, Any]:
    """Measure, show and return the figures."""
    with scratch("s3") as base:
        settings = base.model_copy(update={"retention": RetentionSettings(grace_days=0)})
        delete_s = _delete(settings)
        plan_s, months = _plan(settings)
    print(f"plan of {months} months: {plan_s:.3f} s; deletion of a month of {_ROWS:,} rows: {delete_s:.2f} s")
    passed = plan_s < _TARGET_PLAN_S and delete_s < _TARGET_DELETE_S
    figures = {"plan_s": round(plan_s, 3), "planned_months": months, "delete_s": round(delete_s, 2), "rows": _ROWS}
    return {"name": "deletion", **figures, "passed": passed}


def _plan(settings: Settings) -> tuple[float, int]:
    with connect(settings.database_dsn, "bench") as connection:
        connection.execute(_ADD)
    started = time.monotonic()
    plan = plan_deletion(settings, list(settings.registry.values()))
    return time.monotonic() - started, len(plan.months)


def _delete(settings: Settings) -> float:
    """Seconds from the start of the run to the certificate in the archive, the store included."""
    table = settings.table("transactions")
    fill_month(settings, _OLD, _ROWS)
    warm_month(settings, table, _OLD)
    archive_month(settings, table, _OLD)
    request = request_deletion(settings, [table], "anna", "past the policy")
    for name in ("ben", "carol"):
        approve(settings, request.request_id, name, "looked at")
    started = time.monotonic()
    (outcome,) = delete_months(settings)
    if not outcome.certificate:
        raise DataError(outcome.reason)
    return time.monotonic() - started
