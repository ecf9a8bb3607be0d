"""Ranges of S3 objects by libcurl, from servers that answer in their own ways."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr

from config import Settings, load_settings
from ledger.errors import ConfigError, DataError, TransientError, TreasuryError
from storage.s3_ranges import S3Ranges

CONTENT = bytes(range(256)) * 40
KEY = "transactions/month=2026-02/it's a ~name+.parquet"
Answer = tuple[int, bytes]


class Server:
    """An HTTP server that gives its answers in turn, the last one again and again, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [(206, CONTENT[10:20])]
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        asked = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                asked.paths.append(self.path)
                asked.headers.append({name.lower(): value for name, value in self.headers.items()})
                status, content = asked.answers.pop(0) if len(asked.answers) > 1 else asked.answers[0]
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that gives the ten bytes that are asked for."""
    found = Server()
    thread = threading.Thread(target=found.http.serve_forever)
    thread.start()
    yield found
    found.http.shutdown()
    thread.join()
    found.http.server_close()


def _settings(server: Server) -> Settings:
    url = f"http://127.0.0.1:{server.http.server_address[1]}"
    secret = SecretStr("secret-of-the-test")
    return load_settings().model_copy(
        update={"s3_endpoint_url": url, "s3_access_key_id": "name", "s3_secret_access_key": secret}
    )


@pytest.fixture
def ranges(server: Server) -> Iterator[S3Ranges]:
    """Reads a folder of a bucket of the server."""
    found = S3Ranges(_settings(server), "bucket", "folder of mine")
    yield found
    found.close()


def test_one_signed_request_reads_a_range(server: Server, ranges: S3Ranges) -> None:
    assert ranges.read(KEY, 10, 20) == CONTENT[10:20]
    (path,), (headers,) = server.paths, server.headers
    assert path == "/bucket/folder%20of%20mine/transactions/month%3D2026-02/it%27s%20a%20~name%2B.parquet"
    assert headers["range"] == "bytes=10-19"
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=name/")
    assert "secret-of-the-test" not in str(headers)


@pytest.mark.parametrize("answer", [(200, CONTENT), (200, CONTENT[10:20])])
def test_a_server_that_gives_the_whole_object_or_calls_a_range_whole_is_understood(
    server: Server, ranges: S3Ranges, answer: Answer
) -> None:
    server.answers = [answer]
    assert ranges.read(KEY, 10, 20) == CONTENT[10:20]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_request_that_may_pass_is_tried_twice(server: Server, ranges: S3Ranges, status: int) -> None:
    server.answers = [(status, b"<Error><Code>SlowDown</Code></Error>"), (206, CONTENT[10:20])]
    assert ranges.read(KEY, 10, 20) == CONTENT[10:20]
    server.answers = [(status, b"<Error><Code>SlowDown</Code></Error>")]
    with pytest.raises(TransientError, match=r"cannot read transactions/month=2026-02/.*: SlowDown"):
        ranges.read(KEY, 10, 20)
    assert len(server.paths) == 4


def _error(code: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()


@pytest.mark.parametrize(("answer", "kind", "text"), [
    ((404, _error("NoSuchKey")), DataError, "it is not there"),
    ((404, _error("NoSuchBucket")), ConfigError, "TREASURY_ARCHIVE_URL names no bucket"),
    ((416, _error("InvalidRange")), DataError, "it ends before the bytes that were archived"),
    ((403, _error("AccessDenied")), ConfigError, "not allowed to read .*: AccessDenied"),
    ((403, _error("InvalidObjectState")), ConfigError, "not allowed to read .*: InvalidObjectState"),
    ((301, b""), ConfigError, "not allowed to read .*: status 301"),
])  # fmt: skip
def test_a_refusal_is_an_error_by_name_at_once(
    server: Server, ranges: S3Ranges, answer: Answer, kind: type[TreasuryError], text: str
) -> None:
    server.answers = [answer]
    with pytest.raises(kind, match=text):
        ranges.read(KEY, 10, 20)
    assert len(server.paths) == 1


def test_a_server_that_never_answers_is_given_up(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        away = _settings(server).model_copy(update={"s3_endpoint_url": url, "store_timeout_s": 0.5})
        ranges = S3Ranges(away, "bucket", "")
        with pytest.raises(TransientError, match="cannot read"):
            ranges.read(KEY, 10, 20)
        ranges.close()


def test_temporary_credentials_of_the_machine_sign_with_their_token(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-machine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-an-hour")
    own = {"s3_access_key_id": None, "s3_secret_access_key": None}
    ranges = S3Ranges(_settings(server).model_copy(update=own), "bucket", "")
    assert ranges.read(KEY, 10, 20) == CONTENT[10:20]
    (headers,) = server.headers
    assert headers["x-amz-security-token"] == "token-of-an-hour"
    assert "x-amz-security-token" in headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    assert "Credential=of-the-machine/" in headers["authorization"]
    ranges.close()


@contextmanager
def _sending(head: bytes, body: bytes, pause_s: float) -> Iterator[str]:
    """The URL of a server that sends ``body`` again and again until it is left."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    link, _ = server.accept()
                    with link, suppress(OSError):
                        link.recv(65536)
                        link.sendall(head)
                        while True:
                            link.sendall(body)
                            time.sleep(pause_s)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_a_server_that_sends_a_few_bytes_all_the_time_is_given_up(server: Server) -> None:
    head = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 100000\r\n\r\n"
    with _sending(head, b"x", 0.1) as url:
        slow = _settings(server).model_copy(update={"s3_endpoint_url": url, "store_timeout_s": 1.0})
        ranges = S3Ranges(slow, "bucket", "")
        with pytest.raises(TransientError, match="cannot read"):
            ranges.read(KEY, 0, 100_000)
        ranges.close()


@pytest.mark.parametrize("status", ["200 OK", "206 Partial Content"])
def test_a_server_that_sends_for_ever_is_read_no_further_than_was_asked(server: Server, status: str) -> None:
    with _sending(f"HTTP/1.1 {status}\r\n\r\n".encode(), bytes(range(256)) * 1000, 0) as url:
        ranges = S3Ranges(_settings(server).model_copy(update={"s3_endpoint_url": url}), "bucket", "")
        content = ranges.read(KEY, 256, 512)
        assert content[:256] == bytes(range(256))
        assert len(content) <= 1 << 20
        ranges.close()
