"""A TCP proxy that stands between the cache and Redis, and can behave badly."""

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit, urlunsplit

_CHUNK_BYTES = 65_536


class Proxy:
    """Passes bytes on. `stop` refuses and cuts connections, `hang` keeps them and passes nothing, `delay_s` delays."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self.delay_s = 0.0

    @property
    def url(self) -> str:
        """The URL of the server behind, by way of this proxy."""
        user, _, _ = self._target.netloc.rpartition("@")
        return urlunsplit(self._target._replace(netloc=f"{user}@127.0.0.1:{self._port}"))

    async def start(self) -> None:
        """Take connections, always at the same port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Cut every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await asyncio.sleep(0)  # what was just accepted begins to be served, and can be cut
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # an aborted transport closes its socket in a later turn of the loop

    def hang(self) -> None:
        """Take connections and bytes, and never answer."""
        self._open.clear()

    def resume(self) -> None:
        """Pass everything on again, also what came meanwhile."""
        self._open.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        far: asyncio.StreamWriter | None = None
        pumps: list[asyncio.Task[None]] = []
        try:
            far_reader, far = await asyncio.open_connection(self._target.hostname, self._target.port)
            pumps = [asyncio.create_task(self._pump(*pair)) for pair in ((reader, far), (far_reader, writer))]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass  # the connection is cut: there is nothing left to do for it
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for one in (writer, far):
                if one is not None:
                    one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                await self._open.wait()
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                writer.write(chunk)
                await writer.drain()
