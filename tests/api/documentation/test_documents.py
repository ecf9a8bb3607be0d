"""The OpenAPI document and the types it is made of say what the API does."""

import re
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from msgspec import structs

from api.routing.routes import operations
from api.transactions import messages
from config import Settings
from config.version import product_version
from ledger.tables import TRANSACTIONS, VAS_TRANSACTIONS, TieredTable
from ledger.transactions import Status, TransactionType, VasType, field_names, required_fields
from tests.api.ledger_rows import BODIES, PATHS, keyed


@pytest.mark.parametrize(
    ("kind", "table"),
    [(messages.NewTransaction, TRANSACTIONS), (messages.NewVasTransaction, VAS_TRANSACTIONS)],
)
def test_the_described_fields_are_those_of_the_ledger(kind: Any, table: TieredTable) -> None:
    described = {field.name: field.required for field in structs.fields(kind)}
    required = required_fields(table)
    assert described == {name: name in required for name in field_names(table) if name != "client_id"}


def test_every_operation_is_described(http: httpx.Client, ready: Settings) -> None:
    document = http.get("/openapi.json").json()
    described = {(path, method) for path, methods in document["paths"].items() for method in methods}

    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == product_version()
    assert described == {
        (operation.path.replace(":path}", "}"), operation.method.lower()) for operation in operations(ready)
    }
    names = [operation.name for operation in operations(ready)]
    assert len(set(names)) == len(names) == 44


def test_the_guide_lists_every_value_of_the_fields_with_a_list() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(type|status|vas_type)` \| (.*) \|$", guide, re.MULTILINE))
    listed = {field: re.findall(r"`(\w+)`", text.partition(";")[0]) for field, text in rows.items()}
    assert listed == {"type": [*TransactionType], "status": [*Status], "vas_type": [*VasType]}


def test_every_reference_in_the_document_leads_somewhere(http: httpx.Client) -> None:
    text = http.get("/openapi.json").text
    schemas = http.get("/openapi.json").json()["components"]["schemas"]
    assert set(re.findall(r'"#/components/schemas/(\w+)"', text)) == set(schemas)


def test_the_example_of_a_body_is_one_that_can_be_sent(ready: Settings) -> None:
    requests = [operation for operation in operations(ready) if operation.request is not None]
    assert len(requests) == 11
    for operation in requests:
        assert operation.example is not None, operation.name
        msgspec.convert(dict(operation.example), operation.request, strict=False)


@pytest.mark.parametrize("path", PATHS)
def test_the_examples_of_a_table_are_stored(api: httpx.Client, path: str) -> None:
    paths = api.get("/openapi.json").json()["paths"]
    one, many, change = (
        paths[f"{path}{below}"]["post"]["requestBody"]["content"]["application/json"]["example"]
        for below in ("", "/batch", "/{id}/status")
    )
    stored = api.post(path, json=one, headers=keyed())
    assert stored.status_code == 201
    batch = api.post(f"{path}/batch", json=many, headers=keyed())
    assert (batch.status_code, batch.json()["rejected"], batch.json()["stored"]) == (200, 0, 1)
    assert api.post(f"{stored.headers['location']}/status", json=change).status_code in {200, 409}


def test_the_document_says_where_a_key_goes(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    scheme = document["components"]["securitySchemes"]["apiKey"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    open_to_all = {
        operation["operationId"]
        for methods in document["paths"].values()
        for operation in methods.values()
        if operation.get("security") != [{"apiKey": []}]
    }
    assert open_to_all == {"live", "ready", "peachWebhook"}


def test_the_page_works_offline(http: httpx.Client) -> None:
    page = http.get("/docs")

    assert page.status_code == 200
    assert not re.search(r"https?://|style=|<img", page.text)
    linked = re.findall(r'(?:href|src)="([^"]+)"', page.text)
    answers = {path: http.get(path) for path in linked}
    assert len(answers) == 5
    assert {answer.status_code for answer in answers.values()} == {200}
    types = sorted({answer.headers["content-type"].split(";")[0] for answer in answers.values()})
    assert types == ["application/json", "image/png", "text/css", "text/javascript"]


@pytest.mark.parametrize("path", PATHS)
def test_answers_have_documented_statuses(api: httpx.Client, path: str) -> None:
    paths = api.get("/openapi.json").json()["paths"]
    row = api.post(path, json=BODIES[path], headers=keyed()).headers["location"]
    asked = [
        (path, "post", api.post(path, json=BODIES[path])),
        (path, "post", api.post(path, content=b"x", headers=keyed())),
        (path, "get", api.get(path)),
        (f"{path}/batch", "post", api.post(f"{path}/batch", json={"items": [{}]}, headers=keyed())),
        (f"{path}/{{id}}", "get", api.get(row)),
        (f"{path}/{{id}}", "get", api.get(f"{path}/01a20733-cc6b-74a3-a860-71497a499eb9")),
        (f"{path}/{{id}}/status", "post", api.post(f"{row}/status", json={"status": "pending"})),
        (f"{path}/{{id}}/status", "post", api.post(f"{row}/status", json={"status": "reversed"})),
    ]
    for template, method, response in asked:
        media_type = response.headers["content-type"]
        assert media_type in paths[template][method]["responses"][str(response.status_code)]["content"]
