"""Deletion as a flow on a real Prefect server: it asks, waits paused for people, and deletes what they approved."""

import threading
import time
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import tags
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.settings import PREFECT_API_URL, temporary_settings

from config import Settings
from config.retention import RetentionSettings
from flows.delete_old_transactions import delete_old_transactions
from sql.connection import connect
from sql.deletion_requests import list_requests
from tasks.retention.approvals import approve
from tests.archives import Archives
from tests.flows.test_flows import artifacts
from tests.tasks.archiving.fixtures import store  # noqa: F401  # a fixture of the ledger's
from tests.tasks.archiving.ledger import Ledger
from tests.tasks.retention.aged import OLD, objects_of, two_old_months, wrong

OWN = f"tests-{uuid4()}"  # the tag of this process's runs: other workers have runs on the same server
NO_WAIT = {"tables": ["transactions"], "wait_hours": 0}
WAITING = {"tables": ["transactions"], "wait_hours": 1}


@pytest.fixture
def old(
    settings: Settings,
    store: Path,  # noqa: F811
    archives: Archives,
    prefect_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Ledger]:
    """Two archived months that are past their policy, whose settings are this process's as they are a worker's."""
    own = settings.model_copy(update={"retention": RetentionSettings(grace_days=0)})
    for name, value in own.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TREASURY_RETENTION", '{"grace_days": 0}')
    made = Ledger(own, store)
    archives.begin(own, two_old_months)
    with temporary_settings({PREFECT_API_URL: prefect_url}), tags(OWN):
        yield made


def run(parameters: dict[str, Any]) -> tuple[State[Any], UUID]:
    """Run the flow in this process; its end state and its run's id."""
    state = delete_old_transactions(**parameters, return_state=True)
    assert isinstance(state, State)
    assert state.state_details.flow_run_id is not None
    return state, state.state_details.flow_run_id


class People(threading.Thread):
    """Answers the forms of the run that is paused next, as people do in the Prefect UI."""

    def __init__(self, *forms: dict[str, str]) -> None:
        super().__init__(target=copy_context().run, args=(self._answer,), daemon=True)
        self._forms = forms
        self.shown: list[str] = []

    def _answer(self) -> None:
        """One form after the other, each for a pause of its own."""
        answered = ""
        with get_client(sync_client=True) as client:
            for form in self._forms:
                while (paused := self._paused(client)) is None or str(paused.state and paused.state.id) == answered:
                    time.sleep(0.5)
                assert paused.state is not None
                answered = str(paused.state.id)
                keyset = paused.state.state_details.run_input_keyset
                assert keyset is not None
                said = client.read_flow_run_input(paused.id, keyset["description"])
                self.shown.append(said if isinstance(said, str) else bytes(said).decode())
                client.resume_flow_run(paused.id, run_input=form)

    def _paused(self, client: Any) -> FlowRun | None:
        runs: list[FlowRun] = client.read_flow_runs()
        mine = [one for one in runs if OWN in one.tags and one.state is not None and one.state.is_paused()]
        return mine[0] if mine else None


def form(approver: str, decision: str = "approve", reason: str = "looked at") -> dict[str, str]:
    return {"approver": approver, "decision": decision, "reason": reason}


def test_a_run_that_does_not_wait_asks_and_deletes_nothing(old: Ledger) -> None:
    state, flow_run = run(NO_WAIT)
    assert state.result() == []
    assert f'"month": "{OLD}"' in artifacts(flow_run)["deletion-plan"]
    with connect(old.settings.database_dsn, "tests") as connection:
        (request,) = list_requests(connection)
    assert (request.actor, request.approvals) == ("treasury", 2)
    assert len(old.content()) == 2
    for name in ("anna", "ben"):
        approve(old.settings, request.request_id, name, "looked at")
    again, _ = run(NO_WAIT)
    assert [one.result for one in again.result()] == ["deleted", "deleted"]
    assert objects_of(old, OLD) == set()
    assert wrong(old) == []


@pytest.mark.heavy("tests/tasks/retention/test_deletion.py tests the decisions")
def test_two_people_approve_in_the_ui_and_the_same_name_counts_once(old: Ledger) -> None:
    people = People(form("Anna"), form("anna"), form("Ben"))
    people.start()
    state, flow_run = run(WAITING)
    people.join(timeout=60)
    assert [one.result for one in state.result()] == ["deleted", "deleted"]
    assert "Delete 2 months" in people.shown[0]
    assert "Approved by Anna; 1 more must approve" in people.shown[1]
    assert "Not recorded" in people.shown[2]
    assert "Anna has approved it under" in people.shown[2]
    assert "deleted DEL-" in artifacts(flow_run)["deletions"]
    assert old.content() == {}
    assert wrong(old) == []


@pytest.mark.heavy("tests/tasks/retention/test_deletion.py tests the decisions")
def test_a_refusal_in_the_ui_ends_the_waiting_and_the_run_well(old: Ledger) -> None:
    people = People(form("Anna", "refuse", "not before the audit"))
    people.start()
    state, _ = run(WAITING)
    people.join(timeout=60)
    assert state.is_completed()
    assert state.result() == []
    assert len(old.content()) == 2


@pytest.mark.heavy("tests/tasks/retention/test_deletion.py tests the decisions")
def test_a_run_ends_well_when_nobody_comes_and_when_the_command_line_decides(old: Ledger) -> None:
    state, _ = run(WAITING | {"wait_hours": 0.003})
    assert state.is_completed()
    with connect(old.settings.database_dsn, "tests") as connection:
        (request,) = list_requests(connection)

    def decide() -> None:
        time.sleep(3)
        for name in ("anna", "ben"):
            approve(old.settings, request.request_id, name, "by the command line")

    threading.Thread(target=decide, daemon=True).start()
    again, _ = run(WAITING)
    assert [one.result for one in again.result()] == ["deleted", "deleted"]


def test_a_plan_changes_nothing(old: Ledger) -> None:
    state, _ = run({"tables": ["transactions"], "plan_only": True})
    assert state.result() == []
    with connect(old.settings.database_dsn, "tests") as connection:
        assert list_requests(connection) == []
