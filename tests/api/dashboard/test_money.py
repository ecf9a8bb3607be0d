"""The page Money and load: totals that tie to the rows and to `treasury totals`, whatever tier the rows are in."""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from config import Settings
from config.retention import RetentionSettings
from ledger.months import Month
from ledger.scopes import Scope
from ledger.totals import Question, TotalsGroup, Zone
from tasks.admin.keys import create_key
from tasks.retention.approvals import approve, request_deletion
from tasks.retention.deletion import delete_months
from tasks.totals.answer import answer_totals
from tasks.totals.keeping import keep_daily_totals
from tasks.transparency.publish import publish_log
from tests.api.conftest import serving
from tests.api.dashboard.conftest import MakePerson
from tests.api.dashboard.person import Document, Person
from tests.api.dashboard.test_pages import check_html
from tests.api.ledger_rows import Ledger

MONEY = "/dashboard/money"
COLD, WARM, HOT = Month(2024, 3), Month(2025, 3), Month(2026, 10)
EVERY_DAY = {"from": "2024-01-01", "to": "2026-12-31"}
READ = (Scope.TRANSACTIONS_READ, Scope.VAS_READ)


@pytest.fixture(scope="module")
def tiers(shared: Settings) -> Settings:
    """In each tier of both tables two payments of `acme`, at 21:59 and 22:00 UTC, a fee in dollars, one of `other`."""
    ledger = Ledger(shared)
    for name in ("transactions", "vas_transactions"):
        table = shared.table(name)
        for month in (COLD, WARM, HOT):
            late = month.lower + timedelta(days=4, hours=22)
            ledger.add(table, [late - timedelta(minutes=1), late], fee="1.25")
            ledger.add(table, [late], type="fee", currency="USD", amount="0.10")
            ledger.add(table, [late], client_id="other", amount="7.00")
        ledger.cold(table, COLD)
        ledger.warm(table, WARM)
    return shared


@pytest.fixture
def acme(make_person: MakePerson, tiers: Settings) -> Person:
    """Somebody of `acme` who reads both tables."""
    return make_person(READ)


def show(person: Person, expected: int = 200, /, **query: str) -> Document:
    """The page of one table, unless ``query`` names another."""
    answer = person.open(MONEY, params={"table": "transactions"} | query)
    assert answer.status_code == expected, answer.text
    document = Document(answer.text)
    check_html(document)
    return document


def table_of(document: Document, heading: str) -> list[list[str]]:
    """The lines of the table in the section with a heading."""
    section = document.html.split(f">{heading}</h2>")[1].split("</section>")[0]
    lines = re.findall(r"<tr[^>]*>(.*?)</tr>", section.split("<tbody>")[1], re.DOTALL)
    cells = (re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, re.DOTALL) for line in lines)
    return [[re.sub(r"<[^>]+>", "", cell).strip() for cell in line] for line in cells]


def test_by_default_the_page_shows_thirty_days_up_to_today(acme: Person) -> None:
    document = show(acme)
    fields = {one["name"]: one.get("value") for one in document.all("input") if one.get("type") == "date"}
    first, last = (date.fromisoformat(str(fields[name])) for name in ("from", "to"))
    assert last - first == timedelta(days=29)
    assert "2025-03-02 to 2025-03-31" in show(acme, to="2025-03-31").text


def test_the_sums_are_those_of_the_rows_in_every_tier_and_of_each_currency(acme: Person, tiers: Settings) -> None:
    for _ in range(2):
        for table in ("transactions", "vas_transactions"):
            text = show(acme, table=table, **EVERY_DAY).text
            assert "Rows 9 of the client acme" in text
            assert "Amount, ZAR 723.00 ZAR 6 rows" in text
            assert "Amount, USD 0.30 USD 3 rows" in text
            assert "723.30" not in text  # no sum goes over two currencies
        assert {one.error for one in keep_daily_totals(tiers)} == {None}


