"""A TCP proxy before PostgreSQL that lets one request through and swallows its answer, with or without cutting."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit

_PIECE = 65_536


class LossyProxy:
    """Passes bytes on, in threads of its own, until a request with the text to be swallowed comes by."""

    def __init__(self, dsn: str) -> None:
        self._target = urlsplit(dsn)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._text: bytes | None = None
        self._cut = False
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self.swallowed = 0

    @property
    def url(self) -> str:
        """The server's URL by way of this proxy."""
        user = self._target.netloc.rpartition("@")[0]
        return self._target._replace(netloc=f"{user}@127.0.0.1:{self._listening.getsockname()[1]}").geturl()

    def swallow(self, text: str, cut: bool) -> None:
        """Of the next request that contains ``text`` the answer is taken, and kept; then the connection is ``cut``,
        or hangs.
        """
        self._cut, self._text = cut, text.encode()

    @contextmanager
    def running(self) -> Iterator["LossyProxy"]:
        """Take connections for the length of the block."""
        self._start(self._accept)
        try:
            yield self
        finally:
            self._ended.set()
            for thread in self._threads:
                thread.join()
            self._listening.close()

    def _start(self, target: object, *arguments: object) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments))  # type: ignore[arg-type]
        self._threads[-1].start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            if select.select([self._listening], [], [], 0.05)[0]:
                self._start(self._serve, self._listening.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        with ExitStack() as stack, suppress(OSError):
            stack.enter_context(client)
            address = (str(self._target.hostname), self._target.port or 5432)
            server = stack.enter_context(socket.create_connection(address))
            while not self._ended.is_set():
                readable = select.select([client, server], [], [], 0.05)[0]
                for end in readable:
                    data = end.recv(_PIECE)
                    if not data:
                        return
                    if end is client and self._text is not None and self._text in data:
                        self._text = None
                        self._lose(server, data)
                        return
                    (server if end is client else client).sendall(data)

    def _lose(self, server: socket.socket, request: bytes) -> None:
        """Let ``request`` be done: PostgreSQL answers after its COMMIT."""
        server.sendall(request)
        assert server.recv(_PIECE)
        self.swallowed += 1
        if not self._cut:
            self._ended.wait()
