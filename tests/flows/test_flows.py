"""The flows through a real Prefect server: what they move, what they show, and how they end."""

import ast
import errno
import inspect
import json
import re
import time
from datetime import date
from importlib import import_module
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import State
from prefect.flows import Flow
from prefect.utilities.callables import parameter_schema

from cli.flow_runs import _logged
from config.suppliers import Suppliers
from flows.archive_months import archive_months
from flows.check_health import check_health
from flows.console import UnforeseenError, explained
from flows.delete_old_transactions import delete_old_transactions
from flows.restore_months import restore_months
from flows.roll_partitions import roll_partitions
from flows.run_archiving_operations import run_archiving_operations
from ledger.errors import ClockError, ConfigError, DataError
from ledger.months import Month
from sql import clock
from tasks.archiving.outcome import MoveAction, MoveOutcome, MoveResult
from tasks.prefect.deployments import deployments
from tests.tasks.archiving.ledger import COLD, HOT, PROJECT, ROWS, TODAY, WARM, Ledger

T = TypeVar("T")
NOON = {"as_of": TODAY}
ENTRYPOINTS = sorted({str(one["entrypoint"]) for one in deployments(PROJECT, Suppliers())})


def run(flow: Flow[..., T], parameters: dict[str, Any]) -> tuple[Any, UUID]:
    """Run a flow in this process; its end state and its run's id."""
    state = flow(**parameters, return_state=True)
    assert isinstance(state, State)
    assert state.state_details.flow_run_id is not None
    return state, state.state_details.flow_run_id


def name_of(flow_run_id: UUID) -> str:
    """The name that the UI's lists show for a run."""
    with get_client(sync_client=True) as client:
        return client.read_flow_run(flow_run_id).name


def artifacts(flow_run_id: UUID) -> dict[str, Any]:
    """What a run has published, by key."""
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
        )
    return {str(artifact.key): artifact.data for artifact in found}


def form_of(flow: Flow[..., Any]) -> dict[str, Any]:
    """The fields of the form that Prefect shows for a flow, by name."""
    return parameter_schema(flow).properties


def test_a_night_rolls_the_partitions_and_moves_what_is_due(ledger: Ledger) -> None:
    for month in (COLD, WARM, HOT):
        ledger.fill(month)
        ledger.fill(month, table=ledger.settings.table("vas_transactions"))
    before = ledger.content()
    state, flow_run = run(run_archiving_operations, NOON)
    costs = json.loads(artifacts(flow_run)["storage-costs"])
    assert [row["table"] for row in costs] == ["transactions", "vas_transactions"]
    now, ahead = {"cold", "USD a month", "all hot", "saved"}, {"the next 12 months", "the next 10 years, saved"}
    assert all(now | ahead <= set(row) for row in costs)
    assert all(" KiB: " in row["hot"] for row in costs)
    outcomes: list[MoveOutcome] = state.result()
    assert {(o.table, o.month, o.action, o.result) for o in outcomes} == {
        (table, month, action, MoveResult.MOVED)
        for table in ("transactions", "vas_transactions")
        for month, action in ((COLD, MoveAction.TO_WARM), (COLD, MoveAction.TO_COLD), (WARM, MoveAction.TO_WARM))
    }
    assert name_of(flow_run) == state.message == f"night of {TODAY}: 6 moved"
    assert ledger.content() == before
    assert [ledger.tier(month) for month in (COLD, WARM, HOT)] == ["cold", "warm", "hot"]
    assert ledger.tier(Month.of(TODAY).plus(12)) == "hot"


