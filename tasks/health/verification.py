"""The check of the nightly verification: how long ago the oldest byte of the archive was read."""

from ledger.counts import counted
from sql.verified import part_ages
from tasks.health.context import Context
from tasks.health.result import Measure

_DAY_S = 86_400


def verification(context: Context) -> Measure:
    """Value: days since the oldest byte of the archive was read and found whole, 0 without an archived month."""
    with context.connect() as connection:
        ages = part_ages(connection)
    if not ages:
        return Measure("nothing is archived yet", 0)
    oldest = ages[0]
    days = max(0.0, (context.now - oldest.verified_at).total_seconds() / _DAY_S)
    parts = counted(len(ages), "part of a month", "parts of months")
    return Measure(f"{parts}; the one read longest ago, {oldest}, {days:.0f} days ago", days)
