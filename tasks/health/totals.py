"""The check of daily totals: how long months have been without totals that hold."""

from ledger.counts import counted
from sql.totals import unkept
from tasks.health.context import Context
from tasks.health.result import Measure

_DAY_S = 86_400


def daily_totals(context: Context) -> Measure:
    """Value: days since the oldest month without totals that hold could first have had them, 0 where all have."""
    with context.connect() as connection:
        months = unkept(connection, context.settings.registry.values())
    if not months:
        return Measure("the totals of every month that has ended are kept", 0)
    oldest = months[0]
    days = max(0.0, (context.now - oldest.since).total_seconds() / _DAY_S)
    line = f"{counted(len(months), 'month')} without totals that hold, {oldest.table_name} {oldest.month}"
    return Measure(f"{line} for {days:.0f} days", days)