def test_a_run_shows_its_plan_its_moves_a_summary_and_its_progress(ledger: Ledger) -> None:
    ledger.fill(COLD)
    _, flow_run = run(archive_months, NOON)
    shown = artifacts(flow_run)
    assert set(shown) == {"archive-plan", "archive-moves", "archive-summary", "archive-progress"}
    assert shown["archive-progress"] == 100.0
    assert f'"month": "{COLD}"' in shown["archive-plan"]
    assert f'"rows": {ROWS}' in shown["archive-moves"]
    assert all(" KiB" in shown[key] for key in ("archive-plan", "archive-moves", "archive-summary"))
    assert "warm to cold: 1 moved" in shown["archive-summary"]
    assert name_of(flow_run) == f"archive {COLD} -> warm, cold, 1 table: 2 moved"
    state, flow_run = run(archive_months, NOON)
    assert name_of(flow_run) == state.message == f"archive: nothing to move as of {TODAY}"
    assert state.result() == []


def test_a_name_that_prefect_does_not_take_costs_no_work(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise OSError("away")

    ledger.fill(COLD)
    monkeypatch.setattr("flows.console.get_client", away)
    state, _ = run(archive_months, NOON)
    assert state.message == f"archive {COLD} -> warm, cold, 1 table: 2 moved"
    assert [outcome.result for outcome in state.result()] == [MoveResult.MOVED] * 2
    assert ledger.tier(COLD) == "cold"


@pytest.mark.heavy("test_plan.py tests the rule")
def test_a_plan_changes_nothing_and_is_what_then_moves(ledger: Ledger) -> None:
    ledger.fill(COLD)
    ledger.fill(WARM)
    picture = ledger.sql("SELECT * FROM archive_months ORDER BY 1, 2")
    tables = ledger.sql("SELECT oid, relname FROM pg_class WHERE relkind IN ('r', 'p', 'i') ORDER BY 1")
    state, flow_run = run(archive_months, NOON | {"plan_only": True})
    planned = {(o.month, o.result) for o in state.result()}
    assert planned == {(COLD, MoveResult.PLANNED), (WARM, MoveResult.PLANNED)}
    assert set(artifacts(flow_run)) == {"archive-plan"}
    assert name_of(flow_run) == f"plan: archive {COLD} to {WARM} -> warm, cold, 1 table"
    assert ledger.sql("SELECT * FROM archive_months ORDER BY 1, 2") == picture
    assert ledger.sql("SELECT oid, relname FROM pg_class WHERE relkind IN ('r', 'p', 'i') ORDER BY 1") == tables
    assert ledger.objects() == set()
    state, _ = run(archive_months, NOON)
    assert {(o.month, MoveResult.PLANNED) for o in state.result()} == planned


@pytest.mark.heavy("tests/life/test_one_table_alone.py asks the steps")
@pytest.mark.parametrize("wrong", ["ADD COLUMN place point", "RENAME TO theirs"], ids=["unfit", "no parent"])
def test_a_table_that_cannot_be_worked_on_fails_the_night_at_its_end_and_the_other_one_moves(
    ledger: Ledger, wrong: str
) -> None:
    ledger.fill(COLD)
    ledger.sql("DROP VIEW vas_transactions")
    for parent in ("vas_transactions_partitioned", "vas_transactions_archive_warm"):
        ledger.sql(f"ALTER TABLE {parent} {wrong if 'COLUMN' in wrong else wrong + parent[16:]}")
    if "COLUMN" not in wrong:
        ledger.sql("CREATE TABLE vas_transactions_partitioned (theirs int)")
    state, _ = run(run_archiving_operations, NOON)
    assert state.is_failed()
    assert "vas_transactions" in str(state.message)
    assert ledger.tier(COLD) == "cold"
    assert ledger.tier(Month.of(TODAY).plus(12)) == "hot"
    assert ledger.content()[str(COLD)][0] == ROWS


@pytest.mark.heavy("test_plan.py tests the rule")
def test_a_month_that_fails_stops_no_other_and_fails_the_run_at_its_end(ledger: Ledger) -> None:
    bad, good = Month(2024, 1), COLD
    ledger.fill(bad, description="a unit separator \x1f in a text")
    ledger.fill(good)
    state, flow_run = run(archive_months, NOON)
    assert state.is_failed()
    with pytest.raises(DataError, match=f"transactions {bad}.*which the archive cannot keep"):
        state.result()
    assert str(state.message).endswith("; runbook: docs/runbooks.md#archive-months")
    assert name_of(flow_run) == f"archive {bad} to {good} -> warm, cold, 1 table"
    assert (ledger.tier(bad), ledger.tier(good)) == ("warm", "cold")
    assert "which the archive cannot keep" in ledger.catalogue(bad)["last_error"]
    assert "which the archive cannot keep" in artifacts(flow_run)["archive-summary"]


@pytest.mark.heavy("test_plan.py tests the rule")
def test_a_month_with_unfinished_rows_becomes_warm_and_is_held_back_there(ledger: Ledger) -> None:
    ledger.fill(COLD, status="pending")
    state, flow_run = run(archive_months, NOON)
    assert name_of(flow_run) == f"archive {COLD} -> warm, 1 table: 1 moved, 1 held back"
    assert [(o.action, o.result, o.reason) for o in state.result()] == [
        (MoveAction.TO_WARM, MoveResult.MOVED, ""),
        (MoveAction.TO_COLD, MoveResult.HELD_BACK, f"{ROWS} unfinished rows"),
    ]
    assert ledger.tier(COLD) == "warm"
    ledger.sql("UPDATE transactions_archive_warm SET status = 'completed'")
    state, _ = run(archive_months, NOON)
    assert [(o.action, o.result) for o in state.result()] == [(MoveAction.TO_COLD, MoveResult.MOVED)]


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        (NOON | {"tables": ["transactions", "ghosts"]}, "unknown table 'ghosts'"),
        ({"as_of": date(2199, 11, 23)}, "as_of: 2199-11-23 is in the future"),
    ],
)
def test_a_wrong_parameter_is_named_before_anything_moves(
    ledger: Ledger, parameters: dict[str, Any], named: str
) -> None:
    ledger.fill(COLD)
    for flow in (archive_months, run_archiving_operations):
        state, _ = run(flow, parameters)
        with pytest.raises(ConfigError, match=named):
            state.result()
    assert ledger.tier(COLD) == "hot"


