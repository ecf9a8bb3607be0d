"""The layer in Redis that all processes share: entries, generations of tags, and the locks of reads.

An entry is stamped with the generations that its tags had *before* it was read from the ledger. Invalidating a tag
deletes its generation; the next read makes a new one, at random. So an entry that was read before a COMMIT no longer
fits, however late it is stored. Redis may lose or evict anything at any time.

    <prefix>cache:1:<family>:e:<name>   stamp (two generations of 8 bytes), authentication code, entry as MessagePack
    <prefix>cache:1:<family>:g:<tag>    a tag's generation; `all` is the tag of every entry
    <prefix>cache:1:<family>:l:<name>   held by the one process that reads this entry now
    <prefix>cache:1:<family>:stats      counts of each process
    <prefix>cache:1:<family>:news       the channel of invalidations

Nothing read from Redis is executed or trusted: an entry counts only with its code, which is bound to its name.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from api.caching.cache_key import Names
from api.connections.shared_redis import RedisAccess

_FORMAT = 1
_GENERATION_BYTES = 8
_STAMP_BYTES = 2 * _GENERATION_BYTES
_CODE_BYTES = 16
_TAGS_A_COMMAND = 5000
_GENERATION_MS = 7 * 86_400_000
_SCAN_COUNT = 1000

# One journey for a lookup. An entry that fits is returned with the rest of its life by Redis's own clock; else the
# caller gets the stamp for its own read, and whether it holds the lock. Missing generations are made here, before
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


class StoredEntry(msgspec.Struct, array_like=True, frozen=True):
    """An entry as Redis holds it. ``expires_at_ms``: the system clock of the process that read it, since 1970."""

    body: bytes
    final: bool
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class Lookup:
    """The result of a lookup: an entry that fits, or the stamp for a read of one's own.

    ``locked``: this process holds the lock. ``lives_ms``: how much longer the entry may be returned, by the clock that
    says less.
    """

    entry: StoredEntry | None
    stamp: bytes
    locked: bool
    lives_ms: float = 0


class SharedLayer:
    """Redis as the cache uses it. Every call ends within the time limit of ``redis`` and raises one of its `FAILURES`.

    While Redis is away, entries and counts fail at once. Invalidations and removals are tried nevertheless: one that
    is not sent costs every process its entries.
    """

    def __init__(self, redis: RedisAccess, names: Names) -> None:
        self._redis = redis
        self._secret = names.secret
        self._base = f"{redis.prefix}cache:{_FORMAT}:{names.family}:"
        self._script: AsyncScript | None = None
        self._all = f"{self._base}g:all"
        self._stats = f"{self._base}stats"
        self.channel = f"{self._base}news"

    @property
    def away(self) -> bool:
        """Whether Redis is not asked for entries at present."""
        return self._redis.away

    async def look_up(self, name: str, tag: bytes, lock_ms: int) -> Lookup:
        """The entry called ``name`` if it still fits, else what is needed to read and store it."""
        keys = [self._entry(name), self._all, self._generation(tag), self._lock(name)]
        arguments: list[bytes | int] = [secrets.token_bytes(_GENERATION_BYTES), _GENERATION_MS, lock_ms]

        async def work(client: Redis) -> Any:
            if self._script is None:
                self._script = client.register_script(_LOOK)
            return await self._script(keys=keys, args=arguments, client=client)

        stamp, value, number = await self._redis.call(work, repeatable=True)
        if value is None:
            return Lookup(None, stamp, locked=bool(number))
        entry = self._decode(name, value)
        # Redis's clock counts when those of two machines differ, the reader's when Redis stored the entry late.
        lives_ms = 0 if entry is None else min(number, entry.expires_at_ms - time.time() * 1000)
        return Lookup(entry if lives_ms > 0 else None, stamp, locked=True, lives_ms=lives_ms)  # replaced without a lock

    async def store(self, name: str, stamp: bytes, entry: StoredEntry, lives_ms: int, unlock: bool) -> None:
        """Keep an entry for ``lives_ms`` under the stamp that was given before it was read; release the lock."""

        async def work(client: Redis) -> None:
            pipeline = client.pipeline(transaction=False)
            pipeline.set(self._entry(name), self._encode(name, stamp, entry), px=lives_ms)
            if unlock:
                pipeline.unlink(self._lock(name))
            await pipeline.execute()

        await self._redis.call(work, repeatable=True)

    async def unlock(self, name: str) -> None:
        """Release the lock without an entry."""
        await self._redis.call(lambda client: client.unlink(self._lock(name)), repeatable=True)

    async def invalidate(self, tags: Iterable[bytes], message: bytes) -> None:
        """Make every entry with one of ``tags`` unfit and send the message to the other processes. Safe to repeat."""
        keys = [self._generation(tag) for tag in tags]

        async def work(client: Redis) -> None:
            pipeline = client.pipeline(transaction=False)
            for start in range(0, len(keys), _TAGS_A_COMMAND):
                pipeline.unlink(*keys[start : start + _TAGS_A_COMMAND])
            pipeline.publish(self.channel, message)
            await pipeline.execute()

        await self._redis.call(work, repeatable=True, although_away=True)

    async def invalidate_all(self, message: bytes) -> None:
        """Make every entry unfit and send the message to the other processes. Safe to repeat."""

        async def work(client: Redis) -> None:
            pipeline = client.pipeline(transaction=False)
            pipeline.unlink(self._all)
            pipeline.publish(self.channel, message)
            await pipeline.execute()

        await self._redis.call(work, repeatable=True, although_away=True)

    async def publish(self, message: bytes) -> None:
        """Send a message to the other processes."""
        await self._redis.call(
            lambda client: client.publish(self.channel, message), repeatable=True, although_away=True
        )

    async def remove_matching(self, matches: Callable[[str], bool]) -> set[str]:
        """Remove the entries whose names fulfil ``matches``, a few at a time. Returns the names. No other key goes."""
        start = len(self._entry(""))
        removed: set[str] = set()
        async for keys in self._scan():
            matching = [key for key in keys if matches(key[start:])]
            if matching:
                await self._remove(matching)
                removed.update(key[start:] for key in matching)
        return removed

    async def _remove(self, keys: list[str]) -> None:
        await self._redis.call(lambda client: client.unlink(*keys), repeatable=True, although_away=True)

    async def evicted(self) -> int:
        """Return how many keys this Redis has evicted since it started: ours, and those of other applications."""
        return int((await self._redis.call(lambda client: client.info("stats"), repeatable=True))["evicted_keys"])

    async def report(self, process: str, counts: dict[str, dict[str, int]], lives_ms: int) -> None:
        """Leave this process's counts for the other processes."""

        async def work(client: Redis) -> None:
            pipeline = client.pipeline(transaction=False)
            pipeline.hset(self._stats, process, msgspec.json.encode([time.time(), counts]).decode())
            pipeline.pexpire(self._stats, lives_ms)
            await pipeline.execute()

        await self._redis.call(work, repeatable=True)

    async def reports(self, newest_s: float) -> dict[str, dict[str, dict[str, int]]]:
        """The counts that processes left within the last ``newest_s`` seconds; older ones are removed."""
        texts = await self._redis.call(lambda client: client.hgetall(self._stats), repeatable=True)
        since = time.time() - newest_s
        reports: dict[str, dict[str, dict[str, int]]] = {}
        for process, text in texts.items():
            left_at, counts = msgspec.json.decode(text, type=tuple[float, dict[str, dict[str, int]]])
            if left_at >= since:
                reports[_text(process)] = counts
            else:
                await self._remove_report(process)
        return reports

    async def _remove_report(self, process: bytes | str) -> None:
        await self._redis.call(lambda client: client.hdel(self._stats, process), repeatable=True)

    async def _scan(self) -> AsyncIterator[list[str]]:
        cursor = 0
        while True:
            cursor, keys = await self._scan_from(cursor)
            yield [_text(key) for key in keys]
            if cursor == 0:
                return

    async def _scan_from(self, cursor: int) -> tuple[int, list[bytes | str]]:
        pattern = f"{self._base}e:*"
        page: tuple[int, list[bytes | str]] = await self._redis.call(
            lambda client: client.scan(cursor, match=pattern, count=_SCAN_COUNT), repeatable=True, although_away=True
        )
        return page

    def _encode(self, name: str, stamp: bytes, entry: StoredEntry) -> bytes:
        packed = msgspec.msgpack.encode(entry)
        return stamp + self._code(name, stamp, packed) + packed

    def _decode(self, name: str, value: bytes) -> StoredEntry | None:
        """The entry in ``value``; None for what was not stored by this API under this very name."""
        stamp, code = value[:_STAMP_BYTES], value[_STAMP_BYTES : _STAMP_BYTES + _CODE_BYTES]
        packed = value[_STAMP_BYTES + _CODE_BYTES :]
        if not hmac.compare_digest(code, self._code(name, stamp, packed)):
            return None
        return msgspec.msgpack.decode(packed, type=StoredEntry)

    def _code(self, name: str, stamp: bytes, packed: bytes) -> bytes:
        code = hashlib.blake2b(name.encode(), key=self._secret, digest_size=_CODE_BYTES)
        code.update(stamp)  # no bytes can be moved between name, stamp and content:
        code.update(packed)  # the length of a name's digest and that of a stamp are fixed
        return code.digest()

    def _entry(self, name: str) -> str:
        return f"{self._base}e:{name}"

    def _lock(self, name: str) -> str:
        return f"{self._base}l:{name}"

    def _generation(self, tag: bytes) -> str:
        return f"{self._base}g:{tag.hex()}"


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode()
