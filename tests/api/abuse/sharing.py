"""Redis as each process of an API has it, and a clock that the test moves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from api.connections.shared_redis import RedisAccess, SharedRedis

PREFIX = "treasury:"
PATIENT_S = 5.0  # the machine of the tests is busy: a slow answer is not taken for none


class Clock:
    """Seconds since 1970, as the test wants them."""

    def __init__(self, seconds: float = 1_800_000_000.0) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


@asynccontextmanager
async def shared(url: str | None, timeout_s: float = PATIENT_S, prefix: str = PREFIX) -> AsyncIterator[RedisAccess]:
    """The access of one process."""
    redis = SharedRedis(url, prefix)
    try:
        yield redis.access("tests", timeout_s)
    finally:
        await redis.close()
