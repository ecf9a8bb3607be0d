"""Every operation's real answers are what the OpenAPI document says, to the field: none more, none less, none null."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import jsonschema_rs
import pytest

from config import Settings
from ledger.alerts import Alert, Severity
from ledger.business_days import day_of
from ledger.months import Month
from ledger.scopes import Scope
from sql.connection import connect
from suppliers.peach.webhooks import sign
from tasks.admin.keys import create_key
from tasks.alerting.store import raise_alert
from tasks.transparency.publish import publish_log
from tests.api.conftest import serving, unlimited
from tests.api.ledger_rows import BODIES, PATHS, Ledger, keyed
from tests.suppliers.conftest import MOBILE, SALES, Simulated, simulators
from tests.tasks.reconciliation.books import DAY, Books

WAIT_S = 60.0
# Fields that an answer of theirs may lack. Every other field is always there.
MAY_BE_ABSENT = {"Problem": {"errors", "request_id"}, "BatchResult": {"id", "problem"}}
ALERT = Alert("test_rule", "one", Severity.WARNING, "A title", "Look.", {"seen": 1})
Document = dict[str, Any]


class Answers:
    """Compares answers with the document, and remembers which operations have given a good one."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._schemas = strict(document["components"]["schemas"])
        self.good: set[str] = set()
        self._addresses = {
            (re.compile(_pattern(path)), method.upper()): operation
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        }

    @property
    def described(self) -> set[str]:
        """The names of all operations."""
        return {operation["operationId"] for operation in self._addresses.values()}

    def check(self, response: httpx.Response) -> None:
        """Fails when the answer is not what the document says of its status."""
        response.read()
        operation = self._operation(response.request)
        described = operation["responses"][str(response.status_code)]
        if response.is_success:
            self.good.add(operation["operationId"])
        if "content" not in described:
            assert response.content == b""
            return
        media_type = response.headers["content-type"].split(";")[0]
        (content,) = (schema for kind, schema in described["content"].items() if kind.split(";")[0] == media_type)
        if media_type.endswith("json"):
            schema = {**content["schema"], "components": {"schemas": self._schemas}}
            jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate(response.json())

    def _operation(self, request: httpx.Request) -> Document:
        fitting = [
            (len(address.pattern.split("[^/]+")), operation)
            for (address, method), operation in self._addresses.items()
            if method == request.method and address.fullmatch(request.url.path)
        ]
        found: Document = min(fitting, key=lambda one: one[0])[1]  # an address without a parameter comes first
        return found


def _pattern(path: str) -> str:
    """An address as a regular expression. A tile's name contains slashes."""
    part = ".+" if path.endswith("{tile}") else "[^/]+"
    return re.sub(r"\\\{\w+\\\}", part, re.escape(path))


