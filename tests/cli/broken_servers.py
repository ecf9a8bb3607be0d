"""Servers that are not what a command needs: none, a silent one, one that speaks something else, or a slow one."""

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

ANSWERS = {
    "garbage": b"\x00\xff\x00\x17\r\nE?\r\n\r\n" * 8,
    "a web page": b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<html>hi</html>",
    "an HTTP error": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
}
KINDS = ("missing", "silent", *ANSWERS)


@contextmanager
def broken_port(kind: str) -> Iterator[int]:
    """The port of a server of this kind on 127.0.0.1."""
    if kind in ANSWERS:
        with _answering(ANSWERS[kind]) as port:
            yield port
        return
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        if kind == "silent":
            held.listen(64)  # the system accepts; nobody ever answers
        yield held.getsockname()[1]  # bound and not listening: a connection is refused, and nobody else gets the port


@contextmanager
def _serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    """The port of a server that gives each connection to ``handler``, in a thread of its own."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _answering(answer: bytes) -> Iterator[int]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(5)
            try:
                self.request.recv(65536)
                self.request.sendall(answer)
            except OSError:
                return

    with _serving(Handler) as served:
        yield served


@contextmanager
def slow_port(port: int, delay_s: float) -> Iterator[int]:
    """The port of a server that is right and slow: the one at ``port``, which answers so long after each connection."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            time.sleep(delay_s)
            try:
                with socket.create_connection(("127.0.0.1", port)) as right:
                    back = threading.Thread(target=_pass_on, args=(right, self.request), daemon=True)
                    back.start()
                    _pass_on(self.request, right)
                    back.join()
            except OSError:
                return

    with _serving(Handler) as served:
        yield served


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """Send on what comes, until one side ends."""
    try:
        while block := source.recv(65536):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return
