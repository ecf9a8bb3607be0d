"""TCP relays before PostgreSQL and before an S3 server that read along, so that a run can be struck inside a request.

Each request is passed on whole, in part or not at all, and its answer is withheld where the strike comes after it:
what PostgreSQL and the store have then done is known, and the client knows nothing of it.
"""

import re
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Protocol
from urllib.parse import unquote, urlsplit

from tests.life.places import Channel, Moment, Place, Watch

_PIECE = 65_536
_SHOWN = 100
_SSL, _GSS = 80877103, 80877104  # the codes of the requests for encryption, before the startup message
_READY = b"Z"
_ENDS_A_REQUEST = (b"Q", b"S")  # a simple query, and the Sync behind an extended one
_STANDS_ALONE = (b"X", b"d", b"c", b"f", b"H")  # the end of the session, the parts of a COPY, a Flush
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_END_OF_HEAD = b"\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class After(Protocol):
    """What becomes of the connection after the strike."""

    def __call__(self, client: socket.socket, ended: threading.Event) -> None:
        """Deal with the client's end; both ends are closed on return."""


def cut(client: socket.socket, ended: threading.Event) -> None:
    """The connection breaks."""


def hang(client: socket.socket, ended: threading.Event) -> None:
    """Nothing is ever answered: the client gives up by itself."""
    while not ended.is_set():
        if select.select([client], [], [], 0.05)[0] and not client.recv(_PIECE):
            return


def refuse(client: socket.socket, ended: threading.Event) -> None:
    """The store says that it is not available."""
    client.sendall(_UNAVAILABLE)


class Relay:
    """Takes connections at a port of its own and speaks to ``target``, in threads of its own.

    ``lasting``: from the strike on every further connection meets the same fate.
    """

    def __init__(self, target: str, after: After = cut, *, lasting: bool = False) -> None:
        self._target, self._after, self._lasting = urlsplit(target), after, lasting
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._clients: list[socket.socket] = []
        self.watch = Watch()

    @property
    def url(self) -> str:
        """The target's URL by way of this relay."""
        login, at, _ = self._target.netloc.rpartition("@")
        return self._target._replace(netloc=f"{login}{at}127.0.0.1:{self._listening.getsockname()[1]}").geturl()

    @contextmanager
    def running(self) -> Iterator["Relay"]:
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
                client = self._listening.accept()[0]
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._start(self._serve, client, self.watch)

    def _serve(self, client: socket.socket, watch: Watch) -> None:
        with ExitStack() as stack, suppress(OSError):
            stack.enter_context(client)
            if self._lasting and watch.struck.is_set():
                self._after(client, self._ended)
                return
            address = (str(self._target.hostname), self._target.port or 0)
            server = stack.enter_context(socket.create_connection(address))
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._converse(Ends(client, server, self._ended), watch)
            self._after(client, self._ended)

    def _converse(self, ends: "Ends", watch: Watch) -> None:
        """Pass on what both say until the strike falls. Raises LeftError when one of them leaves."""
        raise NotImplementedError


class LeftError(OSError):
    """One of the ends has left, so the conversation is over."""


class Ends:
    """Both ends of a connection, and what has arrived from either and was not passed on yet."""

    def __init__(self, client: socket.socket, server: socket.socket, ended: threading.Event) -> None:
        self.client, self.server, self._ended = client, server, ended
        self.asked, self.answered = b"", b""

    def receive(self) -> None:
        """Wait for more from either end. Raises LeftError when one of them has left, or the relay ends."""
        readable: list[socket.socket] = []
        while not readable:
            if self._ended.is_set():
                raise LeftError
            readable = select.select([self.client, self.server], [], [], 0.05)[0]
        for end in readable:
            data = end.recv(_PIECE)
            if not data:
                raise LeftError
            if end is self.client:
                self.asked += data
            else:
                self.answered += data

    def ask(self, size: int) -> None:
        """Pass on ``size`` bytes of what the client has said."""
        self.server.sendall(self.asked[:size])
        self.asked = self.asked[size:]

    def answer(self) -> None:
        """Pass on what the server has said."""
        self.client.sendall(self.answered)
        self.answered = b""


