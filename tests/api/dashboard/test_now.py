"""The page *Now*: its sentence, its figures, its alerts and the flow runs."""

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from api.dashboard import now
from api.dashboard.error_pages import HOME
from api.dashboard.formats import NOTHING, percent
from api.dashboard.life import LIFE
from api.dashboard.runs_desk import PATIENCE_S
from api.monitoring.alert_page import AlertItem, AlertPage
from api.monitoring.health_report import Component, ComponentState, HealthReport
from api.monitoring.history import Minute
from api.monitoring.readings import Reading
from api.monitoring.sampling import Sampler
from config import Settings
from ledger.alerts import Alert, Severity
from ledger.scopes import Scope
from sql.connection import connect
from tasks.admin.keys import create_key
from tasks.alerting.store import list_alerts, raise_alert
from tasks.prefect.access import PrefectAccess
from tasks.prefect.recent_runs import ui_url
from tests.api.conftest import serving, unlimited
from tests.api.dashboard.conftest import MakePerson
from tests.api.dashboard.person import SAME_ORIGIN, Document, Person
from tests.api.dashboard.test_pages import check_html
from tests.api.ledger_rows import BODY, keyed
from tests.cli.broken_servers import broken_port
from tests.tasks.health.conftest import prefect_url

__all__ = ["prefect_url"]

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>\u202e\u0000" + "x" * 10_000


def component(state: ComponentState, name: str = "months_overdue", line: str = "3 months are due") -> Component:
    return Component(
        name=name, state=state, value=Decimal(1), threshold=Decimal(1), unit="", line=line, to_do="Look at it."
    )


def report(*components: Component) -> HealthReport:
    worst = max((one.state for one in components), key=list(ComponentState).index)
    return HealthReport(state=worst, checked_at=NOON, components=list(components))


@pytest.mark.parametrize(
    ("components", "said"),
    [
        ([component(ComponentState.HEALTHY)] * 2, "Everything works: all 2 checks are healthy."),
        (
            [component(ComponentState.HEALTHY), component(ComponentState.WARNING)],
            "Something needs attention: months overdue, 3 months are due.",
        ),
        (
            [component(ComponentState.WARNING), component(ComponentState.CRITICAL, "redis", "Redis: refused.")],
            "Something does not work: redis, Redis: refused. 1 more check is not healthy: months overdue.",
        ),
    ],
)
def test_one_sentence_says_the_state_and_its_worst_reason(components: list[Component], said: str) -> None:
    assert now.sentence(report(*components), None) == said
    assert now.state_of(report(*components), None) == report(*components).state


def alert(severity: Severity, subject: str) -> AlertItem:
    past: dict[str, Any] = dict.fromkeys(
        ("resolved_at", "acknowledged_at", "acknowledged_by", "notified_at", "closed_by", "close_reason")
    )
    texts: dict[str, Any] = {"rule": "archive-damaged", "title": "An object is wrong", "what_to_do": "Look."}
    times: dict[str, Any] = {"first_seen": NOON, "last_seen": NOON, "count": 1, "state": "open", "runbook": "docs"}
    return AlertItem(
        id=1, subject=subject, severity=severity, evidence={}, acknowledged=False, **texts, **times, **past
    )


def test_open_alerts_are_said_where_all_checks_are_healthy() -> None:
    healthy = report(component(ComponentState.HEALTHY))
    warned = AlertPage(items=[alert(Severity.WARNING, "a")], rules=[], next_before=None)
    assert now.sentence(healthy, warned) == "An alert is open: An object is wrong (a)."
    assert now.state_of(healthy, warned) is ComponentState.WARNING
    both = AlertPage(items=[*warned.items, alert(Severity.CRITICAL, "b")], rules=[], next_before=None)
    assert now.sentence(healthy, both) == "2 alerts are open, the worst: An object is wrong (b)."
    assert now.state_of(healthy, both) is ComponentState.CRITICAL
    ill = report(component(ComponentState.HEALTHY), component(ComponentState.WARNING))
    assert now.sentence(ill, warned).startswith("Something needs attention: months overdue")
    assert now.sentence(ill, both) == (
        "2 alerts are open, the worst: An object is wrong (b). 1 check is not healthy: months overdue."
    )  # the worst reason: a check that only warns is none of a critical state
    many = report(*[component(ComponentState.WARNING, f"check_{number}") for number in range(5)])
    assert now.sentence(many, both).endswith("5 checks are not healthy: check 0, check 1, check 2 and 2 more.")
    none = AlertPage(items=[], rules=[], next_before=None)
    assert now.state_of(healthy, none) is ComponentState.HEALTHY
    assert now.sentence(healthy, none).startswith("Everything works")