WHO = {"actor": "ann", "reason": "an audit"}
CLOCKED: dict[str, tuple[Flow[..., Any], dict[str, Any]]] = {
    "roll partitions": (roll_partitions, NOON),
    "archive months": (archive_months, NOON),
    "a night": (run_archiving_operations, NOON),
    "delete old transactions": (delete_old_transactions, NOON),
    "restore months": (restore_months, {"table": "transactions", "first": str(WARM), **WHO}),
}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("what", CLOCKED)
@pytest.mark.parametrize("off_s", [172_800.0, -3_600.0], ids=["two days ahead", "an hour behind"])
def test_a_flow_under_a_wrong_clock_is_refused_and_changes_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, what: str, off_s: float
) -> None:
    ledger.fill(COLD)
    picture = ledger.sql("SELECT * FROM archive_months ORDER BY 1, 2")
    monkeypatch.setattr(clock, "wall_clock_s", lambda: time.time() + off_s)
    flow, parameters = CLOCKED[what]
    state, _ = run(flow, parameters)
    with pytest.raises(ClockError, match="the clock of this machine is"):
        state.result()
    assert ledger.sql("SELECT * FROM archive_months ORDER BY 1, 2") == picture
    assert ledger.objects() == set()


def test_a_rollover_reports_and_fails_for_what_somebody_must_look_into(ledger: Ledger) -> None:
    ledger.sql(
        "CREATE TABLE stray PARTITION OF transactions_partitioned FOR VALUES FROM ('2019-01-10') TO ('2019-02-01')"
    )
    state, flow_run = run(roll_partitions, NOON)
    with pytest.raises(DataError, match="transactions: irregular: stray"):
        state.result()
    assert "irregular: stray" in artifacts(flow_run)["rollover-summary"]
    assert name_of(flow_run) == f"roll partitions as of {TODAY}"
    assert ledger.tier(Month.of(TODAY).plus(12)) == "hot"


