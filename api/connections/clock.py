"""The time that new rows get: this machine's, as long as it is PostgreSQL's.

The clock is compared with PostgreSQL's when the API starts and every few seconds from then on. In between the machine's
steady clock shows whether somebody has set it. While it is wrong, or was never compared, no row is made.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from api.connections.database import AsyncConnection, Database
from ledger.errors import ClockError, TransientError
from ledger.identifiers import truncate_ms
from sql import clock

COMPARED_EVERY_S = 5.0
_WITHIN_S = 2.0
_LOG = logging.getLogger("treasury.api")


@dataclass(frozen=True, slots=True)
class _Comparison:
    """The result of a comparison: by how much the clock was ahead, and both clocks of the machine at that moment."""

    ahead_s: float
    wall_s: float
    steady_s: float


class Clock:
    """The time of new rows. ``steady_s`` is a clock that nobody sets."""

    def __init__(self, database: Database, tolerance_s: float, steady_s: Callable[[], float] = time.monotonic) -> None:
        self._database, self._tolerance_s, self._steady_s = database, tolerance_s, steady_s
        self._last: _Comparison | None = None
        self._was_wrong = False

    def now(self) -> datetime:
        """This instant in UTC at milliseconds, not more than the tolerance off PostgreSQL's clock.

        Raises ClockError while the clock is wrong, TransientError while it was never compared.
        """
        if self._last is None:
            raise TransientError("the clock of this machine was not compared with PostgreSQL's yet")
        wall_s = clock.wall_clock_s()
        moved_s = wall_s - self._last.wall_s - (self._steady_s() - self._last.steady_s)
        clock.check_difference(self._last.ahead_s + moved_s, self._tolerance_s)
        return truncate_ms(datetime.fromtimestamp(wall_s, UTC))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Compare the clocks, at once and then every few seconds, as long as the block runs."""
        await self._compare()
        task = asyncio.create_task(self._keep_comparing())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _keep_comparing(self) -> None:
        while True:
            await asyncio.sleep(COMPARED_EVERY_S if self._last is not None else COMPARED_EVERY_S / 10)
            await self._compare()

    async def _compare(self) -> None:
        """Compare once. While PostgreSQL is away the last comparison counts on: nothing can be stored anyway."""
        try:
            self._last = await self._database.run(self._ask, "clock", _WITHIN_S)
        except TransientError:
            return
        try:
            clock.check_difference(self._last.ahead_s, self._tolerance_s)
        except ClockError as error:
            if not self._was_wrong:
                _LOG.error("no row is stored: %s", error)
            self._was_wrong = True
        else:
            if self._was_wrong:
                _LOG.warning("the clock of this machine agrees with PostgreSQL's again")
            self._was_wrong = False

    async def _ask(self, connection: AsyncConnection) -> _Comparison:
        before_s = clock.wall_clock_s()
        row = await (await connection.execute(clock.ASK)).fetchone()
        after_s, steady_s = clock.wall_clock_s(), self._steady_s()
        if row is None:
            raise TransientError("PostgreSQL gave no time")
        return _Comparison(clock.least_difference_s(before_s, float(row[0]), after_s), after_s, steady_s)