def minute(number: int, **changes: Any) -> Minute:
    measured: dict[str, Any] = {
        "requests": 60,
        "per_second": 1.0,
        "errors": 0,
        "p50_ms": 1.0,
        "p95_ms": 2.0,
        "p99_ms": 3.0,
        "cache_hit_ratio": 0.5,
        "pool_in_use": 1,
        "queued_rows": 0,
    }
    return Minute(at=NOON + timedelta(minutes=number), **measured | changes)


def test_a_day_of_minutes_is_a_chart_that_can_be_read() -> None:
    day = [minute(number) for number in range(1440)]
    day[700] = minute(700, errors=6, p99_ms=900.0)
    points = now.thinned(day)
    assert len(points) == now.MOST_POINTS
    assert sum(point.requests for point in points) == 1440 * 60
    assert max(point.p99_ms or 0 for point in points) == 900.0  # the worst minute is never averaged away
    assert sum(point.errors for point in points) == 6
    assert points[-1].at == day[-1].at
    throughput, latency, errors, hits = now.history_charts(day)
    assert len(throughput.rows) == len(errors.rows) == len(hits.rows) == now.MOST_POINTS
    assert latency.columns == ("time (UTC)", "p50", "p95", "p99")


def test_before_the_first_minute_the_charts_say_that_nothing_was_measured(person: Person) -> None:
    assert all(not chart.rows for chart in now.history_charts([]))
    assert "Nothing was measured yet." in person.read(HOME).text


def test_the_page_shows_the_state_and_the_figures(person: Person) -> None:
    document = person.read(HOME)
    check_html(document)
    assert "checks are not healthy" in document.text  # no Redis, no Prefect and no schedules here
    for words in (
        "requests per s",
        "error rate",
        "p99",
        "Pool of the API",
        "buffer hits",
        "Layers since the start",
    ):
        assert words in document.text
    regions = [attributes.get("id") for _, attributes in document.elements if "data-live" in attributes]
    assert regions == ["state", "alerts", "api", "database", "cache", "runs", "freshness"]
    assert document.all("body") == [{"data-refresh": "15"}]


# What is counted, each figure another number: the cache by event and layer, the pool, and rows that wait.
COUNTED: dict[str, dict[tuple[str, ...], float]] = {
    "treasury_api_cache_events_total": {
        **{(event, "local"): count for event, count in (("hit", 90), ("miss", 10), ("eviction", 3), ("error", 1))},
        **{(event, "redis"): count for event, count in (("hit", 6), ("miss", 4), ("error", 2))},
    },
    "treasury_api_pool": {("size",): 17, ("available",): 14, ("waiting",): 5},
    "treasury_api_queue_rows": {("transactions",): 11},
}