@pytest.mark.usefixtures("ledger")
def test_an_unforeseen_error_names_the_job_and_the_runbook_and_shows_no_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("password=hunter2")

    monkeypatch.setattr("flows.check_health.run_checks_step", fail)
    state, flow_run = run(check_health, {})
    assert state.is_failed()
    assert "UnforeseenError: KeyError" in state.message
    assert "hunter2" not in state.message
    assert state.message.endswith("; runbook: docs/runbooks.md#check-health")
    assert name_of(flow_run) == "check health"


@pytest.mark.usefixtures("ledger")
def test_a_run_that_takes_too_long_names_the_runbook(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(*_steps: object) -> None:
        for _ in range(100):  # a thread is not ended in the middle of a sleep
            time.sleep(0.1)

    monkeypatch.setattr("flows.check_health.run_checks_step", wait)
    state, _ = run(check_health.with_options(timeout_seconds=0.5), {})
    assert state.name == "TimedOut"
    assert "not done within its time; runbook: docs/runbooks.md#check-health" in state.message


def test_what_a_flow_did_not_foresee_reaches_the_command_as_it_was() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")

    @explained("archive-months")
    def fail() -> None:
        raise full

    with pytest.raises(OSError, match="No space left") as raised:
        _logged(fail)
    assert raised.value is full
    with pytest.raises(UnforeseenError, match=r"No space left.*; runbook: docs/runbooks\.md#archive-months"):
        fail()


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_each_flow_is_explained_by_its_own_section_of_the_runbooks(entrypoint: str) -> None:
    path, _, name = entrypoint.partition(":")
    tree = ast.parse((PROJECT / path).read_text(encoding="utf-8"))
    [function] = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
    job = name.replace("_", "-")
    assert decorators[0].startswith(f"flow(name='{job}'")
    assert decorators[1:] == [f"explained('{job}')"]


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_each_field_of_a_form_is_explained_in_its_order_and_no_box_is_in_a_box(entrypoint: str) -> None:
    path, _, name = entrypoint.partition(":")
    flow = getattr(import_module(path.removesuffix(".py").replace("/", ".")), name)
    form = parameter_schema(flow)
    assert list(form.properties) == list(inspect.signature(flow.fn).parameters)
    assert [field["position"] for field in form.properties.values()] == list(range(len(form.properties)))
    assert [name for name, field in form.properties.items() if not field.get("description")] == []
    assert form.definitions == {}
    assert "object" not in {kind.get("type") for field in form.properties.values() for kind in _kinds_of(field)}


def _kinds_of(field: dict[str, Any]) -> list[dict[str, Any]]:
    """The schemas that a value of a field may fit, with those of its items."""
    kinds = [field, *field.get("anyOf", ())]
    return kinds + [kind["items"] for kind in kinds if "items" in kind]


def test_the_form_offers_the_registered_tables_and_the_moves() -> None:
    properties = form_of(archive_months)
    assert list(properties) == ["as_of", "tables", "moves", "plan_only"]
    assert properties["tables"]["items"]["enum"] == ["transactions", "vas_transactions"]
    assert properties["moves"]["enum"] == ["all", "to_warm", "to_cold", "to_deep"]
    assert properties["as_of"]["anyOf"][0]["format"] == "date"
    assert all(field["description"] for field in properties.values())


@given(st.integers(0, 9999), st.integers(0, 13), st.integers(0, 32))
def test_the_form_takes_exactly_the_days_of_the_calendar(year: int, month: int, day: int) -> None:
    pattern = form_of(roll_partitions)["as_of"]["anyOf"][0]["pattern"]
    text = f"{year:04d}-{month:02d}-{day:02d}"
    try:
        date.fromisoformat(text)
    except ValueError:
        assert not re.search(pattern, text)
    else:
        assert re.search(pattern, text)
