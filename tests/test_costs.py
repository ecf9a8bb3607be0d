"""What `make test` leaves out because its file costs too much, and that the measured costs are of tests that exist."""

import ast
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.costs import COSTLY_S, LEAST_S, SHARE, read, too_costly

PROJECT = Path(__file__).parents[1]


@given(st.dictionaries(st.text(min_size=1), st.floats(0, 60)))
def test_all_that_is_quick_and_the_first_costly_test_run_and_the_costly_ones_fit(costs: dict[str, float]) -> None:
    left_out = too_costly(costs)
    assert all(costs[name] >= COSTLY_S for name in left_out)
    costly = [name for name, cost in costs.items() if cost >= COSTLY_S]
    assert costly[:1] == [name for name in costly if name not in left_out][:1]
    kept_s = sum(costs[name] for name in costly[1:] if name not in left_out)
    assert kept_s <= max(LEAST_S, SHARE * sum(costs.values()))


def test_a_file_that_costs_little_runs_whole() -> None:
    assert too_costly({"first": 1.0, "second": 1.4, "quick": 0.1}) == []
    assert too_costly({"first": 9.0, "second": 1.0, "quick": 0.1}) == ["second"]
    assert too_costly({"first": 2.0, "second": 9.0, "third": 1.0}) == ["second"]


def test_every_measured_test_exists() -> None:
    for file in {name.partition("::")[0] for name in read()}:
        tree = ast.parse((PROJECT / file).read_text(encoding="utf-8"))
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        gone = {name for name in read() if name.startswith(f"{file}::")} - {f"{file}::{name}" for name in functions}
        assert not gone, f"tests/costs.json names tests that are gone: {sorted(gone)}"
