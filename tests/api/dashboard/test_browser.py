"""The dashboard in a real browser: with the keyboard alone, at every width, in both themes, and without a complaint.

`TREASURY_TEST_PICTURES` names a folder that gets a picture of every page.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from config import Settings
from ledger.alerts import Alert, Severity
from ledger.months import Month
from ledger.scopes import Scope
from sql.connection import connect
from tasks.admin.keys import create_key
from tasks.alerting.store import raise_alert
from tasks.transparency.publish import publish_log
from tests.api.conftest import serving, unlimited
from tests.api.dashboard.accessibility import violations
from tests.api.documentation.browser import Page, open_page
from tests.api.ledger_rows import Ledger

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PICTURES = "TREASURY_TEST_PICTURES"
WIDTHS = (320, 1280, 1920)
THEMES = ("light", "dark")
COLD = Month(2024, 3)
LIFE = "/dashboard/life"
ADDRESSES = {
    "now": "/dashboard",
    "life": LIFE,
    "month": f"{LIFE}/transactions/{COLD}",
    "find": "/dashboard/find",
    "money": "/dashboard/money",
    "reconciliation": "/dashboard/reconciliation",
    "periods": "/dashboard/reconciliation/periods",
    "queue": "/dashboard/queue",
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


@pytest.fixture
def seen(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A ledger with months in every tier that a test can make, some of them with trouble, and open alerts. Its history
    has a minute a second.
    """
    monkeypatch.setattr("api.monitoring.sampling._READINGS_EVERY_S", 1.0)
    monkeypatch.setattr("api.monitoring.history.MINUTE_S", 1.0)
    settings, present = ledger.settings, Month.of(datetime.now(UTC))
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


def test_without_scripts_the_pages_are_complete(page: Page, url: str, seen: Settings) -> None:
    sign_in(page, url, seen)
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.open(f"{url}{LIFE}")
    shown = page.call("Runtime.evaluate", expression="document.body.innerText", returnByValue=True)
    assert "How far the proof has come" in shown["result"]["value"]
    page.call("Emulation.setScriptExecutionDisabled", value=False)


def test_every_page_fits_every_width_in_both_themes(page: Page, url: str, seen: Settings) -> None:
    sign_in(page, url, seen)
    folder = Path(os.environ[PICTURES]) if os.environ.get(PICTURES) else None
    found = []
    for name, path in ADDRESSES.items():
        for theme in THEMES:
            page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
            for width in WIDTHS:
                page.call(
                    "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
                )
                page.open(f"{url}{path}")
                found += [(name, width, one) for one in page.value(TOO_WIDE) + violations(page)]
                if page.value("document.documentElement.scrollWidth") > width:
                    found.append((name, width, "the page scrolls sideways"))
                if folder is not None:
                    _picture(page, folder / f"{name}-{width}-{theme}.png")
    assert not found
    missing = "log: Failed to load resource: the server responded with a status of 404 (Not Found)"
    expected = [f"{missing} {url}/dashboard/nothing"]
    assert set(page.problems) <= set(expected)
    page.problems.clear()


def _picture(page: Page, file: Path) -> None:
    """A picture of the whole page, however long it is."""
    height = page.value("document.documentElement.scrollHeight")
    width = page.value("innerWidth")
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
    page.picture(file)
