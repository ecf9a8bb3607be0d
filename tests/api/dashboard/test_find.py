"""The page Find: rows of every tier by id, wallet, user and reference; as files; each with its proof."""

import codecs
import csv
import io
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from config import Settings
from config.retention import RetentionSettings
from ledger.identifiers import new_id
from ledger.months import Month
from ledger.proof_files import check_proof
from ledger.scopes import Scope
from ledger.transparency.policies import LogPolicy
from sql.connection import connect, fetch_one
from tasks.admin.keys import create_key
from tasks.archiving.late_rows import open_late_rows
from tasks.archiving.to_deep import deepen
from tasks.retention.approvals import approve, request_deletion
from tasks.retention.deletion import delete_months
from tasks.transparency.publish import publish_log
from tasks.transparency.report import policy_text
from tests.api.conftest import serving
from tests.api.dashboard.conftest import MakePerson
from tests.api.dashboard.person import Document, Person
from tests.api.dashboard.test_pages import check_html
from tests.api.ledger_rows import Ledger
from tests.stores import Store

FIND = "/dashboard/find"
COLD, EMPTY, WARM = Month(2024, 3), Month(2024, 4), Month(2026, 3)
Rows = dict[str, dict[str, Any]]
READ = (Scope.TRANSACTIONS_READ, Scope.VAS_READ, Scope.ARCHIVE_READ)
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def rows(shared: Settings) -> Rows:
    """One row of `acme`'s wallet in each tier and table, and rows of others beside them."""
    ledger = Ledger(shared)
    table, vas = shared.table("transactions"), shared.table("vas_transactions")
    made: Rows = {}

    def add(name: str, of: Any, at: datetime, **changes: Any) -> None:
        (made[name],) = ledger.add(of, [at], **changes)

    add("cold", table, COLD.lower + timedelta(days=2), wallet_id="w-1", reference="ref-cold", amount="7.00")
    add("others", table, COLD.lower + timedelta(days=3), wallet_id="w-1", reference="ref-others", client_id="other")
    add("alone", table, COLD.lower + timedelta(days=4), wallet_id="w-alone", reference="ref-alone", user_id="u-alone")
    add("empty", table, EMPTY.lower, wallet_id="w-none")
    add("warm", table, WARM.lower + timedelta(hours=23), wallet_id="w-1", reference="=cmd()")
    add("hot", table, datetime.now(UTC), wallet_id="w-1", description=HOSTILE, metadata={"pin": "1234", "note": "x"})
    add(
        "vas",
        vas,
        COLD.lower + timedelta(days=9),
        wallet_id="w-1",
        mobile_number="+27831234567",
        supplier_reference="s-1",
    )
    for month in (COLD, EMPTY):
        ledger.cold(table, month)
    ledger.cold(vas, COLD)
    ledger.warm(table, WARM)
    publish_log(shared)
    return made


@pytest.fixture
def acme(make_person: MakePerson, rows: Rows) -> Person:
    """Somebody of `acme` who reads both tables and the archive."""
    return make_person(READ)


def find(person: Person, **query: str) -> Document:
    """What the form finds, by a wallet if nothing else is said."""
    answer = person.open(FIND, params={"by": "wallet_id", **query})
    assert answer.status_code == 200, answer.text
    document = Document(answer.text)
    check_html(document)
    return document


def ids(document: Document) -> list[str]:
    """The ids of the rows of a page, in their order."""
    found = (re.fullmatch(rf"{FIND}/\w+/([0-9a-f-]{{36}})", link) for link in document.links)
    return [one[1] for one in found if one is not None]


def months_read(document: Document) -> tuple[int, int]:
    found = re.search(r"Read (\d+) of (\d+) months", document.text)
    assert found is not None
    return int(found[1]), int(found[2])


def test_the_page_begins_with_a_form_that_searches_nothing(acme: Person) -> None:
    document = acme.read(FIND)
    assert document.forms[-1].action == FIND
    assert ids(document) == []
    assert "every tier" in document.text


