"""The life of all months, read in a thread and shared for some seconds, with the grids that are drawn of it."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Final

import anyio
import anyio.to_thread
from markupsafe import Markup

from api.connections.database import limited_settings
from api.monitoring.shared_answer import SharedAnswer
from config import Settings
from ledger.errors import TransientError
from ledger.months import Month
from ledger.tables import TieredTable
from tasks.admin.schedules import Schedule
from tasks.archiving.life import Life, MonthEvent, month_events, nightly_schedule, read_life

MOST_EVENTS = 200
_FRESH_S, _STALE_S = 10.0, 120.0
_AT_ONCE = 2
_WAITING = 32
Grids = Mapping[str, Markup]


class LifeDesk:
    """Answers about months. Safe to repeat; more requests than may wait get TransientError."""

    def __init__(self, settings: Settings) -> None:
        self._settings: Final = settings
        self._limiter = anyio.CapacityLimiter(_AT_ONCE)
        self._life = SharedAnswer(self._read, _FRESH_S)
        self._drawn: tuple[Life, Grids] | None = None

    async def life(self) -> Life:
        """Everything, as of some seconds ago. Raises TransientError when PostgreSQL does not answer."""
        return await self._life.recent(_FRESH_S, _STALE_S)

    async def grids(self, life: Life, draw: Callable[[Life], Grids]) -> Grids:
        """What ``draw`` makes of ``life``: hundreds of cells, drawn once for everybody who looks at the same one."""
        if self._drawn is None or self._drawn[0] is not life:
            self._drawn = life, await anyio.to_thread.run_sync(draw, life)
        return self._drawn[1]

    async def events(self, table: TieredTable, month: Month) -> list[MonthEvent]:
        """The newest events of a month, oldest first."""
        if self._limiter.statistics().tasks_waiting >= _WAITING:
            raise TransientError("too many questions about months wait")
        return await anyio.to_thread.run_sync(
            lambda: month_events(self._limited, table, month, MOST_EVENTS), limiter=self._limiter
        )

    async def _read(self) -> Life:
        return await anyio.to_thread.run_sync(lambda: read_life(self._limited, self._night), limiter=self._limiter)

    @cached_property
    def _limited(self) -> Settings:
        return limited_settings(self._settings)

    @cached_property
    def _night(self) -> Schedule | None:
        return nightly_schedule(self._settings)
