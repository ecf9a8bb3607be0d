"""A command run in the test's own process: for tests of what it says and ends with, not of how a process starts."""

import io
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from cli.main import main


def run_here(
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    environment: Mapping[str, str],
    *arguments: str,
    is_input_closed: bool = False,
) -> "subprocess.CompletedProcess[str]":
    """`treasury` with ``arguments`` in ``folder``, with ``environment`` on top of this process's and an empty input."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["treasury", *arguments])
        patch.setattr(sys, "stdin", None if is_input_closed else io.TextIOWrapper(io.BytesIO()))
        patch.chdir(folder)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
    told = capsys.readouterr()
    code = ended.value.code or 0
    assert isinstance(code, int)
    return subprocess.CompletedProcess(arguments, code, told.out, told.err)
