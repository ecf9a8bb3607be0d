"""The figures that tests measured, shown when they pass, too.

A test gives ``record_property(name, figure)``; the end of the run prints them all in one section. They travel with the
reports, so that it works with several workers, and stand in `--junit-xml` besides.
"""

import pytest


def show(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the tests measured, in the order in which they ended."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    lines = [
        f"{report.nodeid.rpartition('/')[2]}: {name}: {figure}"
        for report in reports
        if report.when == "call"
        for name, figure in report.user_properties
    ]
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.line(line)
