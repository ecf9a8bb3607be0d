"""The day that a run takes as today, and which days a run may be made for. Read once, at the edge, and passed in."""

from collections.abc import Iterable
from datetime import UTC, date, datetime

from ledger.errors import ConfigError
from ledger.months import Month
from ledger.tables import TieredTable


def utc_today() -> date:
    """Today's date in UTC: the default of every ``as_of``."""
    return datetime.now(UTC).date()


class AsOfError(ConfigError):
    """The day that the policy is to be applied at is wrong: nothing may move, of any table."""


def check_as_of(table: TieredTable, months: Iterable[Month], as_of: date, today: date) -> None:
    """Raise AsOfError when ``as_of`` is in the future and lies beyond the last of the ``months`` that the table has.

    A past day may lie beyond them: a history that was imported ends where it ends.
    """
    last = max((*months, Month.of(today)))
    if Month.of(as_of) > last:
        raise AsOfError(f"as_of: {as_of} is in the future, beyond the last month of {table.name}, {last}")
