"""A row given from memory at once: the same answer to the byte, the same guards, and nothing counted twice."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from api.caching.fast_path import FastPath
from api.keys.auth import REMEMBER_S, ApiKey, Authenticator
from config import Settings
from config.limits import RateLimits
from ledger.months import Month
from ledger.scopes import Scope
from tasks.admin.keys import hash_secret
from tasks.alerting.request_rules import RequestRule
from tests.api.conftest import MakeKey, serving
from tests.api.ledger_rows import PATHS, Ledger
from tests.api.server.conftest import Answer, Connection, Log, connections, line_of

CHANGES = re.compile(rb"(?m)^(date|ratelimit): .*\r\n")


@dataclass
class Served:
    """An API with a row of each table in its ledger. ``taken``: whether the fast path answered, for each request."""

    url: str
    key: str
    rows: dict[str, str]
    taken: list[bool] = field(default_factory=list)

    def raw(self, path: str, *fields: str, key: str | None = None, line: str = "GET {} HTTP/1.1") -> tuple[bytes, bool]:
        """The answer as it came over the wire, but for what differs from one to the next; and whether it was short."""
        self.taken.clear()
        for connection in self._connect():
            connection.request(line.format(path), key or self.key, "X-Request-ID: mine", *fields)
            connection._more()
            while b"\r\n\r\n" not in connection._buffer or not _is_whole(connection._buffer, line):
                assert connection._more()
            return CHANGES.sub(b"", connection._buffer), any(self.taken)
        raise AssertionError

    def short(self, path: str, *fields: str) -> bytes:
        """As `raw`, from the fast path. Keys and limits that are due to be asked for take the long one."""
        for _ in range(5):
            written, was_short = self.raw(path, *fields)
            if was_short:
                return written
        raise AssertionError("none of five requests was answered at once")

    def answer(self, path: str, *fields: str, key: str | None = None) -> Answer:
        for connection in self._connect():
            connection.request(f"GET {path} HTTP/1.1", key or self.key, *fields)
            return connection.answer()
        raise AssertionError

    def _connect(self) -> Iterator[Connection]:
        with connections(self.url) as connect:
            yield connect()


def _is_whole(data: bytes, line: str) -> bool:
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    return line.startswith("HEAD") or length is None or len(body) >= int(length[1])


@pytest.fixture
def limits() -> dict[str, Any]:
    """The rate limits of the API, where they are not the default ones."""
    return {}


@pytest.fixture
def served(
    ready: Settings,
    redis_url: str,
    ledger: Ledger,
    make_key: MakeKey,
    limits: dict[str, Any],
    this_month: Month,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Served]:
    rates = RateLimits(redis_timeout_ms=5000, **limits)
    settings = ready.model_copy(update={"redis_url": SecretStr(redis_url), "rate_limits": rates})
    rows = {path: str(ledger.add(ledger.table(path), [this_month.lower])[0]["id"]) for path in PATHS}
    answered = FastPath.answer
    with serving(settings) as url:
        one = Served(url, _field(make_key()), {path: f"{path}/{row_id}" for path, row_id in rows.items()})

        def watched(*arguments: Any) -> bytes | None:
            written = answered(*arguments)
            one.taken.append(written is not None)
            return written

        monkeypatch.setattr(FastPath, "answer", watched)
        yield one


def _field(headers: dict[str, str]) -> str:
    (pair,) = headers.items()
    return ": ".join(pair)


@pytest.mark.parametrize("path", PATHS)
def test_the_answer_is_that_of_the_long_path_to_the_byte(served: Served, path: str) -> None:
    row = served.rows[path]
    missed, first = served.raw(row)
    hit = served.short(row)
    assert not first
    assert hit == missed
    assert hit.startswith(b"HTTP/1.1 200 OK\r\n")

    etag = served.answer(row).headers["etag"]
    for wanted in (etag, f'W/{etag}, "other"', '"other"', "*"):
        long, was_short = served.raw(row, f"If-None-Match: {wanted}", "Content-Length: 0")
        assert not was_short
        assert served.short(row, f"If-None-Match: {wanted}") == long


def test_every_header_is_there_and_the_limit_is_counted_on_both_paths_alike(served: Served) -> None:
    row = served.rows[PATHS[0]]
    served.raw(row)
    left = []
    for fields in ((), ("Content-Length: 0",)) * 2:
        answer = served.answer(row, *fields)
        left.append(int(answer.headers["ratelimit"].split("r=")[1].split(";")[0]))
        assert {"date", "x-request-id", "ratelimit-policy", "etag", "content-security-policy"} <= answer.headers.keys()
    assert left == list(range(left[0], left[0] - 4, -1))


def test_the_log_line_is_that_of_the_long_path(served: Served, log: Log) -> None:
    row = served.rows[PATHS[0]]
    served.raw(row)
    for name, fields in (("short", ()), ("long", ("Content-Length: 0",))):
        served.answer(row, f"X-Request-ID: {name}", *fields)
    lines = [line_of(name, log) for name in ("short", "long")]
    for line in lines:
        for different in ("time", "request_id", "duration_ms"):
            del line[different]
    assert lines[0] == lines[1]
    assert lines[0]["route"] == f"{PATHS[0]}/{{id}}"


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("fields", "line", "status"),
    [
        ((), "HEAD {} HTTP/1.1", 200),
        ((), "GET {}?status=failed HTTP/1.1", 422),
        ((), "GET {}/ HTTP/1.1", 404),
        ((), "DELETE {} HTTP/1.1", 405),
        (("Connection: close",), "GET {} HTTP/1.1", 200),
        (("Content-Length: 0",), "GET {} HTTP/1.1", 200),
        (("Expect: nothing",), "GET {} HTTP/1.1", 417),
        (("Host: elsewhere",), "GET {} HTTP/1.1", 400),
        (("Authorization: Bearer x",), "GET {} HTTP/1.1", 400),
    ],
)
def test_what_is_not_plain_goes_the_long_path(served: Served, fields: tuple[str, ...], line: str, status: int) -> None:
    row = served.rows[PATHS[0]]
    served.raw(row)
    written, short = served.raw(row, *fields, line=line)
    assert not short
    assert written.startswith(b"HTTP/1.1 %d " % status)


def test_who_may_not_see_the_row_does_not_get_it_from_memory(served: Served, make_key: MakeKey) -> None:
    row = served.rows[PATHS[0]]
    writes_only = _field(make_key(scopes=[Scope.TRANSACTIONS_WRITE]))
    others = _field(make_key(client_id="other"))
    wrong_secret = served.key[:-1] + ("a" if served.key[-1] != "a" else "b")
    served.short(row)
    for key, status in ((writes_only, 403), (others, 404), (wrong_secret, 401), ("Authorization: Basic x", 401)):
        for _ in range(2):
            written, short = served.raw(row, key=key)
            assert (written[9:12], short) == (b"%d" % status, False)
    assert served.answer(row, "X-Note: without a key", key="X-Key: none").status == 401


@pytest.mark.parametrize("limits", [{"transactions": "300/hour"}, {"ddos": "300/hour"}])
def test_the_limit_is_exact_over_both_paths(served: Served) -> None:
    """Leased by threes: two of three requests find a token, the third must lease, and waits on the ordinary path."""
    row, statuses = served.rows[PATHS[0]], []
    with connections(served.url) as connect:
        connection = connect()
        for _ in range(310):
            connection.request(f"GET {row} HTTP/1.1", served.key)
            statuses.append(connection.answer().status)
    assert statuses == [200] * 300 + [429] * 10
    assert sum(served.taken) > 100


def test_an_attack_that_is_written_into_a_header_is_seen(served: Served, log: Log) -> None:
    row = served.rows[PATHS[0]]
    served.raw(row)
    served.short(row, "User-Agent: ${jndi:ldap://x}")
    (alert,) = [line for line in log() if line["message"] == "alert"]
    assert (alert["rule"], alert["subject"]) == (RequestRule.INJECTION, "127.0.0.1")


def test_hits_sent_ahead_are_answered_in_order_however_many(served: Served) -> None:
    row = served.rows[PATHS[0]]
    served.raw(row)
    with connections(served.url) as connect:
        connection = connect()
        head = f"GET {row} HTTP/1.1\r\nHost: {connection.host}\r\n{served.key}\r\nX-Request-ID: n{{}}\r\n\r\n"
        for count in (20, 200):
            connection.send("".join(head.format(number) for number in range(count)).encode())
            ids = [connection.answer().headers["x-request-id"] for _ in range(count)]
            assert ids == [f"n{number}" for number in range(count)]


def test_a_connection_rests_after_a_hit_and_rubbish_behind_one_ends_it(served: Served) -> None:
    row = served.rows[PATHS[0]]
    served.raw(row)
    with connections(served.url) as connect:
        connection = connect()
        for _ in range(3):
            connection.request(f"GET {row} HTTP/1.1", served.key)
            assert connection.answer().status == 200
        connection.request(f"GET {row} HTTP/1.1", served.key, body=b"\0rubbish\r\n\r\n")
        assert [connection.answer().status for _ in range(2)] == [200, 400]
        assert connection.is_closed()


def test_a_key_is_remembered_for_a_moment_and_never_beyond_its_end() -> None:
    now_s = [0.0]
    pepper, soon = b"p" * 32, datetime.now(UTC) + timedelta(hours=1)
    doors = Authenticator(None, pepper, lambda: now_s[0])  # type: ignore[arg-type]  # nothing is looked up
    good = ApiKey("good", hash_secret(pepper, "secret"), "acme", frozenset(), soon)
    ended = ApiKey("ended", hash_secret(pepper, "secret"), "acme", frozenset(), soon - timedelta(days=1))
    doors._remembered.update({"good": (0.0, good), "ended": (0.0, ended)})
    doors._unknown["unknown"] = 0.0
    assert doors.remembered("good", "secret") is good
    assert doors.remembered("good", "other") is None
    assert doors.remembered("ended", "secret") is None
    assert doors.remembered("unknown", "secret") is None
    assert doors.remembered("never asked", "secret") is None
    now_s[0] = REMEMBER_S
    assert doors.remembered("good", "secret") is None
