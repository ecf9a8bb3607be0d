"""Runs the health checks every five minutes: stores and shows the results, raises alerts and sends notices."""

import time
from datetime import UTC, datetime

from prefect import flow, get_run_logger

from config import load_settings
from flows.artifacts import publish_health
from flows.console import explained, finished
from flows.schedule import HOOKS
from ledger.errors import TransientError
from tasks.health import CheckResult
from tasks.health.record import RUN_S
from tasks.steps import record_health_step, run_checks_step

_TIMEOUT_S = 120


@flow(name="check-health", timeout_seconds=_TIMEOUT_S, **HOOKS)
@explained("check-health")
def check_health() -> list[CheckResult]:
    """Run the health checks and keep what they found.

    A system that is not well does not fail the run: it raises alerts. The run fails when the results could not be
    stored; the notices are sent all the same. Safe to run again at any time.
    """
    settings = load_settings()
    at, begun_s = datetime.now(UTC), time.monotonic()
    results = run_checks_step(settings, at)
    recorded = record_health_step(settings, results, at, RUN_S - (time.monotonic() - begun_s))
    logger = get_run_logger()
    summary = publish_health(results, recorded, at)
    logger.info(summary)
    for error in recorded.sent.errors:
        logger.warning("a notice was not taken and will be tried again: %s", error)
    if recorded.not_stored:
        raise TransientError(f"the results could not be stored: {recorded.not_stored}")
    return finished(results, f"health: {summary.splitlines()[0]}")
