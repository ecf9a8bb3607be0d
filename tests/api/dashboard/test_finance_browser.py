"""Finance in a real browser: a break from open to a closed period, by two people with two keys."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from config import Settings
from tasks.admin.keys import create_key
from tests.api.dashboard.accessibility import violations
from tests.api.dashboard.desk import FINANCE, PERIODS, QUEUE, RECONCILIATION, Desk, opened_books, served, with_breaks
from tests.api.documentation.browser import Page, open_page
from tests.tasks.reconciliation.books import DAY

pytestmark = pytest.mark.slow


@pytest.fixture
def desk(settings: Settings, tmp_path: Path) -> Iterator[Desk]:
    with served(with_breaks(opened_books(settings, tmp_path))) as desk:
        yield desk


class Browser:
    """A person's own browser, signed in with a key of their client."""

    def __init__(self, desk: Desk, page: Page, client: str) -> None:
        self.page = page
        self._url = desk.url
        key = create_key(desk.books.settings, client, list(FINANCE))
        page.open(f"{desk.url}/dashboard/sign-in?next={QUEUE}")
        self._unasked()
        page.type("#key", key)
        page.click("form[action='/dashboard/sign-in'] button")
        self.until("Waits for a second person")

    def _unasked(self) -> None:
        """The page to sign in answers 401 where a session is missing; the browser notes that."""
        self.page.problems.clear()

    def open(self, path: str) -> None:
        """Go to a page by its address."""
        self.page.open(self._url + path)

    def follow(self, words: str) -> None:
        """Click on the first link or button with these words."""
        found = (
            "Array.from(document.querySelectorAll('a, button')).find(one => one.textContent.trim().startsWith({0!r}))"
        )
        self.page.wait_for(f"({found.format(words)})?.setAttribute('data-chosen', '') === undefined")
        self.page.click("[data-chosen]")

    def until(self, words: str) -> None:
        """Wait until the page has these words, and let axe-core look at it."""
        self.page.wait_for(f"document.readyState === 'complete' && document.body.innerText.includes({words!r})")
        assert violations(self.page) == []


def test_a_break_from_open_to_a_closed_period_by_two_people(desk: Desk, tmp_path: Path) -> None:
    number = desk.number_of("1000.01")
    with ExitStack() as stack:
        people = {}
        for name in ("thandi", "sipho"):
            (tmp_path / name).mkdir()
            people[name] = Browser(desk, stack.enter_context(open_page(tmp_path / name)), name)
        thandi, sipho = people["thandi"], people["sipho"]

        thandi.follow("Reconciliation")
        thandi.until("What waits for a decision")
        thandi.follow(str(number))
        thandi.until("The ledger has no row for this line.")
        thandi.page.click("input[value='theirs_is_right']")
        thandi.page.type("#reason", "Vended by hand, invoice 7")
        thandi.follow("Record the decision")
        thandi.until("The decision is proposed.")
        thandi.open(QUEUE)
        thandi.until("Waits for somebody else".lower())

        sipho.open(QUEUE)
        sipho.until("Vended by hand, invoice 7")
        sipho.follow("Look at both sides and decide")
        sipho.until("Confirm, as the second person")
        sipho.page.type("#reason", "Invoice 7 seen")
        sipho.follow("Confirm: the statement is right")
        sipho.until("The break is resolved.")
        assert desk.state_of(number) == "resolved"

        thandi.open(PERIODS)
        for field, value in (("#first", str(DAY)), ("#last", str(DAY))):
            thandi.page.value(f"document.querySelector('{field}').value = '{value}'")
        thandi.page.click("#carry")
        thandi.page.type("#reason", "Month end")
        thandi.follow("Propose to close")
        thandi.until("Closing the period is proposed.")

        sipho.open(QUEUE)
        sipho.until(f"flash, {DAY} to {DAY}")
        sipho.page.type("#closing-1", "Checked")
        sipho.follow("Close the period")
        sipho.until("The period is closed.")
        sipho.open(f"{RECONCILIATION}?from={DAY}&to={DAY}&state=all")
        sipho.until("closed")
        assert desk.books.sql("SELECT actor FROM recon_periods") == [{"actor": "sipho"}]
        for person in people.values():
            assert person.page.problems == []
            # The browser draws the fields of dates with pictures of its own.
            asked = [address for address in person.page.requested if not address.startswith("data:image/")]
            assert all(address.startswith(desk.url) for address in asked)
