"""What `make test` leaves out of a test with many cases, and what it does not."""

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]
_CONFTEST = """
import pytest
from tests import sampling

@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    sampling.mark_unsampled(items)
"""
_MARKS = "slow", "heavy(why)", "sampled(size, rest, heavy)"
_TESTS = """
import pytest

@pytest.mark.sampled(2)
@pytest.mark.parametrize("case", [*range(6), pytest.param(6, marks=pytest.mark.slow)])
def test_of_many_cases(case): pass

@pytest.mark.sampled(2)
@pytest.mark.parametrize("case", [0])
def test_of_one_case(case): pass

@pytest.mark.sampled(1, heavy=2)
@pytest.mark.parametrize("case", range(9))
def test_of_very_many_cases(case): pass

@pytest.mark.heavy("the plain test watches the same")
def test_that_is_heavy(): pass

def test_plain(): pass
"""


def _collected(folder: Path, marks: str) -> list[str]:
    """The names of the tests that ``-m marks`` leaves."""
    (folder / "conftest.py").write_text(_CONFTEST)
    (folder / "test_cases.py").write_text(_TESTS)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n" + "".join(f"    {mark}\n" for mark in _MARKS))
    plugins = ["-p", "no:schemathesis", "-p", "no:hypothesispytest", "-p", "no:valkey", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, "--strict-markers", "--collect-only", "-q", "-m", marks],
        cwd=folder,
        env={"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.partition("::")[2] for line in done.stdout.splitlines() if "::" in line]


def test_of_many_cases_those_of_the_sample_stay_spread_over_the_list(tmp_path: Path) -> None:
    assert _collected(tmp_path, "not slow and not heavy") == [
        "test_of_many_cases[0]",
        "test_of_many_cases[3]",
        "test_of_one_case[0]",
        "test_of_very_many_cases[0]",
        "test_plain",
    ]


def test_without_the_marks_every_case_and_every_test_runs(tmp_path: Path) -> None:
    found = _collected(tmp_path, "not slow")
    assert [name for name in found if name.startswith("test_of_many")] == [f"test_of_many_cases[{n}]" for n in range(6)]
    assert {"test_of_one_case[0]", "test_that_is_heavy", "test_plain"} <= set(found)


def test_ci_runs_some_more_cases_where_it_may_not_run_all(tmp_path: Path) -> None:
    found = _collected(tmp_path, "not slow")
    assert [name for name in found if "very_many" in name] == [f"test_of_very_many_cases[{n}]" for n in (0, 3, 6)]
