"""The feed of new rows: every row that is stored is listed exactly once, whenever its transaction commits."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import psycopg
import pytest
from psycopg import sql

from api.transactions import messages
from config import Settings
from ledger.identifiers import created_at_of, new_id
from ledger.months import Month
from ledger.scopes import Scope
from ledger.tables import TRANSACTIONS
from tasks.watch.run import watch_transactions
from tests.api.conftest import MakeKey, serving, unlimited
from tests.api.ledger_rows import BODIES, BODY, PATHS, Ledger, keyed
from tests.conftest import listen

PATH = PATHS[0]
DELAY_S = 1.0
WAIT_S = 60.0
FEEDS = {PATHS[0]: messages.TransactionFeed, PATHS[1]: messages.VasTransactionFeed}
PAUSES_S = [0.0, 0.1, 0.02, 0.3, 0.05, 0.0, 0.2]
Looking = psycopg.Connection[Any]
INSERT = (
    "INSERT INTO transactions_partitioned (id, client_id, user_id, wallet_id, type, status, amount, currency, "
    "created_at, updated_at) VALUES (%s, 'acme', 'u', 'w', 'payment', 'pending', 1, 'ZAR', %s, %s)"
)


@pytest.fixture
def prompt(ready: Settings) -> Settings:
    """Settings under which a row is in the feed a second after it was created."""
    return unlimited(ready).model_copy(update={"api_feed_delay_s": DELAY_S})


@pytest.fixture
def feed_api(prompt: Settings, make_key: MakeKey) -> Iterator[httpx.Client]:
    with serving(prompt) as url, httpx.Client(base_url=url, headers=make_key(), timeout=30) as client:
        yield client


def page(client: httpx.Client, path: str = PATH, **query: Any) -> dict[str, Any]:
    response = client.get(f"{path}/feed", params=query)
    assert response.status_code == 200, response.text
    msgspec.json.decode(response.content, type=FEEDS[path])
    found: dict[str, Any] = response.json()
    return found


class Poller:
    """Follows a feed, as docs/api.md shows it."""

    def __init__(self, client: httpx.Client, **query: Any) -> None:
        self.client, self.ids = client, list[str]()
        first = page(client, **query)
        self._take(first)

    def _take(self, found: dict[str, Any]) -> None:
        self.ids += [row["id"] for row in found["items"]]
        self.cursor, self.more, self.complete_until = found["next_cursor"], found["more"], found["complete_until"]

    def poll(self, limit: int = 50) -> None:
        self._take(page(self.client, cursor=self.cursor, limit=limit))

    def follow_until(self, moment: datetime, limit: int = 50) -> list[str]:
        """All ids once every row that was created before ``moment`` must be there."""
        deadline_s = time.monotonic() + WAIT_S
        while self.more or datetime.fromisoformat(self.complete_until) <= moment:
            assert time.monotonic() < deadline_s, self.complete_until
            self.poll(limit)
            if not self.more:
                time.sleep(0.02)
        return self.ids


def utc_now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize("path", PATHS)
def test_stored_rows_are_listed_oldest_first_as_they_are_read_by_id(feed_api: httpx.Client, path: str) -> None:
    start = page(feed_api, path)
    batch = feed_api.post(f"{path}/batch", json={"items": [BODIES[path]] * 3}, headers=keyed()).json()
    single = feed_api.post(path, json=BODIES[path], headers=keyed())
    cursor, rows = start["next_cursor"], list[dict[str, Any]]()
    deadline_s = time.monotonic() + WAIT_S
    while len(rows) < 4:
        assert time.monotonic() < deadline_s
        found = page(feed_api, path, cursor=cursor)
        rows, cursor = rows + found["items"], found["next_cursor"]

    assert (start["items"], start["more"]) == ([], False)
    assert [row["id"] for row in rows] == [*(one["id"] for one in batch["results"]), single.json()["id"]]
    assert rows[-1] == feed_api.get(single.headers["location"]).json()


def test_a_row_of_a_slow_transaction_is_listed_after_it_committed_and_none_before_it(
    feed_api: httpx.Client, prompt: Settings
) -> None:
    """The rows that are committed meanwhile wait with it, and so a poller cannot go past it."""
    poller = Poller(feed_api)
    with psycopg.connect(prompt.database_dsn) as slow:
        created_at = utc_now()
        held = new_id(created_at, random.getrandbits)
        slow.execute(INSERT, (held, created_at_of(held), created_at_of(held)))
        quick = feed_api.post(PATH, json=BODY, headers=keyed()).json()
        for _ in range(10):
            time.sleep(DELAY_S / 4)
            poller.poll()
        assert poller.ids == []
        assert datetime.fromisoformat(poller.complete_until) <= created_at
        slow.commit()

    assert poller.follow_until(datetime.fromisoformat(quick["created_at"])) == [str(held), quick["id"]]


def test_a_row_with_an_infinite_time_does_not_stop_the_feed(feed_api: httpx.Client, prompt: Settings) -> None:
    poller = Poller(feed_api)
    with psycopg.connect(prompt.database_dsn) as other:
        odd = new_id(utc_now(), random.getrandbits)
        other.execute(INSERT, (odd, created_at_of(odd), "infinity"))
    next_one = feed_api.post(PATH, json=BODY, headers=keyed()).json()
    assert poller.follow_until(datetime.fromisoformat(next_one["created_at"])) == [str(odd), next_one["id"]]


def test_a_reading_transaction_holds_nothing_back(feed_api: httpx.Client, prompt: Settings) -> None:
    with psycopg.connect(prompt.database_dsn) as report:
        report.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        report.execute("SELECT count(*) FROM transactions_partitioned")
        poller = Poller(feed_api)
        stored = feed_api.post(PATH, json=BODY, headers=keyed()).json()

        assert poller.follow_until(datetime.fromisoformat(stored["created_at"])) == [stored["id"]]


@contextmanager
def prepared_later(other: Looking) -> Iterator[Callable[[], UUID]]:
    """Makes a row whose transaction is prepared long after it stored the row, and commits it at the end."""
    if other.execute("SHOW max_prepared_transactions").fetchone() == ("0",):
        pytest.skip("this server takes no prepared transactions")
    name, held = sql.Literal(uuid4().hex), new_id(utc_now(), random.getrandbits)

    def prepare() -> UUID:
        with other.transaction():
            other.execute(INSERT, (held, created_at_of(held), created_at_of(held)))
            time.sleep(2 * DELAY_S)
            other.execute(sql.SQL("PREPARE TRANSACTION {}").format(name))
        return held

    try:
        yield prepare
    finally:  # else no database of that server can be dropped
        other.execute(sql.SQL("COMMIT PREPARED {}").format(name))


@contextmanager
def unseen_later(other: Looking) -> Iterator[Callable[[], UUID]]:
    """Makes a row in a session that does not show since when its transaction is open, and commits it at the end."""
    held = new_id(utc_now(), random.getrandbits)
    other.execute("SET track_activities = off")
    with other.transaction():

        def store() -> UUID:
            other.execute(INSERT, (held, created_at_of(held), created_at_of(held)))
            time.sleep(2 * DELAY_S)
            return held

        yield store


@pytest.mark.parametrize("late", [prepared_later, unseen_later])
def test_a_transaction_that_does_not_show_its_start_holds_the_feed_back_until_it_ends(
    feed_api: httpx.Client, prompt: Settings, late: Callable[..., Any]
) -> None:
    """The time of PREPARE is not the start: rows that it stored before would be passed and never listed."""
    watch_transactions(prompt)
    with psycopg.connect(prompt.database_dsn, autocommit=True) as other:
        poller = Poller(feed_api)
        with late(other) as make:
            held = make()
            quick = feed_api.post(PATH, json=BODY, headers=keyed()).json()
            time.sleep(2 * DELAY_S)
            poller.poll()
            assert poller.ids == []
            assert datetime.fromisoformat(poller.complete_until) <= created_at_of(held)
        assert poller.follow_until(datetime.fromisoformat(quick["created_at"])) == [str(held), quick["id"]]


@pytest.mark.parametrize("late", [prepared_later, unseen_later])
def test_without_a_noted_instant_before_such_a_transaction_there_is_no_page_until_it_ends(
    feed_api: httpx.Client, prompt: Settings, late: Callable[..., Any], heard: pytest.LogCaptureFixture
) -> None:
    with psycopg.connect(prompt.database_dsn, autocommit=True) as other:
        poller = Poller(feed_api)
        with late(other) as make:
            held = make()
            watch_transactions(prompt)  # what is noted after the transaction's number says nothing of it
            refused = feed_api.get(f"{PATH}/feed", params={"cursor": poller.cursor})
            assert (refused.status_code, refused.json()["type"]) == (503, "urn:treasury:problem:unavailable")
            assert "pg_prepared_xacts" in str([record.__dict__ for record in heard.records])
        assert poller.follow_until(utc_now()) == [str(held)]


@contextmanager
def slow_commits(database: Looking) -> Iterator[None]:
    """Every transaction that stores rows takes up to a quarter of a second to commit."""
    database.execute(
        "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM pg_sleep(random() * 0.25); RETURN NULL; END$$"
    )
    database.execute(
        "CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON idempotency_keys DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW WHEN (NEW.key LIKE '%0') EXECUTE FUNCTION linger()"
    )
    yield
    database.execute("DROP FUNCTION linger() CASCADE")


def keep_posting(url: str, headers: dict[str, str], count: int) -> list[str]:
    """The ids of the rows that one client stored."""
    ids = list[str]()
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        for number in range(count):
            response = client.post(PATH, json=BODY, headers=keyed(f"{uuid4().hex}{number % 10}"))
            assert response.status_code == 201, response.text
            ids.append(response.json()["id"])
    return ids


def keep_inserting(dsn: str, transactions: int, first_pause: int) -> list[str]:
    """The ids of rows that another writer stored, in transactions that take their time."""
    ids, pauses = list[str](), cycle(PAUSES_S[first_pause:] + PAUSES_S[:first_pause])
    with psycopg.connect(dsn) as connection:
        for _ in range(transactions):
            made = [new_id(utc_now(), random.getrandbits) for _ in range(5)]
            for row_id in made:
                connection.execute(INSERT, (row_id, created_at_of(row_id), created_at_of(row_id)))
                time.sleep(next(pauses))
            connection.commit()
            ids += map(str, made)
    return ids


@pytest.mark.heavy("the horizon is tested beside it")
def test_a_poller_sees_every_row_exactly_once_while_slow_writers_of_two_processes_store(
    prompt: Settings, make_key: MakeKey, database: Looking
) -> None:
    headers = make_key()
    with (
        slow_commits(database),
        serving(prompt) as first,
        serving(prompt) as second,
        httpx.Client(base_url=second, headers=headers, timeout=60) as client,
        ThreadPoolExecutor(12) as pool,
    ):
        poller, ended = Poller(client), threading.Event()
        posting = [pool.submit(keep_posting, url, headers, 30) for url in (first, second) for _ in range(4)]
        inserting = [pool.submit(keep_inserting, prompt.database_dsn, 8, n) for n in range(3)]
        pool.submit(lambda: [future.exception() for future in (*posting, *inserting)]).add_done_callback(
            lambda _: ended.set()
        )
        while not ended.is_set():
            poller.poll(limit=7)
        stored = [row_id for future in (*posting, *inserting) for row_id in future.result()]
        seen = poller.follow_until(utc_now(), limit=7)

    assert len(stored) == 2 * 4 * 30 + 3 * 8 * 5
    assert len(seen) == len(set(seen)), "a row was listed twice"
    assert set(seen) == set(stored)
    assert seen == sorted(seen)


def test_a_row_that_waited_too_long_is_stored_under_the_time_of_its_storing(
    prompt: Settings, make_key: MakeKey, database: Looking
) -> None:
    """Its former place in the feed was passed while it waited. The answer has the id that was stored."""
    with serving(prompt) as url, httpx.Client(base_url=url, headers=make_key(), timeout=30) as client:
        poller = Poller(client)
        with ThreadPoolExecutor(2) as pool, psycopg.connect(prompt.database_dsn) as locking:
            locking.execute("LOCK TABLE idempotency_keys IN EXCLUSIVE MODE")
            first = pool.submit(client.post, PATH, json=BODY, headers=keyed())
            wait_for_a_flush(database)
            second = pool.submit(client.post, f"{PATH}/batch", json={"items": [BODY, BODY]}, headers=keyed("second"))
            time.sleep(2 * DELAY_S)
            locking.rollback()
            released = utc_now()
        answers = [first.result().json()["id"], *(one["id"] for one in second.result().json()["results"])]
        replayed = client.post(f"{PATH}/batch", json={"items": [BODY, BODY]}, headers=keyed("second"))
        seen = poller.follow_until(utc_now())

    assert (
        sorted(answers)
        == seen
        == sorted(str(i) for (i,) in database.execute("SELECT id FROM transactions_partitioned"))
    )
    assert replayed.content == second.result().content
    assert all(
        created_at_of(row_id) > released - timedelta(seconds=DELAY_S)
        for (row_id,) in database.execute("SELECT id FROM transactions_partitioned")
    )


def wait_for_a_flush(database: Looking) -> None:
    deadline_s = time.monotonic() + WAIT_S
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    while database.execute(waiting).fetchone() != (1,):
        assert time.monotonic() < deadline_s, "no flush came to the lock"
        time.sleep(0.01)


def test_a_client_follows_its_own_rows_and_an_auditor_those_of_all(feed_api: httpx.Client, make_key: MakeKey) -> None:
    other, auditor = make_key("other"), make_key("auditor", (Scope.TRANSACTIONS_READ, Scope.READ_ALL))
    with httpx.Client(base_url=feed_api.base_url, timeout=30) as others:
        poller, begin = Poller(feed_api), utc_now()
        mine, theirs = (
            others.post(PATH, json=BODY, headers={**headers, **keyed()}).json()
            for headers in (dict(feed_api.headers), other)
        )
        until = max(datetime.fromisoformat(row["created_at"]) for row in (mine, theirs))
        seen = poller.follow_until(until)
        others.headers.update(auditor)
        everything = Poller(others, **{"from": begin.isoformat()}).follow_until(until)
        foreign = others.get(f"{PATH}/feed", params={"cursor": poller.cursor})
        of_another_feed = feed_api.get(f"{PATHS[1]}/feed", params={"cursor": poller.cursor})

    assert seen == [mine["id"]]
    assert sorted(everything) == sorted([mine["id"], theirs["id"]])
    for refused in (foreign, of_another_feed):
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "cursor")


def test_a_page_ends_after_many_rows_of_others_and_the_next_goes_on(
    feed_api: httpx.Client, ledger: Ledger, this_month: Month, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client with few rows among many: no page reads without an end, and none of its rows is passed over."""
    monkeypatch.setattr("api.transactions.feed._MOST_PASSED", 10)
    last_month = this_month.plus(-1)
    moments = [last_month.lower + timedelta(seconds=n) for n in range(60)]
    rows = [ledger.add(TRANSACTIONS, [at], client_id="acme" if n % 25 == 7 else "x")[0] for n, at in enumerate(moments)]
    mine = [str(row["id"]) for row in rows if row["client_id"] == "acme"]
    poller, pages = Poller(feed_api, limit=5, **{"from": moments[0].isoformat()}), 1
    while poller.more:
        poller.poll(limit=5)
        pages += 1

    assert poller.ids == mine
    assert len(mine) == 3
    assert pages == 7


