"""The data engineer in a real browser: plans and runs in the Prefect UI, reads what moved, approves a deletion there.

A worker's child process is this process: a run that the form has made is executed here.
"""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.flow_engine import run_flow
from prefect.states import Pending

from flows.archive_months import archive_months
from flows.delete_old_transactions import delete_old_transactions
from sql.connection import connect
from sql.deletion_requests import RequestState, list_requests
from tests.api.dashboard.test_browser import PICTURES
from tests.api.documentation.browser import Page, open_page
from tests.flows.test_delete_old_transactions import OWN, WAITING, old
from tests.flows.test_deployments import deployed
from tests.tasks.archiving.fixtures import store
from tests.tasks.archiving.ledger import COLD, ROWS, Ledger

__all__ = ["deployed", "old", "store"]  # fixtures
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Console:
    """The Prefect UI, with a person signed in."""

    def __init__(self, page: Page, prefect_url: str) -> None:
        self.page = page
        self.url = prefect_url.removesuffix("/api")
        page.call("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
        page.open(self.url)
        page.type("input[type=password]", os.environ["PREFECT_API_AUTH_STRING"])
        page.click("button[type=submit]")
        self.until("Flow Runs")
        page.problems.clear()  # of the page to sign in, which asks before it has the password

    def open(self, path: str, words: str) -> None:
        """Go to a page by its address, and wait until it has these words."""
        self.page.open(f"{self.url}/v2{path}")
        self.until(words)

    def until(self, words: str) -> None:
        """Wait until the page has these words."""
        self.page.wait_for(f"document.body.innerText.includes({json.dumps(words)})")

    def press(self, selector: str, words: str) -> None:
        """Click on the last visible element of ``selector`` that has these words."""
        self.page.wait_for(
            f"""(() => {{
                document.querySelectorAll("[data-chosen]").forEach((one) => one.removeAttribute("data-chosen"));
                const found = [...document.querySelectorAll({json.dumps(selector)})].filter(
                    (one) => one.getClientRects().length && one.textContent.includes({json.dumps(words)}));
                found.at(-1)?.setAttribute("data-chosen", "");
                return found.length > 0;
            }})()"""
        )
        self.page.click("[data-chosen]")

    def picture(self, name: str) -> None:
        """A picture of the page, where `TREASURY_TEST_PICTURES` names a folder."""
        if os.environ.get(PICTURES):
            time.sleep(2)  # the graph of a run is drawn after its words
            self.page.picture(Path(os.environ[PICTURES]) / f"{name}.png")


@contextmanager
def console(prefect_url: str, folder: Path) -> Iterator[Console]:
    with open_page(folder) as page:
        seen = Console(page, prefect_url)
        yield seen
        address = "fetch('/ui-settings').then((answer) => answer.json()).then((found) => found.api_url)"
        assert page.value(address) == "/api"  # no 127.0.0.1: the browser may be on another machine
        # The UI wants to send usage to another site, and the gate's policy forbids it.
        refused = [one for one in page.problems if "Content Security Policy" in one]
        assert refused
        assert [one for one in refused if "amplitude.com" not in one] == []


def _newest(deployment: DeploymentResponse) -> FlowRun:
    """The run that a person has just asked for, once it is there."""
    with get_client(sync_client=True) as client:
        while True:
            runs = client.read_flow_runs()
            asked = [run for run in runs if run.deployment_id == deployment.id and not run.auto_scheduled]
            waiting = [run for run in asked if run.state is not None and run.state.is_scheduled()]
            if waiting:
                return waiting[0]
            time.sleep(0.2)


def _execute(run: FlowRun) -> None:
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Pending())
        state: Any = run_flow(archive_months, flow_run=client.read_flow_run(run.id), return_type="state")
    assert state.is_completed()


