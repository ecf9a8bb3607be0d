"""The check of reconciliation: every day of every supplier since its first one was reconciled, or is named."""

from collections.abc import Sequence
from datetime import date, timedelta

from ledger.business_days import ZONE, day_of, day_start
from sql.connection import fetch_one
from sql.queries import load
from tasks.health.context import Context
from tasks.health.result import Measure

_QUERIES = load("health")
_SHOWN = 3  # ranges of days of one supplier
_HOUR_S = 3600.0
_DAY = timedelta(days=1)


def reconciliation(context: Context) -> Measure:
    """Return how long ago the oldest day began that is not reconciled, and which days those are, of each supplier.

    The days of a supplier begin with its first statement or run; a day in a closed period counts as reconciled.
    """
    yesterday = day_of(context.now) - _DAY
    days_of = _days(context, yesterday)
    if not days_of:
        return Measure("nothing was reconciled yet", 0)
    missing = {supplier: days for supplier, days in days_of.items() if days}
    oldest = min((days[0] for days in missing.values()), default=yesterday + _DAY)
    hours = max(0.0, (context.now - day_start(oldest)).total_seconds() / _HOUR_S)
    if not missing:
        names = ", ".join(sorted(days_of))
        return Measure(f"reconciled up to {yesterday}, every day since the first statement or run: {names}", hours)
    return Measure("; ".join(f"{supplier}: {_listed(days)}" for supplier, days in missing.items()), hours)


def _days(context: Context, last: date) -> dict[str, list[date]]:
    """The days that are not reconciled, of each enabled supplier that has a first day."""
    values = {
        "suppliers": list(context.settings.suppliers.connections),
        "oldest": last - timedelta(days=context.settings.health.reconciliation_days - 1),
        "last": last,
        "zone": ZONE,
    }
    with context.connect() as connection:
        if not fetch_one(connection, _QUERIES["has_reconciliation"])[0]:
            return {}
        rows = connection.execute(_QUERIES["unreconciled_days"], values).fetchall()
    return {supplier: days for supplier, _, days in rows}


def _listed(days: Sequence[date]) -> str:
    """The days as ranges, the oldest ones named and the rest counted."""
    ranges = _ranges(days)
    shown = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in ranges[:_SHOWN])
    rest = len(days) - sum((last - first).days + 1 for first, last in ranges[:_SHOWN])
    more = f" and {rest} more" if rest else ""
    count = "1 day is" if len(days) == 1 else f"{len(days)} days are"
    return f"{count} not reconciled: {shown}{more}"


def _ranges(days: Sequence[date]) -> list[tuple[date, date]]:
    """First and last day of each stretch of days in a row."""
    ranges: list[tuple[date, date]] = []
    for day in days:
        if ranges and day - ranges[-1][1] == _DAY:
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return ranges
