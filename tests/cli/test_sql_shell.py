"""The shell of `treasury sql`: a question may have several lines, and one that fails is followed by the next."""

import os
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from cli import terminal
from cli.sql_shell import Shell, run_shell
from tasks.querying.query import Querier
from tests.cli.in_process import run_here
from tests.tasks.archiving.fixtures import ledger, store
from tests.tasks.archiving.ledger import HOT, ROWS, Ledger

__all__ = ["ledger", "store"]


@pytest.fixture
def filled(ledger: Ledger) -> Ledger:  # the fixture
    ledger.fill(HOT)
    return ledger


@pytest.fixture
def shell(filled: Ledger) -> Iterator[Shell]:
    with Querier(filled.settings) as querier:
        yield Shell(querier, None)


def test_a_question_ends_with_a_semicolon(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell.prompt == "treasury=> "
    shell.take("SELECT count(*) AS n")
    assert shell.prompt == "treasury-> "
    shell.take("FROM transactions;")
    out, err = capsys.readouterr()
    assert str(ROWS) in out
    assert "read 1 of 1 month" in err
    assert shell.prompt == "treasury=> "


def test_a_semicolon_in_a_text_or_a_comment_ends_no_question(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    for line in ("SELECT 'a;", "b' AS t, -- and;", "/* more;", "*/ 7 AS n"):
        shell.take(line)
        assert shell.prompt == "treasury-> ", line
    shell.take("; -- done")
    assert "a;" in capsys.readouterr().out
    assert shell.prompt == "treasury=> "
    shell.take("SELECT ] ;")
    assert "error: SQL: Parser Error" in capsys.readouterr().err
    assert shell.prompt == "treasury=> "


def test_an_error_is_one_line_and_the_next_question_is_answered(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.take("DELETE FROM transactions;")
    assert "error: SQL: exactly one SELECT" in capsys.readouterr().err
    shell.take("SELECT 42 AS n;")
    assert "42" in capsys.readouterr().out


def test_its_commands_list_views_and_columns_and_show_times(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.take("\\d")
    assert "transactions_archive_cold" in capsys.readouterr().out
    shell.take("\\d transactions")
    out = capsys.readouterr().out
    assert "wallet_id" in out
    assert "month" in out
    shell.take("\\d nothing")
    assert "nothing is not a view" in capsys.readouterr().err
    shell.take("\\x")
    assert "\\x is unknown" in capsys.readouterr().err
    shell.take("\\timing")
    shell.take("SELECT 1;")
    assert " ms\n" in capsys.readouterr().err
    shell.take("\\q")
    assert not shell.is_open


def test_what_was_typed_of_a_question_can_be_dropped(shell: Shell) -> None:
    shell.take("SELECT nonsense")
    shell.drop()
    assert shell.prompt == "treasury=> "


def test_a_session_on_a_terminal_keeps_its_history_to_its_owner(
    filled: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    with create_pipe_input() as typed, create_app_session(input=typed, output=DummyOutput()):
        typed.send_text("SELECT 7 AS n;\n\\q\n")
        run_shell(filled.settings, None)
    assert "7" in capsys.readouterr().out
    history = filled.settings.home / "sql_history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert "SELECT 7 AS n;" in history.read_text()


def test_without_a_terminal_a_query_must_be_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = run_here(capsys, tmp_path, {}, "sql")
    assert ended.returncode == 78
    assert "QUERY: give one SELECT" in ended.stderr


@contextmanager
def _ctrl_c() -> Iterator[None]:
    """Press Ctrl-C half a second after the block has begun: the question below takes much longer."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background ignores it
    pressed = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    pressed.start()
    try:
        yield
    finally:
        pressed.join()
        signal.signal(signal.SIGINT, before)


LONG = "SELECT sum(hash(i * 7 + j)) FROM range(100000) a(i), range(30000) b(j);"


def test_ctrl_c_ends_a_long_question_and_the_next_one_is_answered(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    with _ctrl_c():
        shell.take(LONG)
    assert capsys.readouterr().err == "cancelled\n"
    shell.take("SELECT count(*) + 41 AS n FROM range(1);")
    assert "42" in capsys.readouterr().out
    assert shell.is_open


def test_ctrl_c_ends_a_command_that_the_engine_works_for_and_nothing_is_to_be_reported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended, terminal.reported():
        raise RuntimeError("Query interrupted") from KeyboardInterrupt()  # as DuckDB does
    assert (ended.value.code, capsys.readouterr().err) == (130, "")
