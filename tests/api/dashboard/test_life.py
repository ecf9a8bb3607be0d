"""The pages *Life of the data* on a running API: the grid, a month, its proofs, and nothing of other clients' rows."""

import asyncio
import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb

from api.dashboard.certificates import CERTIFICATE_POLICY, CERTIFICATES
from api.dashboard.find import FIND
from api.dashboard.formats import cost, percent, size
from api.dashboard.life import LIFE
from config import Settings
from ledger.forecast import KnownPart
from ledger.holds import HoldScope
from ledger.months import Month
from ledger.proof_files import check_proof
from ledger.scopes import Scope
from ledger.storage_costs import CostOfMonth, sum_of_costs
from ledger.tables import TieredTable
from ledger.transparency.policies import LogPolicy
from sql.connection import connect
from tasks.admin.keys import create_key
from tasks.archiving.late_rows import open_late_rows
from tasks.archiving.plan import plan_table
from tasks.retention.approvals import approve, request_deletion
from tasks.retention.certificate_checks import find
from tasks.retention.costs import TableCost, table_cost, table_costs
from tasks.retention.deletion import delete_months
from tasks.retention.holds import place_hold
from tasks.transparency.publish import publish_log
from tasks.transparency.report import policy_text
from tests.api.conftest import serving, unlimited
from tests.api.dashboard.person import Document, Person
from tests.api.dashboard.test_pages import check_html
from tests.api.ledger_rows import Ledger

COLD = Month(2024, 3)
READ = (Scope.ARCHIVE_READ,)
READ_ALL = (Scope.ARCHIVE_READ, Scope.READ_ALL)
HOSTILE = "<script>alert(1)</script>\u202e" + "x" * 10_000


