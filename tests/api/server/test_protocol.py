"""What arrives at the socket: half requests, endless ones, ambiguous ones. Every one ends, none gets a row stored."""

import json
import socket
import time
from uuid import uuid4

import pytest
import uvicorn
from uvicorn.config import STARTUP_FAILURE

from api.server.app import create_app
from api.server.protocol import MOST_FIELDS, MOST_PIPELINED, MOST_URL_BYTES, LimitedProtocol
from config import Settings
from tests.api.conftest import serving
from tests.api.ledger_rows import BODY
from tests.api.server.conftest import Connect, Connection, connections

BODY_TEXT = json.dumps(BODY).encode()
LIVE = "GET /health/live HTTP/1.1"
POST = "POST /api/v1/transactions HTTP/1.1"
JSON = "Content-Type: application/json"


def keyed() -> str:
    """The field that names a request."""
    return f"Idempotency-Key: {uuid4().hex}"


def test_a_header_that_is_never_finished_is_answered_408(connect_hasty: Connect) -> None:
    connection = connect_hasty()
    connection.send(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")

    assert connection.answer().problem["type"] == "urn:treasury:problem:timeout"
    assert connection.is_closed()


def test_a_header_that_trickles_does_not_win_time_with_each_byte(connect_hasty: Connect) -> None:
    connection = connect_hasty()
    started_s = time.monotonic()
    for byte in b"GET /health/live HTTP/1.1\r\nX-Slow: " + b"x" * 1000:
        connection.send(bytes([byte]))
        time.sleep(0.02)  # the trickle itself
        if time.monotonic() - started_s > 1.5:
            break

    assert connection.answer().status == 408


def test_empty_lines_are_no_request(connect_hasty: Connect) -> None:
    connection = connect_hasty()
    connection.request(LIVE)
    assert connection.answer().status == 200
    for _ in range(40):
        connection.send(b"\r\n")
        time.sleep(0.02)

    assert connection.answer().status == 408
    assert connection.is_closed()


@pytest.mark.parametrize("length", ["Content-Length: 60000", "Transfer-Encoding: chunked"])
def test_a_body_that_stops_is_answered_408(connect_hasty: Connect, shared_key: str, length: str) -> None:
    connection = connect_hasty()
    connection.request(POST, shared_key, keyed(), JSON, length, body=b"5\r\n12345\r\n")

    assert connection.answer().status == 408
    assert connection.is_closed()


def test_a_body_whose_refusal_was_answered_is_not_waited_for_either(connect_hasty: Connect) -> None:
    connection = connect_hasty()
    connection.request(POST, JSON, "Content-Length: 60000", body=b"12345")

    assert connection.answer().status == 401
    assert connection.is_closed()


def test_a_silent_connection_is_closed(connect_hasty: Connect) -> None:
    fresh, used = connect_hasty(), connect_hasty()
    used.request(LIVE)

    assert used.answer().status == 200
    assert used.is_closed()
    assert fresh.is_closed()


def test_a_client_that_does_not_take_its_answers_is_cut(hasty_url: str, connect_hasty: Connect) -> None:
    whole = len(connect_hasty().fetch("/openapi.json").body)
    asked = 600  # more than the buffers of the system hold
    connection = Connection(hasty_url, receive_bytes=4096)
    for _ in range(asked):
        connection.request("GET /openapi.json HTTP/1.1")
    received = connection.after_silence(2.0)
    connection.close()

    assert 0 < received < asked * whole, f"{received} bytes of {asked * whole} were kept for it"


@pytest.mark.parametrize(
    ("line", "fields", "status"),
    [
        (LIVE, ["X: " + "x" * 20_000], 431),
        (LIVE, [f"X-{number}: 1" for number in range(MOST_FIELDS + 1)], 431),
        (LIVE, ["X" * 20_000 + ": 1"], 431),
        (f"GET /{'x' * MOST_URL_BYTES} HTTP/1.1", [], 414),
    ],
)
def test_a_header_over_its_limit_is_refused(connect: Connect, line: str, fields: list[str], status: int) -> None:
    connection = connect()
    connection.request(line, *fields)

    assert connection.answer().problem["status"] == status
    assert connection.is_closed()


def test_a_field_without_an_end_is_refused_long_before_it_fills_the_memory(connect: Connect) -> None:
    connection = connect()
    connection.send(b"GET /health/live HTTP/1.1\r\nX: ")
    for _ in range(64):
        connection.send(b"x" * 4096)

    assert connection.answer().status == 431


def test_the_largest_allowed_header_is_served(connect: Connect) -> None:
    connection = connect()
    connection.request(LIVE, *(f"X-{number}: {'x' * 140}" for number in range(MOST_FIELDS - 1)))
    assert connection.answer().status == 200


AMBIGUOUS = {
    "two lengths": ["Content-Length: 5", "Content-Length: 5"],
    "two lengths that differ": ["Content-Length: 5", "Content-Length: 6"],
    "a length and chunks": ["Content-Length: 5", "Transfer-Encoding: chunked"],
    "chunks and a length": ["Transfer-Encoding: chunked", "Content-Length: 5"],
    "a list of lengths": ["Content-Length: 5, 5"],
    "a signed length": ["Content-Length: +5"],
    "a length that is none": ["Content-Length: 0x5"],
    "a length beyond 64 bits": ["Content-Length: 99999999999999999999999"],
    "chunks that are not last": ["Transfer-Encoding: chunked, identity"],
    "another encoding": ["Transfer-Encoding: gzip"],
    "a disguised encoding": ["Transfer-Encoding: xchunked"],
    "a space before the colon": ["Content-Length : 5"],
    "a folded line": ["X: a", " Content-Length: 5"],
    "a bare CR": ["X: a\rContent-Length: 5"],
    "a NUL": ["X: a\0b"],
    "a field without a name": [": a"],
    "two lengths, one with a blank": ["Content-Length: 5 ", "Content-Length: 5"],
    "a length and chunks with a blank": ["Content-Length: 5 ", "Transfer-Encoding: chunked "],
    "a length of two parts": ["Content-Length: 5 5 "],
    "a length that is blank": ["Content-Length: \t "],
    "a length with another blank": ["Content-Length: 5\x0b"],
    "chunks that are not last, with a blank": ["Transfer-Encoding: chunked, identity "],
    "a disguised encoding with a blank": ["Transfer-Encoding: xchunked "],
    "an encoding of two parts": ["Transfer-Encoding: chunked chunked "],
    "an encoding with another blank": ["Transfer-Encoding: \x0bchunked"],
    "a tab before the colon": ["Content-Length\t: 5"],
    "a folded line behind a blank": ["X: a ", "\tContent-Length: 5"],
    "a folded line that is blank": ["X: a", " ", "Content-Length: 5"],
}


@pytest.mark.parametrize("fields", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_a_request_whose_end_is_ambiguous_is_refused_and_nothing_behind_it_is_read(
    connect: Connect, fields: list[str]
) -> None:
    connection = connect()
    connection.request(POST, *fields, body=b"0\r\n\r\nGET /health/live HTTP/1.1\r\nHost: smuggled\r\n\r\n")

    answer = connection.answer()
    assert answer.problem["status"] == 400
    assert (answer.headers["connection"], connection.is_closed()) == ("close", True)


@pytest.mark.parametrize(
    "chunks",
    [
        b"5\r\n12345\r\n0\r\nIdempotency-Key: k\r\n\r\n",  # a trailer
        b"5\r\n123456\r\n0\r\n\r\n",  # longer than it says
        b"-5\r\n12345\r\n0\r\n\r\n",
        b"0x5\r\n12345\r\n0\r\n\r\n",
        b"5\n12345\n0\n\n",
        b"fffffffffffffffff\r\n12345\r\n0\r\n\r\n",
    ],
)
def test_a_chunk_that_is_none_is_refused(connect: Connect, shared_key: str, chunks: bytes) -> None:
    connection = connect()
    connection.request(POST, shared_key, keyed(), JSON, "Transfer-Encoding: chunked", body=chunks)

    assert connection.answer().problem["status"] == 400
    assert connection.is_closed()


def test_under_a_server_without_the_limits_the_api_does_not_start(
    shared: Settings, heard: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(create_app(shared), log_config=None, loop="uvloop", ws="none"))
        with pytest.raises(SystemExit) as ended:
            server.run([listening])

    assert (ended.value.code, server.started) == (STARTUP_FAILURE, False)
    assert "python -m api.serve" in heard.text


def test_a_flood_of_chunk_framing_is_refused(shared: Settings, shared_key: str) -> None:
    small = shared.model_copy(update={"api_body_limit_bytes": 1024})
    with serving(small) as url, connections(url) as connect:
        connection = connect()
        connection.request(POST, shared_key, keyed(), JSON, "Transfer-Encoding: chunked")
        for _ in range(100):
            connection.send(b"1;" + b"x" * 4096 + b"\r\n{\r\n")
        assert connection.answer().status == 413


def spaced(field: str, blanks: str) -> str:
    """The field with blanks around its value, which are not part of it."""
    name, _, value = field.partition(": ")
    return f"{name}:{blanks}{value}{blanks}"


@pytest.mark.parametrize("blanks", ["", " ", "\t", "  \t "])
def test_blanks_around_a_value_are_no_part_of_it(connect: Connect, shared_key: str, blanks: str) -> None:
    key = keyed()
    fields = (shared_key, key, JSON, f"Content-Length: {len(BODY_TEXT)}", "X-Request-ID: asked")
    connection, chunked, again = connect(), connect(), connect()
    spaces = blanks.replace("\t", "")  # the parser takes no tab behind an encoding
    connection.send(
        "\r\n".join((POST, *(spaced(f, blanks) for f in (f"Host: {connection.host}", *fields)), "", "")).encode()
    )
    connection.send(BODY_TEXT)
    stored = connection.answer()
    chunked.request(
        POST,
        *(spaced(f, blanks) for f in (shared_key, keyed(), JSON)),
        f"Transfer-Encoding: chunked{spaces}",
        body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY_TEXT), BODY_TEXT),
    )
    again.request(POST, *fields, body=BODY_TEXT)
    replayed = again.answer()

    assert (stored.status, stored.headers["x-request-id"]) == (201, "asked")
    assert chunked.answer().status == 201
    assert (replayed.body, replayed.headers["idempotent-replayed"]) == (stored.body, "true")