def test_a_data_engineer_plans_runs_and_reads_what_moved(
    deployed: dict[str, DeploymentResponse],  # a fixture
    ledger: Ledger,
    prefect_url: str,
    tmp_path: Path,
) -> None:
    ledger.fill(COLD)
    archiving = deployed["archive-months"]
    with console(prefect_url, tmp_path) as seen:
        seen.open("/deployments", "archive-months")
        seen.press("a", "archive-months")
        for plan in (True, False):
            seen.open(f"/deployments/deployment/{archiving.id}/run", "UTC day that the policy is applied at")
            assert "Show exactly what would happen" in seen.page.text("main")
            if plan:
                seen.page.click("[role=switch]")
                seen.page.wait_for("document.querySelector('[role=switch]').ariaChecked === 'true'")
            seen.picture("prefect-form")
            seen.press("button", "Submit")
            run = _newest(archiving)
            assert run.parameters["plan_only"] is plan
            _execute(run)
            seen.open(f"/runs/flow-run/{run.id}", f"archive {COLD} -> warm, cold, 1 table")
            seen.until("plan: archive" if plan else "1 table: 2 moved")
            seen.picture("prefect-run")
            seen.press("[role=tab]", "Artifacts")
            seen.until("What is due as of")
        assert ledger.tier(COLD) == "cold"
        seen.press("a, [role=link]", "archive-moves")
        seen.until("warm to cold")
        assert str(ROWS) in seen.page.text("main")


def _paused() -> FlowRun | None:
    with get_client(sync_client=True) as client:
        runs: list[FlowRun] = client.read_flow_runs()
    mine = [run for run in runs if OWN in run.tags and run.state is not None and run.state.is_paused()]
    return mine[0] if mine else None


@contextmanager
def _deleting() -> Iterator[list[Any]]:
    """A deletion that runs beside this thread, as a worker runs it; yields the list that gets its end."""
    ended: list[Any] = []

    def work() -> None:
        ended.append(delete_old_transactions(**WAITING, return_state=True))

    flow = threading.Thread(target=copy_context().run, args=(work,), daemon=True)
    flow.start()
    yield ended
    flow.join(timeout=60)
    assert ended


def _answer(seen: Console, name: str, reason: str, decision: str = "") -> None:
    """Wait for the form of the paused deletion, and answer it as a person does; `approve` stands there already."""
    while (run := _paused()) is None:
        time.sleep(0.2)
    seen.open(f"/runs/flow-run/{run.id}", "waits for approval, 2 months")
    seen.press("header button[aria-haspopup=menu], button[aria-haspopup=menu]", "Open menu")
    seen.press("[role=menuitem]", "Resume")
    seen.until("Delete 2 months")
    seen.picture("prefect-approval")
    seen.page.type("[role=dialog] textarea", name)
    seen.page.value("[...document.querySelectorAll('[role=dialog] textarea')].at(-1).focus()")
    seen.page.call("Input.insertText", text=reason)
    if decision:
        seen.press("[role=dialog] button[aria-haspopup=listbox]", "approve")
        seen.press("[role=option]", decision)
        seen.picture(f"prefect-{decision}")
    seen.press("[role=dialog] button", "Resume")
    seen.until("Running")


def test_two_people_approve_a_deletion_in_the_form(
    old: Ledger,  # a fixture
    prefect_url: str,
    tmp_path: Path,
) -> None:
    with _deleting() as ended, console(prefect_url, tmp_path) as seen:
        for name in ("Anna", "Ben"):
            _answer(seen, name, "Past its policy; looked at")
    assert [one.result for one in ended[0].result()] == ["deleted", "deleted"]
    assert old.content() == {}


def test_a_person_refuses_a_deletion_in_the_form(
    old: Ledger,  # a fixture
    prefect_url: str,
    tmp_path: Path,
) -> None:
    before = old.content()
    with _deleting() as ended, console(prefect_url, tmp_path) as seen:
        _answer(seen, "Anna", "Not before the audit", "refuse")
    assert ended[0].is_completed()
    assert ended[0].result() == []
    assert old.content() == before != {}
    with connect(old.settings.database_dsn, "tests") as connection:
        (request,) = list_requests(connection)
    assert request.state(datetime.now(UTC)) is RequestState.REFUSED
    assert [(one.action, one.actor, one.reason) for one in request.decisions] == [
        ("refused", "Anna", "Not before the audit")
    ]