class Site:
    """A ledger with a cold month of two clients, a held-back warm one and a hot one, and an API on it."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        table = ledger.settings.table("transactions")
        at = [COLD.lower + timedelta(days=day) for day in range(3)]
        self.own = ledger.add(table, at, wallet_id="w-acme")
        self.theirs = ledger.add(table, at[:1], wallet_id="w-other", client_id="other")
        ledger.add(table, at[1:2], wallet_id="w-shared")
        ledger.add(table, at[1:2], wallet_id="w-shared", client_id="other")
        ledger.cold(table, COLD)
        self.pending = Month.of(datetime.now(UTC)).plus(-14)
        ledger.add(table, [self.pending.lower + timedelta(hours=1)], status="pending")
        ledger.warm(table, self.pending)
        publish_log(ledger.settings)


@pytest.fixture
def site(ledger: Ledger) -> Site:
    return Site(ledger)


@pytest.fixture
def url(site: Site) -> Iterator[str]:
    with serving(unlimited(site.ledger.settings)) as url:
        yield url


@pytest.fixture
def people(url: str, site: Site) -> Iterator[Any]:
    """Makes somebody who has signed in with a key of the given scopes and client."""
    made = []

    def make(scopes: Any = READ_ALL, client: str = "acme") -> Person:
        person = Person(url, create_key(site.ledger.settings, client, scopes))
        made.append(person)
        assert person.sign_in(LIFE).headers["location"] == LIFE
        return person

    yield make
    for person in made:
        person.client.close()


def cells(document: Document) -> dict[str, tuple[str, str]]:
    """Class and title of each cell, by its link."""
    return {
        str(one["href"]): (str(one["class"]), str(one["title"]))
        for one in document.all("a")
        if str(one.get("href")).startswith("life/")
    }


def test_the_grid_has_every_month_with_its_tier_and_what_holds_it_back(people: Any, site: Site) -> None:
    document = people().read(LIFE)
    check_html(document)
    found = cells(document)
    assert found[f"life/transactions/{COLD}"][0] == "C"
    assert found[f"life/transactions/{COLD}"][1].startswith("cold, 6 rows, ")
    kind, said = found[f"life/transactions/{site.pending}"]
    assert kind == "W"
    assert said.startswith("warm, ")
    assert said.endswith("held back")
    kind, said = found[f"life/transactions/{Month.of(datetime.now(UTC))}"]
    assert kind == "H"
    assert said.startswith("hot, ")
    assert "1 unfinished row" in document.text
    assert "1 unfinished rows" not in document.text
    assert "warm to cold" in document.text


def test_what_is_held_back_on_the_page_is_what_the_plan_holds_back(people: Any, site: Site) -> None:
    settings = site.ledger.settings
    document = people().read(LIFE)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date()
    for table in settings.registry.values():
        for move in plan_table(settings, table, tomorrow, tomorrow):
            assert str(move.month) in document.text
            assert not move.held_back or move.held_back in document.text


def test_costs_are_those_of_the_command(people: Any, site: Site) -> None:
    document = people().read(LIFE)
    costs = table_costs(site.ledger.settings, list(site.ledger.settings.registry.values()))
    assert "USD for a month of what is stored" in document.text
    for one in costs:
        assert _cost_line(one.table, one.now) in document.text
    every = sum_of_costs([one.now for one in costs])
    assert every.total == sum(one.now.total for one in costs) > 0
    assert _cost_line("all tables", every) in document.text
    assert "for the months to come together" in document.text
    assert "vas_transactions: no month before this one says how many rows a month to come will have" in document.text
    assert "hot 0.115, warm 0.115, cold 0.023" in document.text
    assert "/dashboard/docs/settings#prices" in document.links


def test_the_years_ahead_are_computed_once_for_everybody_and_not_on_the_event_loop(
    people: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []

    def compute(settings: Settings, table: TieredTable, parts: Sequence[KnownPart], now: Month) -> TableCost:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        computed.append(table.name)
        return table_cost(settings, table, parts, now)

    monkeypatch.setattr("api.dashboard.life_desk.table_cost", compute)
    texts = [people().read(LIFE).text for _ in range(2)]
    assert computed == ["transactions", "vas_transactions"]
    assert all("for the months to come together" in text for text in texts)


def _cost_line(name: str, of: CostOfMonth) -> str:
    figures = (size(of.other_bytes), cost(of.total), cost(of.all_hot), cost(of.saved), f"({percent(of.saved_share)})")
    return " ".join(" ".join((name, *figures)).split())


def test_how_far_the_proof_has_come_is_said_and_the_checkpoint_is_a_download(people: Any) -> None:
    person = people()
    document = person.read(LIFE)
    assert "Verified longest ago transactions 2024-03" in document.text
    assert f"{LIFE}/checkpoint" in document.links
    answer = person.open(f"{LIFE}/checkpoint")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert "attachment" in answer.headers["content-disposition"]
    bearer = {"Authorization": f"Bearer {person.key}"}
    assert answer.content == person.client.get("/log/checkpoint", headers=bearer).content


def test_a_month_shows_its_life_rows_sums_digest_and_files(people: Any) -> None:
    person = people()
    document = person.read(f"{LIFE}/transactions/{COLD}")
    check_html(document)
    bearer = {"Authorization": f"Bearer {person.key}"}
    (part,) = person.client.get(f"/api/v1/archive/months/transactions/{COLD}", headers=bearer).json()["parts"]
    for shown in (part["root"], part["file"]["sha256"]):
        assert shown in document.text
    for kind in ("file", "manifest", "tree", "lookup"):
        assert part[kind]["key"] in document.text
    assert "archived: PostgreSQL has the rows no more" in document.text
    assert "723.00 ZAR" in document.text
    assert f"entry {part['log_entry']}" in document.text
    order = [document.text.index(words) for words in ("the month began", "the month ended", "moved from hot to warm")]
    assert order == sorted(order)


OLD = Month(2014, 1)


def _deleted(site: Site) -> str:
    """Let people delete a month past its policy; returns the number of the certificate."""
    settings = site.ledger.settings
    settings = settings.model_copy(update={"retention": settings.retention.model_copy(update={"grace_days": 0})})
    table = settings.table("transactions")
    site.ledger.add(table, [OLD.lower + timedelta(days=1)])
    site.ledger.cold(table, OLD)
    publish_log(settings)
    asked = request_deletion(settings, [table], "anna", "past the policy")
    for actor in ("ben", "carol"):
        approve(settings, asked.request_id, actor, "looked at")
    (done,) = delete_months(settings)
    return done.certificate


def test_a_month_tells_who_holds_it_and_that_it_was_deleted(people: Any, site: Site) -> None:
    """A matter is for those who may read holds; a request, a deletion and its certificate are for everybody."""
    table, settings = site.ledger.settings.table("transactions"), site.ledger.settings
    review = datetime.now(UTC).date() + timedelta(days=30)
    place_hold(settings, HoldScope(COLD, COLD, table.name), "matter 7/24", "asked for by the court", "anna", review)
    certificate = _deleted(site)
    held = people().read(f"{LIFE}/transactions/{COLD}")
    assert "a legal hold was placed hold HOLD-1, keeps all rows, review" in held.text
    assert "HOLD-1 A key with the scope archive:holds sees why." in held.text
    assert "matter 7/24" not in held.text
    assert "asked for by the court" not in held.text
    explained = people((*READ_ALL, Scope.ARCHIVE_HOLDS)).read(f"{LIFE}/transactions/{COLD}")
    check_html(explained)
    said = f"HOLD-1 matter 7/24 transactions {COLD} asked for by the court anna, "
    assert said in explained.text
    assert f"{datetime.now(UTC):%Y-%m-%d}" in explained.text.partition(said)[2]
    assert str(review) in explained.text.partition(said)[2]
    deleted = people().read(f"{LIFE}/transactions/{OLD}")
    for document in (held, deleted):
        check_html(document)
    words = (
        "its deletion was requested by anna, reason past the policy, request 1",
        "its deletion was approved by ben, reason looked at, request 1",
        "its deletion was approved by carol, reason looked at, request 1",
        f"its deletion began: the rows left every view certificate {certificate}",
        f"and a certificate says so certificate {certificate}",
    )
    order = [deleted.text.index(text) for text in words]
    assert order == sorted(order)
    assert f"{CERTIFICATES}/{certificate}" in deleted.links


def test_a_certificate_is_shown_and_kept_as_the_archive_has_it(people: Any, site: Site) -> None:
    settings, number = site.ledger.settings, _deleted(site)
    content, page = find(settings, number)
    person = people(READ)
    shown = person.open(f"{CERTIFICATES}/{number}")
    assert (shown.status_code, shown.content) == (200, page)
    assert "approved by</th><td>ben (ben), " in shown.text
    assert [shown.text.count(f"<{element}>") for element in ("main", "h1")] == [1, 1]
    assert shown.headers["content-security-policy"] == CERTIFICATE_POLICY
    style = shown.text.partition("<style>")[2].partition("</style>")[0]
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{allowed}'" in CERTIFICATE_POLICY
    assert "unsafe" not in CERTIFICATE_POLICY
    for form, whole in (("html", page), ("json", content)):
        kept = person.open(f"{CERTIFICATES}/{number}/download/{form}")
        assert kept.content == whole
        assert kept.headers["content-disposition"] == f'attachment; filename="certificate-{number}.{form}"'
    assert person.open(f"{CERTIFICATES}/{number}/download/pdf").status_code == 422
    assert person.open(f"{CERTIFICATES}/DEL-x-1").status_code == 404


def test_a_month_that_is_not_archived_has_no_proofs_and_says_from_when(people: Any, site: Site) -> None:
    document = people().read(f"{LIFE}/transactions/{site.pending}")
    check_html(document)
    assert "Held back: 1 unfinished row" in document.text
    assert "leaves warm for cold by the policy (ahead) held back: 1 unfinished row" in document.text
    assert " on, once nothing holds it back" in document.text
    assert "Archived from" in document.text
    assert not [form for form in document.forms if "/life/" in form.action]


def test_a_held_back_month_names_unfinished_rows_and_the_remedy(people: Any, site: Site) -> None:
    """Rows are for keys that may read them, and of their own client without `read:all`."""
    table, late = site.ledger.settings.table("transactions"), site.pending.plus(-1)
    at = [late.lower + timedelta(hours=hour) for hour in range(3)]
    theirs = site.ledger.add(table, at[:1], status="processing", client_id="other")
    site.ledger.add(table, at, status="processing")
    site.ledger.warm(table, late)
    month = f"{LIFE}/transactions/{late}"
    remedy = "/dashboard/docs/operations#a-month-is-held-back-n-unfinished-rows"
    other = people((*READ_ALL, Scope.TRANSACTIONS_READ), "another").read(month)
    rows = [link for link in other.links if link.startswith(f"{FIND}/transactions/")]
    assert len(rows) == 3
    assert "Held back: 4 unfinished rows. Some of them:" in other.text
    assert remedy in other.links
    check_html(other)
    own = people((Scope.ARCHIVE_READ, Scope.TRANSACTIONS_READ), "other").read(month)
    assert [link for link in own.links if "/find/transactions" in link] == [f"{FIND}/transactions/{theirs[0]['id']}"]
    for scopes in (READ_ALL, (*READ_ALL, Scope.VAS_READ)):
        without = people(scopes).read(month)
        assert not [link for link in without.links if "/find/transactions" in link]
        assert "A key with the scope transactions:read sees which rows." in without.text
        assert remedy in without.links


def test_a_session_downloads_the_proofs_that_its_key_may_have(people: Any, site: Site) -> None:
    person, month = people(READ), f"{LIFE}/transactions/{COLD}"
    download = person.open(f"{LIFE}/policy")
    assert download.headers["content-disposition"] == 'attachment; filename="policy"'
    assert download.text == policy_text(site.ledger.settings)
    policy = LogPolicy.parse(download.content)
    row = person.open(f"{month}/row", params={"id": str(site.own[0]["id"])})
    assert row.status_code == 200
    assert "attachment" in row.headers["content-disposition"]
    assert check_proof(row.content, policy)
    statement = person.open(f"{month}/statement", params={"wallet_id": "w-acme", "part": ""})
    assert statement.status_code == 200, statement.text
    assert check_proof(statement.content, policy)


def test_what_is_wrong_with_a_form_of_proofs_is_said_beside_its_field(people: Any, site: Site) -> None:
    person, month = people(READ), f"{LIFE}/transactions/{COLD}"
    for name, query, field, status, said in (
        ("row", {"id": "nonsense"}, "row", 422, "This must be a UUID."),
        ("row", {"id": str(uuid4())}, "row", 404, "Nothing like this is in the archive"),
        ("statement", {"wallet_id": "w-acme", "part": "x"}, "part", 422, "This must be"),
        ("statement", {"wallet_id": ""}, "wallet", 422, "This is required."),
    ):
        answer = person.open(f"{month}/{name}", params=query)
        document = Document(answer.text)
        check_html(document)
        assert answer.status_code == status
        if field == "part" and field not in document.ids:  # a month of one part has no such field
            continue
        assert said in document.text
        assert f"{field}-wrong" in document.ids
        assert next(one for one in document.all("input") if one.get("id") == field)["value"] == [*query.values()][-1]


def test_rows_of_other_clients_are_as_if_they_were_not(people: Any, site: Site) -> None:
    month = f"{LIFE}/transactions/{COLD}"
    of_acme, of_all = people(READ), people(READ_ALL)
    wanted = {"row": {"id": str(site.theirs[0]["id"])}, "statement": {"wallet_id": "w-other"}}
    for name, query in wanted.items():
        nothing = {"id": str(uuid4())} if name == "row" else {"wallet_id": "w-of-nobody"}
        refused, absent = (of_acme.open(f"{month}/{name}", params=one) for one in (query, nothing))
        assert (refused.status_code, absent.status_code) == (404, 404)
        asked = ((refused, query), (absent, nothing))
        texts = {
            answer.text.replace(answer.headers["x-request-id"], "").replace(*given.values(), "entered")
            for answer, given in asked
        }
        assert len({re.sub(r"<time.*?</time>", "", text) for text in texts}) == 1
        assert of_all.open(f"{month}/{name}", params=query).status_code == 200
    shared = of_acme.open(f"{month}/statement", params={"wallet_id": "w-shared"})
    assert shared.status_code == 403
    assert "read:all" in Document(shared.text).text


def test_a_month_with_late_rows_shows_its_parts(people: Any, site: Site) -> None:
    ledger, table = site.ledger, site.ledger.settings.table("transactions")
    open_late_rows(ledger.settings, table, COLD)
    ledger.add(table, [COLD.lower + timedelta(days=9)], wallet_id="w-acme")
    ledger.cold(table, COLD)
    publish_log(ledger.settings)
    document = people().read(f"{LIFE}/transactions/{COLD}")
    check_html(document)
    assert "Part 1" in document.text
    assert "Part 2" in document.text
    answer = people().open(f"{LIFE}/transactions/{COLD}/statement", params={"wallet_id": "w-acme"})
    assert answer.status_code == 422
    assert "part-wrong" in Document(answer.text).ids
    assert "is required: rows came late to this month" in Document(answer.text).text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("no_such_table/2024-03", 404),
        (f"{HOSTILE[:200]}/2024-03", 404),
        ("transactions/1999-01", 404),
        ("transactions/2024-13", 422),
        ("transactions/x", 422),
        ("transactions/2024-03/row", 422),
        ("transactions/2024-03/row?id=x", 422),
        ("transactions/2024-03/statement?wallet_id=", 422),
    ],
)
def test_an_address_of_nothing_is_a_page_that_says_so(people: Any, path: str, status: int) -> None:
    answer = people().open(f"{LIFE}/{path}")
    assert answer.status_code == status
    check_html(Document(answer.text))


def test_hostile_values_are_text(people: Any, site: Site) -> None:
    with connect(site.ledger.settings.database_dsn, "tests") as connection:
        month = {"month": COLD.first_day, "detail": Jsonb({"reason": HOSTILE})}
        connection.execute("UPDATE archive_months SET last_error = %s WHERE tier = 'warm'", (HOSTILE,))
        connection.execute(
            "INSERT INTO archive_events (table_name, month, event, detail) "
            "VALUES ('transactions', %(month)s, '<b>odd</b>', %(detail)s)",
            month,
        )
    person = people()
    for path in (LIFE, f"{LIFE}/transactions/{COLD}", f"{LIFE}/transactions/{site.pending}"):
        document = person.read(path)
        check_html(document)
        assert "<script>" in document.text or "<b>odd" in document.text
    wallet = person.open(f"{LIFE}/transactions/{COLD}/statement", params={"wallet_id": HOSTILE[:60]})
    assert wallet.status_code == 404
    assert "<script>alert" not in wallet.text


def test_a_third_table_is_on_the_page_by_configuration_alone(ledger: Ledger) -> None:
    fields = {"money_columns": ["amount"], "status_column": None}
    settings = ledger.settings.model_copy(update={"tables": {"payouts": fields}})
    settings = Settings.model_validate(settings.model_dump() | {"tables": {"payouts": fields}})
    with connect(settings.database_dsn, "tests") as connection:
        connection.execute(
            "CREATE TABLE public.payouts_partitioned (id uuid NOT NULL, created_at timestamptz NOT NULL, "
            "wallet_id text, currency text, amount numeric(18,2), PRIMARY KEY (id, created_at)) "
            "PARTITION BY RANGE (created_at)"
        )
        connection.execute(
            "INSERT INTO archive_months (table_name, month, tier) VALUES ('payouts', '2026-01-01', 'hot')"
        )
    with serving(unlimited(settings)) as url:
        person = Person(url, create_key(settings, "acme", READ_ALL))
        with person.client:
            person.sign_in(LIFE)
            assert "payouts" in person.read(LIFE).text
            check_html(person.read(f"{LIFE}/payouts/2026-01"))