@pytest.mark.parametrize(
    ("field", "status"), [("\tchunked", 201), (" \tchunked", 201), ("chunked\t", 400), ("\tchunked \t", 400)]
)
def test_a_tab_behind_the_value_of_an_encoding_is_refused_as_documented(
    connect: Connect, shared_key: str, field: str, status: int
) -> None:
    connection = connect()
    fields = (shared_key, keyed(), JSON, f"Transfer-Encoding:{field}")
    connection.request(POST, *fields, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY_TEXT), BODY_TEXT))
    assert connection.answer().status == status
    if status == 400:
        assert connection.is_closed()


@pytest.mark.parametrize("value", ["close", "close ", "\tclose\t", "keep-alive , Close "])
def test_a_connection_that_is_to_be_closed_is_closed(connect: Connect, value: str) -> None:
    connection = connect()
    connection.request(LIVE, f"Connection:{value}")
    assert (connection.answer().status, connection.is_closed()) == (200, True)


def test_a_client_that_expects_100_may_say_so_with_a_blank_behind_it(connect: Connect, shared_key: str) -> None:
    connection = connect()
    connection.request(POST, shared_key, keyed(), JSON, f"Content-Length: {len(BODY_TEXT)} ", "Expect: 100-continue ")
    assert connection.answer().status == 100
    connection.send(BODY_TEXT)
    assert connection.answer().status == 201


