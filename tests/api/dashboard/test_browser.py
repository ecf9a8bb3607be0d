"""The dashboard in a real browser: with the keyboard alone, at every width, in both themes, and without a complaint.

`TREASURY_TEST_PICTURES` names a folder that gets a picture of every page.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.dashboard.certificates import CERTIFICATES
from config import Settings
from config.retention import RetentionSettings
from ledger.alerts import Alert, Severity
from ledger.holds import HoldScope
from ledger.months import Month
from ledger.scopes import Scope
from sql.connection import connect
from tasks.admin.keys import create_key
from tasks.alerting.store import raise_alert
from tasks.archiving.late_rows import open_late_rows
from tasks.health import CHECKS, run_checks
from tasks.health.record import record
from tasks.reconciliation.casework.breaks import resolve
from tasks.reconciliation.closing.periods import close_period
from tasks.reconciliation.vocabulary import Decision
from tasks.retention.approvals import approve, request_deletion
from tasks.retention.deletion import delete_months
from tasks.retention.holds import place_hold, release_hold
from tasks.transparency.publish import publish_log
from tests.api.conftest import serving, unlimited
from tests.api.dashboard.accessibility import violations
from tests.api.dashboard.desk import PERIODS, QUEUE, RECONCILIATION, break_page, opened_books, with_breaks
from tests.api.documentation.browser import Page, open_page
from tests.api.ledger_rows import Ledger
from tests.tasks.reconciliation.books import DAY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PICTURES = "TREASURY_TEST_PICTURES"
WIDTHS = (320, 1280, 1920)
THEMES = ("light", "dark")
COLD = Month(2024, 3)
DELETED, IN_PARTS = Month(2014, 1), COLD.plus(2)
LIFE = "/dashboard/life"
SIGN_IN = "sign-in"  # the last one, because it signs out
ADDRESSES = {
    "now": "/dashboard",
    "life": LIFE,
    "month": f"{LIFE}/transactions/{COLD}",
    "month-in-parts": f"{LIFE}/transactions/{IN_PARTS}",
    "month-deleted": f"{LIFE}/transactions/{DELETED}",
    "find": "/dashboard/find",
    "found": f"/dashboard/find?by=wallet_id&value=w-0&from={COLD.first_day}&to={COLD.plus(1).first_day}",
    "money": "/dashboard/money",
    "money-both": f"/dashboard/money?table=all&type=yes&from={COLD.first_day}&to={COLD.plus(1).first_day}",
    "reconciliation": f"{RECONCILIATION}?from={DAY}&to={DAY}&state=all",
    "periods": PERIODS,
    "queue": QUEUE,
    "sessions": "/dashboard/sessions",
    "runbooks": "/dashboard/docs/runbooks",
    "auditing": "/dashboard/docs/auditing",
    "error": "/dashboard/nothing",
}
# The elements that are wider than the window, but for what scrolls in a box of its own.
TOO_WIDE = """[...document.querySelectorAll("body *")].filter((one) => {
    const box = one.getBoundingClientRect();
    return box.width && box.right > document.documentElement.clientWidth + 1
        && !one.closest(".scroll, .skip, .unseen, pre") && !one.matches("path, rect");
}).map((one) => one.outerHTML.slice(0, 200))"""
# The elements whose text is cut: it is wider than they are, and what is too much is hidden.
CUT = """[...document.querySelectorAll("body *")].filter((one) => one.scrollWidth > one.clientWidth + 1
    && one.clientWidth > 2 && !one.closest(".skip, .unseen, svg")
    && ["hidden", "clip"].includes(getComputedStyle(one).overflowX)).map((one) => one.outerHTML.slice(0, 200))"""
# The texts that lie over one another: the boxes of their lines meet by more than a sign of the grid does.
OVERLAPPING = """(() => {
    const texts = [], walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const parent = node.parentElement;
        if (!node.data.trim() || parent.closest(".skip, .unseen, .scroll, svg, option, textarea")) continue;
        const range = document.createRange();
        range.selectNodeContents(node);
        for (const box of range.getClientRects()) if (box.width > 2) texts.push([box, node.data.trim().slice(0, 60)]);
    }
    texts.sort((one, other) => one[0].top - other[0].top);
    const found = [];
    for (let i = 0; i < texts.length; i++) for (let j = i + 1; j < texts.length; j++) {
        const [a, b] = [texts[i][0], texts[j][0]];
        if (b.top > a.bottom) break;
        const down = Math.min(a.bottom, b.bottom) - b.top;
        const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        if (down > 6 && across > 2) found.push(`${texts[i][1]} | ${texts[j][1]}`);
    }
    return found;
})()"""


# A row of the figures of a chart, and where its values are in the window.
POINT = """(() => {
    const chart = document.querySelector("#latency"), row = chart.querySelector("tbody").PLACE;
    const box = chart.querySelector(".plot svg").getBoundingClientRect();
    const place = chart.querySelector(".plot").dataset.places.split(" ")[row.rowIndex - 1];
    const texts = [...row.cells].map((cell) => cell.textContent);
    return [texts, box.left + box.width * place / 100, box.top + box.height / 2];
})()"""


@pytest.fixture
def seen(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """A ledger with months in every tier that a test can make, some of them with trouble, and open alerts. Its history
    has a minute a second.
    """
    monkeypatch.setattr("api.monitoring.sampling._READINGS_EVERY_S", 1.0)
    monkeypatch.setattr("api.monitoring.history.MINUTE_S", 1.0)
    settings, present = ledger.settings, Month.of(datetime.now(UTC))
    reconciled(settings, tmp_path)
    for name in ("transactions", "vas_transactions"):
        table = settings.table(name)
        for distance in (0, 1, 2):
            cold = COLD.plus(distance)
            ledger.add(table, [cold.lower + timedelta(days=day) for day in range(5)], wallet_id=f"w-{distance}")
            ledger.cold(table, cold)
        for back, status in ((14, "pending"), (7, "completed"), (1, "completed")):
            month = present.plus(-back)
            ledger.add(table, [month.lower + timedelta(hours=hour) for hour in range(9)], status=status)
            if back != 1:
                ledger.warm(table, month)
    held(settings)
    late_and_deleted(ledger)
    publish_log(settings)
    with connect(settings.database_dsn, "tests") as connection:
        connection.execute(
            "UPDATE archive_months SET last_error = 'the object store gave other bytes back than it was given' "
            "WHERE tier = 'warm' AND table_name = 'vas_transactions' AND month = %s",
            (present.plus(-7).first_day,),
        )
        for severity in (Severity.CRITICAL, Severity.WARNING):
            title = f"The disk of the home is nearly full ({severity})"
            raise_alert(
                connection, Alert("disk", str(severity), severity, title, "Make room: archive what is due.", {})
            )
    return unlimited(settings)


def reconciled(settings: Settings, folder: Path) -> None:
    """A reconciled day with breaks, and what one person has proposed: a decision, and the closing of the day."""
    books = with_breaks(opened_books(settings, folder))
    account = "key 0123456789ab"
    (large,) = books.sql("SELECT break_id FROM recon_breaks WHERE difference = 1000.01")
    resolve(books.settings, large["break_id"], "sipho", Decision.THEIRS_IS_RIGHT, "Vended by hand", account=account)
    close_period(books.settings, books.supplier, DAY, DAY, "sipho", "Month end", carry=True, account=account)


def held(settings: Settings) -> None:
    """A hold on an archived month, whose release somebody has proposed."""
    review = datetime.now(UTC).date() + timedelta(days=90)
    placed = place_hold(settings, HoldScope(COLD, COLD), "CASE 2026/17", "Asked for by the court", "legal", review)
    release_hold(settings, placed.hold.number, "sipho", "The matter is settled")


def late_and_deleted(ledger: Ledger) -> None:
    """A month with a part of late rows, and one that people have deleted, under a certificate."""
    settings = ledger.settings.model_copy(update={"retention": RetentionSettings(grace_days=0)})
    table = settings.table("transactions")
    open_late_rows(settings, table, IN_PARTS)
    for month in (IN_PARTS, DELETED):
        ledger.add(table, [month.lower + timedelta(days=9)])
        ledger.cold(table, month)
    publish_log(settings)
    asked = request_deletion(settings, [table], "anna", "past the policy")
    for actor in ("ben", "carol"):
        approve(settings, asked.request_id, actor, "looked at")
    assert delete_months(settings)


@pytest.fixture
def url(seen: Settings) -> Iterator[str]:
    with serving(seen) as url:
        yield url


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A tab of a fresh browser. What the browser complains about fails the test."""
    with open_page(tmp_path) as page:
        yield page
        assert page.problems == []


