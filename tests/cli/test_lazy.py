"""Each command loads its own module when it is called; lists of commands, help and completion need none of them."""

import os
import subprocess
import sys
from typing import Any

import pytest
from typer.main import get_command

from cli.commands import COMMANDS
from cli.lazy import Command, Group, LazyCommand
from cli.main import app
from cli.start import plain_check
from ledger.errors import NotFoundError
from tests.cli.tree import each_command

LISTS = [(), *((name,) for name, entry in COMMANDS.items() if isinstance(entry, Group))]


def _treasury(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    program = (
        "import sys\n"
        "from cli.start import main\n"
        "sys.argv[0] = 'treasury'\n"
        "try:\n    main()\n"
        "finally:\n    print(*sys.modules, file=sys.stderr)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "COLUMNS": "100"} | environment,
        timeout=60,
    )


def _loaded(answer: "subprocess.CompletedProcess[str]") -> set[str]:
    modules = set(answer.stderr.splitlines()[-1].split())
    drivers = {"pyarrow", "duckdb", "psycopg", "prefect", "sqlalchemy", "alembic", "redis", "httpx", "scipy", "config"}
    commands = {command.function.partition(":")[0] for _, command in each_command()}
    return modules & (drivers | commands)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("group", LISTS)
def test_a_list_of_commands_loads_no_command_and_no_driver(group: tuple[str, ...]) -> None:
    answer = _treasury(*group, "--help")
    assert answer.returncode == 0
    assert _loaded(answer) == set()
    assert "typer" in answer.stderr.split()


@pytest.mark.sampled(1)
@pytest.mark.parametrize(("words", "incomplete", "offered"), [
    ("treasury sta", "1", {"status", "statements"}),
    ("treasury recon show", "2", {"show", "show-run"}),
    ("treasury --h", "1", {"--help"}),
])  # fmt: skip
def test_completion_of_a_command_loads_none(words: str, incomplete: str, offered: set[str]) -> None:
    answer = _treasury(_TREASURY_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=incomplete)
    assert set(answer.stdout.split()) == offered
    assert _loaded(answer) == set()


@pytest.mark.heavy("a list of commands is tested beside it")
def test_completion_of_an_option_loads_the_one_command() -> None:
    answer = _treasury(_TREASURY_COMPLETE="complete_bash", COMP_WORDS="treasury tiers --js", COMP_CWORD="2")
    assert answer.stdout.split() == ["--json"]
    assert {"cli.archive"} == {name for name in _loaded(answer) if name.startswith("cli.")}


def test_checking_a_proof_loads_no_typer_no_driver_and_no_settings() -> None:
    answer = _treasury("check-proof", "missing", "--policy", "missing")
    assert "error: missing: No such file" in answer.stderr
    assert answer.returncode == NotFoundError.exit_code
    assert _loaded(answer) == set()
    assert "cli.checked_proof" in answer.stderr.split()
    assert not {"typer", "pydantic"} & set(answer.stderr.split())


@pytest.mark.parametrize(("words", "plain"), [
    ("a.proof --policy p", ("a.proof", "p", False)),
    ("--json --policy p a.proof", ("a.proof", "p", True)),
    ("a.proof", None),
    ("--policy p", None),
    ("a.proof --policy", None),
    ("a.proof b.proof --policy p", None),
    ("a.proof --policy p --policy q", None),
    ("a.proof --policy=p", None),
    ("a.proof --policy p --help", None),
    ("-- a.proof --policy p", None),
    ("a.proof --policy --json", None),
])  # fmt: skip
def test_only_the_plain_spelling_of_a_check_goes_past_typer(words: str, plain: tuple[str, str, bool] | None) -> None:
    assert plain_check(words.split()) == plain


def test_a_command_runs_with_garbage_collection_and_is_imported_without() -> None:
    source = (
        "import gc, sys\n"
        "from cli import commands, lazy, start\n"
        "load, seen = lazy.LazyCommand.load, []\n"
        "def loaded(self):\n"
        "    seen.append(gc.isenabled())\n"
        "    command = load(self)\n"
        "    seen.append(gc.isenabled())\n"
        "    return command\n"
        "lazy.LazyCommand.load = loaded\n"
        "sys.argv = ['treasury', 'tiers', '--help']\n"
        "try:\n"
        "    start.main()\n"
        "except SystemExit:\n"
        "    print(seen, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[False, True]"


def test_every_other_spelling_of_a_check_is_answered_by_typer() -> None:
    assert "Missing option '--policy'" in _treasury("check-proof", "a.proof").stderr
    assert "Check a proof file." in _treasury("check-proof", "a.proof", "--help").stdout
    assert "error: a.proof: No such file" in _treasury("check-proof", "a.proof", "--policy=p").stderr


@pytest.mark.parametrize(("path", "command"), list(each_command()))
def test_the_summary_in_a_list_is_the_first_sentence_of_the_commands_own_help(
    path: tuple[str, ...], command: Command
) -> None:
    real = LazyCommand(path[-1], command).load()
    assert real.get_short_help_str(1000) == command.summary


@pytest.mark.sampled(3)
@pytest.mark.parametrize("group", LISTS)
def test_a_list_of_commands_shows_each_summary_whole(group: tuple[str, ...]) -> None:
    shown = " ".join(_treasury(*group, "--help").stdout.split())
    listed = COMMANDS[group[0]] if group else COMMANDS
    entries = listed.commands if isinstance(listed, Group) else listed
    assert isinstance(entries, dict)
    for name, entry in entries.items():
        assert f" {name} {entry.summary}" in shown


def test_a_wrong_name_is_answered_with_the_nearest_one() -> None:
    assert "No such command 'tears'. Did you mean 'tiers'?" in _treasury("tears").stderr
    assert "No such command 'brakes'. Did you mean 'breaks'?" in _treasury("recon", "brakes").stderr


def test_every_option_and_argument_has_a_help_text() -> None:
    root: Any = get_command(app)
    assert [*root.commands] == [*COMMANDS]
    silent = [
        f"{' '.join(path)} {parameter.name}"
        for path, command in each_command()
        for parameter in LazyCommand(path[-1], command).load().params
        if parameter.name != "help" and not parameter.help
    ]
    assert silent == []
