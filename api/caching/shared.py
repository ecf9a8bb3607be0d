"""The layer in Redis that all processes share: answers, generations of tags, and the locks of those who read.

An entry is stamped with the generations that its tags had *before* it was read from the ledger. Invalidating a tag
deletes its generation; the next who asks makes a new one, at random. So an entry that was read before a COMMIT does
not fit any more however late it is stored, and Redis may lose or evict anything at any time.

    <prefix>cache:1:<family>:e:<name>   stamp (two generations of 8 bytes), authentication code, answer as MessagePack
    <prefix>cache:1:<family>:g:<tag>    a tag's generation; `all` is the tag of every entry
    <prefix>cache:1:<family>:l:<name>   held by the one process that reads this answer now
    <prefix>cache:1:<family>:stats      counts of each process
    <prefix>cache:1:<family>:news       the channel of invalidations

Nothing read from Redis is executed or trusted: an entry counts only with its code, which is bound to its name.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

import msgspec
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from api.caching.question import Names

_FORMAT = 1
_GENERATION_BYTES = 8
_STAMP_BYTES = 2 * _GENERATION_BYTES
_CODE_BYTES = 16
_CONNECTIONS = 16
_TAGS_A_COMMAND = 5000
_GENERATION_MS = 7 * 86_400_000
_SCAN_COUNT = 1000

# One journey for a look. What fits is given back with the rest of its life by Redis's own clock; else the asker gets
# the stamp for its own reading, and whether the lock is its own. Generations that are not there are made here, before
# anything is read from the ledger.
_LOOK = """
redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2])
redis.call('SET', KEYS[3], ARGV[1], 'NX', 'PX', ARGV[2])
local stamp = redis.call('GET', KEYS[2]) .. redis.call('GET', KEYS[3])
local value = redis.call('GET', KEYS[1])
if value and string.sub(value, 1, #stamp) == stamp then
    return {stamp, value, redis.call('PTTL', KEYS[1])}
end
local claimed = redis.call('SET', KEYS[4], ARGV[1], 'NX', 'PX', ARGV[3])
return {stamp, false, claimed and 1 or 0}
"""


class SharedAnswer(msgspec.Struct, array_like=True, frozen=True):
    """An answer as it lies in Redis. ``expires_at_ms``: the system clock of who read it, since 1970."""

    body: bytes
    final: bool
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class Look:
    """What a look found: an answer that fits, or the stamp for a reading of one's own. ``mine``: the lock is ours.

    ``lives_ms``: how much longer the answer may be given, by the clock that says less.
    """

    answer: SharedAnswer | None
    stamp: bytes
    mine: bool
    lives_ms: float = 0


class SharedLayer:
    """Redis as the cache uses it. Every call ends within its time limit; failures are raised as they come."""

    def __init__(self, url: str, prefix: str, names: Names, timeout_s: float) -> None:
        self._secret = names.secret
        self._base = f"{prefix}cache:{_FORMAT}:{names.family}:"
        self._timeout_s = timeout_s
        self.pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            protocol=2,  # in which a subscribed connection answers in plain arrays
            retry=Retry(NoBackoff(), 1),  # a connection that was closed while idle is replaced at once
        )
        self._client: Redis = Redis(connection_pool=self.pool)
        self._look = self._client.register_script(_LOOK)
        self._all = f"{self._base}g:all"
        self._stats = f"{self._base}stats"
        self.channel = f"{self._base}news"

    async def close(self) -> None:
        """Close the connections."""
        await self.pool.disconnect()

    async def look(self, name: str, tag: bytes, lock_ms: int) -> Look:
        """The answer called ``name`` if it still fits, else what is needed to read and store it."""
        keys = [self._entry(name), self._all, self._generation(tag), self._lock(name)]
        arguments: list[bytes | int] = [secrets.token_bytes(_GENERATION_BYTES), _GENERATION_MS, lock_ms]
        async with asyncio.timeout(self._timeout_s):
            stamp, value, number = await self._look(keys=keys, args=arguments)
        if value is None:
            return Look(None, stamp, mine=bool(number))
        answer = self._decode(name, value)
        # Redis's clock holds when those of two machines differ, the reader's when Redis stored the answer late.
        lives_ms = 0 if answer is None else min(number, answer.expires_at_ms - time.time() * 1000)
        return Look(answer if lives_ms > 0 else None, stamp, mine=True, lives_ms=lives_ms)  # replaced without a lock

    async def store(self, name: str, stamp: bytes, answer: SharedAnswer, lives_ms: int, unlock: bool) -> None:
        """Keep an answer for ``lives_ms`` under the stamp that was given before it was read; give the lock back."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.set(self._entry(name), self._encode(name, stamp, answer), px=lives_ms)
        if unlock:
            pipeline.unlink(self._lock(name))
        async with asyncio.timeout(self._timeout_s):
            await pipeline.execute()

    async def unlock(self, name: str) -> None:
        """Give the lock back without an answer."""
        async with asyncio.timeout(self._timeout_s):
            await self._client.unlink(self._lock(name))

    async def invalidate(self, tags: Iterable[bytes], news: bytes) -> None:
        """Make every answer with one of ``tags`` unfit and tell the other processes. Safe to repeat."""
        keys = [self._generation(tag) for tag in tags]
        pipeline = self._client.pipeline(transaction=False)
        for start in range(0, len(keys), _TAGS_A_COMMAND):
            pipeline.unlink(*keys[start : start + _TAGS_A_COMMAND])
        pipeline.publish(self.channel, news)
        async with asyncio.timeout(self._timeout_s):
            await pipeline.execute()

    async def invalidate_all(self, news: bytes) -> None:
        """Make every answer unfit and tell the other processes. Safe to repeat."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.unlink(self._all)
        pipeline.publish(self.channel, news)
        async with asyncio.timeout(self._timeout_s):
            await pipeline.execute()

    async def publish(self, news: bytes) -> None:
        """Tell the other processes."""
        async with asyncio.timeout(self._timeout_s):
            await self._client.publish(self.channel, news)

    async def remove_matching(self, matches: Callable[[str], bool]) -> set[str]:
        """Remove the entries whose names fulfil ``matches``, a few at a time. Returns the names. No other key goes."""
        start = len(self._entry(""))
        removed: set[str] = set()
        async for keys in self._scan():
            found = [key for key in keys if matches(key[start:])]
            if found:
                async with asyncio.timeout(self._timeout_s):
                    await self._client.unlink(*found)
                removed.update(key[start:] for key in found)
        return removed

    async def evicted(self) -> int:
        """How many keys this Redis has put out to make room since it started: ours, and those of others in it."""
        async with asyncio.timeout(self._timeout_s):
            return int((await self._client.info("stats"))["evicted_keys"])

    async def report(self, process: str, counts: dict[str, dict[str, int]], lives_ms: int) -> None:
        """Leave this process's counts where the others find them."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.hset(self._stats, process, msgspec.json.encode([time.time(), counts]).decode())
        pipeline.pexpire(self._stats, lives_ms)
        async with asyncio.timeout(self._timeout_s):
            await pipeline.execute()

    async def reports(self, newest_s: float) -> dict[str, dict[str, dict[str, int]]]:
        """The counts that processes left within the last ``newest_s`` seconds; older ones are removed."""
        async with asyncio.timeout(self._timeout_s):
            found = await self._client.hgetall(self._stats)
        since = time.time() - newest_s
        counts: dict[str, dict[str, dict[str, int]]] = {}
        for process, text in found.items():
            left_at, one = msgspec.json.decode(text, type=tuple[float, dict[str, dict[str, int]]])
            if left_at >= since:
                counts[_text(process)] = one
            else:
                async with asyncio.timeout(self._timeout_s):
                    await self._client.hdel(self._stats, process)
        return counts

    async def _scan(self) -> AsyncIterator[list[str]]:
        cursor = 0
        while True:
            async with asyncio.timeout(self._timeout_s):
                cursor, keys = await self._client.scan(cursor, match=f"{self._base}e:*", count=_SCAN_COUNT)
            yield [_text(key) for key in keys]
            if cursor == 0:
                return

    def _encode(self, name: str, stamp: bytes, answer: SharedAnswer) -> bytes:
        packed = msgspec.msgpack.encode(answer)
        return stamp + self._code(name, stamp, packed) + packed

    def _decode(self, name: str, value: bytes) -> SharedAnswer | None:
        """The answer in ``value``; None for what was not stored here, under this very name."""
        stamp, code = value[:_STAMP_BYTES], value[_STAMP_BYTES : _STAMP_BYTES + _CODE_BYTES]
        packed = value[_STAMP_BYTES + _CODE_BYTES :]
        if not hmac.compare_digest(code, self._code(name, stamp, packed)):
            return None
        return msgspec.msgpack.decode(packed, type=SharedAnswer)

    def _code(self, name: str, stamp: bytes, packed: bytes) -> bytes:
        made = hashlib.blake2b(name.encode(), key=self._secret, digest_size=_CODE_BYTES)
        made.update(stamp)  # names have no bytes of a stamp's length at their end that could be moved over: both
        made.update(packed)  # the length of a name's digest and that of a stamp are fixed
        return made.digest()

    def _entry(self, name: str) -> str:
        return f"{self._base}e:{name}"

    def _lock(self, name: str) -> str:
        return f"{self._base}l:{name}"

    def _generation(self, tag: bytes) -> str:
        return f"{self._base}g:{tag.hex()}"


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode()
