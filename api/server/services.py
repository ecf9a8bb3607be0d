"""The services of the handlers: made once for an application, opened and closed with it."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Self

from api.abuse.defence import Defence
from api.archive.proof_desk import ProofDesk
from api.caching import ResponseCache, invalidation
from api.caching.lifetimes import Lifetimes
from api.connections.clock import Clock
from api.connections.database import Database
from api.connections.shared_redis import SharedRedis
from api.dashboard.download_desk import DownloadDesk
from api.dashboard.life_desk import LifeDesk
from api.dashboard.runs_desk import RunsDesk
from api.dashboard.sessions import Sessions
from api.keys.auth import Authenticator
from api.keys.throttle import KeyThrottle
from api.logs.error_description import describe
from api.logs.json_lines import LOGGER
from api.logs.randomness import RandomBits
from api.monitoring import metrics
from api.monitoring.monitor import Monitor
from api.routing.bodies import Bodies
from api.totals.desk import TotalsDesk
from api.transactions.cursor import Cursors
from api.transactions.feed import Feed
from api.transactions.reading import Reader
from api.transactions.statuses import StatusChanger
from api.transactions.vending import VendDesk
from api.transactions.writer import Writer
from config import Settings
from ledger.tables import TieredTable
from storage.archive import ColdReader
from tasks.admin.keys import pepper
from tasks.alerting.rules import rules
from tasks.health import run_checks

# How long each step of the shutdown may take, in their order. With `api.serve.DRAIN_S` before them they end before the
# keeper kills (`servers.api`).
WRITER_S = 4.0
VENDS_S = 3.0
ALERTS_S = 1.0
CONNECTIONS_S = 1.0
_BREAKING_S = 0.05
_LOG = logging.getLogger(LOGGER)


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of one API process. ``now`` gives UTC at milliseconds, ``random_bits(n)`` n bits for ids."""

    settings: Settings
    database: Database
    redis: SharedRedis
    defence: Defence
    key_throttle: KeyThrottle
    sessions: Sessions
    cold: ColdReader
    proofs: ProofDesk
    totals: TotalsDesk
    downloads: DownloadDesk
    reader: Reader
    feed: Feed
    writer: Writer
    statuses: StatusChanger
    cursors: Cursors
    monitor: Monitor
    runs: RunsDesk
    life: LifeDesk
    cache: ResponseCache
    vend_desk: VendDesk
    lifetimes: Lifetimes
    bodies: Bodies
    clock: Clock
    now: Callable[[], datetime]
    random_bits: Callable[[int], int] = field(default_factory=RandomBits)

    @classmethod
    def make(cls, settings: Settings, tables: tuple[TieredTable, ...]) -> Self:
        """Everything for ``settings``, not yet connected. Raises ConfigError for a setting that is missing."""
        database, secret = Database(settings), pepper(settings)
        clock = Clock(database, settings.clock_tolerance_s)
        cold = ColdReader(settings)
        reader = Reader(database, cold)
        redis_url = None if settings.redis_url is None else settings.redis_url.get_secret_value()
        redis = SharedRedis(redis_url, settings.redis_prefix)
        defence = Defence.make(settings, database, redis)
        authenticator = Authenticator(database, secret, time.monotonic)
        cache = ResponseCache(settings.cache, redis, secret, metrics.cache_event)
        after_commit, delay_s = invalidation.after_commit(cache), settings.api_feed_delay_s
        writer = Writer(database, tables, settings.api_queue_rows, after_commit, delay_s)
        return cls(
            settings=settings,
            database=database,
            redis=redis,
            defence=defence,
            key_throttle=KeyThrottle(authenticator, defence.limiter, defence.watch),
            sessions=Sessions(settings, database, authenticator, secret, time.monotonic),
            cold=cold,
            proofs=ProofDesk(settings),
            totals=TotalsDesk(settings),
            downloads=DownloadDesk(settings),
            reader=reader,
            feed=Feed(database, delay_s),
            writer=writer,
            statuses=StatusChanger(database, reader),
            cursors=Cursors(secret),
            monitor=Monitor(
                settings,
                database,
                writer,
                partial(run_checks, settings),
                rules(settings),
                cache if cache.enabled else None,
            ),
            runs=RunsDesk(settings),
            life=LifeDesk(settings, database),
            cache=cache,
            vend_desk=VendDesk(settings, database, cache),
            lifetimes=Lifetimes(settings.cache),
            bodies=Bodies(settings.api_bodies_limit_bytes),
            clock=clock,
            now=clock.now,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connect and take requests; on the way out what was accepted is stored before the connections go."""
        await self.database.open()
        self.cache.open()
        self.writer.open()
        try:
            async with (
                self.clock.running(),
                self.defence.running(),
                self.monitor.running(),
                self.vend_desk.running(),
            ):
                try:
                    yield
                finally:
                    await self._finish()
        finally:
            await _step("the cache", self._close_cache(), CONNECTIONS_S)
            await _step("the connections", self.database.close(), CONNECTIONS_S)
            self.cold.close()
            self.proofs.close()
            self.totals.close()
            self.downloads.close()

    async def _close_cache(self) -> None:
        """Send the pending invalidations, then close the connections to Redis."""
        await self.cache.close()
        await self.redis.close()

    async def _finish(self) -> None:
        """Store accepted rows, end purchases under way and write alerts; after that no part waits for PostgreSQL."""
        await self.writer.close(WRITER_S)
        await self.vend_desk.drain(VENDS_S)
        await _step("the alerts", self.defence.watch.flush(), ALERTS_S)
        self.database.give_up()
        await asyncio.sleep(_BREAKING_S)  # waiting requests get their error before they are cancelled


async def _step(name: str, work: Coroutine[Any, Any, None], within_s: float) -> None:
    """A step of the shutdown. One that fails or takes too long is logged, and the next one begins."""
    task = asyncio.create_task(work)
    _, late = await asyncio.wait([task], timeout=within_s)
    if late:
        task.cancel()
        _LOG.error("the shutdown stops waiting for %s", name)
    elif (error := task.exception()) is not None:
        fields = describe(error) if isinstance(error, Exception) else {"error": type(error).__name__}
        _LOG.error("the shutdown failed at %s", name, extra={"fields": fields})
