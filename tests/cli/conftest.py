"""A ledger for the commands, and a way to run them as a user does."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from rich.console import Console

from cli import terminal
from cli.main import main
from config import Settings
from servers.lending import running
from tests.cli.in_process import run_here
from tests.tasks.archiving.copies import copied  # noqa: F401  # a fixture
from tests.tasks.archiving.fixtures import ledger, store  # noqa: F401  # fixtures
from tests.tasks.archiving.ledger import PROJECT

Treasury = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def prefect_url(server_settings: Settings) -> Iterator[str]:
    """The address of a real Prefect server, shared by the workers of the run."""
    with running(server_settings, "prefect") as settings:
        yield str(settings.prefect_api_url)


@pytest.fixture
def treasury_here(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Treasury:
    """The same in this process: seconds of imports sooner."""

    def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return run_here(capsys, PROJECT, settings.environment() | environment, *arguments)

    return run


@pytest.fixture
def treasury(settings: Settings) -> Treasury:
    """Run the command with this test's database and bucket."""

    def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "cli.main", *arguments],
            env=dict(os.environ) | settings.environment() | environment,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """What was typed, run in this process: exit code, standard output, standard error. Quicker than `treasury`."""
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(terminal, "console", Console(highlight=False, width=220))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["treasury", *arguments])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run
