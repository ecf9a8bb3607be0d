"""The check of the processes of `treasury up`: what runs, what is started again, what is left down."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from config import Settings
from servers.stack import _claimed
from tasks.admin.processes import STATE_FILE
from tasks.health import CHECKS, CheckResult, HealthState, run_checks


def run(settings: Settings) -> CheckResult:
    return run_checks(settings, [one for one in CHECKS if one.name == "processes"])[0]


def write(home: Path, **processes: tuple[str, int, str]) -> None:
    """The state file, as the supervisor writes it: state, number of ends and text of each process."""
    now = datetime.now(UTC).isoformat()
    content = {name: {"state": one[0], "ends": [now] * one[1], "text": one[2]} for name, one in processes.items()}
    (home / "run" / STATE_FILE).write_text(json.dumps(content))


def test_without_up_there_is_nothing_to_run(settings: Settings) -> None:
    assert (run(settings).state, run(settings).line) == (HealthState.HEALTHY, "no `treasury up` runs in this home")


@pytest.mark.parametrize(
    ("worker", "state", "line"),
    [
        (("running", 0, ""), HealthState.HEALTHY, "2 processes of `treasury up` run"),
        (
            ("running", 2, "worker runs again"),
            HealthState.WARNING,
            "ended by themselves and were started again: worker 2 times",
        ),
        (("restarting", 1, "worker has ended by itself"), HealthState.WARNING, "worker has ended by itself"),
        (("left down", 6, "worker is left down"), HealthState.CRITICAL, "worker is left down"),
    ],
)
def test_what_became_of_each_process_is_told(
    settings: Settings, worker: tuple[str, int, str], state: HealthState, line: str
) -> None:
    settings.home.mkdir(parents=True)
    with _claimed(settings.home):
        write(settings.home, postgres=("running", 0, ""), worker=worker)
        result = run(settings)
        assert (result.state, result.line) == (state, line)


def test_a_state_that_cannot_be_read_is_critical(settings: Settings) -> None:
    settings.home.mkdir(parents=True)
    with _claimed(settings.home):
        (settings.home / "run" / STATE_FILE).write_text("{")
        result = run(settings)
        assert (result.state, "cannot be read" in result.line) == (HealthState.CRITICAL, True)
