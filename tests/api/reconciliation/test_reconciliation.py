"""Runs and breaks over HTTP, and the work of two people on them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from api.routing.problems import CONFLICT
from config import Settings
from ledger.business_days import day_of
from ledger.scopes import Scope
from sql.connection import connect
from sql.preparation import prepare_table
from tasks.admin.keys import create_key
from tests.api.conftest import serving
from tests.tasks.reconciliation.books import DAY, Books

PREFIX = "/api/v1/reconciliation"
Desk = dict[str, dict[str, str]]


@pytest.fixture
def books(settings: Settings, tmp_path: Path) -> Books:
    """Books with a small and a large break."""
    with connect(settings.database_dsn, "tests") as connection:
        for table in settings.registry.values():
            prepare_table(connection, settings, table)
    books = Books(settings, tmp_path)
    books.line(amount=Decimal("250.00"))
    books.line(amount=Decimal("1000.01"))
    books.run()
    return books


@pytest.fixture
def http(books: Books) -> Iterator[httpx.Client]:
    """A client of a running API that carries no key."""
    with serving(books.settings) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


@pytest.fixture
def people(books: Books) -> Desk:
    """The headers of two people at finance, and of one who may only look."""
    both = [Scope.RECONCILIATION_READ, Scope.RECONCILIATION_RESOLVE]
    scopes = {"thandi": both, "sipho": both, "auditor": [Scope.RECONCILIATION_READ]}
    return {
        name: {"Authorization": f"Bearer {create_key(books.settings, name, granted)}"}
        for name, granted in scopes.items()
    }


def breaks_by_money(http: httpx.Client, headers: dict[str, str]) -> list[dict[str, object]]:
    """The waiting breaks, the smaller first."""
    items = http.get(f"{PREFIX}/breaks", headers=headers).raise_for_status().json()["items"]
    return sorted(items, key=lambda item: Decimal(item["difference"]))


def test_a_run_is_listed_and_read(http: httpx.Client, people: Desk) -> None:
    (run,) = http.get(f"{PREFIX}/runs?supplier=flash&from={DAY}&to={DAY}", headers=people["auditor"]).json()["items"]
    assert (run["day"], run["line_count"], run["break_count"], run["current"]) == (str(DAY), 2, 2, True)
    assert http.get(f"{PREFIX}/runs/{run['run_id']}", headers=people["auditor"]).json() == run
    assert http.get(f"{PREFIX}/runs/999", headers=people["auditor"]).status_code == 404


def test_what_postgresql_says_of_a_conflict_is_not_passed_on(books: Books, http: httpx.Client, people: Desk) -> None:
    books.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION 'row of somebody else' USING ERRCODE = 'unique_violation'; END$$"
    )
    books.sql("CREATE TRIGGER refuse BEFORE INSERT ON recon_resolutions FOR EACH ROW EXECUTE FUNCTION refuse()")
    (small, _) = breaks_by_money(http, people["thandi"])
    asked = {"decision": "theirs_is_right", "reason": "invoice 7"}
    answer = http.post(f"{PREFIX}/breaks/{small['break_id']}/resolve", json=asked, headers=people["thandi"])
    assert (answer.status_code, answer.json()["detail"]) == (409, CONFLICT.detail)
    assert "somebody else" not in answer.text


def test_breaks_are_filtered_and_paged(http: httpx.Client, people: Desk) -> None:
    who = people["auditor"]
    first = http.get(f"{PREFIX}/breaks?limit=1", headers=who).json()
    second = http.get(f"{PREFIX}/breaks?limit=1&after={first['next_after']}", headers=who).json()
    assert first["items"][0]["break_id"] < second["items"][0]["break_id"]
    assert http.get(f"{PREFIX}/breaks?class=amount", headers=who).json()["items"] == []
    assert len(http.get(f"{PREFIX}/breaks?class=missing_here&supplier=flash", headers=who).json()["items"]) == 2


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("state=odd", "state"),
        ("from=2026-02-30", "from"),
        ("from=20260201", "from"),
        ("limit=0", "limit"),
        ("x=1", "x"),
    ],
)
def test_a_wrong_parameter_is_named(http: httpx.Client, people: Desk, query: str, field: str) -> None:
    answer = http.get(f"{PREFIX}/breaks?{query}", headers=people["auditor"])
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


def test_a_small_break_is_resolved_by_one_and_not_again(http: httpx.Client, people: Desk) -> None:
    small = breaks_by_money(http, people["thandi"])[0]
    address = f"{PREFIX}/breaks/{small['break_id']}/resolve"
    body = {"decision": "theirs_is_right", "reason": "vended by hand"}

    done = http.post(address, json=body, headers=people["thandi"])
    again = http.post(address, json=body, headers=people["sipho"])
    assert (done.status_code, done.json()["state"]) == (200, "resolved")
    assert (again.status_code, again.json()["title"]) == (409, "Conflict")
    assert again.json()["detail"] == f"break {small['break_id']} is resolved already"
    assert len(breaks_by_money(http, people["thandi"])) == 1


def test_a_large_break_takes_two_people(http: httpx.Client, people: Desk) -> None:
    large = breaks_by_money(http, people["thandi"])[1]
    address = f"{PREFIX}/breaks/{large['break_id']}/resolve"
    body = {"decision": "theirs_is_right", "reason": "vended by hand"}

    states = [http.post(address, json=body, headers=people[name]) for name in ("thandi", "thandi", "sipho")]
    assert [answer.status_code for answer in states] == [200, 409, 200]
    assert [states[0].json()["state"], states[2].json()["state"]] == ["proposed", "resolved"]
    told = states[1].json()["detail"]
    assert told.startswith(f"break {large['break_id']}: thandi has proposed it under key ")
    assert told.endswith("; somebody else must confirm")


def test_a_conflict_names_what_is_in_the_way(books: Books, http: httpx.Client, people: Desk) -> None:
    small, large = (item["break_id"] for item in breaks_by_money(http, people["thandi"]))

    def detail(break_id: object, decision: str) -> str:
        body = {"decision": decision, "reason": "seen"}
        answer = http.post(f"{PREFIX}/breaks/{break_id}/resolve", json=body, headers=people["sipho"])
        assert answer.status_code == 409
        return str(answer.json()["detail"])

    assert detail(small, "reject") == f"break {small}: nothing is proposed that could be rejected"
    told = f"break {small}: no match is suggested for it that could be confirmed"
    assert detail(small, "same_transaction") == told
    body = {"decision": "write_off", "reason": "lost"}
    http.post(f"{PREFIX}/breaks/{large}/resolve", json=body, headers=people["thandi"]).raise_for_status()
    told = f"break {large}: write_off is proposed; confirm that, or reject it first"
    assert detail(large, "theirs_is_right") == told
    books.sql(
        "INSERT INTO recon_periods (supplier, first_day, last_day, actor, reason) VALUES ('flash', %s, %s, 'x', 'x')",
        DAY,
        DAY,
    )
    told = f"break {small}: flash {DAY}: the period {DAY} to {DAY} is closed"
    assert detail(small, "write_off") == told


def test_a_row_under_way_is_ended_by_two_people(books: Books, http: httpx.Client, people: Desk) -> None:
    row = books.own(status="processing", supplier_transaction_id=None, amount=Decimal("2000.00"))
    books.sql("UPDATE vas_transactions_partitioned SET supplier_reference = id::text WHERE id = %s", row["id"])
    books.run()
    (found,) = http.get(f"{PREFIX}/breaks?class=missing_there", headers=people["thandi"]).json()["items"]
    address = f"{PREFIX}/breaks/{found['break_id']}/resolve"
    body = {"decision": "settle_failed", "reason": "asked the supplier"}

    answers = [http.post(address, json=body, headers=people[name]) for name in ("thandi", "sipho", "sipho")]
    assert [answer.status_code for answer in answers] == [200, 200, 409]
    told = [(answer.json()["state"], answer.json()["ended_row"]) for answer in answers[:2]]
    assert told == [("proposed", None), ("resolved", str(row["id"]))]
    assert f"{row['id']} is failed already" in answers[2].json()["detail"]
    (ended,) = books.sql("SELECT status FROM vas_transactions WHERE id = %s", row["id"])
    assert ended["status"] == "failed"


def test_a_decision_waits_for_a_run_no_longer_than_a_statement_may(books: Books, people: Desk) -> None:
    body = {"decision": "write_off", "reason": "no"}
    with (
        serving(books.settings.model_copy(update={"api_statement_timeout_ms": 200})) as url,
        connect(books.settings.database_dsn, "tests") as run,
        run.transaction(),
    ):
        run.execute("SELECT pg_advisory_xact_lock(7303015)")
        answer = httpx.post(f"{url}{PREFIX}/breaks/1/resolve", json=body, headers=people["thandi"], timeout=5)
    assert answer.status_code == 503
    assert books.records() == []


def test_who_may_only_look_resolves_nothing(http: httpx.Client, people: Desk) -> None:
    small = breaks_by_money(http, people["auditor"])[0]
    address = f"{PREFIX}/breaks/{small['break_id']}/resolve"
    body = {"decision": "write_off", "reason": "no"}
    assert http.post(address, json=body, headers=people["auditor"]).status_code == 403
    assert http.post(f"{PREFIX}/breaks/999/resolve", json=body, headers=people["thandi"]).status_code == 404


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"decision": "write_off"}, "reason"),
        ({"decision": "write_off", "reason": ""}, "reason"),
        ({"decision": "guess", "reason": "x"}, "decision"),
        ({"decision": "write_off", "reason": "x", "actor": "sipho"}, "actor"),
    ],
)
def test_a_resolution_that_is_wrong_names_the_field(
    http: httpx.Client, people: Desk, body: dict[str, str], field: str
) -> None:
    small = breaks_by_money(http, people["thandi"])[0]
    answer = http.post(f"{PREFIX}/breaks/{small['break_id']}/resolve", json=body, headers=people["thandi"])
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


def test_who_confirms_sees_what_is_proposed_by_whom_and_why(http: httpx.Client, people: Desk) -> None:
    large = breaks_by_money(http, people["thandi"])[1]
    address = f"{PREFIX}/breaks/{large['break_id']}"
    body = {"decision": "theirs_is_right", "reason": "vended by hand"}
    http.post(f"{address}/resolve", json=body, headers=people["thandi"]).raise_for_status()

    shown = http.get(address, headers=people["auditor"]).raise_for_status().json()
    (proposal,) = shown["resolutions"]
    told = tuple(proposal[name] for name in ("action", "actor", "decision", "reason"))
    assert told == ("proposed", "thandi", "theirs_is_right", "vended by hand")
    assert proposal["account"].startswith("key ")
    assert [item["resolutions"] for item in breaks_by_money(http, people["sipho"])] == [[], [proposal]]
    assert http.get(f"{PREFIX}/breaks/999", headers=people["auditor"]).status_code == 404


def test_days_are_closed_by_two_keys(books: Books, http: httpx.Client, people: Desk) -> None:
    body = {"supplier": "flash", "first_day": str(DAY), "last_day": str(DAY), "reason": "month end", "carry": True}

    def close(who: str, **changes: object) -> httpx.Response:
        return http.post(f"{PREFIX}/periods", json=body | changes, headers=people[who])

    def refused(who: str, **changes: object) -> str:
        answer = close(who, **changes)
        assert answer.status_code == 409
        return str(answer.json()["detail"])

    name = f"flash {DAY} to {DAY}"
    today, after = day_of(datetime.now(UTC)), DAY + timedelta(days=1)
    assert close("auditor").status_code == 403
    assert refused("thandi", carry=False).startswith(f"{name}: 2 breaks still wait, such as ")
    assert refused("thandi", decision="reject") == f"{name}: nothing is proposed that could be rejected"
    assert refused("thandi", first_day=str(today), last_day=str(today)).endswith(f"{today} is not over yet")
    told = f"flash {DAY} to {after}: 1 day was never reconciled once it was over, the first is {after}"
    assert refused("thandi", last_day=str(after)).startswith(told)
    assert close("thandi").json() == {
        "supplier": "flash", "first_day": str(DAY), "last_day": str(DAY), "state": "proposed", "waiting": 2,
    }  # fmt: skip
    told = refused("thandi")
    assert told.startswith(f"{name}: thandi has proposed it under key ")
    assert told.endswith("; somebody else must close it")
    assert close("sipho", decision="reject").json()["state"] == "rejected"
    assert [close(name).json()["state"] for name in ("sipho", "thandi")] == ["proposed", "closed"]
    (closed,) = http.get(f"{PREFIX}/periods?supplier=flash", headers=people["auditor"]).json()["items"]
    assert (closed["state"], closed["proposed_by"], closed["actor"]) == ("closed", "sipho", "thandi")
    assert refused("sipho") == f"{name}: {DAY} to {DAY} is closed already"
    assert {row["period_day"] for row in books.sql("SELECT period_day FROM recon_breaks")} == {DAY + timedelta(days=1)}


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"supplier": "odd"}, "supplier"),
        ({"first_day": "2026-02-30"}, "first_day"),
        ({"last_day": 3}, "last_day"),
        ({"last_day": "2026-02-01"}, "last_day"),
        ({"reason": ""}, "reason"),
        ({"carry": "yes"}, "carry"),
        ({"decision": "open"}, "decision"),
        ({"actor": "sipho"}, "actor"),
    ],
)
def test_a_closing_that_is_wrong_names_the_field(
    http: httpx.Client, people: Desk, change: dict[str, object], field: str
) -> None:
    body = {"supplier": "flash", "first_day": str(DAY), "last_day": str(DAY), "reason": "month end"} | change
    answer = http.post(f"{PREFIX}/periods", json=body, headers=people["thandi"])
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
