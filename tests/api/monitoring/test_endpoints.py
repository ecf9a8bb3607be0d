"""The monitoring addresses on a running API: who may ask, and that what they say is true."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec
import psycopg
import pytest

from api.dashboard.pages import pages
from api.monitoring.alert_page import AlertPage
from api.monitoring.cache_report import CacheReport
from api.monitoring.database_report import DatabaseReport
from api.monitoring.health_report import HealthReport
from api.monitoring.partition_report import PartitionReport, Pruning
from api.monitoring.performance import Performance, RouteTraffic, Traffic
from api.monitoring.summary import Summary
from api.routing.routes import operations
from config import Settings
from ledger.alerts import Alert, Severity
from ledger.months import Month
from ledger.scopes import Scope
from ledger.tables import TRANSACTIONS
from sql.connection import connect
from sql.partitions import ensure_partition
from tasks.alerting.store import raise_alert, resolve_alert
from tests.api.conftest import Headers, MakeKey, serving
from tests.api.ledger_rows import BODY, Ledger, keyed
from tests.api.monitoring.conftest import PREFIX

PAGES: dict[str, Any] = {
    f"{PREFIX}/health": HealthReport,
    f"{PREFIX}/performance": Performance,
    f"{PREFIX}/alerts": AlertPage,
    f"{PREFIX}/database": DatabaseReport,
    f"{PREFIX}/partitions": PartitionReport,
    f"{PREFIX}/cache": CacheReport,
    f"{PREFIX}/summary": Summary,
}


def read(client: httpx.Client, path: str, **query: Any) -> Any:
    """The answer of a monitoring address, decoded strictly as the type that the document gives it."""
    response = client.get(path, params=query)
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    return msgspec.json.decode(response.content, type=PAGES[path])


def test_every_page_has_the_type_that_the_document_says(shared_watched: httpx.Client) -> None:
    for path in PAGES:
        read(shared_watched, path)


def test_only_a_key_with_the_scope_may_look(http: httpx.Client, make_key: MakeKey, operator: Headers) -> None:
    for path in (*PAGES, "/metrics"):
        assert http.get(path).status_code == 401
        assert http.get(path, headers=make_key()).status_code == 403
        assert http.get(path, headers=operator).status_code == 403


def test_looking_is_not_operating(shared_watched: httpx.Client) -> None:
    for path, body in ((f"{PREFIX}/cache/clear", {"all": True}), (f"{PREFIX}/alerts/1/acknowledge", {})):
        assert shared_watched.post(path, json=body).status_code == 403


def test_health_is_looked_at_once_for_all_who_ask(watched: httpx.Client) -> None:
    pages = [read(watched, f"{PREFIX}/health") for _ in range(3)]
    assert len({page.checked_at for page in pages}) == 1
    assert {component.name for component in pages[0].components} >= {"postgres", "redis", "disk", "partitions_ahead"}


def test_the_probes_need_no_key(shared_http: httpx.Client) -> None:
    assert shared_http.get("/health/live").status_code == shared_http.get("/health/ready").status_code == 200


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("alerts", {"state": "closed"}),
        ("alerts", {"severity": "bad"}),
        ("alerts", {"limit": "0"}),
        ("alerts", {"limit": "501"}),
        ("alerts", {"before": "x"}),
        ("alerts", {"rule": "\u0000"}),
        ("partitions", {"table": "pg_class"}),
        ("partitions", {"before": "2026-13"}),
        ("partitions", {"before": "yesterday"}),
        ("partitions", {"limit": "121"}),
        ("health", {"verbose": "1"}),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(shared_watched: httpx.Client, path: str, query: dict[str, str]) -> None:
    response = shared_watched.get(f"{PREFIX}/{path}", params=query)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] in query


def test_requests_are_counted_by_route_and_status(api: httpx.Client, watcher: Headers) -> None:
    def row(page: Performance) -> RouteTraffic | None:
        return next((found for found in page.routes if found.route == path and found.method == "GET"), None)

    def page() -> Any:
        return msgspec.json.decode(api.get(f"{PREFIX}/performance", headers=watcher).content, type=Performance)

    path = "/api/v1/transactions/{id}"
    before = row(page())
    counted = before.since_start.requests if before else 0
    failed = before.since_start.errors if before else 0
    location = api.post("/api/v1/transactions", json=BODY, headers=keyed()).headers["location"]
    for _ in range(3):
        api.get(location)
    api.get("/api/v1/transactions/01a20733-cc6b-74a3-a860-71497a499eb9")
    after = row(page())

    assert after is not None
    assert after.since_start.requests == counted + 4
    assert after.since_start.refused >= 1
    assert after.since_start.errors == failed
    assert after.since_start.p50_ms is not None
    assert after.since_start.p99_ms is not None
    assert 0 < after.since_start.p50_ms <= after.since_start.p99_ms


def test_errors_and_throughput_are_counted(ready: Settings, watcher: Headers, make_key: MakeKey) -> None:
    path, key = "/api/v1/transactions", make_key()
    with serving(ready) as url, httpx.Client(base_url=url, timeout=30) as client:

        def route() -> Traffic:
            page = msgspec.json.decode(client.get(f"{PREFIX}/performance", headers=watcher).content, type=Performance)
            seconds.append((page.since_s, page.since_start))
            return next(
                (one.since_start for one in page.routes if (one.route, one.method) == (path, "GET")),
                Traffic(
                    requests=0, per_second=0, errors=0, error_rate=0, refused=0, p50_ms=None, p95_ms=None, p99_ms=None
                ),
            )

        seconds: list[tuple[float, Traffic]] = []
        before = route()
        with connect(ready.database_dsn, "tests") as connection:
            connection.execute("ALTER TABLE transactions_partitioned RENAME COLUMN amount TO amount_elsewhere")
            asked = [client.get(path, params={"wallet_id": f"w{n}"}, headers=key).status_code for n in range(3)]
            connection.execute("ALTER TABLE transactions_partitioned RENAME COLUMN amount_elsewhere TO amount")
        asked += [client.get(path, params={"wallet_id": f"w{n}"}, headers=key).status_code for n in range(5)]
        after = route()
    assert asked == [500] * 3 + [200] * 5
    assert (after.requests - before.requests, after.errors - before.errors) == (8, 3)
    assert after.error_rate == pytest.approx(after.errors / after.requests)
    assert after.refused == before.refused
    since_s, everything = seconds[-1]
    assert everything.per_second == pytest.approx(everything.requests / since_s, rel=0.01)
    assert everything.errors >= 3


def test_stored_rows_flushes_and_named_queries_are_counted(api: httpx.Client, watcher: Headers) -> None:
    def page() -> Any:
        return msgspec.json.decode(api.get(f"{PREFIX}/performance", headers=watcher).content, type=Performance)

    def rows(found: Performance) -> int:
        return next((flush.rows for flush in found.flushes if flush.table == "transactions"), 0)

    before = page()
    name = keyed()
    api.post("/api/v1/transactions/batch", json={"items": [BODY] * 7}, headers=name)
    api.post("/api/v1/transactions/batch", json={"items": [BODY] * 7}, headers=name)
    after = page()

    assert rows(after) == rows(before) + 7  # the replay stores nothing
    flush = next(flush for flush in after.flushes if flush.table == "transactions")
    assert flush.replays >= 1
    assert flush.duration.p50_ms is not None
    store = next(query for query in after.queries if query.query == "store")
    assert store.runs >= 2
    assert store.mean_ms is not None
    assert after.pool.size > 0
    assert after.workers == 1


def test_an_address_that_is_no_route_adds_no_series(api: httpx.Client, watcher: Headers, ready: Settings) -> None:
    def text() -> str:
        return api.get("/metrics", headers=watcher).text

    for path in ("/a", "/b?wallet=secret", "/api/v1/transactions/x/y"):
        api.get(path)
    exposed = text()

    assert 'treasury_api_requests_total{method="GET",route="other",status="4xx"}' in exposed
    assert "secret" not in exposed
    routes = set(re.findall('route="([^"]*)"', exposed))
    known = {operation.path for operation in operations(ready)} | {page.path for page in pages()}
    assert routes <= {"other", *known}


def test_failures_of_keys_are_counted(api: httpx.Client, watcher: Headers) -> None:
    def failures() -> dict[str, int]:
        return dict(api.get(f"{PREFIX}/performance", headers=watcher).json()["auth_failures"])

    before = failures()
    api.get("/api/v1/transactions", headers={"Authorization": "Bearer trk_nobody_nothing"})
    api.get(f"{PREFIX}/health")
    after = failures()

    assert after["unauthorized"] == before.get("unauthorized", 0) + 1
    assert after["forbidden"] == before.get("forbidden", 0) + 1


def test_requests_over_a_limit_are_counted(ready: Settings, make_key: MakeKey, watcher: Headers) -> None:
    limits = ready.rate_limits.model_copy(update={"vas": "1/hour"})
    key = make_key()
    with serving(ready.model_copy(update={"rate_limits": limits})) as url, httpx.Client(base_url=url) as client:

        def refused() -> int:
            page = client.get(f"{PREFIX}/performance", headers=watcher).json()
            return int(page["limit_refusals"].get("vas", 0))

        before = refused()
        statuses = [client.get("/api/v1/vas-transactions?wallet_id=w", headers=key).status_code for _ in range(3)]
        assert statuses == [200, 429, 429]
        assert refused() == before + 2


def test_metrics_may_be_opened_to_networks(ready: Settings) -> None:
    for networks, status in (("127.0.0.0/8", 200), ("192.0.2.0/24", 401)):
        settings = ready.model_copy(update={"metrics_open_to": (networks,)})
        with serving(settings) as url, httpx.Client(base_url=url) as client:
            assert client.get("/metrics").status_code == status
            assert client.get(f"{PREFIX}/health").status_code == 401


def test_partitions_show_every_tier(watched: httpx.Client, ledger: Ledger, this_month: Month) -> None:
    warm, cold = this_month.plus(-5), this_month.plus(-14)
    ledger.add(TRANSACTIONS, [warm.lower, warm.lower])
    ledger.add(TRANSACTIONS, [cold.lower] * 3)
    ledger.warm(TRANSACTIONS, warm)
    ledger.cold(TRANSACTIONS, cold)

    page = read(watched, f"{PREFIX}/partitions", table="transactions")
    found = {month.month: month for month in page.months}

    assert found[str(this_month)].tier == "hot"
    assert found[str(warm)].tier == "warm"
    assert found[str(warm)].partition == TRANSACTIONS.partition(warm)
    assert found[str(warm)].bytes > 0
    archived = found[str(cold)]
    assert (archived.tier, archived.rows, archived.rows_are_exact, archived.partition) == ("cold", 3, True, None)
    assert archived.bytes > 0
    assert [pruning.table for pruning in page.pruning] == ["transactions"]
    assert page.pruning[0].partitions == 3


def test_the_use_of_pruning_is_seen_by_where_scans_fall(
    watched: httpx.Client, ready: Settings, this_month: Month, ledger: Ledger
) -> None:
    ledger.add(TRANSACTIONS, [this_month.lower, this_month.plus(-1).lower])

    def pruning(scans: int) -> Pruning:
        """Once PostgreSQL has counted so many scans: it does so a moment after they are done."""
        deadline_s = time.monotonic() + 30
        while True:
            (found,) = read(watched, f"{PREFIX}/partitions", table="transactions").pruning
            if found.scans >= scans:
                return Pruning(**{name: getattr(found, name) for name in found.__struct_fields__})
            assert time.monotonic() < deadline_s, found
            time.sleep(0.1)

    def count(where: str, times: int) -> None:
        with connect(ready.database_dsn, "tests") as connection:
            connection.execute("SELECT pg_stat_reset()")
            for _ in range(times):
                connection.execute(f"SELECT count(*) FROM transactions_partitioned WHERE {where}".encode())
            connection.execute("SELECT pg_stat_force_next_flush()")

    count(f"created_at >= '{this_month.lower.isoformat()}' AND created_at < '{this_month.upper.isoformat()}'", 6)
    used = pruning(6)
    assert (used.scans, used.scanned_partitions) == (6, 1)
    assert used.scanned_share == pytest.approx(1 / used.partitions)
    found = {one.month: one for one in read(watched, f"{PREFIX}/partitions", table="transactions").months}
    assert found[str(this_month)].sequential_scans + found[str(this_month)].index_scans == 6
    assert found[str(this_month.plus(-1))].sequential_scans + found[str(this_month.plus(-1))].index_scans == 0

    count("amount >= 0", 4)  # no month is named: every one is scanned
    not_used = pruning(4 * used.partitions)
    assert (not_used.scanned_partitions, not_used.scanned_share) == (used.partitions, 1)


def test_partitions_come_in_pages_that_divide_no_month(shared_watched: httpx.Client, this_month: Month) -> None:
    first = read(shared_watched, f"{PREFIX}/partitions", limit=1)
    present, ahead = str(this_month), str(this_month.plus(1))

    tables = ("transactions", "vas_transactions")
    assert [(one.month, one.table) for one in first.months] == [(m, t) for m in (present, ahead) for t in tables]
    assert first.next_before is None


def test_the_present_month_comes_first_and_those_to_come_last(
    watched: httpx.Client, ready: Settings, ledger: Ledger, this_month: Month
) -> None:
    ledger.add(TRANSACTIONS, [this_month.plus(distance).lower for distance in (-1, -2)])
    with connect(ready.database_dsn, "tests") as connection:
        ensure_partition(connection, ready, TRANSACTIONS, this_month.plus(2))

    def page(**query: object) -> tuple[list[int], str | None]:
        found = read(watched, f"{PREFIX}/partitions", table="transactions", **query)
        distances = {str(this_month.plus(distance)): distance for distance in range(-3, 4)}
        return [distances[month.month] for month in found.months], found.next_before

    assert page() == ([0, -1, -2, 1, 2], None)
    first, before = page(limit=2)
    assert first == [0, -1, 1, 2]
    assert page(limit=2, before=before) == ([-2], None)
    assert page(before=str(this_month.plus(2))) == ([0, -1, -2, 1], None)


def _raise(settings: Settings, subject: str, severity: Severity = Severity.WARNING) -> int:
    with connect(settings.database_dsn, "tests") as connection:
        raised = raise_alert(connection, Alert("test_rule", subject, severity, "A title", "Look.", {"seen": 1}))
    assert raised is not None
    return raised.alert_id


def test_alerts_are_listed_with_their_rules(watched: httpx.Client, ready: Settings) -> None:
    number = _raise(ready, "one", Severity.CRITICAL)
    page = read(watched, f"{PREFIX}/alerts", state="open", severity="critical", rule="test_rule")

    (alert,) = page.items
    assert (alert.id, alert.subject, alert.count, alert.acknowledged) == (number, "one", 1, False)
    assert alert.evidence == {"seen": 1}
    rules = {rule.rule: rule for rule in page.rules}
    assert (rules["test_rule"].open, rules["test_rule"].occurrences) == (1, 1)
    assert {"health_postgres", "request-injection"} <= rules.keys()
    never_met = [rule for rule in page.rules if rule.alerts == 0]
    assert never_met
    assert all(rule.threshold and rule.description for rule in never_met)


def test_alerts_come_in_pages(watched: httpx.Client, ready: Settings) -> None:
    numbers = [_raise(ready, f"subject {index}") for index in range(3)]
    first = read(watched, f"{PREFIX}/alerts", limit=2)
    second = read(watched, f"{PREFIX}/alerts", limit=2, before=first.next_before)

    assert [alert.id for alert in (*first.items, *second.items)] == numbers[::-1]
    assert second.next_before is None


def test_an_alert_is_acknowledged_once(
    http: httpx.Client, ready: Settings, operator: Headers, watcher: Headers
) -> None:
    number = _raise(ready, "one")
    path = f"{PREFIX}/alerts/{number}/acknowledge"

    assert http.post(path, headers=operator).json() == {"id": number, "changed": True}
    assert http.post(path, headers=operator).json() == {"id": number, "changed": False}
    listed = http.get(f"{PREFIX}/alerts", headers=watcher).json()["items"][0]
    assert listed["acknowledged"] is True
    assert listed["acknowledged_by"].startswith("operator (key ")


def test_only_an_open_alert_is_acknowledged(http: httpx.Client, ready: Settings, operator: Headers) -> None:
    number = _raise(ready, "one")
    with connect(ready.database_dsn, "tests") as connection:
        assert resolve_alert(connection, "test_rule", "one")

    assert http.post(f"{PREFIX}/alerts/{number}/acknowledge", headers=operator).status_code == 409
    assert http.post(f"{PREFIX}/alerts/{number + 1}/acknowledge", headers=operator).status_code == 404
    assert http.post(f"{PREFIX}/alerts/none/acknowledge", headers=operator).status_code == 422


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "pattern"),
        ({"pattern": "x*", "all": True}, "pattern"),
        ({"pattern": ""}, "pattern"),
        ({"pattern": 7}, "pattern"),
        ({"all": False}, "all"),
        ({"all": 1}, "all"),
        ({"every": True}, "every"),
    ],
)
def test_a_clear_says_what_it_means(
    shared_http: httpx.Client, make_shared_key: MakeKey, body: dict[str, Any], field: str
) -> None:
    operator = make_shared_key("operator", [Scope.OPERATIONS])
    response = shared_http.post(f"{PREFIX}/cache/clear", json=body, headers=operator)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == field


def test_the_summary_counts_alerts_and_months(watched: httpx.Client, ready: Settings) -> None:
    _raise(ready, "one", Severity.CRITICAL)
    page = read(watched, f"{PREFIX}/summary")

    assert page.open_alerts == {"critical": 1}
    assert page.months == {"hot": 4}
    assert page.database_bytes > 0
    assert page.state == max((trouble.state for trouble in page.troubles), default="healthy", key=_rank)


def _rank(state: str) -> int:
    return ["healthy", "warning", "critical"].index(state)


@contextmanager
def _lock_wait(dsn: str, *, held: str, wanted: str) -> Iterator[None]:
    """A session that waits with ``wanted`` for what another one holds with ``held``, for as long as the block lasts."""
    with psycopg.connect(dsn) as holder, psycopg.connect(dsn) as waiter:
        holder.execute(held)
        thread = threading.Thread(target=waiter.execute, args=(wanted,))
        thread.start()
        waiting = ("SELECT FROM pg_locks WHERE NOT granted AND pid = %s", (waiter.info.backend_pid,))
        while holder.execute(*waiting).fetchone() is None:
            assert thread.is_alive()
        try:
            yield
        finally:
            holder.rollback()
            thread.join()


def test_locks_that_are_waited_for_are_shown(watched: httpx.Client, ready: Settings) -> None:
    held, wanted = "LOCK TABLE imports IN SHARE MODE", "LOCK TABLE imports IN ROW EXCLUSIVE MODE"
    with _lock_wait(ready.database_dsn, held=held, wanted=wanted):
        page = read(watched, f"{PREFIX}/database")

    (wait,) = page.locks_waiting
    assert (wait.relation, wait.mode, wait.blocked_by) == ("imports", "RowExclusiveLock", 1)
    assert page.connections.by_state["idle in transaction"] == 1
    assert page.connections.longest_transaction_s is not None


def test_a_wait_in_another_database_of_the_server_is_not_shown(watched: httpx.Client, empty: Settings) -> None:
    """A row that another transaction has locked is waited for by that transaction's number, which has no database."""
    with psycopg.connect(empty.database_dsn, autocommit=True) as theirs:
        theirs.execute("CREATE TABLE stock AS SELECT 1 AS number")
    changed = "UPDATE stock SET number = 2"
    with _lock_wait(empty.database_dsn, held=changed, wanted=changed):
        page = read(watched, f"{PREFIX}/database")

    assert page.locks_waiting == []
