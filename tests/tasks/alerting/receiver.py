"""A real HTTP receiver of notices, for apprise's json:// targets."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import SecretStr

from config import Settings
from config.health import AlertUrls


class Receiver:
    """An HTTP server that keeps what it was told, and can be told to refuse it."""

    def __init__(self) -> None:
        self.status = 200
        self.location = ""
        self.notices: list[dict[str, Any]] = []
        self._most: int | None = None
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the name that http.server asks for
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(receiver.taken(body))
                if receiver.location:
                    self.send_header("Location", receiver.location)
                self.end_headers()

            def do_GET(self) -> None:  # the name that http.server asks for
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://127.0.0.1:{self.server.server_address[1]}/hook"

    def taken(self, body: dict[str, Any]) -> int:
        """Keep a notice, or refuse it; the status of the answer."""
        with self._lock:
            if self._most is not None and len(self.notices) >= self._most:
                return 503
            if self.status == 200:
                self.notices.append(body)
            return self.status

    def refuse_after(self, most: int | None) -> None:
        """Take no further notice once there are ``most``; None takes every one."""
        self._most = most

    @property
    def titles(self) -> list[str]:
        return [notice["title"] for notice in self.notices]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that answers while the block runs."""
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        thread.join()
        receiver.server.server_close()


def telling(settings: Settings, critical: tuple[str, ...] = (), warning: tuple[str, ...] = ()) -> Settings:
    """Settings by which these URLs are told of these severities."""
    urls = AlertUrls(critical=tuple(map(SecretStr, critical)), warning=tuple(map(SecretStr, warning)))
    return settings.model_copy(update={"alert_urls": urls, "notice_timeout_s": 2.0})
