"""Addresses that attack: slowed first, refused for a while after, and let go again; the same in every process.

`api.abuse.watch` decides what counts as an attack. Redis holds three sorted sets of addresses, each with the moment at
which its entry ends; every process reads them once a second. While Redis is away a process goes by what it knows. A
Redis that has lost its memory gets them again from every process that has them.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import redis as sync_redis
from redis.asyncio import Redis
from redis.exceptions import RedisError

from api.abuse.addresses import UNKNOWN, Addresses, Networks
from api.abuse.tallies import SharedTallies
from api.connections.shared_redis import RedisAccess
from config.limits import WatchSettings as Configured
from ledger.errors import TransientError

ATTACK = "attack"  # the rule under which attacks are tallied
_MOST_ADDRESSES = 10_000
_TIMEOUT_S = 5.0


class Stage(StrEnum):
    """The treatment of an address. ``LIFTED``: by an operator's word, nothing for a while."""

    SLOWED = "slowed"
    REFUSED = "refused"
    LIFTED = "lifted"

    def key(self, prefix: str) -> str:
        """The name of its sorted set in a Redis whose keys begin with ``prefix``."""
        return f"{prefix}attackers:{self}"


@dataclass(frozen=True, slots=True)
class HeldAddress:
    """An address in a stage. ``ends_s`` is in seconds since 1970."""

    address: str
    stage: Stage
    ends_s: float