def test_a_wallet_is_found_in_every_tier_and_both_tables_newest_first(acme: Person, rows: Rows) -> None:
    document = find(acme, value="w-1")
    wanted = [rows[name] for name in ("hot", "warm", "vas", "cold")]
    assert ids(document) == [str(row["id"]) for row in wanted]
    for text in ("Hot", "Warm", "Cold", "VAS transactions", "4 rows"):
        assert text in document.text
    assert HOSTILE not in document.html


@pytest.mark.parametrize(
    ("by", "value", "name"),
    [("reference", "ref-cold", "cold"), ("reference", "=cmd()", "warm"), ("user_id", "u-alone", "alone")],
)
def test_a_row_is_found_by_what_it_has(acme: Person, rows: Rows, by: str, value: str, name: str) -> None:
    assert ids(find(acme, by=by, value=value)) == [str(rows[name]["id"])]


@pytest.mark.parametrize("name", ["cold", "warm", "hot", "vas"])
def test_a_row_is_found_by_its_id_in_any_case_and_with_spaces_around(acme: Person, rows: Rows, name: str) -> None:
    row_id = str(rows[name]["id"])
    for text in (row_id, row_id.upper(), f" {row_id} "):
        assert ids(find(acme, by="id", value=text)) == [row_id]


def test_the_page_says_which_months_it_read(acme: Person) -> None:
    every, known = months_read(find(acme, value="w-1"))
    by_reference, same = months_read(find(acme, by="reference", value="ref-cold"))
    within, _ = months_read(find(acme, by="reference", value="ref-cold", **{"from": "2024-03-01", "to": "2024-03-31"}))
    assert known == same == every + 1  # the filter of the one month denies the wallet
    assert by_reference == every - 1  # and in VAS that of the reference
    assert within == 1
    assert "Cold Transactions: 2024-03" in find(acme, by="reference", value="ref-cold").text


def test_days_are_those_of_the_chosen_zone(acme: Person, rows: Rows) -> None:
    day = {"from": "2026-03-02", "to": "2026-03-02", "value": "w-1"}
    assert ids(find(acme, **day)) == []
    assert ids(find(acme, **day, zone="Africa/Johannesburg")) == [str(rows["warm"]["id"])]
    assert "days of Johannesburg (UTC+2)" in find(acme, **day, zone="Africa/Johannesburg").text


