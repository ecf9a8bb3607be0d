"""The lifetime of a cached answer: by what it shows, and at most as long as its operation's setting allows.

What may still change is kept no longer than the bound on staleness, whatever else is known of it. So the bound holds by
itself: also for changes that no process reports, such as rows that are written past the API.
"""

from collections.abc import Collection
from datetime import UTC, datetime

from api.transactions.reading import LocatedRow
from config.cache import CacheSettings
from ledger.errors import ConfigError
from ledger.months import Month
from ledger.policy import Tier
from ledger.tables import TieredTable


class Lifetimes:
    """Seconds that answers are kept."""

    def __init__(self, settings: CacheSettings) -> None:
        self._settings = settings

    def check(self, operations: Collection[str]) -> None:
        """Raises ConfigError for a setting about an operation that is not among ``operations``."""
        for name in self._settings.routes:
            if name not in operations:
                raise ConfigError(f"TREASURY_CACHE__ROUTES: {name!r} is not an operation that reads transactions")

    def of_row(self, operation: str, table: TieredTable, located: LocatedRow) -> tuple[float, bool]:
        """Return how long a row is kept, and whether it can never change: it is archived, or its status is terminal. A
        row that is past its table's retention may be deleted, so it is kept no longer than what changes.

        That a terminal row does not change is not an assumption: the database refuses it to every writer.
        """
        month = Month.of(located.row[table.time_column])
        if table.policy.tier_of(month, datetime.now(UTC).date()) is Tier.DELETED:
            return self._at_most(operation, self._settings.stale_s), False  # its month may be deleted at any time
        if located.tier.is_archived:
            return self._at_most(operation, self._settings.archived_row_ttl_s), True
        if located.row[table.status_column or "status"] in table.terminal_statuses:
            return self._at_most(operation, self._settings.final_row_ttl_s), True
        return self._at_most(operation, self._settings.stale_s), False

    def of_page(self, operation: str) -> float:
        """Return how long a page is kept: rows join it and change in it."""
        return self._at_most(operation, self._settings.stale_s)

    def _at_most(self, operation: str, ttl_s: float) -> float:
        return min(ttl_s, self._settings.routes.get(operation, ttl_s))
