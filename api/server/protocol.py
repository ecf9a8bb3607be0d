"""HTTP/1.1 under limits: uvicorn's httptools protocol, which has none on time or size, with those added.

| what | limit | answer |
|---|---|---|
| a connection with nothing under way | `keep_alive_s` | closed |
| the header, from its first byte | `header_timeout_s` | 408 |
| the body, whole, and at least some of it in each window | `body_timeout_s` | 408 |
| a client that does not take its answer | `body_timeout_s` | cut |
| bytes and fields of the header, bytes of the address | `header_bytes`, `MOST_FIELDS`, `MOST_URL_BYTES` | 431, 414 |
| bytes of the body as sent, chunk sizes and extensions too | `body_bytes` | 413 |
| connections | `connections` | 503 |
| requests sent ahead | `MOST_PIPELINED`, and those of one piece | the rest waits unparsed, and nothing more is read |

What the parser refuses (two lengths, length and chunks, a bare CR, a chunk that is none) is answered 400. Every such
answer is problem+json with the security headers, and the connection ends with it. Where the next request would begin is
not certain any more.
"""

import asyncio
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, cast

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from api.caching.fast_path import FastPath
from api.logs.access_log import log_refusal, new_request_id
from api.routing import problems
from api.routing.problems import (
    BAD_REQUEST,
    HEADER_TOO_LARGE,
    TIMEOUT,
    TOO_LARGE,
    UNAVAILABLE,
    URL_TOO_LONG,
    HttpError,
    ProblemKind,
)
from api.server.security_headers import Headers

MOST_FIELDS = 100
MOST_URL_BYTES = 8192
# In each of these windows a body must bring so much: enough for the slowest line, too much for a trickle.
PROGRESS_WINDOW_S = 10.0
PROGRESS_BYTES = 1024
MOST_PIPELINED = 32
_FIELD_FRAMING_BYTES = len(": \r\n")
# What may hold more requests than that is parsed in pieces so small that one adds no more of them than about as many.
_PIECE_BYTES = 512
_END_OF_HEADER = b"\n\r\n"
_BLANKS = b" \t"  # around a field's value: they are not part of it (RFC 9110, 5.5)


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """The limits of one process. ``body_bytes`` counts the bytes on the wire, framing included."""

    connections: int
    header_bytes: int
    body_bytes: int
    header_timeout_s: float
    body_timeout_s: float
    keep_alive_s: float
    headers: Headers  # of an answer that no handler made


class LimitedConfig(Config):
    """uvicorn's configuration with the limits in it: it is what reaches every protocol, in every process."""

    def __init__(self, app: Any, limits: SocketLimits, **options: Any) -> None:
        super().__init__(app, http=LimitedProtocol, **options)
        self.limits = limits

    def load(self) -> None:
        """Load the application, and mark it as limited."""
        super().load()
        self.loaded_app.limited = True  # `api.server.app.Application`, which starts under no other


class _Phase(Enum):
    IDLE = auto()  # between requests
    HEADER = auto()
    BODY = auto()
    READ = auto()  # the request is complete


class _Refused(Exception):  # noqa: N818  # it says what happened, and leaves this module never
    def __init__(self, kind: ProblemKind, detail: str | None = None) -> None:
        super().__init__(kind.name)
        self.problem = HttpError(kind, detail)


class _NothingMore(Exception):  # noqa: N818  # the same
    """Bytes after a request that was to be the last."""


class _Answered:
    """Takes the place of the cycle of a request that the fast path has answered: there was none.

    All connections share it. What is set on it has no effect: no task waits for it.
    """

    response_started = response_complete = keep_alive = True
    disconnected = False

    def __init__(self) -> None:
        self.message_event = asyncio.Event()


_ANSWERED: Final = cast("RequestResponseCycle", _Answered())


class _Flow(FlowControl):
    """The connection's flow. While something that was read is ``held`` unparsed, nothing more is read."""

    held = b""

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()


