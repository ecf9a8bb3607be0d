"""Days: South Africa's, which suppliers settle by, and how any day is written.

The only place that knows when a South African day begins. PostgreSQL and DuckDB get bounds, `ZONE` or `OFFSET_MS` as
parameters. Nothing here asks a server for its timezone.
"""

import re
from datetime import date, datetime, timedelta, timezone

from ledger.errors import ConfigError

# South Africa Standard Time is UTC+2 all year, since 1944: an offset, so that no time zone database takes part.
OFFSET = timedelta(hours=2)
OFFSET_MS = OFFSET // timedelta(milliseconds=1)
JOHANNESBURG = timezone(OFFSET, "SAST")
ZONE = "Africa/Johannesburg"  # the same for those who know zones by name
MOST_DAYS = 366
# A day of the calendar, the 29th of February in leap years only (every fourth, of the centuries every fourth one). As a
# pattern, because Prefect checks one before a run starts, but no format. Without a line break at the end.
_LEAP_YEAR = r"(?:\d\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
DAY_PATTERN = (
    r"^(?!0000)(?:\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)"
    rf"|02-(?:0[1-9]|1\d|2[0-8]))|{_LEAP_YEAR}-02-29)$(?!\n)"
)
DAY_RULE = "must be a day of the calendar, written as YYYY-MM-DD"
_DAY = re.compile(DAY_PATTERN, re.ASCII)


def day_start(day: date) -> datetime:
    """The instant at which ``day`` begins in Johannesburg, aware."""
    return datetime(day.year, day.month, day.day, tzinfo=JOHANNESBURG)


def bounds(day: date) -> tuple[datetime, datetime]:
    """The aware instants between which ``day`` lies in Johannesburg, the second one excluded."""
    start = day_start(day)
    return start, start + timedelta(days=1)


def day_of(moment: datetime) -> date:
    """The Johannesburg day of an aware instant."""
    return moment.astimezone(JOHANNESBURG).date()


def days_between(first: date, last: date) -> list[date]:
    """Every day from ``first`` to ``last``, both included. Raises ConfigError when there is none, or over a year."""
    count = (last - first).days + 1
    if not 1 <= count <= MOST_DAYS:
        raise ConfigError(f"days: {first} to {last} must be 1 to {MOST_DAYS} days, the first before the last")
    return [first + timedelta(days=number) for number in range(count)]


def parse_day(text: object) -> date:
    """The day written as YYYY-MM-DD, no other spelling of ISO 8601. Raises ValueError with `DAY_RULE`."""
    if not isinstance(text, str) or not _DAY.match(text):
        raise ValueError(DAY_RULE)
    return date.fromisoformat(text)


def require_past(field: str, day: date, today: date) -> None:
    """Raise ConfigError naming ``field`` for a day after ``today``."""
    if day > today:
        raise ConfigError(f"{field}: {day} has not come yet")