def press(page: Page, key: str, code: int) -> None:
    """Press a key as a person does."""
    text = "\r" if key == "Enter" else ""
    for kind in ("keyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, text=text)


def tab_to(page: Page, found: str) -> None:
    """Go on with the tab key until an expression over the focused element, `e`, is true."""
    for _ in range(200):
        if page.value(f"(() => {{ const e = document.activeElement; return Boolean({found}); }})()"):
            return
        press(page, "Tab", 9)
    pytest.fail(f"the tab key never came to {found}; problems: {page.problems}")


def arrive(page: Page, path: str) -> None:
    """Wait until a page is there."""
    page.wait_for(f"location.pathname === '{path}' && document.readyState === 'complete'")


def sign_in(page: Page, url: str, settings: Settings) -> None:
    """Sign in with the keyboard alone."""
    page.call("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
    page.open(f"{url}/dashboard/sign-in")
    page.wait_for("document.activeElement.id === 'key'")  # the field has the focus
    page.call("Input.insertText", text=create_key(settings, "acme", list(Scope)))
    press(page, "Enter", 13)
    arrive(page, "/dashboard")


def test_a_person_goes_through_the_pages_with_the_keyboard(page: Page, url: str, seen: Settings) -> None:
    sign_in(page, url, seen)
    assert "checks" in page.text("#state")
    tab_to(page, "e.textContent.startsWith('Acknowledge')")
    press(page, "Enter", 13)
    page.wait_for("location.search === '?done=acknowledged'")
    assert "The alert is acknowledged" in page.text("[role=status]")

    tab_to(page, "e.matches('nav a') && e.textContent === 'Life of the data'")
    press(page, "Enter", 13)
    arrive(page, LIFE)
    assert page.value("document.querySelector('nav [aria-current=page]').textContent") == "Life of the data"
    tab_to(page, f"e.getAttribute('href') === 'life/transactions/{COLD}'")
    press(page, "Enter", 13)
    arrive(page, f"{LIFE}/transactions/{COLD}")
    assert "The archived month" in page.text("main")

    tab_to(page, "e.textContent === 'Sign out'")
    press(page, "Enter", 13)
    arrive(page, "/dashboard/sign-in")
    assert "You have signed out." in page.text("[role=status]")
    assert page.value("document.cookie") == ""
    assert all(address.startswith((url, "data:", "about:")) for address in page.requested)


def test_an_open_page_refreshes_itself_and_says_when_it_cannot(page: Page, url: str, seen: Settings) -> None:
    sign_in(page, url, seen)
    page.value("document.querySelector('#troubles').open = true")
    before = page.text("#freshness")
    with connect(seen.database_dsn, "tests") as connection:
        alert = Alert("new", "new", Severity.CRITICAL, "A thing that is new", "Look.", {})
        assert raise_alert(connection, alert)
    page.wait_for("document.querySelector('#alerts').innerText.includes('A thing that is new')")
    assert page.value("document.querySelector('#troubles').open")
    assert before.startswith("As of")
    assert page.value("document.querySelector('[data-stale]').hidden")


def test_a_refresh_leaves_what_somebody_selects_scrolls_to_or_closes(page: Page, url: str, seen: Settings) -> None:
    sign_in(page, url, seen)
    page.click("#troubles summary")
    is_open = page.value("document.activeElement.blur(), document.querySelector('#troubles').open")
    page.value("document.styleSheets[0].insertRule('#alerts table { min-width: 300rem }')")
    box = "document.querySelector('#alerts .scroll')"
    page.value(f"{box}.scrollLeft = 20")
    page.value("document.querySelectorAll('[data-live]').forEach((one) => { one.dataset.before = ''; })")
    page.value("getSelection().selectAllChildren(document.querySelector('#state .sentence'))")
    selected = page.value("String(getSelection())")

    page.wait_for("document.querySelectorAll('[data-before]').length === 1")  # the others are new
    assert page.value("document.querySelector('[data-before]').id") == "state"
    assert page.value("String(getSelection())") == selected != ""
    assert page.value(f"{box}.scrollLeft") == 20
    page.value("getSelection().removeAllRanges()")
    page.wait_for("document.querySelectorAll('[data-before]').length === 0")
    assert page.value("document.querySelector('#troubles').open") == is_open


def test_an_alert_appears_is_acknowledged_and_is_resolved_when_its_cause_ends(
    page: Page, url: str, seen: Settings, ledger: Ledger
) -> None:
    """On-call's whole way, on a page that stays open: what is published too late to the public log, until it is."""
    sign_in(page, url, seen)
    assert "public log" not in page.text("#alerts").lower()
    month = COLD.plus(3)
    ledger.add(seen.table("transactions"), [month.lower])
    ledger.cold(seen.table("transactions"), month)
    check_log(seen, late_minutes=11)
    rows = "[...document.querySelectorAll('#alerts tbody tr')]"
    row = f"{rows}.find((one) => one.innerText.includes('treasury log publish'))"
    page.wait_for(f"{row} !== undefined")
    assert "since" in page.value(f"{row}.innerText")

    page.value(f"{row}.querySelector('button').setAttribute('data-chosen', '')")
    page.click("[data-chosen]")
    page.wait_for("location.search === '?done=acknowledged'")
    page.wait_for(f"{row} !== undefined")  # a busy PostgreSQL: the page comes without its alerts, and asks again
    assert "acme (key" in page.value(f"{row}.innerText")
    check_log(seen, late_minutes=12)  # found again, and still acknowledged
    page.open(f"{url}/dashboard")
    page.wait_for(f"{row} !== undefined")
    assert page.value(f"{row}.querySelector('button') === null")

    publish_log(seen)
    check_log(seen, late_minutes=13)
    page.wait_for(f"{row} === undefined")
    assert violations(page) == []


def check_log(settings: Settings, late_minutes: int) -> None:
    """Check the public log as the health flow does, as of some minutes from now."""
    checks = [check for check in CHECKS if check.name == "log"]
    now = datetime.now(UTC)
    results = run_checks(settings, checks, now + timedelta(minutes=late_minutes))
    assert record(settings, results, now).not_stored == ""


def test_the_values_under_the_pointer_are_those_of_the_table(page: Page, url: str, seen: Settings) -> None:
    sign_in(page, url, seen)
    page.wait_for("document.querySelectorAll('#latency tbody tr').length > 2")
    page.value("document.querySelector('#latency').scrollIntoView({block: 'center', behavior: 'instant'})")
    for place in ("first", "last"):
        row, x, y = page.value(POINT.replace("PLACE", f"{place}ElementChild"))
        page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        page.wait_for(f"document.querySelector('#latency .reading').textContent.startsWith({row[0]!r})")
        said = page.text("#latency .reading")
        assert said == f"{row[0]}: " + ", ".join(map(" ".join, zip(("p50", "p95", "p99"), row[1:], strict=True)))
        assert abs(page.value("document.querySelector('#latency .cursor').getBoundingClientRect().left") - x) < 2
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    page.wait_for("document.querySelector('#latency .reading').textContent === ''")
    assert page.value("document.querySelector('#latency .cursor').hidden")


def test_without_scripts_the_pages_are_complete(page: Page, url: str, seen: Settings) -> None:
    sign_in(page, url, seen)
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    for name, path in (ADDRESSES | addresses(page, url, seen)).items():
        page.open(f"{url}{path}")
        assert page.text("main h1"), name
        assert len(page.text("main")) > 100, name
    page.open(f"{url}{LIFE}")
    assert "How far the proof has come" in page.text("main")

    page.open(f"{url}/dashboard")
    page.click("#alerts button")  # a form does not need them
    arrive(page, "/dashboard")
    assert "The alert is acknowledged" in page.text("[role=status]")
    page.call("Emulation.setScriptExecutionDisabled", value=False)
    page.problems.clear()  # of the page that is not there


def test_every_page_fits_every_width_in_both_themes(page: Page, url: str, seen: Settings) -> None:
    sign_in(page, url, seen)
    folder = Path(os.environ[PICTURES]) if os.environ.get(PICTURES) else None
    found = []
    for name, path in (ADDRESSES | addresses(page, url, seen)).items():
        if name == SIGN_IN:
            page.call("Network.clearBrowserCookies")
        for theme in THEMES:
            page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
            for width in WIDTHS:
                page.call(
                    "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
                )
                page.open(f"{url}{path}")
                found += [(name, width, one) for one in page.value(TOO_WIDE) + page.value(CUT) + violations(page)]
                found += [(name, width, f"overlapping: {one}") for one in page.value(OVERLAPPING)]
                if page.value("document.documentElement.scrollWidth") > width:
                    found.append((name, width, "the page scrolls sideways"))
                if folder is not None:
                    _picture(page, folder / f"{name}-{width}-{theme}.png")
    assert not found
    missing = "log: Failed to load resource: the server responded with a status of 404 (Not Found)"
    # A certificate names no icon, for it is printed and kept elsewhere: the browser looks for one by itself.
    expected = [f"{missing} {url}/dashboard/nothing", f"{missing} {url}/favicon.ico"]
    assert set(page.problems) <= set(expected)
    page.problems.clear()


def addresses(page: Page, url: str, settings: Settings) -> dict[str, str]:
    """The pages whose addresses have a number of this ledger, and the one for those who have not signed in."""
    page.open(url + ADDRESSES["found"])
    row = page.value("document.querySelector('tbody th a').pathname")
    with connect(settings.database_dsn, "tests") as connection:
        ((number,),) = connection.execute("SELECT break_id FROM recon_breaks WHERE difference = 29").fetchall()
        ((certificate,),) = connection.execute("SELECT certificate FROM deletions").fetchall()
    pages = {"row": row, "break": break_page(number), "certificate": f"{CERTIFICATES}/{certificate}"}
    return {**pages, SIGN_IN: "/dashboard/sign-in"}


def _picture(page: Page, file: Path) -> None:
    """A picture of the whole page, however long it is."""
    height = page.value("document.documentElement.scrollHeight")
    width = page.value("innerWidth")
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
    page.picture(file)
