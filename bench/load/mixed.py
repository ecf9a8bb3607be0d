"""An open loop over many connections: a fixed number of requests a second, whatever the answers take.

Runs as a process of its own (`python -m bench.load.mixed`), with its task in one JSON object on standard input, and
prints one JSON object. Latency counts from when a request was due, not from when it could be sent. A server that
stalls is charged for everything that it kept waiting.
"""

import asyncio
import json
import random
import resource
import sys
import time
from bisect import bisect
from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, cast
from urllib.parse import urlsplit

import uvloop

_CONNECTING_AT_ONCE = 200
_ANSWER_S = 20.0
_PATH = "/api/v1/transactions"


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """The requests to send. ``ids`` are read with a Zipf-like preference for the first ones: weight 1 / rank **
    ``zipf``.
    """

    url: str
    key: str
    connections: int
    per_s: int
    duration_s: float
    read_share: float
    zipf: float
    ids: list[str] = field(repr=False)
    seed: int = 1


class Client(asyncio.Protocol):
    """One kept-alive connection with at most one request under way."""

    def __init__(self, load: "OpenLoop") -> None:
        self._load = load
        self._buffer = b""
        self._due_s = 0.0
        self._kind = ""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open, and free."""
        self.transport = cast("asyncio.Transport", transport)  # what create_connection gives; uvloop's is a look-alike
        self._load.free.append(self)

    def ask(self, request: bytes, kind: str, due_s: float) -> None:
        """Send one request that was due at ``due_s`` (monotonic)."""
        assert self.transport is not None  # noqa: S101  # only free connections are asked
        self._due_s, self._kind = due_s, kind
        self._load.under_way.add(self)
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Collect until the answer is whole."""
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if separator and len(body) >= _content_length(head):
            self._buffer = b""
            self._load.answered(self, self._kind, int(head[9:12]), time.monotonic() - self._due_s)

    def connection_lost(self, _: Exception | None) -> None:
        """A connection that the server ends while it is idle is not an error; one with a request under way is."""
        self._load.lost(self)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


class OpenLoop:
    """Opens the connections, keeps the pace, counts the answers."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._random = random.Random(plan.seed)  # noqa: S311  # a load, not a secret
        self._weights = list(accumulate(1 / rank**plan.zipf for rank in range(1, len(plan.ids) + 1)))
        self._sent = 0
        self._reconnecting: set[asyncio.Task[None]] = set()
        self.free: deque[Client] = deque()
        self.under_way: set[Client] = set()
        self.latencies_s: dict[str, list[float]] = {"read": [], "write": []}
        self.statuses: Counter[int] = Counter()
        self.broken = 0
        self.reopened = 0
        self.no_connection = 0

    async def run(self) -> dict[str, Any]:
        """Open every connection, send for the planned time, and say what came of it."""
        limiter = asyncio.Semaphore(_CONNECTING_AT_ONCE)
        await asyncio.gather(*(self._open(limiter) for _ in range(self._plan.connections)))
        opened = len(self.free)
        started_s = time.monotonic()
        for number in range(int(self._plan.per_s * self._plan.duration_s)):
            due_s = started_s + number / self._plan.per_s
            delay_s = due_s - time.monotonic()
            if delay_s > 0:
                await asyncio.sleep(delay_s)
            self._send(due_s)
        await self._finish()
        return self._result(opened, time.monotonic() - started_s)

    async def _open(self, limiter: asyncio.Semaphore) -> None:
        parts = urlsplit(self._plan.url)
        async with limiter:
            await asyncio.get_running_loop().create_connection(
                lambda: Client(self), parts.hostname or "", parts.port or 0
            )

    def _send(self, due_s: float) -> None:
        while self.free:
            client = self.free.popleft()  # the one that has rested longest: every connection is used in turn
            if client.transport is not None and not client.transport.is_closing():
                kind = "read" if self._random.random() < self._plan.read_share else "write"
                client.ask(self._read() if kind == "read" else self._write(), kind, due_s)
                return
        self.no_connection += 1

    def _read(self) -> bytes:
        wanted = self._random.random() * self._weights[-1]
        row_id = self._plan.ids[bisect(self._weights, wanted)]
        return self._head("GET", f"{_PATH}/{row_id}") + b"\r\n"

    def _write(self) -> bytes:
        self._sent += 1
        who = self._random.randrange(100_000)
        body = (
            f'{{"user_id":"u-{who}","wallet_id":"w-{who}","type":"payment","currency":"ZAR",'
            f'"amount":"{self._random.randrange(1, 5000)}.50","reference":"order-{self._sent}"}}'
        ).encode()
        key = f"Idempotency-Key: mixed-{self._plan.seed}-{self._sent}\r\n"
        kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return self._head("POST", _PATH) + key.encode() + kind.encode() + body

    def _head(self, method: str, path: str) -> bytes:
        host = urlsplit(self._plan.url).netloc
        return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {self._plan.key}\r\n".encode()

    def answered(self, client: Client, kind: str, status: int, took_s: float) -> None:
        """An answer is whole; its connection is free again."""
        self.under_way.discard(client)
        self.latencies_s[kind].append(took_s)
        self.statuses[status] += 1
        self.free.append(client)

    def lost(self, client: Client) -> None:
        """Count a connection that went with a request on it; open another one in its place."""
        if client in self.under_way:
            self.under_way.discard(client)
            self.broken += 1
        self.reopened += 1
        task = asyncio.get_running_loop().create_task(self._open(asyncio.Semaphore()))
        self._reconnecting.add(task)
        task.add_done_callback(self._reconnecting.discard)

    async def _finish(self) -> None:
        ends_s = time.monotonic() + _ANSWER_S
        while self.under_way and time.monotonic() < ends_s:
            await asyncio.sleep(0.05)
        self.broken += len(self.under_way)

    def _result(self, opened: int, took_s: float) -> dict[str, Any]:
        every = self.latencies_s["read"] + self.latencies_s["write"]
        good = sum(count for status, count in self.statuses.items() if status < 400)
        asked = len(every) + self.broken + self.no_connection
        return {
            "connections": opened,
            "answers_per_s": round(len(every) / took_s, 1),
            "requests": asked,
            "errors": asked - good,
            "error_share": round((asked - good) / max(1, asked), 6),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "reopened": self.reopened,
            **{f"{name}_ms": _percentiles(values) for name, values in (("all", every), *self.latencies_s.items())},
        }


def _percentiles(values_s: list[float]) -> dict[str, float]:
    ordered = sorted(values_s) or [0.0]
    places = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {
        name: round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 1)
        for name, share in places.items()
    }


def main() -> None:
    """Read the plan, run it, print the result."""
    plan = LoadPlan(**json.load(sys.stdin))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    json.dump(uvloop.run(OpenLoop(plan).run()), sys.stdout)


if __name__ == "__main__":
    main()
