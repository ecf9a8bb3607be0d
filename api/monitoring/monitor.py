"""The reports of one API process, for the monitoring operations."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

import psycopg

from api.connections.database import AsyncConnection, Database
from api.monitoring import (
    alert_page,
    archive_figures,
    cache_report,
    database_report,
    partition_report,
    performance,
    summary,
)
from api.monitoring.alert_page import Acknowledged, AlertPage
from api.monitoring.cache_report import CacheControl, CacheReport
from api.monitoring.database_report import DatabaseFigures, DatabaseReport
from api.monitoring.health_report import Checks, ComponentState, HealthReport, health_report
from api.monitoring.history import Minute
from api.monitoring.partition_report import PartitionReport
from api.monitoring.performance import KeyFigures, Performance
from api.monitoring.sampling import Sampler
from api.monitoring.shared_answer import SharedAnswer
from api.monitoring.summary import StoredFigures, Summary
from api.transactions.writer import Writer
from config import Settings
from ledger.alerts import AlertRule
from ledger.errors import TransientError
from ledger.months import Month
from tasks.health.checks import POSTGRES

HEALTH_KEPT_S = 5.0
HEALTH_FRESH_S, HEALTH_STALE_S = 25.0, 90.0
DATABASE_KEPT_S = 2.0
FIGURES_KEPT_S = 3.0
READY_KEPT_S = 0.5
ARCHIVE_KEPT_S = 60.0
READY_TIMEOUT_S = 2.0
# Connected, migrated, and no standby or database that is set to be read only.
_READY = "SELECT EXISTS (SELECT FROM archive_months), current_setting('transaction_read_only') = 'off'"


class Monitor:
    """The monitoring of one API process. ``checks`` are the health checks, ``cache`` is None while it is off."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        writer: Writer,
        checks: Checks,
        rules: Sequence[AlertRule],
        cache: CacheControl | None = None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._sampler = Sampler([database.note_pool, writer.note_queues])
        self._rules = rules
        self.cache = cache
        self._health = SharedAnswer(partial(health_report, checks), HEALTH_KEPT_S)
        self._database_report = SharedAnswer(self._read_database, DATABASE_KEPT_S)
        self._figures = SharedAnswer(self._read_figures, FIGURES_KEPT_S)
        self._database_figures = SharedAnswer(partial(database_report.database_figures, database), FIGURES_KEPT_S)
        self._ready = SharedAnswer(self._read_ready, READY_KEPT_S)
        self._exposition = SharedAnswer(self._sampler.exposition, 0)
        figures = partial(archive_figures.exposition, database, list(settings.registry.values()))
        self._public_log = SharedAnswer(partial(figures, archive_figures.LOG), DATABASE_KEPT_S)
        self._archive = SharedAnswer(partial(figures, archive_figures.ARCHIVE), ARCHIVE_KEPT_S)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sample until left."""
        async with self._sampler.running():
            yield

    async def health(self) -> HealthReport:
        """Every health check, at most some seconds old: however many ask, they do not add to the load."""
        return await self._health.get()

    async def recent_health(self) -> HealthReport:
        """Every health check as of a moment ago, and made again meanwhile: for a page that is refreshed often."""
        return await self._health.recent(HEALTH_FRESH_S, HEALTH_STALE_S)

    async def ready(self) -> None:
        """PostgreSQL has just answered this process, and takes writes: one question at a time, however many ask. Raises
        the project's errors, within two seconds.
        """
        await self._ready.get()

    async def performance(self) -> Performance:
        """Report how the API performs, over all its processes."""
        latest, earlier = await self._sampler.now()
        return performance.performance(latest, earlier, datetime.now(UTC))

    @property
    def minutes(self) -> Sequence[Minute]:
        """The minutes of the last day, oldest first; since the process began."""
        return self._sampler.minutes

    async def database(self) -> DatabaseReport:
        """PostgreSQL, at most some seconds old. Raises TransientError when it does not answer in time."""
        return await self._database_report.get()

    async def partitions(self, tables: Sequence[str], before: Month | None, limit: int) -> PartitionReport:
        """The newest months of ``tables`` before ``before``; months prepared ahead come last."""
        wanted = self._settings.chosen_tables(tables)
        return await partition_report.partition_report(
            self._database, wanted, before, limit, Month.of(datetime.now(UTC))
        )

    async def alerts(self, wanted: dict[str, object], limit: int) -> AlertPage:
        """The newest alerts that fit, and every rule."""
        return await alert_page.alert_page(self._database, self._settings, self._rules, wanted, limit)

    async def acknowledge(self, alert_id: int, who: str) -> Acknowledged:
        """Acknowledge an alert in the name of ``who``."""
        return await alert_page.acknowledge(self._database, alert_id, who)

    async def figures(self) -> tuple[KeyFigures, CacheReport]:
        """The figures that a page shows, of one reading that is some seconds old at most."""
        return await self._figures.get()

    async def database_figures(self) -> DatabaseFigures:
        """What PostgreSQL says at little cost, some seconds old at most. Raises TransientError."""
        return await self._database_figures.get()

    async def cache_report(self) -> CacheReport:
        """The layers of the cache."""
        latest, _ = await self._sampler.now()
        return await cache_report.cache_report(self.cache, latest)

    async def summary(self) -> Summary:
        """The worst state, its causes and the key figures."""
        health, (latest, earlier) = await asyncio.gather(self.health(), self._sampler.now())
        stored = await self._stored_figures() if _answers(health) else StoredFigures()
        return summary.summary(health, latest, earlier, stored)

    async def _stored_figures(self) -> StoredFigures:
        """The figures of PostgreSQL; none when it has just stopped answering."""
        try:
            alerts = await database_report.read(self._database, "open_alerts")
            months = await database_report.read(self._database, "months_by_tier")
            return StoredFigures((await self.database()).database_bytes, dict(alerts), dict(months))
        except TransientError:
            return StoredFigures()

    async def exposition(self) -> bytes:
        """Everything that is counted, for Prometheus; of archive and log what PostgreSQL said some seconds ago."""
        return await self._exposition.get() + await self._public_log.get() + await self._archive.get()

    async def _read_figures(self) -> tuple[KeyFigures, CacheReport]:
        latest, earlier = await self._sampler.now()
        return performance.key_figures(latest, earlier), await cache_report.cache_report(self.cache, latest)

    async def _read_ready(self) -> bool:
        await self._database.run(_require_writes, "ready", READY_TIMEOUT_S)
        return True

    async def _read_database(self) -> DatabaseReport:
        own = (await self.performance()).queries
        parents = [name for table in self._settings.registry.values() for name in (table.hot_parent, table.warm_parent)]
        return await database_report.database_report(self._database, parents, own)


async def _require_writes(connection: AsyncConnection) -> None:
    row = await (await connection.execute(_READY)).fetchone()
    if row is None or not row[1]:
        raise psycopg.errors.ReadOnlySqlTransaction("the database takes no writes")


def _answers(health: HealthReport) -> bool:
    """Return whether PostgreSQL answered a moment ago: no caller waits again for one that is known to be away."""
    return all(
        component.state != ComponentState.CRITICAL for component in health.components if component.name == POSTGRES
    )
