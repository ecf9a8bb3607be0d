"""The files that the tests run too little of, shown at the end of a run that measures coverage.

The floor is `fail_under` in pyproject.toml. It holds for the project as a whole, and pytest-cov fails the run below it;
a single file below it is named here and fails nothing.
"""

import tomllib

import msgspec
import pytest


class Summary(msgspec.Struct):
    """What was run of a file or of the project; ``percent_covered`` is of its statements and branches."""

    percent_covered: float
    missing_lines: int
    missing_branches: int


class File(msgspec.Struct):
    """A file of the project."""

    summary: Summary


class Report(msgspec.Struct):
    """What is used of coverage's JSON report; the files are named by their path in the project."""

    files: dict[str, File]
    totals: Summary


def show(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the total and each file below the floor. Prints nothing where nothing was measured."""
    if "json" not in (config.getoption("cov_report", None) or {}):
        return
    settings = tomllib.loads((config.rootpath / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["coverage"]
    written = config.rootpath / settings["json"]["output"]
    if not written.exists():  # pytest-cov has said why
        return
    terminalreporter.section("coverage")
    for line in lines(msgspec.json.decode(written.read_bytes(), type=Report), settings["report"]["fail_under"]):
        terminalreporter.line(line)


def lines(report: Report, floor: float) -> list[str]:
    """A line for the project, and one for each file below ``floor`` (percent), the lowest first."""
    below = {name: file.summary for name, file in report.files.items() if file.summary.percent_covered < floor}
    total = f"{report.totals.percent_covered:.1f} % of lines and branches; the floor is {floor} %"
    return [total] + [
        f"{summary.percent_covered:5.1f} %  {name}: {summary.missing_lines} lines, {summary.missing_branches} branches"
        for name, summary in sorted(below.items(), key=lambda item: (item[1].percent_covered, item[0]))
    ]