def test_chunks_are_taken_as_a_body(connect: Connect, shared_key: str) -> None:
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY_TEXT[:7], BODY_TEXT[7:])) + b"0\r\n\r\n"
    connection = connect()
    connection.request(POST, shared_key, keyed(), JSON, "Transfer-Encoding: chunked", body=chunked)

    assert connection.answer().status == 201


def test_a_client_that_expects_100_gets_it_when_the_body_is_wanted_and_never_otherwise(
    connect: Connect, shared_key: str
) -> None:
    fields = (keyed(), JSON, f"Content-Length: {len(BODY_TEXT)}", "Expect: 100-continue")
    refused, welcome = connect(), connect()
    refused.request(POST, *fields)
    assert refused.answer().status == 401
    assert refused.is_closed()  # whether the body follows, nobody knows

    welcome.request(POST, shared_key, *fields)
    assert welcome.answer().status == 100
    welcome.send(BODY_TEXT)
    assert welcome.answer().status == 201


def test_requests_sent_ahead_are_answered_in_order(connect: Connect) -> None:
    connection = connect()
    head = "\r\n".join((LIVE, f"Host: {connection.host}", "X-Request-ID: {}", "", ""))
    connection.send("".join(head.format(f"n{number}") for number in range(10)).encode())

    assert [connection.answer().headers["x-request-id"] for _ in range(10)] == [f"n{number}" for number in range(10)]


