"""A TCP proxy that stands between the cache and Redis, and can behave badly."""

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit, urlunsplit


class _Side(asyncio.Protocol):
    """One end of a connection; what it takes goes to the other end."""

    def __init__(self, proxy: "Proxy", far: "_Side | None" = None) -> None:
        self._proxy = proxy
        self._early: list[bytes] = []
        self.far = far
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self._proxy.cut:
            transport.abort()
            return
        self._proxy.sides.add(self)
        if self.far is None:
            self.far = _Side(self._proxy, self)
            self._proxy.reach(self.far)
        else:
            self.write(b"".join(self._early))

    def data_received(self, data: bytes) -> None:
        assert self.far is not None
        self._proxy.pass_on(self.far, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._proxy.sides.discard(self)
        if self.far is not None and self.far.transport is not None:
            self.far.transport.abort()

    def write(self, data: bytes) -> None:
        if self.transport is None:
            self._early.append(data)
        elif not self.transport.is_closing():
            self.transport.write(data)


class Proxy:
    """Passes bytes on. `stop` cuts connections and every new one, `hang` keeps them and passes nothing on."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        assert self._target.hostname is not None
        assert self._target.port is not None
        self._address = self._target.hostname, self._target.port
        self._hangs = False
        self._held: list[tuple[_Side, bytes]] = []
        self._reaching: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self.sides: set[_Side] = set()
        self.cut = False
        self.delay_s = 0.0

    @property
    def url(self) -> str:
        """The URL of the server behind, by way of this proxy."""
        user, _, _ = self._target.netloc.rpartition("@")
        return urlunsplit(self._target._replace(netloc=f"{user}@127.0.0.1:{self._port}"))

    async def start(self) -> None:
        """Take connections, always at the same port."""
        self.cut = False
        if self._server is not None:
            return
        self._server = await asyncio.get_running_loop().create_server(lambda: _Side(self), "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Cut every connection, and new ones as they come.

        The port stays open: in Python 3.11 a server that is closed while it accepts leaks the connection.
        """
        self.cut = True
        self._held.clear()
        for task in self._reaching:
            task.cancel()
        while self.sides or self._reaching:  # what was just accepted appears a turn of the loop later
            for side in list(self.sides):
                assert side.transport is not None
                side.transport.abort()
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)

    async def close(self) -> None:
        """End for good, after everyone has left."""
        self.resume()
        await self.stop()
        if self._server is not None:
            self._server.close()

    def hang(self) -> None:
        """Take connections and bytes, and never answer."""
        self._hangs = True

    def resume(self) -> None:
        """Pass everything on again, also what came meanwhile."""
        self._hangs = False
        held, self._held = self._held, []
        for side, data in held:
            side.write(data)

    def pass_on(self, side: _Side, data: bytes) -> None:
        """Give ``data`` to ``side``, now or later."""
        if self._hangs:
            self._held.append((side, data))
        elif self.delay_s:
            asyncio.get_running_loop().call_later(self.delay_s, side.write, data)
        else:
            side.write(data)

    def reach(self, side: _Side) -> None:
        """Connect ``side`` with the server behind."""
        task = asyncio.create_task(self._connect(side))
        self._reaching.add(task)
        task.add_done_callback(self._reaching.discard)

    async def _connect(self, side: _Side) -> None:
        with suppress(OSError):
            await asyncio.get_running_loop().create_connection(lambda: side, *self._address)
