"""The life of all months, read in a thread and shared for some seconds, with its grids and its costs."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Final

import anyio.to_thread
from markupsafe import Markup
from psycopg.rows import TupleRow

from api.connections.database import AsyncConnection, Database, limited_settings
from api.monitoring.shared_answer import SharedAnswer
from config import Settings
from ledger.months import Month
from ledger.tables import TieredTable
from sql.queries import load
from tasks.admin.schedules import Schedule
from tasks.archiving.life import Life, MonthEvent, nightly_schedule, read_life
from tasks.retention.costs import TableCost, table_cost

MOST_EVENTS = 200
_FRESH_S, _STALE_S = 10.0, 120.0
_EVENTS = load("life")["events"]
Grids = Mapping[str, Markup]


class LifeDesk:
    """Answers about months. Safe to repeat."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings: Final = settings
        self._database: Final = database
        self._life = SharedAnswer(self._read, _FRESH_S)
        self._drawn: tuple[Life, Grids] | None = None
        self._costs: tuple[Life, Sequence[TableCost]] | None = None

    async def life(self) -> Life:
        """Everything, as of some seconds ago. Raises TransientError when PostgreSQL does not answer."""
        return await self._life.recent(_FRESH_S, _STALE_S)

    async def grids(self, life: Life, draw: Callable[[Life], Grids]) -> Grids:
        """What ``draw`` makes of ``life``: hundreds of cells, drawn once for everybody who looks at the same one."""
        if self._drawn is None or self._drawn[0] is not life:
            self._drawn = life, await anyio.to_thread.run_sync(draw, life)
        return self._drawn[1]

    async def costs(self, life: Life) -> Sequence[TableCost]:
        """What ``life`` costs now and in the years ahead, of each table: ten years are computed once for everybody."""
        if self._costs is None or self._costs[0] is not life:
            self._costs = life, await anyio.to_thread.run_sync(self._compute, life)
        return self._costs[1]

    def _compute(self, life: Life) -> Sequence[TableCost]:
        return [
            table_cost(
                self._settings,
                self._settings.table(table.name),
                [part for month in table.months for part in month.parts],
                life.present,
            )
            for table in life.tables
        ]

    async def events(self, table: TieredTable, month: Month, *, sees_matters: bool) -> list[MonthEvent]:
        """The newest events of a month, oldest first; holds with their matter if ``sees_matters``. Raises
        TransientError.
        """
        which = {"table": table.name, "month": month.first_day, "sees_matters": sees_matters, "limit": MOST_EVENTS}

        async def work(connection: AsyncConnection) -> list[TupleRow]:
            return await (await connection.execute(_EVENTS, which)).fetchall()

        return [MonthEvent(*row) for row in reversed(await self._database.run(work, "month_events"))]

    async def _read(self) -> Life:
        return await anyio.to_thread.run_sync(lambda: read_life(self._limited, self._night))

    @cached_property
    def _limited(self) -> Settings:
        return limited_settings(self._settings)

    @cached_property
    def _night(self) -> Schedule | None:
        return nightly_schedule(self._settings)