def test_layers_pool_and_queue_are_what_the_monitoring_answers(
    shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = Sampler.now

    async def counted(sampler: Sampler) -> tuple[Reading, Reading]:
        latest, earlier = await measure(sampler)
        return replace(latest, values={**latest.values, **COUNTED}), earlier

    monkeypatch.setattr(Sampler, "now", counted)
    with serving(unlimited(shared)) as url:
        person = Person(url, create_key(shared, "acme", list(Scope)))
        with person.client:
            person.sign_in()
            bearer = {"Authorization": f"Bearer {person.key}"}
            person.client.post("/api/v1/transactions", json=BODY, headers=keyed() | bearer)  # its table has a queue
            cache, performance = (
                person.client.get(f"/api/v1/monitoring/{name}", headers=bearer).json()
                for name in ("cache", "performance")
            )
            text = person.read(HOME).text
    assert [layer["hits"] for layer in cache["layers"]] == [90, 6]
    for layer in cache["layers"]:
        evicted = NOTHING if layer["evictions"] is None else layer["evictions"]
        share = " ".join(percent(layer["hit_ratio"]).split())
        assert f"{layer['layer']} {layer['hits']} {layer['misses']} {share} {evicted} {layer['errors']}" in text
    pool = performance["pool"]
    assert (pool["size"], pool["available"], pool["waiting"]) == (17, 14, 5)
    assert f"connections {pool['size']} free {pool['available']} waiting {pool['waiting']} requests" in text
    queued = sum(flush["queued_rows"] for flush in performance["flushes"])
    assert queued == 11
    assert f"queue {queued} rows that wait for their commit" in text


def raised(settings: Settings, title: str, severity: Severity = Severity.CRITICAL) -> int:
    with connect(settings.database_dsn, "tests") as connection:
        alert = Alert(f"rule-{uuid4().hex[:8]}", "subject", severity, title, "Look.", {"seen": 1})
        stored = raise_alert(connection, alert)
    assert stored is not None
    return stored.alert_id


def test_an_alert_is_acknowledged_once_by_a_form(person: Person, shared: Settings) -> None:
    number = raised(shared, "The disk is nearly full")
    action = f"{HOME}/alerts/{number}/acknowledge"
    assert "The disk is nearly full" in person.read(HOME).text

    answer = person.send(HOME, action)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{HOME}?done=acknowledged")
    after = person.read(answer.headers["location"])
    assert "The alert is acknowledged" in after.text
    assert action not in [form.action for form in after.forms]
    with connect(shared.database_dsn, "tests") as connection:
        (stored,) = [alert for alert in list_alerts(connection) if alert.alert_id == number]
    assert stored.acknowledged_by == f"acme (key {person.key.split('_')[1]})"


def test_without_the_scope_there_is_no_button_and_no_way(make_person: MakePerson, shared: Settings) -> None:
    number = raised(shared, "Another thing")
    someone = make_person([Scope.MONITORING_READ])
    action = f"{HOME}/alerts/{number}/acknowledge"
    document = someone.read(HOME)
    assert "Another thing" in document.text
    assert "needs the scope operations" in document.text
    assert not [form for form in document.forms if "/alerts/" in form.action]
    answer = someone.client.post(action, data={"form_token": someone.form_token}, headers=SAME_ORIGIN)
    assert answer.status_code == 403


@pytest.mark.parametrize(("number", "status"), [("999999", 404), ("0", 422), ("x", 422), ("1%00", 422)])
def test_an_alert_that_is_not_there_is_not_acknowledged(person: Person, number: str, status: int) -> None:
    given = {"form_token": person.form_token}
    answer = person.client.post(f"{HOME}/alerts/{number}/acknowledge", data=given, headers=SAME_ORIGIN)
    assert answer.status_code == status


def test_newer_warnings_never_hide_a_critical_alert(person: Person, shared: Settings) -> None:
    number = raised(shared, "An archived object is wrong")
    for one in range(now.MOST_ALERTS):
        raised(shared, f"Warning {one}", Severity.WARNING)
    document = person.read(HOME)
    check_html(document)
    assert f"{HOME}/alerts/{number}/acknowledge" in [form.action for form in document.forms]
    assert document.text.index("An archived object is wrong") < document.text.index("Warning 19")
    assert f"only {now.MOST_ALERTS} of them" in document.text


def test_an_alert_about_transactions_leads_to_the_rows_of_its_subject(
    make_person: MakePerson, shared: Settings
) -> None:
    who = f"user {uuid4().hex[:8]}&x"
    with connect(shared.database_dsn, "tests") as connection:
        for rule, subject in (("velocity", who), ("in-and-out", "w-7"), ("single", "many subjects of transactions")):
            raise_alert(connection, Alert(f"transaction-{rule}", subject, Severity.CRITICAL, "Seen", "Look.", {}))
    auditor = make_person([Scope.MONITORING_READ, Scope.READ_ALL, Scope.VAS_READ])
    document = auditor.read(HOME)
    ways = [link for link in document.links if link.startswith("/dashboard/find?")]
    assert sorted(way.partition("&from=")[0] for way in ways) == sorted(
        f"/dashboard/find?{urlencode(query)}"
        for query in ({"by": "user_id", "value": who}, {"by": "wallet_id", "value": "w-7"})
    )
    assert all(auditor.open(way).status_code == 200 for way in ways)
    for scopes in ([Scope.VAS_READ], [Scope.READ_ALL]):
        others = make_person([Scope.MONITORING_READ, *scopes]).read(HOME)
        assert not [link for link in others.links if link.startswith("/dashboard/find?")]


def test_a_hostile_alert_is_text(person: Person, shared: Settings) -> None:
    raised(shared, HOSTILE, Severity.WARNING)
    document = person.read(HOME)
    check_html(document)
    assert "<script>alert(1)</script>" in document.text
    assert len(document.html) < 100_000


def _made_run(settings: Settings, name: str, state: str, flow_name: str = "archive-months") -> str:
    """A run in a real Prefect server, as a flow would leave it; returns its id."""
    access = PrefectAccess.of(settings)
    flow = access.ask("/flows/", {"name": flow_name})  # the server of all tests is busy now and then: 503
    run = access.ask("/flow_runs/", {"name": name, "flow_id": flow["id"], "state": {"type": "PENDING"}})
    for kind in ("RUNNING", state):
        access.ask(f"/flow_runs/{run['id']}/set_state", {"state": {"type": kind}, "force": True})
    return str(run["id"])


def with_prefect(settings: Settings, url: str) -> Settings:
    return unlimited(settings.model_copy(update={"prefect_api_url": url}))


def _read_with_flows(person: Person) -> Document:
    """The page once Prefect has answered: the server of all tests is busy at times, and the page waits for a second."""
    deadline = time.monotonic() + 90
    while "crashed and failed ones first" not in (document := person.read(HOME)).text:
        assert time.monotonic() < deadline, document.text
        time.sleep(1)
    return document


@pytest.fixture
def at_prefect(shared: Settings, prefect_url: str) -> Iterator[Person]:
    with serving(with_prefect(shared, prefect_url)) as url:
        someone = Person(url, create_key(shared, "acme", list(Scope)))
        with someone.client:
            someone.sign_in()
            yield someone


def test_each_flow_has_one_line_with_its_newest_run(at_prefect: Person, shared: Settings, prefect_url: str) -> None:
    """So that a flow of every minute pushes no other one out; a run that crashed or failed comes first."""
    settings = with_prefect(shared, prefect_url)
    _made_run(settings, "archive 2026-07 -> warm: 1 moved", "COMPLETED")
    failed = _made_run(settings, HOSTILE[:200].replace("\u0000", ""), "FAILED")
    _made_run(settings, "8 rolled", "COMPLETED", "roll-partitions")
    for number in range(3):
        _made_run(settings, f"watched {number} rows", "COMPLETED", "watch-transactions")
    _made_run(settings, "of another project", "COMPLETED", "a-strange-flow")
    document = _read_with_flows(at_prefect)
    check_html(document)
    ui = prefect_url.removesuffix("/api")
    flows = document.text.partition("crashed and failed ones first")[2]
    order = [
        flows.index(words) for words in ("archive-months", "watch-transactions watched 2 rows", "roll-partitions 8")
    ]
    assert order == sorted(order)
    assert f"{ui}/runs/flow-run/{failed}" in document.links
    assert "watched 1 rows" not in document.text
    assert "of another project" not in document.text
    assert flows.index("Failed archive-months") < flows.index("ago") < flows.index("Completed watch-transactions")
    line = re.split(" (?=Failed|Crashed|TimedOut|Completed)", flows.partition("Failed archive-months ")[2])[0]
    assert "none known" not in line  # the failed flow has succeeded before
    assert "which has a login of its own: treasury prefect login prints it." in document.text
    life = at_prefect.read(LIFE)
    check_html(life)
    assert "The last run of archiving began" in life.text
    assert f"{ui}/runs/flow-run/{failed}" in life.links


@pytest.mark.parametrize("kind", ["silent", "closed"])
def test_a_prefect_that_does_not_answer_is_said_and_not_waited_for(shared: Settings, kind: str) -> None:
    del kind
    with broken_port("silent") as port, serving(with_prefect(shared, f"http://127.0.0.1:{port}/api")) as url:
        someone = Person(url, create_key(shared, "acme", list(Scope)))
        with someone.client:
            someone.sign_in()
            assert "Prefect gave no good answer" in someone.read(HOME).text
    assert PATIENCE_S <= 1


@pytest.mark.parametrize(
    ("api", "ui", "shown"),
    [
        ("http://user:secret@prefect:4200/api", None, "http://prefect:4200"),
        ("https://prefect.example/team/api/", None, "https://prefect.example/team"),
        ("http://prefect:4200/api", "https://runs.example/", "https://runs.example"),
    ],
)
def test_the_ui_is_where_the_settings_say(shared: Settings, api: str, ui: str | None, shown: str) -> None:
    assert ui_url(shared.model_copy(update={"prefect_api_url": api, "prefect_ui_url": ui})) == shown
