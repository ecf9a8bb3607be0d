"""The check of notices: every target has the form of one, and none has failed to take a notice.

Whether a service is known is checked where notices are sent: loading all services takes longer than a check may.
"""

from ledger.counts import counted
from sql.queries import load
from tasks.alerting.delivery import malformed_targets, targeted
from tasks.health.context import Context
from tasks.health.result import HealthState, Measure

_QUERIES = load("alerts")


def notices(context: Context) -> Measure:
    """Alerts whose notice some target has not taken; a URL that is not a target is critical."""
    if not targeted(context.settings):
        return Measure("no target of notices is set", 0, HealthState.HEALTHY)
    wrong = malformed_targets(context.settings)
    if wrong:
        return Measure("; ".join(wrong), len(wrong), HealthState.CRITICAL)
    with context.connect() as connection:
        rows = connection.execute(_QUERIES["failing_notices"]).fetchall()
    if rows:
        count, error = rows[0]
        return Measure(
            f"the notices of {counted(count, 'alert')} reached not every target: {error}", count, HealthState.WARNING
        )
    return Measure("every notice was taken", 0, HealthState.HEALTHY)
