"""The parts that a request passes before the handlers, made once for a process: limits, watch, held addresses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

from api.abuse.addresses import Addresses
from api.abuse.alert_writer import AlertWriter
from api.abuse.attackers import Attackers
from api.abuse.rate_limits import RateLimiter
from api.abuse.tallies import SharedTallies
from api.abuse.watch import Watch
from api.connections.database import Database
from api.connections.shared_redis import SharedRedis
from config import Settings


@dataclass(frozen=True, slots=True)
class Defence:
    """The parts, which share one access to Redis."""

    settings: Settings
    addresses: Addresses
    limiter: RateLimiter
    attackers: Attackers
    watch: Watch

    @classmethod
    def make(cls, settings: Settings, database: Database, redis: SharedRedis) -> Self:
        """Everything for ``settings``, not yet connected."""
        access = redis.access("limits and watch", settings.rate_limits.redis_timeout_ms / 1000)
        addresses = Addresses(settings.trusted_proxies, settings.forwarded_header)
        tallies = SharedTallies(access)
        attackers = Attackers(settings.watch, addresses, access, tallies)
        return cls(
            settings=settings,
            addresses=addresses,
            limiter=RateLimiter(settings.rate_limits, access),
            attackers=attackers,
            watch=Watch(settings.watch, tallies, attackers, AlertWriter(database)),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Share with the other processes once a second; on the way out write the queued alerts."""
        sharing = asyncio.create_task(self.watch.run())
        try:
            yield
        finally:
            sharing.cancel()
            await asyncio.gather(sharing, return_exceptions=True)
            await self.watch.flush()