def test_the_lines_tie_to_the_command(acme: Person, tiers: Settings) -> None:
    groups = frozenset({TotalsGroup.DAY, TotalsGroup.TYPE, TotalsGroup.STATUS})
    for zone in Zone:
        question = Question(date(2026, 10, 1), date(2026, 10, 31), zone, groups, "acme")
        totals = answer_totals(tiers, tiers.table("transactions"), question, 1000, 30).totals
        query = {"from": "2026-10-01", "to": "2026-10-31", "zone": zone.value, "type": "yes", "status": "yes"}
        document = show(acme, **query)
        wanted = {(str(one.day), one.type, one.status, one.currency, one.rows, one.sums) for one in totals}
        found = {
            (day, kind.lower(), status.lower(), currency, int(rows), tuple(map(_decimal, sums)))
            for day, kind, status, currency, rows, *sums in table_of(document, "By day")
        }
        assert found == wanted
        assert f"--zone {zone.value} --group-by day --group-by type --group-by status --client acme" in document.text


def _decimal(text: str) -> Decimal:
    return Decimal(text.rpartition("\u202f")[0].replace("\u202f", ""))


def test_days_are_those_of_the_zone(acme: Person) -> None:
    day = {"from": "2026-10-06", "to": "2026-10-06"}
    assert "These days have no rows of the client acme" in show(acme, **day).text
    assert "Rows 2 of the client acme" in show(acme, **day, zone="Africa/Johannesburg").text


def test_a_long_range_is_shown_by_month_with_the_same_sums(acme: Person) -> None:
    document = show(acme, **EVERY_DAY, type="yes")
    assert table_of(document, "By month") == [
        [month, kind, currency, rows, amount, fee]
        for month in ("2026-10", "2025-03", "2024-03")
        for kind, currency, rows, amount, fee in (
            ("Fee", "USD", "1", "0.10\u202fUSD", "0.00\u202fUSD"),
            ("Payment", "ZAR", "2", "241.00\u202fZAR", "2.50\u202fZAR"),
        )
    ]
    assert table_of(document, "All days together") == [
        ["Fee", "USD", "3", "0.30\u202fUSD", "0.00\u202fUSD"],
        ["Payment", "ZAR", "6", "723.00\u202fZAR", "7.50\u202fZAR"],
    ]
    assert "Rows per month" in document.text


def test_supplier_and_commission_are_those_of_vas_transactions(acme: Person) -> None:
    document = show(acme, table="vas_transactions", supplier="yes", **EVERY_DAY)
    assert [line[0] for line in table_of(document, "All days together")] == ["Flash", "Flash"]
    assert "Commission" in document.text
    refused = show(acme, 422, supplier="yes", **EVERY_DAY)
    assert "Supplier has values in VAS transactions only" in refused.text


def test_rows_of_other_clients_need_read_all(acme: Person, make_person: MakePerson) -> None:
    assert "7.00" not in show(acme, **EVERY_DAY).text
    text = show(make_person([*READ, Scope.READ_ALL]), **EVERY_DAY).text
    assert "Amount, ZAR 744.00 ZAR 9 rows" in text
    assert "--client" not in text


def test_a_key_for_the_second_table_alone_sees_its_totals(make_person: MakePerson, tiers: Settings) -> None:
    person = make_person([Scope.VAS_READ])
    assert "treasury totals" in show(person, table="", **EVERY_DAY).text
    assert "--table vas_transactions" in show(person, table="", **EVERY_DAY).text
    assert "transactions:read" in show(person, 403, table="transactions").text


def test_without_its_scope_the_second_table_is_neither_offered_nor_shown(
    make_person: MakePerson, tiers: Settings
) -> None:
    person = make_person([Scope.TRANSACTIONS_READ])
    assert "vas_transactions" not in show(person, table="").html
    assert "vas:read" in show(person, 403, table="vas_transactions").text