def test_from_is_compared_exactly_and_rows_of_two_tiers_are_in_one_order(
    feed_api: httpx.Client, ledger: Ledger, this_month: Month
) -> None:
    older = this_month.plus(-1)
    moments = [older.lower + timedelta(milliseconds=n) for n in range(3)] + [this_month.lower]
    ids = [str(row["id"]) for row in ledger.add(TRANSACTIONS, moments)]
    ledger.warm(TRANSACTIONS, older)
    begins = (older.lower, older.lower + timedelta(microseconds=1), older.lower + timedelta(microseconds=1001))

    assert [Poller(feed_api, **{"from": begin.isoformat()}).ids for begin in begins] == [ids, ids[1:], ids[2:]]


def test_a_place_before_an_archived_month_is_refused_by_name(
    feed_api: httpx.Client, ledger: Ledger, this_month: Month
) -> None:
    older = this_month.plus(-1)
    ledger.add(TRANSACTIONS, [older.lower + timedelta(days=1), older.lower + timedelta(days=2)])
    asleep = page(feed_api, limit=1, **{"from": older.lower.isoformat()})
    ledger.cold(TRANSACTIONS, older)

    for query in ({"from": older.lower.isoformat()}, {"cursor": asleep["next_cursor"]}):
        refused = feed_api.get(f"{PATH}/feed", params=query)
        assert refused.status_code == 422
        (error,) = refused.json()["errors"]
        assert error["field"] in query
        assert f"{older}" in error["rule"]
    assert page(feed_api, **{"from": this_month.lower.isoformat()})["items"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [("cursor=x", "cursor"), ("from=2026-01-01", "from"), ("limit=0", "limit"), ("wallet_id=w", "wallet_id")],
)
def test_a_wrong_parameter_of_the_feed_is_named(feed_api: httpx.Client, query: str, field: str) -> None:
    refused = feed_api.get(f"{PATH}/feed?{query}")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)
    both = feed_api.get(
        f"{PATH}/feed", params={"cursor": page(feed_api)["next_cursor"], "from": "2026-01-01T00:00:00Z"}
    )
    assert (both.status_code, both.json()["errors"][0]["field"]) == (422, "from")


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
def test_the_ends_of_time_are_places_too(feed_api: httpx.Client, moment: str) -> None:
    first = page(feed_api, **{"from": moment})
    assert page(feed_api, cursor=first["next_cursor"])["items"] == []


def test_a_server_that_hides_its_transactions_gives_no_feed_rather_than_a_short_one(
    prompt: Settings,
    make_key: MakeKey,
    database: Looking,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database.execute(
        sql.SQL("ALTER DATABASE {} SET track_activities = off").format(sql.Identifier(database.info.dbname))
    )
    with serving(prompt) as url:
        listen(caplog, monkeypatch)
        answer = httpx.get(f"{url}{PATH}/feed", headers=make_key())
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:treasury:problem:internal")
    assert "track_activities" in str([record.__dict__ for record in caplog.records])