class LimitedProtocol(HttpToolsProtocol):
    """One connection."""

    config: LimitedConfig
    flow: _Flow

    def __init__(
        self,
        config: LimitedConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits: Final = config.limits
        self.timeout_keep_alive = config.limits.keep_alive_s  # type: ignore[assignment]  # call_later takes a float
        self._phase = _Phase.IDLE
        self._reading_stopped = False  # what still arrives is ignored
        self._header_bytes = 0
        self._fields = 0
        self._field_bytes = 0
        self._asks_to_close = False
        self._body_bytes = 0
        self._body_started_s = 0.0
        self._body_at_last_look = 0
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._fast_path: Final[FastPath | None] = getattr(config.loaded_app, "fast_path", None)
        self._may_be_fast = False
        self._running: RequestResponseCycle | None = None  # `cycle` is the newest, which may wait behind it

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Take the connection, or answer 503 when there are too many."""
        super().connection_made(transport)
        self.flow = _Flow(transport)
        if len(self.connections) > self._limits.connections:
            self._refuse(HttpError(UNAVAILABLE, "Too many connections are open. Try again later."))
        else:
            self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop every timer and every waiting request. The request that is being answered is notified, too."""
        self._stop_reading_timer()
        self._stop_writing_timer()
        self._unset_keepalive_if_required()
        self.pipeline.clear()
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's own says nothing, which is False
        """The client sends no more. What it has sent in full is answered, and the connection ends with the last answer;
        half a request ends it at once.
        """
        if self._is_at_rest() or self._phase is _Phase.BODY:
            return False
        self._reading_stopped = True
        self._stop_reading_timer()
        self.cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        """Parse what came, within the limits."""
        if self._reading_stopped:
            return
        self._unset_keepalive_if_required()
        self._may_be_fast = True
        self._read(data)

    def _read(self, data: bytes) -> None:
        """Parse ``data`` until enough requests wait; the rest is held until some of them are answered."""
        size = _PIECE_BYTES if data.count(_END_OF_HEADER) > MOST_PIPELINED else len(data)
        try:
            for start in range(0, len(data), size):
                if len(self.pipeline) >= MOST_PIPELINED:
                    self.flow.held = data[start:]
                    self.flow.pause_reading()
                    break
                piece = data[start : start + size]
                self._count(len(piece))
                self._parse(piece)
        except httptools.HttpParserCallbackError as error:
            self._parser_stopped(error.__context__)
        except httptools.HttpParserError:
            self._refuse(HttpError(BAD_REQUEST, "The request is not valid HTTP/1.1."))
        except _Refused as refused:
            self._refuse(refused.problem)
        else:
            self._watch()

    def _read_held(self) -> None:
        data, self.flow.held = self.flow.held, b""
        if data and not self._reading_stopped and not self.transport.is_closing():
            self._read(data)

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
            return
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
        # The parser takes no body after an offer to change the protocol. The offer is not taken up: the request is
        # parsed again without it. Java's client makes one with its first request.
        kept = [field for field in self.headers if field[0] not in (b"upgrade", b"connection")]
        head = b"".join(b"%b: %b\r\n" % field for field in kept)
        start = b"%b %b HTTP/1.1\r\n" % (self.parser.get_method(), self.url)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(start + head + b"Connection: close\r\n\r\n" + rest)

    def _count(self, size_bytes: int) -> None:
        if self._phase is _Phase.HEADER:
            self._header_bytes += size_bytes  # no callback reports a field that never ends
            if self._header_bytes > self._limits.header_bytes + MOST_URL_BYTES:
                raise _Refused(HEADER_TOO_LARGE)
        elif self._phase is _Phase.BODY:
            self._body_bytes += size_bytes
            if self._body_bytes > self._limits.body_bytes:
                raise _Refused(TOO_LARGE)

    def _parser_stopped(self, cause: BaseException | None) -> None:
        if isinstance(cause, _NothingMore):
            self._reading_stopped = True
        elif isinstance(cause, _Refused):
            self._refuse(cause.problem)
        else:
            self._refuse(HttpError(BAD_REQUEST, "The address is not valid."))

    # The parser's callbacks

    def on_message_begin(self) -> None:
        """A request begins."""
        if self.cycle is not None and not self.cycle.keep_alive:
            raise _NothingMore
        super().on_message_begin()
        self._phase = _Phase.HEADER
        self._asks_to_close = False
        self._header_bytes = self._fields = self._field_bytes = self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the address."""
        super().on_url(url)
        if len(self.url) > MOST_URL_BYTES:
            raise _Refused(URL_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole field; behind a chunked body the parser gives trailers the same way."""
        if self._phase is not _Phase.HEADER:
            raise _Refused(BAD_REQUEST, "Trailers are not supported.")
        self._fields += 1
        self._field_bytes += len(name) + len(value) + _FIELD_FRAMING_BYTES
        if self._fields > MOST_FIELDS:
            raise _Refused(HEADER_TOO_LARGE)
        value = value.strip(_BLANKS)
        if name.lower() == b"connection" and b"close" in map(_token, value.split(b",")):
            self._asks_to_close = True  # the parser does not see it where a blank follows
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The header is there and within its limits: the application gets the request."""
        if self._field_bytes > self._limits.header_bytes:
            raise _Refused(HEADER_TOO_LARGE)
        upgrade = self.parser.should_upgrade()
        if upgrade and self.parser.get_method() == b"CONNECT":
            raise _Refused(BAD_REQUEST, "CONNECT is not supported.")
        if not self.url.startswith(b"/"):
            self._check_absolute_address()
        if upgrade:
            return  # see _parse
        self._stop_reading_timer()
        if not self._answer_at_once():
            super().on_headers_complete()
            # A client that waits for 100 may send its body after a refusal or not: what comes next is unknown.
            if self.expect_100_continue or self._asks_to_close:
                self.cycle.keep_alive = False
        self._phase = _Phase.BODY

    def _answer_at_once(self) -> bool:
        """Return whether the fast path has answered: one request at most of what comes in one piece, as others wait,
        too.
        """
        if self._fast_path is None or not self._may_be_fast or not self._is_at_rest() or self.flow.write_paused:
            return False
        parser = self.parser
        if parser.get_method() != b"GET" or parser.get_http_version() != "1.1":
            return False
        if self._asks_to_close or not parser.should_keep_alive():
            return False
        self._may_be_fast = False
        answer = self._fast_path.answer(self.scope, self.url, self.server_state.default_headers)
        if answer is None:
            return False
        self.cycle = _ANSWERED
        self.transport.write(answer)
        self.on_response_complete()
        return True

    def _check_absolute_address(self) -> None:
        if self.url == b"*":
            raise _Refused(BAD_REQUEST, "The address * is not supported.")
        if httptools.parse_url(self.url).host is None:
            raise _Refused(BAD_REQUEST, "The address is not valid.")
        hosts = [value.lower() for name, value in self.headers if name == b"host"]
        if self.url.lower().split(b"/", 3)[2:3] != hosts:
            raise _Refused(BAD_REQUEST, "The address and the Host header name different hosts.")

    def on_message_complete(self) -> None:
        """The request is there in full."""
        if self.parser.should_upgrade():
            return  # see _parse
        self._stop_reading_timer()
        self._phase = _Phase.READ
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is written; if it was the last one, the client must take it in time."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._end()
        elif self.flow.held:
            self.loop.call_soon(self._read_held)  # not from within the parser

    # Time

    def _watch(self) -> None:
        """Start the clock of what is unfinished. A request that came in one piece never starts any."""
        if self._phase is _Phase.BODY:
            if self._read_timer is None:
                self._body_started_s = self.loop.time()
                self._body_at_last_look = self._body_bytes
                self._look_at_body_later()
        # At rest, bytes arrived that are not a request, such as empty lines: they must become one in time.
        # What the fast path has just answered was one.
        elif self._read_timer is None and (self._phase is _Phase.HEADER or (self._is_at_rest() and self._may_be_fast)):
            self._read_timer = self.loop.call_later(self._limits.header_timeout_s, self._header_is_late)

    def _is_at_rest(self) -> bool:
        return self.cycle is None or bool(self.cycle.response_complete)

    def _header_is_late(self) -> None:
        self._read_timer = None
        if self._is_at_rest():
            self._refuse(HttpError(TIMEOUT))
        else:  # it waits behind a request that is still being answered, and so may its bytes
            self._watch()

    def _look_at_body_later(self) -> None:
        window_s = min(PROGRESS_WINDOW_S, self._limits.body_timeout_s)
        self._read_timer = self.loop.call_later(window_s, self._look_at_body)

    def _look_at_body(self) -> None:
        self._read_timer = None
        came = self._body_bytes - self._body_at_last_look
        self._body_at_last_look = self._body_bytes
        waited_s = self.loop.time() - self._body_started_s
        if self.flow.read_paused:  # the application is slow, not the client
            self._body_started_s = self.loop.time()
        elif waited_s >= self._limits.body_timeout_s or came < PROGRESS_BYTES:
            self._refuse(HttpError(TIMEOUT))
            return
        self._look_at_body_later()

    def _stop_reading_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _await_request(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(self._limits.keep_alive_s, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Nothing came: close, without waiting for a client that has not taken its last answer."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        """The client does not take its answer: it has so long as its body might have taken."""
        super().pause_writing()
        self._stop_writing_timer()
        self._write_timer = self.loop.call_later(self._limits.body_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It does again."""
        self._stop_writing_timer()
        super().resume_writing()

    def _stop_writing_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    # Refusing

    def send_400_response(self, msg: str) -> None:
        """Answer what uvicorn would answer as plain text."""
        self._refuse(HttpError(BAD_REQUEST, msg))

    def _refuse(self, problem: HttpError) -> None:
        """End the connection, with an answer if one can still be given to the request that is wrong."""
        self._reading_stopped = True
        self._stop_reading_timer()
        self._unset_keepalive_if_required()
        cycle = self.cycle
        if cycle is not None and self._phase is _Phase.BODY and (self.pipeline or cycle.response_started):
            self._end()  # an answer written now would be taken for that of another request
        elif cycle is not None and not cycle.response_complete and self._phase is not _Phase.BODY:
            cycle.keep_alive = False  # what is wrong comes after requests that are being answered
        else:
            if cycle is not None:
                cycle.disconnected = True
                cycle.message_event.set()
            self._answer(problem)

    def _answer(self, problem: HttpError) -> None:
        if not self.transport.is_closing():
            request_id = new_request_id()
            self.transport.write(self._rendered(problem, request_id))
            log_refusal(request_id, problem.kind.status, self.client)
        self._end()

    def _rendered(self, problem: HttpError, request_id: str) -> bytes:
        response = problems.response(problem, request_id)
        headers = (
            *self.server_state.default_headers,
            *response.raw_headers,
            *self._limits.headers,
            (b"x-request-id", request_id.encode()),
            (b"connection", b"close"),
        )
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        return b"".join((STATUS_LINE[problem.kind.status], lines, b"\r\n", bytes(response.body)))

    def _end(self) -> None:
        """Close when what was written has been taken, or a while later all the same."""
        self.transport.close()
        if self.transport.get_write_buffer_size() and self._write_timer is None:
            self._write_timer = self.loop.call_later(self._limits.body_timeout_s, self.transport.abort)


def _token(text: bytes) -> bytes:
    return text.strip(_BLANKS).lower()