def test_pages_leave_no_row_out_and_show_none_twice(acme: Person, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.dashboard.find.ROWS_OF_A_PAGE", 1)
    seen: list[str] = []
    document = find(acme, value="w-1")
    while True:
        seen += ids(document)
        older = [link for link in document.links if "cursor=" in link]
        if not older:
            break
        document = acme.read(older[0])
        assert "Newest rows" in document.text
    assert seen == [str(rows[name]["id"]) for name in ("hot", "warm", "vas", "cold")]


def test_the_number_of_all_rows_is_counted_on_demand(acme: Person, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    count = len(ids(find(acme, value="w-1")))
    monkeypatch.setattr("api.dashboard.find.ROWS_OF_A_PAGE", 1)
    document = Document(acme.open(FIND, params={"by": "wallet_id", "value": "w-1"}).text)
    assert "in all" not in document.text
    (way,) = [link for link in document.links if "count=yes" in link]
    assert f"1 row on this page, {count} in all" in acme.read(way).text
    assert acme.open(FIND, params={"by": "wallet_id", "value": "w-1", "count": "no"}).status_code == 422


def test_an_id_that_is_looked_for_as_another_kind_leads_to_its_row(acme: Person, rows: Rows) -> None:
    row_id = str(rows["cold"]["id"])
    document = Document(acme.open(FIND, params={"by": "reference", "value": f" {row_id.upper()}"}).text)
    check_html(document)
    assert "it was looked for as a reference" in document.text
    (way,) = [link for link in document.links if "by=id" in link and "download" not in link]
    assert f"{FIND}/transactions/{row_id}" in acme.read(way).links
    assert "by=id" not in Document(acme.open(FIND, params={"by": "reference", "value": "nothing"}).text).html


def test_a_cursor_of_another_search_is_refused(acme: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.dashboard.find.ROWS_OF_A_PAGE", 1)
    older = next(link for link in find(acme, value="w-1").links if "cursor=" in link)
    cursor = parse_qs(urlsplit(older).query)["cursor"][0]
    for query in ({"value": "w-2"}, {"value": "w-1", "to": "2026-01-01"}, {"value": "w-1", "table": "transactions"}):
        answer = acme.open(FIND, params={"by": "wallet_id", **query, "cursor": cursor})
        assert answer.status_code == 422
        assert "cursor: must be the next_cursor" in Document(answer.text).text


def test_rows_of_other_clients_need_read_all(acme: Person, make_person: MakePerson, rows: Rows) -> None:
    others = str(rows["others"]["id"])
    assert others not in ids(find(acme, value="w-1"))
    assert ids(find(acme, by="reference", value="ref-others")) == []
    assert "rows of the client acme only" in find(acme, by="reference", value="ref-others").text
    assert acme.open(f"{FIND}/transactions/{others}").status_code == 404
    for ending in ("proof", "wallet-month"):
        assert acme.open(f"{FIND}/transactions/{others}/{ending}").status_code == 404
    auditor = make_person([*READ, Scope.READ_ALL])
    document = find(auditor, value="w-1")
    assert others in ids(document)
    assert "other" in document.text


def test_without_its_scope_the_second_table_is_not_searched_and_the_page_says_so(
    make_person: MakePerson, rows: Rows
) -> None:
    person = make_person([Scope.TRANSACTIONS_READ, Scope.ARCHIVE_READ])
    document = find(person, value="w-1")
    assert str(rows["vas"]["id"]) not in ids(document)
    assert "VAS transactions were not searched" in document.text
    for path in (
        f"{FIND}?value=w-1&by=wallet_id&table=vas_transactions",
        f"{FIND}/vas_transactions/{rows['vas']['id']}",
    ):
        answer = person.open(path)
        assert answer.status_code == 403
        assert "vas:read" in Document(answer.text).text


def test_a_key_for_the_second_table_alone_finds_its_rows(make_person: MakePerson, rows: Rows) -> None:
    person = make_person([Scope.VAS_READ, Scope.ARCHIVE_READ])
    document = find(person, value="w-1")
    assert str(rows["vas"]["id"]) in ids(document)
    assert not {str(rows[name]["id"]) for name in ("hot", "warm", "cold")} & set(ids(document))
    assert "Transactions were not searched: this key lacks the scope transactions:read" in document.text
    assert person.open(f"{FIND}/transactions/{rows['hot']['id']}").status_code == 403


def test_proofs_need_the_scope_of_the_archive(make_person: MakePerson, rows: Rows) -> None:
    person = make_person([Scope.TRANSACTIONS_READ])
    path = f"{FIND}/transactions/{rows['alone']['id']}"
    document = person.read(path)
    assert "scope archive:read" in document.text
    assert not [link for link in document.links if link.startswith(f"{path}/")]
    for ending in ("proof", "wallet-month"):
        assert person.open(f"{path}/{ending}").status_code == 403


@pytest.mark.parametrize(
    ("query", "field", "said"),
    [
        ({"value": ""}, "value", "This is required"),
        ({"value": "x" * 65}, "value", "1 to 64 printable characters"),
        ({"value": "a\x07b"}, "value", "printable"),
        ({"by": "id", "value": "17"}, "value", "must be a UUID"),
        ({"by": "amount", "value": "1"}, "by", "must be one of"),
        ({"value": "w", "table": "secrets"}, "table", "must be one of"),
        ({"value": "w", "zone": "Mars"}, "zone", "must be one of"),
        ({"value": "w", "from": "2024-02-30"}, "from", "must be a day of the calendar"),
        ({"value": "w", "to": "yesterday"}, "to", "must be a day of the calendar"),
        ({"value": "w", "from": "2024-03-02", "to": "2024-03-01"}, "to", "must not be before the first day"),
        ({"value": "w", "from": "0001-01-01"}, "from", "must be in the years"),
        ({"value": "w", "to": "9999-12-31"}, "to", "must be in the years"),
        ({"value": HOSTILE * 9}, "value", "printable characters"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field_and_stays_there(
    acme: Person, query: dict[str, str], field: str, said: str
) -> None:
    answer = acme.open(FIND, params={"by": "wallet_id", **query})
    assert answer.status_code == 422
    document = Document(answer.text)
    check_html(document)
    assert said in document.text
    marked = [one for one in (*document.all("input"), *document.all("select")) if one.get("aria-invalid") == "true"]
    assert [one["name"] for one in marked] == [field]
    assert f"{field}-wrong" in document.ids
    entered = {one["name"]: one.get("value") for one in document.all("input") if one.get("type") != "hidden"}
    assert entered["value"] == query["value"]
    assert HOSTILE not in document.html


@pytest.mark.parametrize("value", [HOSTILE, "' OR '1'='1", "%", "w_1", '"; DROP TABLE x; --', "ω" * 60])
def test_a_hostile_value_finds_nothing_and_is_text(acme: Person, value: str) -> None:
    document = find(acme, value=value)
    assert ids(document) == []
    assert "No row was found" in document.text
    for form in ("csv", "parquet"):
        answer = acme.open(f"{FIND}/download/{form}", params={"by": "wallet_id", "value": value})
        assert answer.status_code == 200
        assert 'filename="found-0-rows' in answer.headers["content-disposition"]


def test_a_value_with_a_space_at_its_end_is_named(acme: Person) -> None:
    assert "space at an end" in find(acme, value="w-1 ").text


def test_csv_and_parquet_have_the_rows_of_the_page(acme: Person, rows: Rows) -> None:
    wanted = ids(find(acme, value="w-1"))
    query = {"by": "wallet_id", "value": "w-1"}
    text = acme.open(f"{FIND}/download/csv", params=query)
    assert text.content.startswith(codecs.BOM_UTF8)  # a spreadsheet takes the text for UTF-8
    lines = list(csv.DictReader(io.StringIO(text.content.decode("utf-8-sig"))))
    table = pq.read_table(io.BytesIO(acme.open(f"{FIND}/download/parquet", params=query).content))
    assert [line["id"] for line in lines] == table["id"].to_pylist() == wanted
    assert [line["tier"] for line in lines] == ["hot", "warm", "cold", "cold"]
    assert [line["table"] for line in lines] == ["transactions", "transactions", "vas_transactions", "transactions"]
    assert lines[3]["amount"] == "7.00"
    assert str(table["amount"].to_pylist()[3]) == "7.00"
    assert lines[3]["created_at"] == rows["cold"]["created_at"].isoformat()
    assert text.headers["content-disposition"] == 'attachment; filename="found-4-rows.csv"'
    assert text.headers["cache-control"] == "no-store"
    assert lines[1]["reference"] == "'=cmd()"  # no spreadsheet runs it
    assert table["reference"].to_pylist()[1] == "=cmd()"


def test_a_row_with_an_infinite_time_is_found_shown_and_in_the_files(acme: Person, shared: Settings) -> None:
    table, infinite = shared.table("transactions"), {"updated_at": "infinity"}
    (row,) = Ledger(shared).far(table, datetime.now(UTC), infinite, wallet_id="w-far")
    assert ids(find(acme, value="w-far")) == [str(row["id"])]
    assert "9999-12-31 23:59:59.999999" in acme.read(f"{FIND}/transactions/{row['id']}").text
    query = {"by": "wallet_id", "value": "w-far"}
    (line,) = csv.DictReader(io.StringIO(acme.open(f"{FIND}/download/csv", params=query).text))
    assert line["updated_at"] == "9999-12-31T23:59:59.999999+00:00"
    file = pq.read_table(io.BytesIO(acme.open(f"{FIND}/download/parquet", params=query).content))
    assert file["updated_at"].cast(pa.int64()).to_pylist() == [2**63 - 1]


def test_files_have_no_whole_mobile_number_and_no_secret(acme: Person) -> None:
    query = {"by": "wallet_id", "value": "w-1"}
    text = acme.open(f"{FIND}/download/csv", params=query).text
    table = pq.read_table(io.BytesIO(acme.open(f"{FIND}/download/parquet", params=query).content))
    assert "***4567" in text
    for written in (text, str(table.to_pylist())):
        assert "831234567" not in written
        assert '1234"' not in written
        assert "'1234'" not in written


def test_a_file_of_another_clients_rows_is_empty_without_read_all(
    acme: Person, make_person: MakePerson, rows: Rows
) -> None:
    query = {"by": "reference", "value": "ref-others"}
    assert "found-0-rows" in acme.open(f"{FIND}/download/csv", params=query).headers["content-disposition"]
    auditor = make_person([*READ, Scope.READ_ALL])
    assert str(rows["others"]["id"]) in auditor.open(f"{FIND}/download/csv", params=query).text


def test_a_file_that_was_cut_says_so_in_its_name_and_in_itself(acme: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.dashboard.download_desk.MOST_ROWS", 2)
    query = {"by": "wallet_id", "value": "w-1"}
    text = acme.open(f"{FIND}/download/csv", params=query)
    assert 'filename="found-first-2-rows.csv"' in text.headers["content-disposition"]
    *_, last = csv.reader(io.StringIO(text.text))
    assert last[0].startswith("CUT: these are the newest 2 rows")
    file = pq.ParquetFile(io.BytesIO(acme.open(f"{FIND}/download/parquet", params=query).content))
    assert file.metadata.num_rows == 2
    assert file.metadata.metadata[b"treasury.cut"].startswith(b"CUT: these are the newest 2 rows")


def test_a_file_takes_the_form_and_the_search_of_the_page_only(acme: Person) -> None:
    for path in ("xlsx?by=wallet_id&value=w", "csv", "csv?by=wallet_id&value=w&limit=5", "csv?by=id&value=1"):
        answer = acme.open(f"{FIND}/download/{path}")
        assert answer.status_code == 422
        check_html(Document(answer.text))


def test_a_row_shows_every_field_its_tier_and_its_month(acme: Person, rows: Rows) -> None:
    document = acme.read(f"{FIND}/vas_transactions/{rows['vas']['id']}")
    check_html(document)
    for text in (str(rows["vas"]["id"]), "120.50 ZAR", "w-1", "Airtime", "***4567", "2024-03 UTC", "Cold", "s-1"):
        assert text in document.text
    assert "831234567" not in document.html
    hot = acme.read(f"{FIND}/transactions/{rows['hot']['id']}")
    assert HOSTILE in hot.text
    assert HOSTILE not in hot.html
    assert "1234" not in re.sub(r"[0-9a-f-]{36}|<time.*?</time>", "", hot.html.split("Metadata")[1].split("</dd>")[0])


def test_a_row_that_is_not_archived_says_when_it_is_provable(acme: Person, rows: Rows) -> None:
    document = acme.read(f"{FIND}/transactions/{rows['warm']['id']}")
    assert "Warm, in PostgreSQL" in document.text
    assert "by the policy from 2027-04-01 on" in document.text
    answer = acme.open(f"{FIND}/transactions/{rows['warm']['id']}/proof")
    assert answer.status_code == 409
    assert "provable once it is archived" in Document(answer.text).text


def test_the_proof_of_a_row_and_of_its_wallets_month_hold_elsewhere(
    acme: Person, make_person: MakePerson, shared: Settings, rows: Rows
) -> None:
    path = f"{FIND}/transactions/{rows['alone']['id']}"
    links = [link for link in acme.read(path).links if link.startswith(path)]
    assert links == [f"{path}/proof", f"{path}/wallet-month"]
    policy = LogPolicy.parse(acme.open("/dashboard/life/policy").content)
    for link in links:
        (fields,) = check_proof(acme.open(link).content, policy).proved.rows
        assert fields["id"] == str(rows["alone"]["id"])
    shared_wallet = f"{FIND}/transactions/{rows['cold']['id']}/wallet-month"
    refused = acme.open(shared_wallet)  # it would show a row of another client
    assert (refused.status_code, "read:all" in refused.text) == (403, True)
    proof = make_person([*READ, Scope.READ_ALL]).open(shared_wallet)
    assert len(check_proof(proof.content, policy).proved.rows) == 2


def test_a_row_says_by_which_entry_of_the_log_it_is_proved(acme: Person, rows: Rows, shared: Settings) -> None:
    document = acme.read(f"{FIND}/transactions/{rows['alone']['id']}")
    check_html(document)
    month = f"/dashboard/life/transactions/{COLD}"
    assert document.links.count(month) == 2
    entry = acme.read(month).text.partition("Place in the log entry ")[2].split()[0]
    with connect(shared.database_dsn, "tests") as connection:
        (size,) = fetch_one(connection, "SELECT published_size FROM log_state")
    assert f"Proved yes, by entry {entry} of the public log Newest checkpoint {size} entries, " in document.text
    assert "Last read and verified" in document.text
    assert "/dashboard/life/policy" in document.links


def test_what_is_not_there_is_a_page_that_says_so(acme: Person) -> None:
    missing = new_id(COLD.lower, lambda _: 1)
    for ending in ("", "/proof", "/wallet-month"):
        answer = acme.open(f"{FIND}/transactions/{missing}{ending}")
        assert answer.status_code == 404
        check_html(Document(answer.text))
    for path in (
        f"{FIND}/transactions/7",
        f"{FIND}/nothing/{missing}",
        f"{FIND}/transactions/{missing}/wallet-month?part=0",
    ):
        assert acme.open(path).status_code in (404, 422)


@dataclass
class Place:
    """An API of a test's own, and somebody who has signed in to it."""

    ledger: Ledger
    person: Person


@pytest.fixture
def place(ready: Settings) -> Iterator[Place]:
    with serving(ready) as url:
        person = Person(url, create_key(ready, "acme", READ))
        with person.client:
            person.sign_in()
            yield Place(Ledger(ready), person)


def test_a_row_that_came_late_is_shown_once_and_has_its_part(place: Place) -> None:
    ledger, table = place.ledger, place.ledger.settings.table("transactions")
    (first,) = ledger.add(table, [COLD.lower], wallet_id="w-1")
    ledger.cold(table, COLD)
    open_late_rows(ledger.settings, table, COLD)
    (late,) = ledger.add(table, [COLD.lower + timedelta(days=1)], wallet_id="w-1")
    document = find(place.person, value="w-1")
    assert ids(document) == [str(late["id"]), str(first["id"])]
    read, known = months_read(document)
    assert read == known  # a month counts once, though it is in two tiers
    shown = place.person.read(f"{FIND}/transactions/{late['id']}")
    assert "This row came late" in shown.text
    ledger.cold(table, COLD)
    publish_log(ledger.settings)
    assert ids(find(place.person, value="w-1")) == [str(late["id"]), str(first["id"])]
    path = f"{FIND}/transactions/{late['id']}"
    parts = [link for link in place.person.read(path).links if "wallet-month" in link]
    assert parts == [f"{path}/wallet-month?part=1", f"{path}/wallet-month?part=2"]
    policy = LogPolicy.parse(policy_text(ledger.settings).encode())
    for link, row in zip(parts, (first, late), strict=True):
        (fields,) = check_proof(place.person.open(link).content, policy).proved.rows
        assert fields["id"] == str(row["id"])


def test_a_month_that_somebody_took_away_is_named_and_nothing_is_short(place: Place) -> None:
    ledger, table = place.ledger, place.ledger.settings.table("transactions")
    ledger.add(table, [WARM.lower], wallet_id="w-1")
    with psycopg.connect(ledger.settings.database_dsn, autocommit=True) as connection:
        name = f"{table.name}_2026_03"
        connection.execute(f"ALTER TABLE {table.hot_parent} DETACH PARTITION {name}")
    for path in (f"{FIND}?by=wallet_id&value=w-1", f"{FIND}/download/csv?by=wallet_id&value=w-1"):
        answer = place.person.open(path)
        assert answer.status_code == 503, answer.text
        check_html(Document(answer.text))
    assert "2026-03 cannot be read" in Document(place.person.open(f"{FIND}?by=wallet_id&value=w-1").text).text


def test_a_search_that_takes_too_long_says_what_to_do(place: Place) -> None:
    ledger = place.ledger
    slow = ledger.settings.model_copy(update={"api_statement_timeout_ms": 100})
    ledger.add(ledger.settings.table("transactions"), [WARM.lower], wallet_id="w-1")
    with serving(slow) as url, psycopg.connect(ledger.settings.database_dsn) as blocker:
        person = Person(url, place.person.key)
        with person.client:
            person.sign_in()
            blocker.execute("LOCK TABLE transactions_partitioned IN ACCESS EXCLUSIVE MODE")
            answer = person.open(FIND, params={"by": "reference", "value": "r"})
    assert answer.status_code == 503
    document = Document(answer.text)
    check_html(document)
    assert "Choose fewer days" in document.text
    assert next(one for one in document.all("input") if one.get("id") == "value")["value"] == "r"


def test_a_month_that_must_be_restored_is_named_with_its_command(ready: Settings, moto_store: Store) -> None:
    settings = moto_store.settings(ready, moto_store.plain, uuid.uuid4().hex)
    settings = settings.model_copy(update={"deep_storage_class": "DEEP_ARCHIVE"})
    ledger, table, old = Ledger(settings), settings.table("transactions"), Month(2016, 1)
    (row,) = ledger.add(table, [old.lower + timedelta(days=3)], wallet_id="w-1")
    (young,) = ledger.add(table, [COLD.lower], wallet_id="w-1")
    for month in (old, COLD):
        ledger.cold(table, month)
    deepen(settings, table, old)
    publish_log(settings)
    with serving(settings) as url:
        person = Person(url, create_key(settings, "acme", READ))
        with person.client:
            person.sign_in()
            for path in (
                f"{FIND}?by=wallet_id&value=w-1",
                f"{FIND}?by=id&value={row['id']}",
                f"{FIND}/download/csv?by=wallet_id&value=w-1",
                f"{FIND}/transactions/{row['id']}",
                f"{FIND}/transactions/{row['id']}/proof",
            ):
                answer = person.open(path)
                assert answer.status_code == 409, (path, answer.text)
                document = Document(answer.text)
                check_html(document)
                assert "treasury restore-request transactions 2016-01" in document.text
            newer = find(person, value="w-1", **{"from": "2020-01-01"})
            assert ids(newer) == [str(young["id"])]


def test_deleted_months_are_named_with_their_certificates(ready: Settings) -> None:
    settings = ready.model_copy(update={"retention": RetentionSettings(grace_days=0)})
    ledger, table, old = Ledger(settings), settings.table("transactions"), Month(2015, 1)
    (row,) = ledger.add(table, [old.lower + timedelta(days=3)], wallet_id="w-1")
    ledger.cold(table, old)
    publish_log(settings)
    request = request_deletion(settings, [table], "anna", "past the policy")
    for approver in ("ben", "carol"):
        approve(settings, request.request_id, approver, "looked at it")
    (deleted,) = delete_months(settings)
    with serving(settings) as url:
        person = Person(url, create_key(settings, "acme", READ))
        with person.client:
            person.sign_in()
            for query in ({"value": "w-1"}, {"by": "id", "value": str(row["id"])}):
                text = find(person, **query).text
                assert "No row was found" in text
                assert "2015-01: the rows were deleted" in text
                assert str(deleted.certificate) in text
            assert "were deleted" not in find(person, value="w-1", **{"from": "2020-01-01"}).text
            gone = person.open(f"{FIND}/transactions/{row['id']}")
            assert gone.status_code == 410
            assert str(deleted.certificate) in gone.text
