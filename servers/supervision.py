"""Restarting the servers of `treasury up` that end by themselves, each on its own, with a pause that grows.

A server that is killed, by the kernel when memory runs out for example, is started again at its address; the others
keep running. A server that keeps ending is left down. What happened is reported to the caller as an `Incident`, and is
kept in ``<home>/run/processes.json`` for the health checks of every process.
"""

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType, TracebackType

from config.generated_keys import write_private
from ledger.errors import TransientError, TreasuryError
from servers import lease
from servers.lease import Server, ServerEndpoint
from tasks.admin.processes import STATE_FILE, Incident, ProcessState

JOIN_S = 30.0
_LOG = logging.getLogger("treasury.servers")


@dataclass(frozen=True, slots=True)
class Patience:
    """The number of ends after which a process is left down: ``ends`` times within ``window_s``.

    The pause before a restart begins at ``first_pause_s`` and doubles up to ``longest_pause_s``.
    """

    ends: int = 6
    window_s: float = 600.0
    first_pause_s: float = 1.0
    longest_pause_s: float = 60.0

    def pause_s(self, ends: int) -> float:
        """The pause before the restart after the last of ``ends`` ends."""
        return float(min(self.first_pause_s * 2 ** (ends - 1), self.longest_pause_s))


PATIENCE = Patience()


class Supervisor:
    """Looks after ``servers``, each given with its address. A context manager: on leaving, restarts are given up.

    ``essential``: names whose being left down ends `look` with TransientError. ``needs``: servers that must run before
    another one is started. ``report`` is called from the thread that calls `look`, and must not raise.
    """

    def __init__(
        self,
        home: Path,
        servers: Iterable[tuple[Server, ServerEndpoint]],
        report: Callable[[Incident], None],
        *,
        essential: Collection[str] = (),
        needs: Mapping[str, Collection[str]] = MappingProxyType({}),
        patience: Patience = PATIENCE,
    ) -> None:
        self._home, self._report, self._patience = home, report, patience
        self._essential, self._needs = frozenset(essential), needs
        self._given_up = threading.Event()
        self._watched = {endpoint.name: _Watched(server, endpoint) for server, endpoint in servers}

    def __enter__(self) -> "Supervisor":
        self._write()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._given_up.set()
        for watched in self._watched.values():
            if watched.restart is not None:
                watched.restart.join(JOIN_S)
        (self._home / "run" / STATE_FILE).unlink(missing_ok=True)

    def look(self) -> None:
        """Look once at every process and do what is due. Quick: restarts run in threads of their own.

        Raises TransientError when an essential process is left down.
        """
        for watched in self._watched.values():
            self._look_at(watched)
        for name, watched in self._watched.items():
            if name in self._essential and watched.state is ProcessState.DOWN:
                raise TransientError(watched.text)

    def _look_at(self, watched: "_Watched") -> None:
        if watched.state is ProcessState.RUNNING:
            if not self._is_alive(watched):
                self._ended(watched, f"{watched.name} has ended by itself")
            elif watched.ends and time.monotonic() - watched.ends[-1][0] > self._patience.window_s:
                watched.ends.clear()
                self._announce(
                    watched, f"{watched.name} has run for {self._patience.window_s:.0f} s again", is_over=True
                )
        elif watched.state is ProcessState.RESTARTING:
            self._restart(watched)

    def _restart(self, watched: "_Watched") -> None:
        """Begin the restart when its pause is over, or take note of how it went."""
        if watched.restart is None:
            if time.monotonic() >= watched.due_s and self._can_start(watched):
                watched.restart = _Restart(self._home, watched, self._given_up)
                watched.restart.start()
            return
        if watched.restart.is_alive():
            return
        error, watched.restart = watched.restart.error, None
        if error:
            self._ended(watched, f"{watched.name} could not be started again: {error}")
        else:
            watched.state = ProcessState.RUNNING
            self._announce(watched, f"{watched.name} runs again")

    def _ended(self, watched: "_Watched", what: str) -> None:
        now = time.monotonic()
        while watched.ends and now - watched.ends[0][0] > self._patience.window_s:
            watched.ends.popleft()
        watched.ends.append((now, datetime.now(UTC)))
        log = self._home / "log" / f"{watched.name}.log"
        if len(watched.ends) >= self._patience.ends:
            watched.state = ProcessState.DOWN
            times = f"{len(watched.ends)} times in {self._patience.window_s:.0f} s"
            self._announce(
                watched, f"{what}, {times}; it is left down: see {log}, then run `treasury down` and `up` again"
            )
            return
        watched.state = ProcessState.RESTARTING
        pause_s = self._patience.pause_s(len(watched.ends))
        watched.due_s = now + pause_s
        self._announce(watched, f"{what}; it is started again in {pause_s:.0f} s; see {log}")

    def _announce(self, watched: "_Watched", text: str, *, is_over: bool = False) -> None:
        watched.text = text
        _LOG.log(logging.ERROR if watched.state is ProcessState.DOWN else logging.WARNING, "%s", text)
        self._write()
        self._report(Incident(watched.name, watched.state, len(watched.ends), text, is_over))

    def _can_start(self, watched: "_Watched") -> bool:
        """Return whether the servers that it needs run, as far as they are supervised here."""
        needed = (self._watched.get(name) for name in self._needs.get(watched.name, ()))
        return all(server is None or server.state is ProcessState.RUNNING for server in needed)

    def _is_alive(self, watched: "_Watched") -> bool:
        return lease.is_held(self._home / "run" / f"{watched.name}.alive")

    def _write(self) -> None:
        document = {
            name: {
                "state": str(watched.state),
                "ends": [at.isoformat(timespec="milliseconds") for _, at in watched.ends],
                "text": watched.text,
            }
            for name, watched in self._watched.items()
        }
        path = self._home / "run" / STATE_FILE
        draft = path.with_suffix(".draft")
        write_private(draft, json.dumps(document))
        draft.replace(path)


@dataclass(slots=True)
class _Watched:
    """A process and what happened to it: ``ends`` by the monotonic and the UTC clock."""

    server: Server
    endpoint: ServerEndpoint
    state: ProcessState = ProcessState.RUNNING
    text: str = ""
    due_s: float = 0.0
    ends: deque[tuple[float, datetime]] = field(default_factory=deque)
    restart: "_Restart | None" = None

    @property
    def name(self) -> str:
        return self.endpoint.name


class _Restart(threading.Thread):
    """One try to start a process again; ``error`` says why it failed, and is empty when it did not."""

    def __init__(self, home: Path, watched: _Watched, given_up: threading.Event) -> None:
        super().__init__(name=f"restart {watched.name}", daemon=True)
        self._home, self._watched, self._given_up = home, watched, given_up
        self.error = ""

    def run(self) -> None:
        try:
            lease.restart(self._home, self._watched.server, self._watched.endpoint, self._given_up.is_set)
        except TreasuryError as error:
            self.error = str(error)
        except Exception as error:  # noqa: BLE001  # the thread's end must be seen, whatever it was
            self.error = f"{type(error).__name__}: {error}"
