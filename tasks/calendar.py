"""The day that a run takes as today. Read once, at the edge, and passed in from there."""

from datetime import UTC, date, datetime


def utc_today() -> date:
    """Today's date in UTC: the default of every ``as_of``."""
    return datetime.now(UTC).date()
