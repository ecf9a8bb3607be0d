"""One run of the health checks: all at once, each under a hard deadline, every outcome a result. It never raises."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from config import Settings
from ledger.errors import TreasuryError
from ledger.masking import cut, mask_text
from tasks.deadline import run_each
from tasks.health.checks import CHECKS, POSTGRES, Check
from tasks.health.context import Context
from tasks.health.result import CheckResult, HealthState, Limits, Measure, exact

_LINE_LIMIT = 400


def run_checks(settings: Settings, checks: Sequence[Check] = CHECKS, now: datetime | None = None) -> list[CheckResult]:
    """The results of ``checks``, in their order, as of ``now`` (aware; default: this instant).

    Nothing is stored and nothing is raised: a check that fails, or has not ended after ``health.check_timeout_s``, is
    a critical result. Costs a few connections and one small object; callers that many people can reach keep the answer
    for some seconds.
    """
    context = Context(settings, now or datetime.now(UTC))
    deadline_s = settings.health.check_timeout_s
    # The home distinguishes runs of different systems in one process.
    work = {f"health {check.name} {settings.home}": _bound(check, context) for check in checks}
    outcomes = list(run_each(work, deadline_s).values())
    results = [
        _result(check, check.limits(settings), outcome, took_s)
        for check, (outcome, took_s) in zip(checks, outcomes, strict=True)
    ]
    return _with_causes(checks, results, [outcome for outcome, _ in outcomes])


def _bound(check: Check, context: Context) -> Callable[[], Measure]:
    return lambda: check.measure(context)


def _result(check: Check, limits: Limits | None, outcome: Measure | Exception, took_s: float) -> CheckResult:
    measure = outcome if isinstance(outcome, Measure) else Measure(_safe(outcome), None, HealthState.CRITICAL)
    state = measure.state
    if state is None:
        state = HealthState.HEALTHY if limits is None or measure.value is None else limits.judge(measure.value)
    threshold = None if limits is None else limits.critical if state is HealthState.CRITICAL else limits.warning
    return CheckResult(
        check.name,
        state,
        None if measure.value is None else exact(measure.value),
        None if threshold is None else exact(threshold),
        "" if limits is None else limits.unit,
        cut(measure.line, _LINE_LIMIT),
        "" if state is HealthState.HEALTHY else check.to_do,
        round(took_s * 1000),
    )


def _safe(error: Exception) -> str:
    """Return what may be shown of an error: the project's own text, masked, or the kind alone of one that nobody
    foresaw.
    """
    if isinstance(error, TreasuryError):
        return mask_text(str(error).replace("\n", " "))
    return f"the check failed: {type(error).__name__}"


def _with_causes(
    checks: Sequence[Check], results: list[CheckResult], outcomes: Sequence[Measure | Exception]
) -> list[CheckResult]:
    """The results, with PostgreSQL named as the cause where a check could not be made because it does not answer."""
    failed = {check.name for check, outcome in zip(checks, outcomes, strict=True) if isinstance(outcome, Exception)}
    if POSTGRES not in failed:
        return results
    blocked = {check.name for check in checks if check.asks_postgres} & failed
    return [replace(result, caused_by=POSTGRES) if result.name in blocked else result for result in results]