class Attackers:
    """The addresses of one process. ``now`` gives seconds since 1970."""

    def __init__(
        self,
        configured: Configured,
        addresses: Addresses,
        redis: RedisAccess,
        tallies: SharedTallies,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._configured = configured
        self._addresses = addresses
        self._never = Networks(configured.never_refused)
        self._redis = redis
        self._tallies = tallies
        self._now = now
        self._ends: dict[Stage, dict[str, float]] = {stage: {} for stage in Stage}
        self._unsent: dict[tuple[Stage, str], float] = {}

    def held(self, address: str) -> HeldAddress | None:
        """Return how ``address`` is to be treated now; None: like any other."""
        refused, slowed = self._ends[Stage.REFUSED], self._ends[Stage.SLOWED]
        if not refused and not slowed:
            return None
        for stage, ends in ((Stage.REFUSED, refused), (Stage.SLOWED, slowed)):
            ends_s = ends.get(address)
            if ends_s is not None and ends_s > self._now() and not self._is_lifted(address):
                return HeldAddress(address, stage, ends_s)
        return None

    def attacked(self, address: str) -> HeldAddress | None:
        """Count an attack from ``address``. Returns its new stage when that one begins with this attack."""
        if not self._configured.blocking or not self._may_be_held(address):
            return None
        return self.judge(address, self._tallies.add(ATTACK, address, self._configured.attack_window_s).total)

    def judge(self, address: str, attacks: int) -> HeldAddress | None:
        """Hold ``address`` as so many attacks deserve. Returns its new stage when that one begins now."""
        if not self._may_be_held(address):
            return None
        if attacks >= self._configured.refuse_after:
            return self._hold(address, Stage.REFUSED, self._configured.refuse_s)
        if attacks >= self._configured.slow_after:
            return self._hold(address, Stage.SLOWED, self._configured.slow_s)
        return None

    async def exchange(self) -> None:
        """Send the addresses that this process holds, and read those of the others; the next call sends what Redis has
        lost. Safe to repeat.
        """
        unsent, self._unsent = self._unsent, {}
        shared = await self._redis.run(lambda redis: _exchange(redis, self._redis.prefix, unsent, self._now()))
        if shared is None:
            self._unsent = {**unsent, **self._unsent}
            self._drop_ended()
            return
        known, self._ends = self._ends, shared
        self._remember(known)
        for address in self._ends[Stage.LIFTED]:
            self._tallies.forget_subject(ATTACK, address, self._configured.attack_window_s)

    def _hold(self, address: str, stage: Stage, duration_s: int) -> HeldAddress | None:
        before, now = self._ends[stage].get(address, 0.0), self._now()
        if before > now:
            return None
        ends_s = now + duration_s
        self._ends[stage][address] = self._unsent[stage, address] = ends_s
        if len(self._ends[stage]) > _MOST_ADDRESSES:  # the first that was put in ends first
            del self._ends[stage][next(iter(self._ends[stage]))]
        if len(self._unsent) > _MOST_ADDRESSES:
            del self._unsent[next(iter(self._unsent))]
        return HeldAddress(address, stage, ends_s)

    def _remember(self, known: Mapping[Stage, Mapping[str, float]]) -> None:
        """Keep what was known and is not in Redis: it was not sent yet, or Redis came back empty.

        An address that an operator lifted is not in Redis either, but it is among the lifted.
        """
        now = self._now()
        for stage in (Stage.LIFTED, Stage.REFUSED, Stage.SLOWED):
            ends = self._ends[stage]
            if len(ends) >= _MOST_ADDRESSES:  # it may be there, beyond what was read
                continue
            for address, ends_s in known[stage].items():
                if (
                    ends_s > now
                    and address not in ends
                    and not (stage is not Stage.LIFTED and self._is_lifted(address))
                ):
                    ends[address] = self._unsent[stage, address] = ends_s

    def _may_be_held(self, address: str) -> bool:
        """A trusted proxy is everybody; so may be an address of one's own networks; a lifted one has been judged."""
        return not (
            address == UNKNOWN
            or self._never.hold(address)
            or self._addresses.is_trusted(address)
            or self._is_lifted(address)
        )

    def _is_lifted(self, address: str) -> bool:
        return self._ends[Stage.LIFTED].get(address, 0.0) > self._now()

    def _drop_ended(self) -> None:
        now = self._now()
        self._ends = {
            stage: {address: ends_s for address, ends_s in ends.items() if ends_s > now}
            for stage, ends in self._ends.items()
        }


async def _exchange(
    redis: Redis, prefix: str, unsent: Mapping[tuple[Stage, str], float], now: float
) -> dict[Stage, dict[str, float]]:
    pipeline: Any = redis.pipeline(transaction=False)
    for (stage, address), ends_s in unsent.items():
        pipeline.zadd(stage.key(prefix), {address: ends_s})
    for stage in Stage:
        pipeline.zremrangebyscore(stage.key(prefix), "-inf", now)
        pipeline.zrevrangebyscore(stage.key(prefix), "+inf", now, start=0, num=_MOST_ADDRESSES, withscores=True)
    answers = (await pipeline.execute())[len(unsent) + 1 :: 2]
    return {stage: _read(answer) for stage, answer in zip(Stage, answers, strict=True)}


def _read(pairs: Any) -> dict[str, float]:
    return {address.decode(): float(ends_s) for address, ends_s in pairs}


def list_held(url: str, prefix: str) -> list[HeldAddress]:
    """Every address that is slowed, refused or lifted now, as the processes share it. Raises TransientError."""
    read: dict[str, Any] = {"start": 0, "num": _MOST_ADDRESSES, "withscores": True}
    try:
        with _connect(url) as client:
            answers = [client.zrangebyscore(stage.key(prefix), time.time(), "+inf", **read) for stage in Stage]
    except RedisError as error:
        raise _away(error) from error
    stages = zip(Stage, map(_read, answers), strict=True)
    return [HeldAddress(address, stage, ends_s) for stage, ends in stages for address, ends_s in ends.items()]


def lift(url: str, prefix: str, address: str, duration_s: int) -> list[Stage]:
    """Let ``address`` (as `api.abuse.addresses.subject` writes it) go, and hold it no more for ``duration_s`` seconds.

    Returns the stages it was in. Running APIs follow within two seconds. Safe to repeat. Raises TransientError.
    """
    stages = (Stage.SLOWED, Stage.REFUSED)
    try:
        with _connect(url) as client:
            client.zadd(Stage.LIFTED.key(prefix), {address: time.time() + duration_s})
            return [stage for stage in stages if client.zrem(stage.key(prefix), address)]
    except RedisError as error:
        raise _away(error) from error


def _connect(url: str) -> "sync_redis.Redis":
    return sync_redis.Redis.from_url(url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)


def _away(error: RedisError) -> TransientError:
    return TransientError(f"Redis does not answer: {type(error).__name__}")
