"""Coverage as `make test-all` measures it: with the project's settings, on a small project of two modules."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.coverage_report import File, Report, Summary, lines

PROJECT = Path(__file__).parents[1]
OPTIONS = ("--cov", "--cov-report=json")  # of `make test-all`
MODULE = """
def chosen(there):
    if there:
        return "there"
    return "here"
"""
# The first process is left alone with a signal, as uvicorn ends itself; the second has an environment without coverage.
TESTS = """
import os, signal, subprocess, sys
from ledger import rows

THERE = "import os, signal; from ledger import rows; rows.chosen(True); os.kill(os.getpid(), signal.SIGTERM)"

def test_here():
    assert rows.chosen(False) == "here"

def test_there():
    assert subprocess.run([sys.executable, "-c", THERE]).returncode == -signal.SIGTERM

def test_unmeasured():
    program = "from ledger import other; other.chosen(True)"
    subprocess.run([sys.executable, "-c", program], env={"PATH": os.environ["PATH"]}, check=True)
"""


def measure(folder: Path, floor: int) -> "subprocess.CompletedProcess[str]":
    """Run the small project's tests on a worker, with this project's settings of coverage and another floor."""
    stated = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    settings = stated[stated.index("[tool.coverage.run]") : stated.index("[tool.mypy]")]
    kept = [line for line in settings.splitlines() if not line.startswith("fail_under")]
    ledger = folder / "ledger"
    ledger.mkdir()
    for name, text in {"__init__.py": "", "rows.py": MODULE, "other.py": MODULE}.items():
        (ledger / name).write_text(text, encoding="utf-8")
    (folder / "test_rows.py").write_text(TESTS, encoding="utf-8")
    (folder / "conftest.py").write_text(
        "from tests import coverage_report\n\n"
        "def pytest_terminal_summary(terminalreporter, config):\n"
        "    coverage_report.show(terminalreporter, config)\n",
        encoding="utf-8",
    )
    report = kept.index("[tool.coverage.report]") + 1
    kept.insert(report, f"fail_under = {floor}")
    (folder / "pyproject.toml").write_text("\n".join(kept), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTEST"))}
    command = [sys.executable, "-m", "pytest", "-p", "no:valkey", "-n", "1", *OPTIONS]
    return subprocess.run(
        command,
        cwd=folder,
        env=environment | {"PYTHONPATH": f"{folder}{os.pathsep}{PROJECT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@pytest.mark.heavy("about the coverage that only `make test-all` measures")
def test_processes_that_tests_start_are_measured_and_a_file_below_the_floor_is_named(tmp_path: Path) -> None:
    done = measure(tmp_path, floor=40)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.partition("= coverage =")[2].splitlines()[1:3] == [
        "50.0 % of lines and branches; the floor is 40 %",
        "  0.0 %  ledger/other.py: 4 lines, 2 branches",
    ]
    assert "3 passed" in done.stdout.splitlines()[-1]


@pytest.mark.heavy("about the coverage that only `make test-all` measures")
def test_a_project_below_the_floor_fails_the_run(tmp_path: Path) -> None:
    done = measure(tmp_path, floor=90)
    assert done.returncode != 0
    assert "less than fail-under=90" in done.stdout
    assert "3 passed" in done.stdout.splitlines()[-1]


def test_the_lowest_file_comes_first_and_a_file_at_the_floor_is_not_named() -> None:
    files = {"a.py": File(Summary(79.9, 2, 1)), "b.py": File(Summary(80.0, 1, 0)), "c.py": File(Summary(12.5, 7, 0))}
    assert lines(Report(files, Summary(81.25, 10, 1)), 80) == [
        "81.2 % of lines and branches; the floor is 80 %",
        " 12.5 %  c.py: 7 lines, 0 branches",
        " 79.9 %  a.py: 2 lines, 1 branches",
    ]


def test_every_package_that_is_installed_is_measured() -> None:
    stated = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    packages = {name.partition(".")[0] for name in stated["setuptools"]["packages"]["find"]["include"]}
    assert set(stated["coverage"]["run"]["source"]) == packages


def test_make_test_all_measures_the_whole_project_against_a_floor() -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    [recipe] = re.findall(r"^test-all:.*\n\t(.*)$", makefile, re.MULTILINE)
    assert [word for word in recipe.split() if word.startswith("--cov")] == list(OPTIONS)
    assert not recipe.startswith("-")  # make ignores the failure of such a line
    report = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["coverage"]["report"]
    assert report["fail_under"] >= 80
    assert not {"omit", "exclude_lines", "exclude_also"} & set(report)
