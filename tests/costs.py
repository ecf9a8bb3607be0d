"""Which tests `make test` leaves out by what they cost: it is for every change, and has eight minutes on two cores.

`tests/costs.json` has the seconds that a case of each costly test function takes, as `make costs` measured them. Of
each file `make test` runs all that costs little, the first costly test, and of the others, in their order, what fits
into a share of the file's costs. The rest is heavy (`tests.sampling`): `.ci/run` and `make test-all` run it. A test
that was never measured always runs.
"""

import json
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

KEPT = "TREASURY_TEST_COSTS"  # the file that a run writes its costs to
FILE = Path(__file__).with_suffix(".json")
COSTLY_S = 0.8
SHARE = 0.3
LEAST_S = 2.5
# The setup of what a whole module or run shares is not the cost of the test that happens to come first.
_MOST_SETUP_S = 3.0
_HEAVY = pytest.mark.heavy("costs seconds, as others of its file: tests/costs.py")


def mark_costly(items: Sequence[pytest.Item], seconds: dict[str, float]) -> None:
    """Mark as heavy what does not fit. ``seconds`` are of a case; items that are slow or heavy are not counted."""
    files: dict[str, dict[str, list[pytest.Item]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        if not item.get_closest_marker("slow") and not item.get_closest_marker("heavy"):
            files[item.nodeid.partition("::")[0]][function_of(item.nodeid)].append(item)
    for functions in files.values():
        costs = {name: seconds.get(name, 0.0) * len(cases) for name, cases in functions.items()}
        for name in too_costly(costs):
            for item in functions[name]:
                item.add_marker(_HEAVY)


def too_costly(costs: dict[str, float]) -> list[str]:
    """Return the functions of a file that do not fit. ``costs`` are in seconds, in the order of the file."""
    costly = {name: cost for name, cost in costs.items() if cost >= COSTLY_S}
    quick_s = sum(costs.values()) - sum(costly.values())
    room_s = max(LEAST_S, SHARE * sum(costs.values()) - quick_s)
    used_s, left_out = 0.0, []
    for name, cost in costly.items():
        if used_s and used_s + cost > room_s:
            left_out.append(name)
        else:
            used_s += cost
    return left_out


def function_of(nodeid: str) -> str:
    """Return the file and function of a test, without its case."""
    return nodeid.partition("[")[0]


def read() -> dict[str, float]:
    """Return the measured seconds of a case, by function."""
    seconds: dict[str, float] = json.loads(FILE.read_text(encoding="utf-8"))
    return seconds


class CostKeeper:
    """A plugin of the process that sees every report: it writes the costs of the run to a file when the run ends.

    What a run does not run keeps its cost.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._cases: dict[str, int] = defaultdict(int)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the seconds of one phase of one test."""
        name, is_setup = function_of(report.nodeid), report.when == "setup"
        self._seconds[name] += min(report.duration, _MOST_SETUP_S if is_setup else report.duration)
        self._cases[name] += is_setup

    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        target = Path(os.environ[KEPT])
        known = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}
        known = {name: cost for name, cost in known.items() if name not in self._seconds}
        costly = {name: cost for name, cost in self._seconds.items() if cost >= COSTLY_S}
        known |= {name: round(cost / self._cases[name], 2) for name, cost in costly.items()}
        target.write_text(json.dumps(known, indent=0, sort_keys=True) + "\n", encoding="utf-8")
