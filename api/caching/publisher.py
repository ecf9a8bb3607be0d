"""The invalidation messages that the processes of one API send each other, and their publisher.

A message is the sender's process (8 bytes), one letter, and its content. A process ignores its own messages: it applied
them before it sent them, and what it keeps since then is newer.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress

from api.caching.link import Link
from api.caching.shared import SharedLayer
from api.connections.shared_redis import FAILURES

_PROCESS_BYTES = 8
_TAG_BYTES = 12
_DROP, _FLUSH, _CLEAR = b"D", b"F", b"C"
_MOST_PENDING = 100_000


class InvalidationMessages:
    """Writes and reads the messages of one process."""

    def __init__(self) -> None:
        self.process = secrets.token_bytes(_PROCESS_BYTES)

    def drop(self, tags: Iterable[bytes]) -> bytes:
        """Entries with these tags are out of date."""
        return self.process + _DROP + b"".join(tags)

    def flush(self) -> bytes:
        """Every entry may be out of date."""
        return self.process + _FLUSH

    def clear(self, pattern: str) -> bytes:
        """Entries whose names match are to be removed."""
        return self.process + _CLEAR + pattern.encode()

    def read(
        self,
        message: bytes,
        *,
        drop: Callable[[list[bytes]], None],
        flush: Callable[[], None],
        clear: Callable[[str], None],
    ) -> None:
        """Apply another process's message. One that cannot be read may mean anything, so it counts as a flush."""
        process, letter, rest = message[:_PROCESS_BYTES], message[_PROCESS_BYTES : _PROCESS_BYTES + 1], message[9:]
        if process == self.process:
            return
        if letter == _DROP and len(rest) % _TAG_BYTES == 0:
            drop([rest[start : start + _TAG_BYTES] for start in range(0, len(rest), _TAG_BYTES)])
        elif letter == _CLEAR:
            clear(rest.decode(errors="replace"))
        else:
            flush()


class Publisher:
    """Sends outdated tags to Redis and to the other processes: all that came up during the last journey together."""

    def __init__(
        self, shared: SharedLayer, link: Link, messages: InvalidationMessages, failed: Callable[[], None]
    ) -> None:
        self._shared = shared
        self._link = link
        self._messages = messages
        self._failed = failed
        self._pending: set[bytes] = set()
        self._sending: set[bytes] = set()
        self._sent: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def is_pending(self, tag: bytes) -> bool:
        """Return whether Redis may not know yet that ``tag`` is out of date."""
        return tag in self._pending or tag in self._sending

    async def publish(self, tags: Iterable[bytes], wait_s: float) -> None:
        """Send, and wait for Redis's answer, at most ``wait_s``. Without a link the next one begins with a flush."""
        if not self._link.sending:
            return
        self._pending.update(tags)
        if len(self._pending) > _MOST_PENDING:
            self._pending.clear()
            self._link.drop()
            return
        if self._sent is None:
            self._sent = asyncio.get_running_loop().create_future()
        sent = self._sent
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send(), name="cache publisher")
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await asyncio.shield(sent)

    async def close(self) -> None:
        """Send what is still pending."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _send(self) -> None:
        while self._pending:
            self._sending, self._pending = self._pending, set()
            sent, self._sent = self._sent, None
            try:
                await self._shared.invalidate(self._sending, self._messages.drop(self._sending))
            except FAILURES:
                # Redis may or may not have taken it. The session ends, and the next one begins with a flush.
                self._failed()
                self._link.drop()
                self._pending.clear()
            finally:
                self._sending = set()
                if sent is not None and not sent.done():
                    sent.set_result(None)
