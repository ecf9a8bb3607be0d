"""The API with a day of minutes behind it: ``python -m bench.api_with_history --port N``, as ``python -m api.serve``.

The minutes are made up; the pages that show them are the API's own.
"""

from datetime import UTC, datetime, timedelta
from unittest.mock import patch

from api import serve
from api.monitoring import sampling
from api.monitoring.history import MINUTES, History, Minute


class FilledHistory(History):
    """A history that has its most minutes from the start."""

    def __init__(self) -> None:
        super().__init__()
        now = datetime.now(UTC)
        self._minutes.extend(_minute(now - timedelta(minutes=ago), ago) for ago in range(MINUTES, 0, -1))


def _minute(at: datetime, ago: int) -> Minute:
    """A minute like no other, so that no chart is a straight line."""
    part = (ago * 7919 % 1000) / 1000
    return Minute(at, ago, 1000 * part, ago % 3, 3 + part, 9 + 10 * part, 20 + 80 * part, part, ago % 8, ago % 100)


if __name__ == "__main__":
    with patch.object(sampling, "History", FilledHistory):  # the API has one process, which makes its history by name
        serve.main()
