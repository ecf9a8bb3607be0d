"""The page *Reconciliation*: days by suppliers, match rates, what waits, and the list of breaks."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlencode

import pytest

from api.dashboard.formats import NOTHING
from api.dashboard.reconciliation import MOST_DAYS, PAGE, AskedBreaks, cell, rates
from config import Settings
from ledger.business_days import bounds, day_of
from ledger.errors import FieldError
from ledger.scopes import Scope
from tasks.reconciliation.overview import Overview, SupplierDay, read_overview
from tasks.reconciliation.vocabulary import BreakState
from tasks.statements.absences import declare_absence
from tasks.statements.intake import IntakeResult, take_in
from tests.api.dashboard.desk import FINANCE, RECONCILIATION, Desk, break_page, opened_books, served, with_breaks
from tests.api.dashboard.person import Document, Person
from tests.api.dashboard.test_pages import check_html
from tests.tasks.reconciliation.books import DAY, NOON, Books, closed_by_two

THE_DAY = f"{RECONCILIATION}?from={DAY}&to={DAY}"
SUPPLIERS = ["flash", "mobilemart", "peach"]


@pytest.fixture
def desk(settings: Settings, tmp_path: Path) -> Iterator[Desk]:
    with served(with_breaks(opened_books(settings, tmp_path))) as desk:
        yield desk


@pytest.fixture
def thandi(desk: Desk) -> Person:
    return desk.sit_down("thandi")


def listed(document: Document) -> list[str]:
    """The pages of the breaks that a page lists."""
    return [link for link in document.links if "/breaks/" in link]


def run_of(desk: Desk) -> str:
    """What a cell says of the only run, and of the statement that it read."""
    ((run_id, lines),) = [row.values() for row in desk.books.sql("SELECT run_id, line_count FROM treasury.recon_runs")]
    assert lines > 1
    return f"run {run_id}, {lines} lines"


def test_a_day_of_the_grid_has_its_verdict_and_its_breaks(desk: Desk, thandi: Person) -> None:
    document = thandi.read(THE_DAY)
    check_html(document)
    assert f"{DAY} critical 4 of 4 breaks open {run_of(desk)} no statement no statement" in document.text
    query = urlencode({"supplier": "flash", "from": DAY, "to": DAY, "state": "all"})
    assert f"{RECONCILIATION}?{query}#breaks" in document.links
    assert len(listed(thandi.read(f"{RECONCILIATION}?{query}"))) == 4
    assert "Matched" in document.text


def test_what_waits_is_summed_by_class_and_age(desk: Desk, thandi: Person) -> None:
    document = thandi.read(RECONCILIATION)
    assert "missing in the ledger 2 1 250.01 ZAR 0 0 0 2 2026-02-03 2 0" in document.text
    assert "missing in the statement 1 60.00 ZAR 0 0 0 1 2026-02-03 0 0" in document.text
    assert "other amount 1 29.00 ZAR" in document.text
    assert "flash everything 4 1 339.01 ZAR 0 0 0 4 2026-02-03 2 0" in document.text
    assert "Open breaks of all days, by supplier and by what is wrong" in document.text


def test_what_waits_is_that_of_the_days_asked_with_totals_by_supplier(desk: Desk, thandi: Person) -> None:
    peach = Books(desk.books.settings, desk.books.folder, "peach")
    peach.line(amount=Decimal("80.00"), vas_type=None)
    other = DAY + timedelta(days=1)
    peach.run(day=other)
    document = thandi.read(RECONCILIATION)
    check_html(document)
    assert "All suppliers everything 5 1 419.01 ZAR" in document.text
    day = thandi.read(f"{RECONCILIATION}?from={other}&to={other}")
    assert "peach missing in the ledger 1 80.00 ZAR" in day.text
    assert f"Open breaks of {other} to {other}, by supplier" in day.text
    assert "everything" not in day.text
    assert "All suppliers" not in thandi.read(THE_DAY).text
    query = urlencode({"class": "missing_here", "supplier": "peach", "from": other, "to": other})
    assert f"{RECONCILIATION}?{query}#breaks" in day.links
    assert "250.01" not in day.text
    assert "1 250.01" in thandi.read(f"{RECONCILIATION}?to={DAY}").text


def test_escalated_breaks_are_listed_first_on_every_page_and_the_word_is_explained(
    desk: Desk, thandi: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    escalated = [break_page(desk.number_of(money)) for money in ("250.00", "1000.01")]
    others = [break_page(desk.number_of(money)) for money in ("60.00", "29.00")]
    wanted = [*sorted(escalated), *sorted(others)]
    assert listed(thandi.read(RECONCILIATION)) == wanted
    assert "escalated if more than 100.00 is in question, or if at least 3 things" in thandi.read(RECONCILIATION).text
    monkeypatch.setattr("api.dashboard.reconciliation.PAGE", 1)
    seen, way = [], RECONCILIATION
    while way:
        document = thandi.read(way)
        seen += listed(document)
        (way,) = [link.partition("#")[0] for link in document.links if "after=" in link] or [""]
    assert seen == wanted


def test_ages_and_money_are_those_of_the_rows_in_postgresql(desk: Desk) -> None:
    today = DAY + timedelta(days=8)
    found = {one.break_class: one for one in read_overview(desk.books.settings, SUPPLIERS, DAY, DAY, today).waiting}
    assert sum(one.count for one in found.values()) == len(desk.books.breaks("open"))
    here = found["missing_here"]
    assert (here.to_1_day, here.to_7_days, here.to_30_days, here.older) == (0, 0, 2, 0)
    assert (here.difference, here.variance, here.oldest) == (Decimal("1250.01"), Decimal("1250.01"), DAY)
    for days, name in (
        (0, "to_1_day"),
        (1, "to_1_day"),
        (2, "to_7_days"),
        (7, "to_7_days"),
        (30, "to_30_days"),
        (31, "older"),
    ):
        (row, *_) = read_overview(desk.books.settings, SUPPLIERS, DAY, DAY, DAY + timedelta(days=days)).waiting
        assert getattr(row, name) == row.count


def test_the_list_is_filtered(desk: Desk, thandi: Person) -> None:
    assert len(listed(thandi.read(RECONCILIATION))) == 4
    for query, money in (
        ("class=amount", ["29.00"]),
        ("escalated=yes", ["250.00", "1000.01"]),
        ("class=missing_there&supplier=flash", ["60.00"]),
    ):
        document = thandi.read(f"{RECONCILIATION}?{query}")
        assert listed(document) == [break_page(desk.number_of(one)) for one in money]
    nothing = thandi.read(f"{RECONCILIATION}?supplier=peach")
    assert "No break is as chosen above." in nothing.text
    assert listed(thandi.read(f"{RECONCILIATION}?from=2026-02-04&to=2026-02-04")) == []
    thandi.send(break_page(1), break_page(1), decision="write_off", reason="seen")
    assert len(listed(thandi.read(f"{RECONCILIATION}?state=resolved"))) == 1
    assert len(listed(thandi.read(f"{RECONCILIATION}?state=all&supplier=&from=&to=&class="))) == 4


def test_the_list_goes_on_page_by_page(settings: Settings, tmp_path: Path) -> None:
    books = opened_books(settings, tmp_path)
    for _ in range(PAGE + 3):
        books.line()
    books.run()
    with served(books) as desk:
        thandi = desk.sit_down("thandi")
        first = thandi.read(f"{RECONCILIATION}?class=missing_here")
        (following,) = [link for link in first.links if "after=" in link]
        second = thandi.read(following.partition("#")[0])
        seen = [*listed(first), *listed(second)]
        assert len(listed(first)) == PAGE
        assert seen == [break_page(number) for number in range(1, PAGE + 4)]
        assert not [link for link in second.links if "after=" in link]
        assert "There are no further breaks." in thandi.read(f"{RECONCILIATION}?after=900").text
        assert len(first.html) < 100_000


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("from=2026-02-30", "This must be a day of the calendar, written as YYYY-MM-DD."),
        ("from=2026-02-03&to=2026-02-01", f"make no more than {MOST_DAYS} days."),
        ("from=2025-02-03&to=2026-02-01", f"make no more than {MOST_DAYS} days."),
        ("supplier=acme", "This must be one of flash"),
        ("class=odd", "This must be one of missing_here"),
        ("state=odd", "This must be one of open"),
        ("escalated=no", "This must be one of yes"),
        ("after=x", "after: must be a whole number"),
        ("from=%3Cscript%3E", "This must be a day of the calendar"),
    ],
)
def test_a_wrong_field_is_named_and_what_was_entered_stays(desk: Desk, query: str, said: str) -> None:
    answer = desk.sit_down("thandi").open(f"{RECONCILIATION}?{query}")
    assert answer.status_code == 422
    document = Document(answer.text)
    check_html(document)
    assert said in document.text
    if query == "from=2026-02-30":
        assert "2026-02-30" in [field.get("value") for field in document.all("input")]


def test_first_or_last_day_alone_are_31_days() -> None:
    today = date(2026, 11, 30)
    for query, first, last in (
        ({}, date(2026, 10, 31), today),
        ({"to": "2026-02-28"}, date(2026, 1, 29), date(2026, 2, 28)),
        ({"from": "2026-02-01"}, date(2026, 2, 1), date(2026, 3, 3)),
        ({"from": "2026-11-29"}, date(2026, 11, 29), today),
    ):
        asked = AskedBreaks.read(query, SUPPLIERS, today)
        assert (asked.first, asked.last) == (first, last)
    with pytest.raises(FieldError):
        AskedBreaks.read({"from": "9999-12-31"}, SUPPLIERS, today)
    with pytest.raises(FieldError):
        AskedBreaks.read({"to": "0001-01-01"}, SUPPLIERS, today)


def test_a_closed_day_and_a_declared_day_say_so(desk: Desk, thandi: Person) -> None:
    books = desk.books
    for number in range(1, 5):
        thandi.send(break_page(number), break_page(number), decision="write_off", reason="seen")
    desk.sit_down("sipho").send(
        break_page(desk.number_of("1000.01")),
        break_page(desk.number_of("1000.01")),
        decision="write_off",
        reason="seen",
    )
    closed_by_two(books, DAY, DAY)
    other = DAY - timedelta(days=1)
    for actor in ("thandi", "sipho"):
        declare_absence(books.settings, "peach", other, actor, "holiday")
    document = thandi.read(f"{RECONCILIATION}?from={other}&to={DAY}&state=all")
    assert f"{DAY} critical 4 breaks, none open {run_of(desk)} closed" in document.text
    assert "not reconciled no statement, as declared" in document.text
    assert "waits for a decision." in document.text


def test_without_anything_the_page_says_what_to_do(settings: Settings, tmp_path: Path) -> None:
    with served(opened_books(settings, tmp_path)) as desk:
        document = desk.sit_down("thandi").read(RECONCILIATION)
        check_html(document)
        assert "treasury statements take-in" in document.text
        assert "waits for a decision." in document.text


EMPTY = SupplierDay(DAY, "flash", None, False, False, None, None, None, False, False, 0, 0, False)


@pytest.mark.parametrize(
    ("changes", "hours_after", "sign", "word"),
    [
        ({}, -1, "none", "not over"),
        ({}, 1, "none", "no statement yet"),
        ({}, 25, "bad", "statement late"),
        ({"refused": True}, 1, "bad", "statement refused"),
        ({"line_count": 0}, 1, "warning", "not reconciled"),
        ({"line_count": 5, "run_id": 1, "verdict": "passed"}, 1, "good", "passed"),
        ({"line_count": 5, "run_id": 1, "verdict": "failed"}, 1, "warning", "failed"),
        ({"line_count": 5, "run_id": 1, "verdict": "critical"}, 1, "bad", "critical"),
    ],
)
def test_each_state_of_a_day_has_a_sign_and_a_word(
    changes: dict[str, object], hours_after: int, sign: str, word: str
) -> None:
    now = bounds(DAY)[1] + timedelta(hours=hours_after)
    shown = cell(replace(EMPTY, **changes), is_awaited=True, now=now)  # type: ignore[arg-type]
    assert (shown.sign, shown.word) == (sign, word)


def test_a_run_that_no_longer_says_all_is_marked() -> None:
    now = bounds(DAY)[1] + timedelta(days=2)
    shown = cell(replace(EMPTY, verdict="passed", run_id=1, is_outdated=True, is_early=True), is_awaited=False, now=now)
    assert shown.notes == ("run 1", "another statement came since", "run before the day was over")
    assert cell(EMPTY, is_awaited=False, now=now).word == "no statement"


@pytest.mark.parametrize(
    ("changes", "notes"),
    [
        ({}, ()),
        ({"line_count": 0}, ("0 lines",)),
        ({"line_count": 1, "run_id": 7, "verdict": "passed"}, ("run 7, 1 line",)),
        ({"line_count": 12_345, "run_id": 1234, "verdict": "failed"}, ("run 1234, 12\u202f345 lines",)),
        ({"declared": True, "line_count": 0, "run_id": 8, "verdict": "passed"}, ("run 8", "no statement, as declared")),
    ],
)
def test_a_day_names_its_run_and_the_number_of_its_lines(changes: dict[str, object], notes: tuple[str, ...]) -> None:
    now = bounds(DAY)[1] + timedelta(hours=1)
    assert cell(replace(EMPTY, **changes), is_awaited=True, now=now).notes == notes  # type: ignore[arg-type]


def test_match_rates_are_of_each_supplier_and_a_day_without_a_run_is_a_gap() -> None:
    shares = {
        ("flash", 0): 0.5, ("flash", 1): None, ("flash", 2): 1.0,
        ("peach", 0): 0.25, ("peach", 1): 0.75, ("peach", 2): None,
        ("mobilemart", 0): None, ("mobilemart", 1): None, ("mobilemart", 2): None,
    }  # fmt: skip
    days = [
        replace(EMPTY, day=DAY + timedelta(days=number), supplier=supplier, matched_share=share)
        for (supplier, number), share in reversed(shares.items())  # the newest day first
    ]
    (chart,) = rates(Overview(days, []), SUPPLIERS)
    assert chart.columns[1:] == ("flash", "peach")  # of mobilemart nothing was run
    assert [[cell.replace("\u202f", " ") for cell in row] for row in chart.rows] == [
        ["2026-02-03", "50 %", "25 %"],
        ["2026-02-04", NOTHING, "75 %"],
        ["2026-02-05", "100 %", NOTHING],
    ]
    assert rates(Overview([replace(day, matched_share=None) for day in days], []), SUPPLIERS) == []


def test_a_day_that_was_run_before_it_was_over_is_found_in_postgresql(settings: Settings, tmp_path: Path) -> None:
    books = opened_books(settings, tmp_path)
    today = day_of(datetime.now(UTC))
    books.both(created_at=datetime.now(UTC))
    books.run(day=today)
    (one,) = read_overview(books.settings, ["flash"], today, today, today).days
    assert (one.is_early, one.verdict, one.matched_share, one.breaks) == (True, "passed", 1.0, 0)


def test_a_refused_statement_is_on_the_day_that_its_name_says(settings: Settings, tmp_path: Path) -> None:
    """Its content gives no day: it could not be read."""
    books, day = opened_books(settings, tmp_path), day_of(datetime.now(UTC)) - timedelta(days=1)
    (folder := tmp_path / "statements").mkdir()
    (folder / f"recon_{day:%Y%m%d}.csv").write_text("no header that is known\n", encoding="utf-8")
    (taken,) = take_in(books.settings, "flash", url=folder.as_uri(), actor="test")
    assert taken.result is IntakeResult.QUARANTINED
    days = read_overview(books.settings, SUPPLIERS, day - timedelta(days=1), day, day).days
    assert [(one.supplier, one.day) for one in days if one.refused] == [("flash", day)]
    with served(books) as desk:
        document = desk.sit_down("thandi").read(RECONCILIATION)
    assert f"{day} statement refused" in document.text


def test_two_months_of_days_stay_a_small_page(desk: Desk, thandi: Person) -> None:
    last = DAY + timedelta(days=MOST_DAYS // 2)
    document = thandi.read(f"{RECONCILIATION}?from={last - timedelta(days=MOST_DAYS - 1)}&to={last}")
    check_html(document)
    assert len(document.html) < 100_000
    assert NOON.date().isoformat() in document.text


def test_other_scopes_do_not_open_it(desk: Desk) -> None:
    others = [scope for scope in Scope if scope != Scope.RECONCILIATION_READ]
    assert desk.sit_down("thandi", others).open(RECONCILIATION).status_code == 403
    assert "Reconciliation" in desk.sit_down("thandi", FINANCE).read(RECONCILIATION).text
    assert set(BreakState) >= {"open"}
