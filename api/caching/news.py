"""What one process tells the others about the cache, and the one who tells it.

A message is the teller's process (8 bytes), one letter, and what it is about. Nobody acts on his own messages: what
they say was done here before they were sent, and what came after needs no dropping.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress

from api.caching.link import FAILURES, Link
from api.caching.shared import SharedLayer

_PROCESS_BYTES = 8
_TAG_BYTES = 12
_DROP, _FLUSH, _CLEAR = b"D", b"F", b"C"
_MOST_OWED = 100_000


class News:
    """Writes and reads the messages of one process."""

    def __init__(self) -> None:
        self.process = secrets.token_bytes(_PROCESS_BYTES)

    def drop(self, tags: Iterable[bytes]) -> bytes:
        """Answers with these tags are out of date."""
        return self.process + _DROP + b"".join(tags)

    def flush(self) -> bytes:
        """Every answer may be out of date."""
        return self.process + _FLUSH

    def clear(self, pattern: str) -> bytes:
        """Answers whose names match are not wanted any more."""
        return self.process + _CLEAR + pattern.encode()

    def read(
        self,
        message: bytes,
        *,
        drop: Callable[[list[bytes]], None],
        flush: Callable[[], None],
        clear: Callable[[str], None],
    ) -> None:
        """Do what another process's message says; one that cannot be read says that anything may have happened."""
        process, letter, rest = message[:_PROCESS_BYTES], message[_PROCESS_BYTES : _PROCESS_BYTES + 1], message[9:]
        if process == self.process:
            return
        if letter == _DROP and len(rest) % _TAG_BYTES == 0:
            drop([rest[start : start + _TAG_BYTES] for start in range(0, len(rest), _TAG_BYTES)])
        elif letter == _CLEAR:
            clear(rest.decode(errors="replace"))
        else:
            flush()


class Teller:
    """Tells Redis and the others which tags are out of date: all that came up while the last journey was under way."""

    def __init__(self, shared: SharedLayer, link: Link, news: News, failed: Callable[[], None]) -> None:
        self._shared = shared
        self._link = link
        self._news = news
        self._failed = failed
        self._owed: set[bytes] = set()
        self._sent: set[bytes] = set()
        self._told: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def owes(self, tag: bytes) -> bool:
        """Whether Redis may not know yet that ``tag`` is out of date."""
        return tag in self._owed or tag in self._sent

    async def tell(self, tags: Iterable[bytes], wait_s: float) -> None:
        """Tell, and wait until it was taken, at most ``wait_s``. Without a link the next one begins with a flush."""
        if not self._link.sending:
            return
        self._owed.update(tags)
        if len(self._owed) > _MOST_OWED:
            self._owed.clear()
            self._link.drop()
            return
        if self._told is None:
            self._told = asyncio.get_running_loop().create_future()
        told = self._told
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send(), name="cache teller")
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await asyncio.shield(told)

    async def close(self) -> None:
        """Tell what is still owed."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _send(self) -> None:
        while self._owed:
            self._sent, self._owed = self._owed, set()
            told, self._told = self._told, None
            try:
                await self._shared.invalidate(self._sent, self._news.drop(self._sent))
            except FAILURES:
                # Redis may or may not have heard it. The session ends, and the next one begins with a flush.
                self._failed()
                self._link.drop()
                self._owed.clear()
            finally:
                self._sent = set()
                if told is not None and not told.done():
                    told.set_result(None)