def sent_ahead(connection: Connection, count: int, line: str = LIVE) -> bytes:
    """So many requests in one piece, numbered."""
    head = "\r\n".join((line, f"Host: {connection.host}", "X-Request-ID: n{}", "", ""))
    return "".join(head.format(number) for number in range(count)).encode()


def test_requests_beyond_those_that_may_wait_are_answered_in_order_too(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []
    begin = LimitedProtocol.on_message_begin

    def counting(protocol: LimitedProtocol) -> None:
        begin(protocol)
        waited.append(len(protocol.pipeline))

    monkeypatch.setattr(LimitedProtocol, "on_message_begin", counting)
    connection, count = connect(), 2000
    connection.send(sent_ahead(connection, count))

    assert [connection.answer().headers["x-request-id"] for _ in range(count)] == [f"n{n}" for n in range(count)]
    assert len(waited) == count
    assert MOST_PIPELINED <= max(waited) < 2 * MOST_PIPELINED
    assert connection.fetch("/health/live").status == 200


def test_requests_of_the_least_size_do_not_pile_up_either(connect: Connect) -> None:
    connection, count = connect(), 5000
    connection.send(b"GET / HTTP/1.1\r\n\r\n" * count)  # without a Host
    assert {connection.answer().status for _ in range(count)} == {400}


def test_a_post_behind_many_requests_sent_ahead_is_stored(connect: Connect, shared_key: str) -> None:
    connection, count = connect(), 200
    fields = "\r\n".join(
        (POST, f"Host: {connection.host}", shared_key, keyed(), JSON, f"Content-Length: {len(BODY_TEXT)}")
    )
    connection.send(sent_ahead(connection, count) + f"{fields}\r\n\r\n".encode() + BODY_TEXT)

    assert [connection.answer().status for _ in range(count + 1)] == [200] * count + [201]


def test_what_is_no_request_behind_requests_sent_ahead_takes_no_answer_away(connect: Connect) -> None:
    connection, count = connect(), 200
    connection.send(sent_ahead(connection, count) + b"\0\0rubbish\r\n\r\n")

    assert [connection.answer().status for _ in range(count)] == [200] * count
    assert connection.is_closed()


def test_a_client_that_sends_no_more_gets_its_answer(
    connect: Connect, shared_key: str, heard: pytest.LogCaptureFixture
) -> None:
    connection = connect()
    connection.request(POST, shared_key, keyed(), JSON, f"Content-Length: {len(BODY_TEXT)}", body=BODY_TEXT)
    connection.send_no_more()
    answer = connection.answer()

    # Whether the answer names the end depends on which comes first, the end of what is sent or the answer.
    assert (answer.status, answer.headers.get("connection", "close")) == (201, "close")
    assert connection.is_closed()
    assert [record for record in heard.records if record.levelname == "ERROR"] == []


def test_a_client_that_sends_no_more_gets_the_answers_to_all_that_it_sent_ahead(connect: Connect) -> None:
    connection, count = connect(), 200
    connection.send(sent_ahead(connection, count) + b"GET /half HTTP/1.1\r\nHo")
    connection.send_no_more()

    assert [connection.answer().status for _ in range(count)] == [200] * count
    assert connection.is_closed()


def test_a_client_that_leaves_before_the_answers_to_what_it_sent_ahead_is_no_error(
    connect: Connect, heard: pytest.LogCaptureFixture
) -> None:
    for _ in range(10):
        leaving = connect()
        leaving.send(sent_ahead(leaving, 200, "GET /openapi.json HTTP/1.1"))
        leaving.send_no_more()
        time.sleep(0.01)  # some are answered, others wait
        leaving.close()
    assert [connect().fetch("/health/live").status for _ in range(20)] == [200] * 20
    assert [record for record in heard.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize(
    "sent", [b"", b"GET /half HTTP/1.1\r\nHo", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf"]
)
def test_half_a_request_that_never_becomes_one_ends_the_connection(
    connect: Connect, heard: pytest.LogCaptureFixture, sent: bytes
) -> None:
    connection = connect()
    connection.send(sent)
    connection.send_no_more()

    while not connection.is_closed():  # a refusal may come first: no Host
        connection._buffer = b""
    assert [record for record in heard.records if record.levelname == "ERROR"] == []


def test_rubbish_behind_a_request_does_not_take_its_answer(connect: Connect, shared_key: str) -> None:
    connection = connect()
    connection.request(
        POST, shared_key, keyed(), JSON, f"Content-Length: {len(BODY_TEXT)}", body=BODY_TEXT + b"\0\0rubbish\r\n\r\n"
    )

    assert connection.answer().status == 201
    assert connection.is_closed()


def test_nothing_is_read_behind_a_request_that_is_the_last(connect: Connect) -> None:
    connection = connect()
    one = f"{LIVE}\r\nHost: {connection.host}\r\nConnection: close\r\n\r\n".encode()
    connection.send(one + one)

    assert connection.answer().headers["connection"] == "close"
    assert connection.is_closed()


def test_an_offer_of_another_protocol_is_not_taken_up(connect: Connect, shared_key: str) -> None:
    """As Java's client offers h2c with its first request."""
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk")
    connection = connect()
    connection.request(POST, shared_key, keyed(), JSON, *upgrade, f"Content-Length: {len(BODY_TEXT)}", body=BODY_TEXT)
    assert connection.answer().status == 201

    trailing = connect()
    fields = (keyed(), JSON, *upgrade, "Transfer-Encoding: chunked")
    trailing.request(POST, shared_key, *fields, body=b"5\r\n12345\r\n0\r\nIdempotency-Key: k\r\n\r\n")
    assert trailing.answer().problem["detail"] == "Trailers are not supported."  # as without the offer

    websocket = connect()
    websocket.request(LIVE, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
    assert websocket.answer().status == 200


@pytest.mark.parametrize(
    "request_line",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /health/live\r\n\r\n",
        b"GET /health/live HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
        b"CONNECT /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET http://elsewhere/health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    ],
)
def test_what_is_no_request_is_answered_400(connect: Connect, request_line: bytes) -> None:
    connection = connect()
    connection.send(request_line)

    assert connection.answer().problem["status"] == 400
    assert connection.is_closed()


def test_an_absolute_address_of_this_host_is_served(connect: Connect) -> None:
    connection = connect()
    connection.request(f"GET http://{connection.host}/health/live HTTP/1.1")
    assert connection.answer().status == 200


def test_one_connection_too_many_is_told_so_and_a_closed_one_makes_room(shared: Settings) -> None:
    with serving(shared.model_copy(update={"api_connections": 3})) as url, connections(url) as connect:
        held = [connect() for _ in range(3)]
        for connection in held:
            connection.request(LIVE)
            assert connection.answer().status == 200
        refused = connect().answer()
        assert (refused.problem["status"], refused.headers["retry-after"]) == (503, "1")

        held[0].close()
        deadline_s = time.monotonic() + 10
        while time.monotonic() < deadline_s:
            again = connect()
            again.request(LIVE)
            if again.answer().status == 200:
                return
        raise AssertionError("no room was made")
