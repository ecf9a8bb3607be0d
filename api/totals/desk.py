"""The computing of totals in threads, a few at a time: it may read rows of months that are not kept."""

from functools import partial
from typing import Final

import anyio
import anyio.to_thread

from api.connections.database import limited_settings
from config import Settings
from ledger.errors import TransientError
from ledger.tables import TieredTable
from ledger.totals import Question
from tasks.totals.answer import TotalsAnswer, TotalsReader

_AT_ONCE = 2  # a month of rows is read by a core of PostgreSQL, and rows of pages come first
_WAITING = 32  # more of them would be answered after their clients have gone


class TotalsDesk:
    """Answers questions for totals. Safe to repeat; more requests than may wait get TransientError."""

    def __init__(self, settings: Settings) -> None:
        self._timeout_s: Final = settings.api_statement_timeout_ms / 1000
        self._reader: Final = TotalsReader(limited_settings(settings))
        self._limiter = anyio.CapacityLimiter(_AT_ONCE)

    async def answer(self, table: TieredTable, question: Question, most: int) -> TotalsAnswer:
        """See `tasks.totals.answer.TotalsReader.answer`."""
        if self._limiter.statistics().tasks_waiting >= _WAITING:
            raise TransientError("too many questions for totals wait")
        work = partial(self._reader.answer, table, question, most, self._timeout_s)
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)

    def close(self) -> None:
        """Close its connections to PostgreSQL."""
        self._reader.close()