class PostgresRelay(Relay):
    """Before PostgreSQL. A request is what the client sends up to a simple query or a Sync; it is counted for the name
    of the connection (`application_name`), from the first one after the login on.
    """

    def _converse(self, ends: Ends, watch: Watch) -> None:
        who = self._startup(ends)
        self._login(ends)
        prepared: dict[bytes, str] = {}
        while True:
            while not (size := _request_size(ends.asked)):
                ends.receive()
                ends.answer()
            if not _is_request(ends.asked[:size]):
                ends.ask(size)
            elif self._is_struck(ends, size, who, _sql_of(ends.asked[:size], prepared), watch):
                return

    def _is_struck(self, ends: Ends, size: int, who: str, what: str, watch: Watch) -> bool:
        """Pass a request on, unless the strike falls before it."""
        number = watch.number(Channel.POSTGRES, who)
        before, after = (Place(Channel.POSTGRES, who, number, one, what) for one in (Moment.BEFORE, Moment.AFTER))
        if watch.passes(before):
            return True
        ends.ask(size)
        if watch.is_due(after):
            self._await_ready(ends)
        return watch.passes(after)

    @staticmethod
    def _startup(ends: Ends) -> str:
        """Pass the startup message on, without encryption; returns the name that the connection has."""
        while True:
            while len(ends.asked) < 8 or len(ends.asked) < struct.unpack("!I", ends.asked[:4])[0]:
                ends.receive()
            size, code = struct.unpack("!II", ends.asked[:8])
            if code not in (_SSL, _GSS):
                words = ends.asked[8:size].split(b"\0")
                ends.ask(size)
                return dict(zip(words[::2], words[1::2], strict=False)).get(b"application_name", b"").decode()
            ends.asked = ends.asked[size:]
            ends.client.sendall(b"N")

    @staticmethod
    def _login(ends: Ends) -> None:
        """Pass on everything up to the first ReadyForQuery."""
        seen = b""
        while not any(kind == _READY for kind, _ in _messages(seen)):
            ends.receive()
            ends.ask(len(ends.asked))
            seen += ends.answered
            ends.answer()

    @staticmethod
    def _await_ready(ends: Ends) -> None:
        """Wait, without passing anything on, until the server is ready for the next request."""
        while not any(kind == _READY for kind, _ in _messages(ends.answered)):
            ends.receive()


def _messages(stream: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The whole messages at the beginning of a stream: type and content."""
    at = 0
    while at + 5 <= len(stream):
        size = struct.unpack("!I", stream[at + 1 : at + 5])[0]
        if at + 1 + size > len(stream):
            return
        yield stream[at : at + 1], stream[at + 5 : at + 1 + size]
        at += 1 + size


def _request_size(stream: bytes) -> int:
    """The length of the first whole request, or of what may be passed on without being one; 0 where it is not whole."""
    size = 0
    for kind, content in _messages(stream):
        size += 5 + len(content)
        if kind in _ENDS_A_REQUEST or kind in _STANDS_ALONE:
            return size
    return 0


def _is_request(stream: bytes) -> bool:
    return any(kind in _ENDS_A_REQUEST for kind, _ in _messages(stream))


def _sql_of(request: bytes, prepared: dict[bytes, str]) -> str:
    """The statement of a request, without its comments. ``prepared`` are those that the connection has named."""
    for kind, content in _messages(request):
        if kind == b"Q":
            return _plain(content.split(b"\0")[0])
        if kind == b"P":
            name, text = content.split(b"\0")[:2]
            prepared[name] = _plain(text)
            return prepared[name]
        if kind == b"B":
            return prepared.get(content.split(b"\0")[1], "")
    return ""


def _plain(text: bytes) -> str:
    lines = [line.strip() for line in text.decode().splitlines() if not line.strip().startswith("--")]
    return " ".join(lines).strip()[:_SHOWN]


class StoreRelay(Relay):
    """Before an S3 server. Every HTTP request is counted; the half of one is its head and half of its body."""

    def _converse(self, ends: Ends, watch: Watch) -> None:
        while True:
            while _END_OF_HEAD not in ends.asked:
                ends.receive()
                ends.answer()
            if self._is_struck(ends, ends.asked.partition(_END_OF_HEAD)[0], watch):
                return

    def _is_struck(self, ends: Ends, head: bytes, watch: Watch) -> bool:
        """Pass a request on, unless the strike falls before it or in its middle."""
        length = _LENGTH.search(head)
        body = int(length[1]) if length else 0
        number, what = watch.number(Channel.STORE, ""), unquote(head.split(b" HTTP/")[0].decode())
        before, half, after = (Place(Channel.STORE, "", number, moment, what) for moment in Moment)
        if watch.passes(before):
            return True
        ends.ask(len(head + _END_OF_HEAD))
        self._pass_on(ends, body // 2)
        if body and watch.passes(half):
            return True
        self._pass_on(ends, body - body // 2)
        if watch.is_due(after):
            self._await_answer(ends)
        return watch.passes(after)

    @staticmethod
    def _pass_on(ends: Ends, size: int) -> None:
        """Pass on so many bytes of a body; the server may ask for it first (100 Continue)."""
        while size:
            if not ends.asked:
                ends.receive()
                ends.answer()
            part = min(size, len(ends.asked))
            ends.ask(part)
            size -= part

    @staticmethod
    def _await_answer(ends: Ends) -> None:
        """Wait, without passing anything on, until the server has answered."""
        while not ends.answered.removeprefix(_CONTINUE):
            ends.receive()
