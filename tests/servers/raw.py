"""HTTP as any program of this machine may speak it: every header is the caller's, none is added."""

import socket
from collections.abc import Sequence

Headers = Sequence[tuple[str, str]]
SOCKET = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)


def exchange(port: int, headers: Headers, path: str = "/", method: str = "GET", body: bytes = b"") -> tuple[int, str]:
    """The status and the header, in lower case, of the answer to a request; 0 where it is just closed."""
    length = (("Content-Length", str(len(body))), ("Content-Type", "application/json")) if body else ()
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in (*headers, *length))]
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall("\r\n".join((*lines, "", "")).encode() + body)
        answer = b""
        while b"\r\n\r\n" not in answer and (part := connection.recv(65_536)):
            answer += part
    head = answer.partition(b"\r\n\r\n")[0].decode(errors="replace").lower()
    return (int(head.split()[1]) if head.startswith("http/") else 0), head
