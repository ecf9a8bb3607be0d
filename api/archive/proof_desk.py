"""The reads of the archive that do not return rows: proofs and objects of the log, in threads, a few at a time."""

from collections.abc import Callable
from threading import Lock
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from api.connections.database import limited_settings
from config import Settings
from ledger.errors import TransientError, TreasuryError
from storage.store import ObjectStore
from tasks.proving.proofs import Prover
from tasks.transparency.archived_log import ArchivedLog

T = TypeVar("T")

_AT_ONCE = 2  # a proof is mostly computing, and rows of pages come first
_WAITING = 32  # more of them would be answered after their clients have gone


class ProofDesk:
    """Makes proofs and reads objects. Each method is safe to repeat; more requests than may wait get TransientError."""

    def __init__(self, settings: Settings) -> None:
        self._settings: Final = limited_settings(settings)
        self._limiter = anyio.CapacityLimiter(_AT_ONCE)
        self._lock = Lock()
        self._idle: list[Prover] = []
        self._store: ObjectStore | None = None

    async def prove(self, work: Callable[[Prover], T]) -> T:
        """Return what ``work`` makes with a prover of its own. Raises its errors."""
        return await self._in_thread(lambda: self._with_prover(work))

    async def find_log_object(self, folder: str, name: str) -> bytes | None:
        """An object of the log, read afresh; None for none. Raises TransientError when the store does not answer."""

        def find() -> bytes | None:
            store = self._objects()
            return store.find_bytes(ArchivedLog(store, folder).key(name))

        return await self._in_thread(find)

    def close(self) -> None:
        """Close the provers that nobody uses."""
        with self._lock:
            provers, self._idle = self._idle, []
        for prover in provers:
            prover.close()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._limiter.statistics().tasks_waiting >= _WAITING:
            raise TransientError("too many readings of the archive wait")
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)

    def _objects(self) -> ObjectStore:
        with self._lock:
            if self._store is None:
                self._store = ObjectStore(self._settings)
            return self._store

    def _with_prover(self, work: Callable[[Prover], T]) -> T:
        """One prover is kept: making one takes longer than a proof. Its connection may have broken meanwhile."""
        with self._lock:
            prover = self._idle.pop() if self._idle else None
        if prover is not None and not prover.is_connected():
            prover.close()
            prover = None
        prover = prover or Prover(self._settings)
        try:
            result = work(prover)
        except TransientError:
            prover.close()
            raise
        except TreasuryError:
            self._keep(prover)
            raise
        except BaseException:
            prover.close()
            raise
        self._keep(prover)
        return result

    def _keep(self, prover: Prover) -> None:
        with self._lock:
            is_spare = bool(self._idle)
            if not is_spare:
                self._idle.append(prover)
        if is_spare:
            prover.close()