@pytest.mark.parametrize(
    ("query", "field", "said"),
    [
        ({"from": "2026-02-30"}, "from", "must be a day of the calendar"),
        ({"to": "<script>"}, "to", "must be a day of the calendar"),
        ({"from": "2026-03-02", "to": "2026-03-01"}, "to", "must not be before"),
        ({"from": "0001-01-01", "to": "2026-03-01"}, "from", "must be in the years"),
        ({"table": "secrets"}, "table", "must be one of"),
        ({"zone": "Mars"}, "zone", "must be one of"),
        ({"type": "perhaps"}, "type", "must be one of yes"),
        ({"only_type": "gift"}, "only_type", "must be one of send"),
        ({"only_status": "lost"}, "only_status", "must be one of pending"),
        ({"only_currency": "RAND"}, "only_currency", "must be an ISO 4217 currency code"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(acme: Person, query: dict[str, str], field: str, said: str) -> None:
    document = show(acme, 422, **query)
    assert said in document.text
    marked = [one for one in (*document.all("input"), *document.all("select")) if one.get("aria-invalid") == "true"]
    assert [one["name"] for one in marked] == [field]
    assert "<script>" not in document.html
    assert "Rows per day" not in document.text


def test_too_many_lines_are_refused_and_a_long_table_goes_on_page_by_page(
    acme: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = {"from": "2026-10-01", "to": "2026-10-31"}
    monkeypatch.setattr("api.dashboard.money.MOST_LINES", 1)
    document = show(acme, **days)
    assert "These are the lines 1 to 1 of 2." in document.text
    first = table_of(document, "By day")
    (following,) = [link for link in document.links if "start=" in link]
    second = Document(acme.open(following).text)
    assert "These are the lines 2 to 2 of 2." in second.text
    assert len(first) == 1
    assert first != table_of(second, "By day")
    assert not [link for link in second.links if "start=" in link]
    assert "There are no further lines" in show(acme, **days, start="9").text
    assert acme.open(MONEY, params={**days, "start": "-1"}).status_code == 422
    monkeypatch.setattr("api.dashboard.money.MOST_TOTALS", 1)
    assert "choose fewer, or fewer days" in show(acme, 422, **days).text


def test_who_sees_all_rows_groups_by_client_and_filters(make_person: MakePerson, tiers: Settings) -> None:
    person = make_person([*READ, Scope.READ_ALL])
    document = show(person, client_id="yes", **EVERY_DAY)
    assert [line[:3] for line in table_of(document, "All days together")] == [
        ["acme", "USD", "3"],
        ["acme", "ZAR", "6"],
        ["other", "ZAR", "3"],
    ]
    filtered = show(person, only_client="other", only_type="payment", only_status="completed", **EVERY_DAY)
    assert "Rows 3 of the client other" in filtered.text
    assert "Amount, ZAR 21.00 ZAR 3 rows" in filtered.text
    assert "Only rows with type Payment, status Completed are counted." in filtered.text
    assert "--client other" in filtered.text
    dollars = show(person, only_currency=" usd ", **EVERY_DAY).text
    assert "Amount, USD 0.30 USD 3 rows" in dollars
    assert "Amount, ZAR" not in dollars
    assert "These days have no rows" in show(person, only_status="failed", **EVERY_DAY).text


def test_without_read_all_no_other_client_is_offered_or_given(acme: Person) -> None:
    document = show(acme, **EVERY_DAY)
    assert not {"client_id", "only_client"} & {one.get("name") for one in document.all("input")}
    assert "read:all" in show(acme, 403, only_client="other", **EVERY_DAY).text
    grouped = show(acme, client_id="yes", **EVERY_DAY)
    assert {line[0] for line in table_of(grouped, "All days together")} == {"acme"}


def test_both_tables_are_one_answer_with_their_sum(acme: Person, make_person: MakePerson) -> None:
    document = show(acme, table="all", type="yes", only_type="payment", **EVERY_DAY)
    assert table_of(document, "All days together") == [
        [name, "Payment", "ZAR", rows, amount, fee, "0.00\u202fZAR"]
        for name, rows, amount, fee in (
            ("Transactions", "6", "723.00\u202fZAR", "7.50\u202fZAR"),
            ("VAS transactions", "6", "723.00\u202fZAR", "7.50\u202fZAR"),
            ("Both", "12", "1\u202f446.00\u202fZAR", "15.00\u202fZAR"),
        )
    ]
    assert "Rows 12 of both tables of the client acme" in document.text
    unsaid = show(acme, table="", **EVERY_DAY)  # a key that reads both begins with both
    assert "of both tables of the client acme" in unsaid.text
    assert [line[2] for line in table_of(document, "By month")] == ["ZAR"] * 3
    assert "--table transactions" in document.text
    assert "--table vas_transactions" in document.text
    assert "choose that table" in show(acme, 422, table="all", supplier="yes", **EVERY_DAY).text
    alone = make_person([Scope.VAS_READ])
    assert "Rows 9 of the client acme" in show(alone, table="all", **EVERY_DAY).text


def test_the_file_has_every_line_and_texts_that_no_spreadsheet_runs(
    make_person: MakePerson, tiers: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.dashboard.money.MOST_LINES", 1)
    day = Month(2022, 6).lower
    Ledger(tiers).add(tiers.table("transactions"), [day], client_id="=SUM(A1)", amount="7.00")
    person = make_person([*READ, Scope.READ_ALL])
    document = show(person, client_id="yes", **{"from": "2022-06-01", "to": "2022-06-02"})
    (file,) = [link for link in document.links if "/download" in link]
    answer = person.open(file)
    assert answer.headers["content-disposition"] == ('attachment; filename="totals-2022-06-01-to-2022-06-02.csv"')
    assert answer.content.decode("utf-8-sig").splitlines() == [
        "day,client_id,currency,rows,amount,fee",
        "2022-06-01,'=SUM(A1),ZAR,1,7.00,0.00",
    ]
    months = person.open("/dashboard/money/download/csv", params={"table": "all", **EVERY_DAY})
    lines = months.content.decode("utf-8-sig").splitlines()
    assert lines[0] == "month,currency,rows,amount,fee,commission"
    assert len(lines) == 1 + 6
    assert person.open("/dashboard/money/download/csv", params={"from": "x"}).status_code == 422
    assert person.open("/dashboard/money/download/parquet").status_code == 422


def test_currencies_without_a_chart_are_named(acme: Person, tiers: Settings) -> None:
    ledger, table, day = Ledger(tiers), tiers.table("transactions"), Month(2022, 9).lower
    for currency in ("USD", "EUR", "GBP", "NAD"):
        ledger.add(table, [day, day] if currency != "NAD" else [day], currency=currency)
    days = {"from": "2022-09-01", "to": "2022-09-02"}
    assert "The sums of NAD have no chart" in show(acme, **days).text
    assert "have no chart" not in show(acme, **EVERY_DAY).text


def test_every_day_has_a_bar_and_a_day_without_rows_has_none(acme: Person) -> None:
    document = show(acme, **{"from": "2026-10-01", "to": "2026-10-31"})
    figures = document.html.split('id="rows-figures"')[1].split("</details>")[0]
    assert figures.count('<th scope="row">2026-10-') == 31
    assert '<th scope="row">2026-10-05</th><td class="number">3</td>' in figures
    assert '<th scope="row">2026-10-06</th><td class="number">0</td>' in figures


def test_the_figures_of_a_chart_are_those_of_the_table_to_the_last_digit(acme: Person, tiers: Settings) -> None:
    ledger, table, day = Ledger(tiers), tiers.table("transactions"), Month(2023, 5).lower
    ledger.add(table, [day], amount="90071992547409.92")  # and one cent: no float has that sum
    ledger.add(table, [day], amount="0.01")
    ledger.add(table, [day], amount="500", currency="JPY")
    document = show(acme, **{"from": "2023-05-01", "to": "2023-05-02"})
    shown = {line[1]: line[3] for line in table_of(document, "By day")}
    assert shown == {"JPY": "500\u202fJPY", "ZAR": "90\u202f071\u202f992\u202f547\u202f409.93\u202fZAR"}
    for currency, amount in shown.items():
        figures = document.html.split(f'id="sum-{currency}-figures"')[1].split("</details>")[0]
        assert f'<th scope="row">2023-05-01</th><td class="number">{amount}</td>' in figures
    assert "highest 90\u202f071\u202f992\u202f547\u202f409.93\u202fZAR." in document.html


@pytest.fixture
def place(ready: Settings) -> Iterator[tuple[Ledger, Person]]:
    settings = ready.model_copy(update={"retention": RetentionSettings(grace_days=0)})
    with serving(settings) as url:
        person = Person(url, create_key(settings, "acme", READ))
        with person.client:
            person.sign_in()
            yield Ledger(settings), person


def test_deleted_months_are_named_and_not_counted(place: tuple[Ledger, Person]) -> None:
    ledger, person = place
    settings, old = ledger.settings, Month(2014, 1)
    table = settings.table("transactions")
    ledger.add(table, [old.lower])
    ledger.cold(table, old)
    publish_log(settings)
    request = request_deletion(settings, [table], "anna", "past the policy")
    for approver in ("ben", "carol"):
        approve(settings, request.request_id, approver, "looked at it")
    assert len(delete_months(settings)) == 1
    text = show(person, **{"from": "2014-01-01", "to": "2014-01-31"}).text
    assert "Rows of 2014-01 were deleted at the end of their retention" in text
    assert "were deleted" not in show(person).text


def test_rows_that_somebody_took_away_are_never_left_out_of_a_sum(place: tuple[Ledger, Person]) -> None:
    ledger, person = place
    table: Any = ledger.settings.table("transactions")
    ledger.add(table, [HOT.lower])
    with psycopg.connect(ledger.settings.database_dsn, autocommit=True) as connection:
        connection.execute(f"ALTER TABLE {table.hot_parent} DETACH PARTITION {table.name}_2026_10")
    answer = person.open(MONEY, params={"from": "2026-10-01", "to": "2026-10-31"})
    assert answer.status_code == 503
    assert "cannot be read at the moment" in Document(answer.text).text


def test_rows_that_are_stored_twice_are_not_summed(place: tuple[Ledger, Person]) -> None:
    """With equal values they count once, and who sees all rows reads so; with other values nobody knows which count."""
    ledger, person = place
    table: Any = ledger.settings.table("transactions")
    first, second = ledger.add(table, [COLD.lower, COLD.lower])
    ledger.cold(table, COLD)
    ledger.execute(
        f"CREATE TABLE again PARTITION OF {table.hot_parent}"
        f" FOR VALUES FROM ('{COLD}-01 00:00+00') TO ('{COLD.plus(1)}-01 00:00+00')"
    )
    ledger.store(table, [first])
    days = {"table": "transactions", "from": "2024-03-01", "to": "2024-03-31"}
    assert "left out" not in show(person, **days).text
    auditor = Person(str(person.client.base_url), create_key(ledger.settings, "audit", (*READ, Scope.READ_ALL)))
    with auditor.client:
        auditor.sign_in()
        text = show(auditor, **days).text
        assert "left out 1 row of again that the archive has, by id and time: each is equal" in text
    ledger.store(table, [second | {"amount": "1.00"}])
    for path in (MONEY, f"{MONEY}/download/csv"):
        answer = person.open(path, params=days)
        assert answer.status_code == 503, path
        assert "Rows of these days are stored twice, with different values" in Document(answer.text).text