def strict(schema: Any) -> Any:
    """``schema`` under which an object has no field but those that are described."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {"additionalProperties": False} if "properties" in schema else {}
    return {name: strict(part) for name, part in schema.items()} | closed


@pytest.fixture
def simulated() -> Iterator[Simulated]:
    with simulators() as running:
        yield running


@pytest.fixture
def town(ready: Settings, simulated: Simulated, tmp_path: Path) -> Settings:
    """Settings of a database with a reconciled day, two breaks and an alert, and of suppliers that sell."""
    settings = unlimited(ready).model_copy(update={"suppliers": simulated.settings, "api_feed_delay_s": 1.0})
    books = Books(settings, tmp_path)
    books.line(amount=Decimal("250.00"))
    books.line(amount=Decimal("1000.01"))
    books.run()
    return settings


@pytest.fixture
def clients(town: Settings) -> Iterator[tuple[httpx.Client, httpx.Client, Answers]]:
    """Two clients with every scope, whose answers are checked."""
    with serving(town) as url:
        answers = Answers(httpx.get(f"{url}/openapi.json").json())
        made = [
            httpx.Client(
                base_url=url,
                timeout=60,
                headers={"Authorization": f"Bearer {create_key(town, name, list(Scope))}"},
                event_hooks={"response": [answers.check]},
            )
            for name in ("acme", "finance")
        ]
        with made[0], made[1]:
            yield made[0], made[1], answers


def test_every_operation_answers_what_its_schema_says(
    town: Settings, simulated: Simulated, clients: tuple[httpx.Client, httpx.Client, Answers]
) -> None:
    client, colleague, answers = clients
    for path in PATHS:
        use_table(client, path)
    use_vending(client, simulated)
    use_reconciliation(client, colleague)
    use_monitoring(client, town)
    use_holds(client, colleague)
    use_archive(client, town)
    use_totals(client)

    assert answers.good == answers.described


def use_archive(client: httpx.Client, town: Settings) -> None:
    """Every operation on the archive and its log, and each of their refusals."""
    ledger, month = Ledger(town), Month(2024, 3)
    table = ledger.table(PATHS[0])
    (row,) = ledger.add(table, [month.lower])
    (later,) = ledger.add(table, [month.upper])
    ledger.cold(table, month)
    ledger.warm(table, month.plus(1))
    publish_log(town)
    months, proofs = "/api/v1/archive/months", "/api/v1/archive/proofs"
    for path in (
        months,
        f"{months}?table=x",
        f"{months}/{table.name}/{month}",
        f"{months}/{table.name}/{month.plus(1)}",
        f"{months}/{table.name}/2011-01",
        f"{proofs}/rows/{row['id']}",
        f"{proofs}/rows/{later['id']}",
        f"{proofs}/rows/01a20733-cc6b-74a3-a860-71497a499eb9",
        f"{proofs}/statements?wallet_id=wallet-1&month={month}",
        f"{proofs}/statements?wallet_id=nobody&month={month}",
        "/log/checkpoint",
        "/log/tile/0/999",
    ):
        client.get(path)
    size = int(client.get("/log/checkpoint").text.splitlines()[1])
    client.get(f"/log/tile/0/000.p/{size}")


def use_totals(client: httpx.Client) -> None:
    """The operation on daily totals, and its refusals."""
    client.get("/api/v1/totals?from=2024-03-01&to=2024-03-31&group_by=day,client_id,type,status")
    client.get("/api/v1/totals")


def use_holds(client: httpx.Client, colleague: httpx.Client) -> None:
    """Every operation on legal holds, and its refusals."""
    month = f"{datetime.now(UTC):%Y-%m}"
    body = {"matter": "m-1", "reason": "order", "first_month": month, "review_on": "2099-12-31"}
    hold = client.post("/api/v1/holds", json=body).json()["hold"]
    client.post("/api/v1/holds", json=body | {"first_month": "1999-01"})
    client.get("/api/v1/holds")
    client.get("/api/v1/holds/HOLD-999")
    client.post(f"/api/v1/holds/{hold}/release", json={"reason": "closed"})
    colleague.post(f"/api/v1/holds/{hold}/release", json={"reason": "closed"})
    colleague.get(f"/api/v1/holds/{hold}")


def use_table(client: httpx.Client, path: str) -> None:
    """Every operation of a table, and each of its refusals."""
    full = {**BODIES[path], "reference": "r", "description": "d", "metadata": {"a": [1.5, None]}, "fee": "1.00"}
    full |= {"counterparty_wallet_id": "wallet-2"}
    address = client.post(path, json=BODIES[path], headers=keyed()).headers["location"]
    client.post(path, json=full, headers=keyed())
    client.post(path, json={**full, "amount": 5}, headers=keyed())
    client.post(path, json=full)
    client.post(f"{path}/batch", json={"items": [full, {}]}, headers=keyed())
    client.get(path)
    first = client.get(path, params={"wallet_id": "wallet-1", "limit": 1}).json()
    client.get(path, params={"wallet_id": "wallet-1", "limit": 1, "cursor": first["next_cursor"]})
    etag = client.get(address).headers["etag"]
    assert client.get(address, headers={"If-None-Match": etag}).status_code == 304
    client.get(f"{path}/01a20733-cc6b-74a3-a860-71497a499eb9")
    client.post(f"{address}/status", json={"status": "completed"})
    client.post(f"{address}/status", json={"status": "failed"})
    follow(client, path)


def follow(client: httpx.Client, path: str) -> None:
    """The feed until it has rows."""
    ends_s, begin = time.monotonic() + WAIT_S, datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    while not client.get(f"{path}/feed", params={"from": begin.isoformat(), "limit": 1}).json()["items"]:
        assert time.monotonic() < ends_s
        time.sleep(0.1)


def use_vending(client: httpx.Client, simulated: Simulated) -> None:
    """A purchase that fails and its reason; a sale; a webhook."""
    path, rows = PATHS[1], dict[str, Any]()
    for name, number in (("flash", "0830000000"), ("peach", MOBILE)):
        vas_type, product, amount = SALES[name]
        order = {**BODIES[path], "supplier": name, "vas_type": vas_type, "supplier_product_id": product}
        order |= {"amount": amount, "mobile_number": number, "vend": True}
        rows[name] = ended(client, client.post(path, json=order, headers=keyed()).headers["location"])
    assert client.get(f"{path}/{rows['flash']['id']}/failure").status_code == 200
    secret = simulated.settings.peach.webhook_secret
    assert secret is not None
    fields = {
        "merchantTransactionId": rows["peach"]["supplier_reference"],
        "result.code": "000.000.000",
        "timestamp": datetime.now(UTC).isoformat(),
        "amount": "120.50",
        "currency": "ZAR",
    }
    fields["signature"] = sign(fields, secret.get_secret_value())
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    client.post("/api/v1/webhooks/peach", content=urlencode(fields), headers=form)
    client.post("/api/v1/webhooks/peach", content="x=y", headers=form)


def ended(client: httpx.Client, location: str) -> dict[str, Any]:
    """The row once it has a final status."""
    ends_s = time.monotonic() + WAIT_S
    while time.monotonic() < ends_s:
        row: dict[str, Any] = client.get(location).raise_for_status().json()
        if row["status"] in ("completed", "failed"):
            return row
        time.sleep(0.05)
    raise AssertionError(f"still {row['status']}")


def use_reconciliation(client: httpx.Client, colleague: httpx.Client) -> None:
    """The work of two people on a day."""
    prefix = "/api/v1/reconciliation"
    (run,) = client.get(f"{prefix}/runs").json()["items"]
    client.get(f"{prefix}/runs/{run['run_id']}")
    items = client.get(f"{prefix}/breaks", params={"limit": 1}).json()["items"]
    items += client.get(f"{prefix}/breaks", params={"after": items[0]["break_id"]}).json()["items"]
    for item in items:
        for person in (client, colleague):
            body = {"decision": "theirs_is_right", "reason": "vended by hand"}
            person.post(f"{prefix}/breaks/{item['break_id']}/resolve", json=body)
        client.get(f"{prefix}/breaks/{item['break_id']}")
    days: dict[str, Any] = {"supplier": "flash", "first_day": str(DAY), "last_day": str(DAY), "reason": "end of day"}
    for person in (client, colleague):
        person.post(f"{prefix}/periods", json=days)
    assert client.get(f"{prefix}/periods").json()["items"]
    client.post(f"{prefix}/periods", json={**days, "last_day": str(day_of(datetime.now(UTC)))})
    assert date.fromisoformat(run["day"]) == DAY


def use_monitoring(client: httpx.Client, town: Settings) -> None:
    """Every page, an alert that is acknowledged, and a clear of the cache."""
    prefix = "/api/v1/monitoring"
    alert_id = raise_one(town)
    for page in ("health", "performance", "alerts", "database", "partitions", "cache", "summary"):
        client.get(f"{prefix}/{page}").raise_for_status()
    client.post(f"{prefix}/alerts/{alert_id}/acknowledge").raise_for_status()
    client.post(f"{prefix}/cache/clear", json={"all": True}).raise_for_status()
    for path in ("/metrics", "/health/live", "/health/ready"):
        client.get(path).raise_for_status()
    client.get(f"{prefix}/partitions", params={"table": "nowhere"})


def raise_one(town: Settings) -> int:
    """The number of an open alert."""
    with connect(town.database_dsn, "tests") as connection:
        raised = raise_alert(connection, ALERT)
    assert raised is not None
    return raised.alert_id


def test_only_what_may_be_absent_is_optional_in_an_answer(shared_http: httpx.Client) -> None:
    document = shared_http.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    for name in answered(document):
        schema = schemas[name]
        optional = set(schema.get("properties", ())) - set(schema.get("required", ()))
        assert optional == MAY_BE_ABSENT.get(name, set()), name


def test_every_instant_of_an_answer_is_a_date_and_time(shared_http: httpx.Client) -> None:
    document = shared_http.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    plain = [
        f"{name}.{field}"
        for name in answered(document)
        for field, schema in schemas[name].get("properties", {}).items()
        if re.search(r"(^|_)(at|since|seen|until)$", field) and '"date-time"' not in str(schema).replace("'", '"')
    ]
    assert plain == []


def answered(document: Document) -> set[str]:
    """The names of the schemas that answers are made of."""
    responses = [operation["responses"] for methods in document["paths"].values() for operation in methods.values()]
    found, open_names = set[str](), set(re.findall(r"#/components/schemas/(\w+)", str(responses)))
    while open_names:
        name = open_names.pop()
        if name not in found:
            found.add(name)
            open_names |= set(re.findall(r"#/components/schemas/(\w+)", str(document["components"]["schemas"][name])))
    return found
