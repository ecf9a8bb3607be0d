"""Storing transactions: one, many, the same one again, and what is refused."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import httpx
import msgspec
import psycopg
import pytest

from api.transactions import messages
from ledger.identifiers import created_at_of
from ledger.months import Month
from tests.api.ledger_rows import BODIES, BODY, PATHS, VAS_BODY, Ledger, keyed

PATH = "/api/v1/transactions"
ROWS = {PATHS[0]: messages.Transaction, PATHS[1]: messages.VasTransaction}


def count(database: psycopg.Connection[Any], table: str = "transactions_partitioned") -> int:
    row = database.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


def broken_rule(response: Any) -> tuple[str, str]:
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    (error,) = response.json()["errors"]
    return error["field"], error["rule"]


@pytest.mark.parametrize("path", PATHS)
def test_a_stored_transaction_is_complete_and_found_where_location_says(api: httpx.Client, path: str) -> None:
    response = api.post(path, json=BODIES[path], headers=keyed())

    assert response.status_code == 201
    row = msgspec.json.decode(response.content, type=ROWS[path])
    assert row.created_at == row.updated_at == created_at_of(row.id)
    assert (row.client_id, row.amount, row.fee, row.status) == ("acme", "120.50", "0.00", "pending")
    assert row.metadata == {}
    found = api.get(response.headers["location"])
    assert (found.status_code, found.json()) == (200, response.json())


def test_every_field_that_is_given_is_kept(api: httpx.Client) -> None:
    given = {
        **VAS_BODY,
        "counterparty_wallet_id": "wallet-2",
        "status": "processing",
        "fee": "1.5",
        "reference": "ORD-1",
        "description": "Ünïcödé, 电费, 🙂",
        "metadata": {"channel": "app", "basket": [1, 2.5, None, {"deep": True}]},
        "supplier_product_id": "311",
        "supplier_reference": "S-1",
        "supplier_transaction_id": "T-1",
        "commission": "-4.50",
        "mobile_number": "27831234567",
        "processed_at": "2026-02-03T09:15:00.123+02:00",
    }
    response = api.post(PATHS[1], json=given, headers=keyed())

    assert response.status_code == 201
    row = api.get(response.headers["location"]).json()
    expected = {**given, "fee": "1.50", "processed_at": "2026-02-03T07:15:00.123000Z"}
    assert {name: row[name] for name in given} == expected


def test_the_same_request_again_gets_the_first_answer_byte_for_byte(
    api: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    first = api.post(PATH, json=BODY, headers=keyed("k"))
    again = api.post(PATH, json=BODY, headers=keyed("k"))

    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert count(database) == 1


def test_a_key_that_belongs_to_another_request_is_refused(api: httpx.Client) -> None:
    api.post(PATH, json=BODY, headers=keyed("k"))

    for path, body in ((PATH, {**BODY, "amount": "1"}), (PATHS[1], VAS_BODY), (f"{PATH}/batch", {"items": [BODY]})):
        response = api.post(path, json=body, headers=keyed("k"))
        assert (response.status_code, response.json()["type"]) == (422, "urn:treasury:problem:idempotency-key-reused")


def test_two_clients_may_use_the_same_key(api: httpx.Client, make_key: Any, database: psycopg.Connection[Any]) -> None:
    assert api.post(PATH, json=BODY, headers=keyed("k")).status_code == 201
    other = api.post(PATH, json=BODY, headers=keyed("k") | make_key("other"))

    assert (other.status_code, "idempotent-replayed" in other.headers) == (201, False)
    assert count(database) == 2


def test_many_at_once_with_one_key_make_one_row(api: httpx.Client, database: psycopg.Connection[Any]) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: api.post(PATH, json=BODY, headers=keyed("k")), range(64)))

    stored = {answer.content for answer in answers if answer.status_code == 201}
    assert len(stored) == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert count(database) == 1


@pytest.mark.parametrize("key", [None, "", "two words", "ü", "x" * 256])
def test_without_a_usable_idempotency_key_nothing_is_stored(
    shared_api: httpx.Client, shared_database: psycopg.Connection[Any], key: str | None
) -> None:
    headers = {} if key is None else {b"Idempotency-Key": key.encode()}
    response = shared_api.post(PATH, json=BODY, headers=headers)

    assert (response.status_code, response.json()["type"]) == (400, "urn:treasury:problem:idempotency-key")
    assert count(shared_database) == 0


def test_a_refused_request_does_not_use_up_its_key(api: httpx.Client) -> None:
    assert api.post(PATH, json={**BODY, "amount": "x"}, headers=keyed("k")).status_code == 422
    assert api.post(PATH, json=BODY, headers=keyed("k")).status_code == 201


def test_an_amount_has_the_decimal_places_of_its_currency(api: httpx.Client) -> None:
    refused = api.post(PATH, json={**BODY, "amount": "120.50", "currency": "JPY"}, headers=keyed("k"))
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "amount")
    assert "JPY has no decimal places" in refused.json()["detail"]
    assert api.post(PATH, json={**BODY, "amount": "120", "currency": "JPY"}, headers=keyed("k")).status_code == 201


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", 12.5),
        ("amount", 12),
        ("amount", "NaN"),
        ("amount", "Infinity"),
        ("amount", "1e3"),
        ("amount", "1.005"),
        ("amount", "0.00"),
        ("amount", "-1.00"),
        ("amount", "12345678901234567"),
        ("amount", ""),
        ("amount", None),
        ("fee", "-0.01"),
        ("fee", 0),
        ("currency", "zar"),
        ("currency", "XXX"),
        ("type", "gift"),
        ("type", ["payment"]),
        ("status", "done"),
        ("user_id", ""),
        ("user_id", "u" * 65),
        ("wallet_id", "a\u0000b"),
        ("wallet_id", "a\nb"),
        ("description", "d" * 513),
        ("reference", {"a": 1}),
        ("metadata", []),
        ("metadata", {"a": {"b": {"c": {"d": {"e": {}}}}}}),
        ("metadata", {"a": "x" * 5000}),
        ("metadata", {"a": "\u0000"}),
        ("metadata", {"a": 10**20}),
        ("client_id", "somebody-else"),
        ("id", "01a20733-cc6b-74a3-a860-71497a499eb9"),
        ("created_at", "2026-01-01T00:00:00Z"),
        ("colour", "red"),
        ("supplier", "flash"),  # of a VAS transaction, not of this one
    ],
)
def test_a_value_that_breaks_a_rule_is_named(
    shared_api: httpx.Client, shared_database: psycopg.Connection[Any], field: str, value: Any
) -> None:
    named, rule = broken_rule(shared_api.post(PATH, json={**BODY, field: value}, headers=keyed()))

    assert named == field
    assert rule
    assert count(shared_database) == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("supplier", "acme"),
        ("vas_type", None),
        ("commission", "1.234"),
        ("mobile_number", "083-123"),
        ("processed_at", "2026-02-30T00:00:00Z"),
        ("processed_at", "2026-02-03"),
        ("processed_at", "2026-02-03T00:00:00"),
        ("processed_at", 1770000000),
        ("processed_at", "0001-01-01T00:00:00+14:00"),
        ("supplier_reference", "r" * 129),
    ],
)
def test_a_value_that_breaks_a_rule_of_vas_is_named(shared_api: httpx.Client, field: str, value: Any) -> None:
    assert broken_rule(shared_api.post(PATHS[1], json={**VAS_BODY, field: value}, headers=keyed()))[0] == field


@pytest.mark.parametrize("missing", ["user_id", "wallet_id", "type", "amount", "currency"])
def test_a_missing_field_is_named(shared_api: httpx.Client, missing: str) -> None:
    body = {name: value for name, value in BODY.items() if name != missing}
    assert broken_rule(shared_api.post(PATH, json=body, headers=keyed())) == (missing, "is required")


TEXT = json.dumps(BODY)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (TEXT.encode() + b"x", 400),
        (TEXT.replace('"120.50"', "NaN").encode(), 400),
        (TEXT.replace('"120.50"', "-Infinity").encode(), 400),
        (TEXT[:-1].encode() + b', "amount": "1.00"}', 400),  # two members of one name
        (TEXT.encode("utf-16"), 400),
        (b"\xef\xbb\xbf" + TEXT.encode(), 400),
        (b'{"a": "\xff"}', 400),
        (b"[" * 33 + b"]" * 33, 400),
        (b'{"a":' * 33 + b"1" + b"}" * 33, 400),
        (TEXT[:-1].encode() + b', "metadata": {"a": 1e99999999999999999999}}', 400),
        (b"[" * 10_000, 400),
        (b'{"a":' * 10_000, 400),
        (b'{"amount": ' + b"9" * 5000 + b"}", 400),
        (b"[]", 422),
        (b"null", 422),
        (b'"text"', 422),
        (b'{"\\ud800": 1}', 422),
        (TEXT.replace("user-1", "\\ud800").encode(), 422),
    ],
)
def test_a_body_that_is_not_strict_json_is_refused(shared_api: httpx.Client, body: bytes, status: int) -> None:
    response = shared_api.post(PATH, content=body, headers=keyed() | {"Content-Type": "application/json"})

    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_a_body_that_is_not_declared_as_json_is_refused(shared_api: httpx.Client, content_type: str) -> None:
    response = shared_api.post(PATH, content=TEXT, headers=keyed() | {"Content-Type": content_type})
    assert response.status_code == 415


def test_a_body_is_counted_while_it_is_read(api: httpx.Client, ledger: Ledger) -> None:
    settings, headers = ledger.settings, keyed() | {"Content-Type": "application/json"}
    for path, limit in (
        (PATH, settings.api_single_body_limit_bytes),
        (f"{PATH}/batch", settings.api_body_limit_bytes),
        (f"{PATH}/01a20733-cc6b-74a3-a860-71497a499eb9/status", settings.api_single_body_limit_bytes),
    ):
        just_fits = api.post(path, content=b" " * limit, headers=headers)
        assert just_fits.status_code == 400, "it is not JSON, which is looked at after its size"
        assert api.post(path, content=b" " * (limit + 1), headers=headers).status_code == 413
        streamed = api.post(path, content=(b" " * 65_536 for _ in range(limit // 65_536 + 1)), headers=headers)
        assert streamed.status_code == 413


def test_a_batch_stores_the_good_rows_and_reports_the_bad(api: httpx.Client, database: psycopg.Connection[Any]) -> None:
    items = [BODY, {**BODY, "amount": "x"}, {**BODY, "reference": "third"}, "no object", {**BODY, "colour": 1}]
    response = api.post(f"{PATH}/batch", json={"items": items}, headers=keyed())

    assert response.status_code == 200
    results = msgspec.json.decode(response.content, type=messages.BatchResults)
    assert (results.stored, results.rejected) == (2, 3)
    assert [(result.index, result.status) for result in results.results] == [
        (0, 201), (1, 422), (2, 201), (3, 422), (4, 422),
    ]  # fmt: skip
    fields = [broken.field for result in results.results if result.problem for broken in result.problem.errors or ()]
    assert fields == ["amount", "body", "colour"]
    assert api.get(f"{PATH}/{results.results[2].id}").json()["reference"] == "third"
    assert count(database) == 2


@pytest.mark.parametrize("path", PATHS)
def test_a_batch_again_gets_the_first_answer(
    api: httpx.Client, database: psycopg.Connection[Any], ledger: Ledger, path: str
) -> None:
    body = {"items": [BODIES[path]] * 1000}
    first = api.post(f"{path}/batch", json=body, headers=keyed("k"))
    again = api.post(f"{path}/batch", json=body, headers=keyed("k"))

    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    assert len({result["id"] for result in first.json()["results"]}) == 1000
    assert count(database, ledger.table(path).hot_parent) == 1000


def test_a_batch_of_bad_rows_only_is_answered_and_remembered(api: httpx.Client) -> None:
    body = {"items": [{**BODY, "amount": "x"}]}
    first = api.post(f"{PATH}/batch", json=body, headers=keyed("k"))
    again = api.post(f"{PATH}/batch", json=body, headers=keyed("k"))

    assert (first.status_code, first.json()["rejected"]) == (200, 1)
    assert again.content == first.content
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")


@pytest.mark.parametrize("body", [{}, {"items": []}, {"items": [BODY] * 1001}, {"items": {}}, {"rows": [BODY]}])
def test_a_batch_that_is_none_is_refused(shared_api: httpx.Client, body: dict[str, Any]) -> None:
    field, _ = broken_rule(shared_api.post(f"{PATH}/batch", json=body, headers=keyed()))
    assert field == ("rows" if "rows" in body else "items")


def test_a_row_of_a_month_without_a_partition_is_refused_and_nothing_of_it_is_stored(
    api: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    for (name,) in database.execute("SELECT inhrelid::regclass::text FROM pg_inherits JOIN pg_class ON oid = inhparent"
                                    " WHERE relname = 'transactions_partitioned'").fetchall():  # fmt: skip
        database.execute(f"ALTER TABLE transactions_partitioned DETACH PARTITION {name}")
    response = api.post(PATH, json=BODY, headers=keyed())

    assert response.status_code == 500
    assert "partition" not in response.text
    assert database.execute("SELECT count(*) FROM idempotency_keys").fetchone() == (0,)
    assert api.post(PATHS[1], json=VAS_BODY, headers=keyed()).status_code == 201


def test_the_time_is_the_servers(api: httpx.Client) -> None:
    before = datetime.now().astimezone()
    row = msgspec.json.decode(api.post(PATH, json=BODY, headers=keyed()).content, type=messages.Transaction)
    assert abs((row.created_at - before).total_seconds()) < 10


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("0.1234567890123456789", "0.1234567890123456789"),
        ("1.10", "1.10"),
        ("1e3", "1000"),
        ("2e-7", "0.0000002"),
        ("123456789012345", "123456789012345"),
    ],
)
def test_a_number_in_metadata_keeps_every_digit(
    api: httpx.Client, database: psycopg.Connection[Any], given: str, stored: str
) -> None:
    body = TEXT[:-1] + f', "metadata": {{"a": {given}}}}}'
    headers = keyed() | {"Content-Type": "application/json"}
    answer = api.post(PATH, content=body, headers=headers)

    assert answer.status_code == 201
    assert f'"metadata":{{"a":{stored}}}' in answer.text
    row = database.execute("SELECT metadata::text FROM transactions_partitioned").fetchone()
    assert row == (f'{{"a": {stored}}}',)


@pytest.mark.parametrize("number", ["1e400", "-1e16", "1e-31", "0.0000000000000000000000000000001"])
def test_a_number_in_metadata_that_would_be_written_out_at_length_is_refused(
    shared_api: httpx.Client, number: str
) -> None:
    body = TEXT[:-1] + f', "metadata": {{"a": {number}}}}}'
    headers = keyed() | {"Content-Type": "application/json"}
    assert broken_rule(shared_api.post(PATH, content=body, headers=headers))[0] == "metadata"


@pytest.mark.parametrize("name", ["w\u00a01", "w\u200b1", "w\u202e1", "w\u03781", "w\x851", "", "w" * 65])
def test_a_name_that_cannot_be_asked_for_cannot_be_stored(shared_api: httpx.Client, name: str) -> None:
    stored = broken_rule(shared_api.post(PATH, json={**BODY, "wallet_id": name}, headers=keyed()))
    asked = broken_rule(shared_api.get(PATH, params={"wallet_id": name}))
    assert stored == asked == ("wallet_id", "must have 1 to 64 printable characters")


@pytest.mark.parametrize("name", ["w-1 ", " w-1", " ", "cafe\u0301"])
@pytest.mark.parametrize("field", ["wallet_id", "user_id", "counterparty_wallet_id", "supplier_product_id"])
def test_a_name_is_refused_rather_than_changed_one_by_one_and_in_a_batch(
    shared_api: httpx.Client, field: str, name: str
) -> None:
    body = {**BODIES[PATHS[1]], field: name}
    refused, rule = broken_rule(shared_api.post(PATHS[1], json=body, headers=keyed()))
    batch = shared_api.post(f"{PATHS[1]}/batch", json={"items": [body] * 2}, headers=keyed()).json()

    assert refused == field
    assert ("NFC" in rule) == (name == "cafe\u0301")
    assert [result["problem"]["errors"][0]["field"] for result in batch["results"]] == [field, field]


@pytest.mark.parametrize("name", ["w-1 ", " w-1", "cafe\u0301"])
def test_rows_that_were_stored_under_such_a_name_are_read_by_exactly_that_name(
    api: httpx.Client, ledger: Ledger, database: psycopg.Connection[Any], this_month: Month, name: str
) -> None:
    (row,) = ledger.add(ledger.table(PATH), [this_month.lower], status="pending")
    database.execute("UPDATE transactions_partitioned SET wallet_id = %s", (name,))
    found, others = (api.get(PATH, params={"wallet_id": asked}).json()["items"] for asked in (name, "w-1"))
    assert [(item["id"], item["wallet_id"]) for item in found] == [(str(row["id"]), name)]
    assert others == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("wallet_id=caf%E9", "wallet_id"),  # codespell:ignore caf
        ("wallet_id=w&user_id=%FF", "user_id"),
        ("wallet_id=%C3", "wallet_id"),
        ("wallet_id=%ED%A0%80", "wallet_id"),
        ("wallet_id=w&cursor=%80", "cursor"),
        ("wallet_id=w&limit=%B9", "limit"),
        ("wallet%E9=w", "query"),
    ],
)
@pytest.mark.parametrize("path", PATHS)
def test_a_query_that_is_not_percent_encoded_utf_8_is_refused_by_name(
    shared_api: httpx.Client, path: str, query: str, field: str
) -> None:
    answer = shared_api.get(httpx.URL(f"{shared_api.base_url}{path}", query=query.encode()))
    assert broken_rule(answer)[0] == field


def test_an_encoded_query_is_read_as_what_it_means(api: httpx.Client) -> None:
    stored = api.post(PATH, json={**BODY, "wallet_id": "w\u00e9 50%+1"}, headers=keyed()).json()
    for query in (
        b"wallet_id=w%C3%A9%2050%25%2B1",
        b"wallet_id=w%c3%a9+50%25%2b1&",
        b"&wallet%5Fid=w%C3%A9+50%25%2B1",
    ):
        answer = api.get(httpx.URL(f"{api.base_url}{PATH}", query=query))
        assert [row["id"] for row in answer.json()["items"]] == [stored["id"]]


@pytest.mark.parametrize("path", ["/api/v1/transactions/w%E9", "/api/v1/vas-transactions/%FF/failure"])
def test_a_path_that_is_not_utf_8_is_refused_by_name(shared_api: httpx.Client, path: str) -> None:
    assert broken_rule(shared_api.get(path))[0] == "id"


def test_a_batch_of_many_items_is_not_taken_for_a_deep_body(api: httpx.Client) -> None:
    items = [{**BODY, "metadata": {"a": [["]}{[", "\\", '"']]}}] * 100
    answer = api.post(f"{PATH}/batch", json={"items": items}, headers=keyed())
    assert (answer.status_code, answer.json()["stored"]) == (200, 100)
