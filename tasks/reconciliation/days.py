"""The Africa/Johannesburg day: what suppliers settle by. Nothing here asks the server for its timezone."""

from datetime import date, datetime, timedelta, timezone

from ledger.errors import ConfigError

# South Africa Standard Time is UTC+2 all year, since 1944: an offset, so that no time zone database takes part.
JOHANNESBURG = timezone(timedelta(hours=2), "SAST")
OFFSET_MS = 2 * 3_600_000
MOST_DAYS = 366


def day_start(day: date) -> datetime:
    """The instant at which ``day`` begins in Johannesburg, aware."""
    return datetime(day.year, day.month, day.day, tzinfo=JOHANNESBURG)


def day_of(moment: datetime) -> date:
    """The Johannesburg day of an aware instant."""
    return moment.astimezone(JOHANNESBURG).date()


def days_between(first: date, last: date) -> list[date]:
    """Every day from ``first`` to ``last``, both included. Raises ConfigError when there is none, or over a year."""
    count = (last - first).days + 1
    if not 1 <= count <= MOST_DAYS:
        raise ConfigError(f"days: {first} to {last} must be 1 to {MOST_DAYS} days, the first before the last")
    return [first + timedelta(days=number) for number in range(count)]
