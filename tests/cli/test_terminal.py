"""What commands show while they work: on a terminal alone, and never in a pipe."""

import io
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cli import terminal
from cli.archive import show_outcomes
from cli.tier_table import show_tiers
from ledger.errors import DataError
from ledger.months import Month
from ledger.policy import Tier
from tasks.archiving.outcome import MoveAction, MoveOutcome, MoveResult
from tasks.archiving.tiers import TierRow


class Screen(io.StringIO):
    """Standard error as a terminal."""

    def isatty(self) -> bool:
        """Whether it is one."""
        return True

    def wait_for(self, text: str) -> None:
        """Return once the text was shown, or after a minute."""
        until = time.monotonic() + 60
        while text not in self.getvalue() and time.monotonic() < until:
            time.sleep(0.01)


@contextmanager
def screen(kind: str = "xterm-256color", patience_s: float = 0.0) -> Iterator[Screen]:
    """A terminal in the place of standard error. Not a fixture: pytest sets the streams again before a test begins."""
    with pytest.MonkeyPatch.context() as patch:
        made = Screen()
        patch.setattr(sys, "stderr", made)
        patch.setenv("TERM", kind)
        patch.setattr(terminal, "_PATIENCE_S", patience_s)
        terminal._console.cache_clear()
        yield made
    terminal._console.cache_clear()


def spinners() -> list[threading.Thread]:
    """The threads that show that something goes on."""
    return [one for one in threading.enumerate() if one.name == "spinner"]


def test_on_a_terminal_it_is_shown_what_is_being_done(capsys: pytest.CaptureFixture[str]) -> None:
    with screen() as shown, terminal.working("verifying the archive"):
        shown.wait_for("verifying the archive …")
        print("a result")  # noqa: T201  # what a command prints stays on standard output
    assert "verifying the archive …" in shown.getvalue()
    assert capsys.readouterr().out == "a result\n"
    assert "a result" not in shown.getvalue()
    assert not spinners()


def test_what_ends_at_once_shows_nothing() -> None:
    with screen(patience_s=60.0) as shown, terminal.working("verifying"):
        assert spinners()
    assert (shown.getvalue(), spinners()) == ("", [])


def test_a_terminal_that_cannot_move_its_cursor_shows_nothing() -> None:
    with screen("dumb") as shown, terminal.working("verifying"):
        for one in spinners():
            one.join()  # it ends by itself
    assert shown.getvalue() == ""


def test_a_pipe_gets_nothing_and_starts_no_thread(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.working("verifying"):
        assert not spinners()
    assert capsys.readouterr().err == ""


def test_the_sign_ends_with_an_error_too() -> None:
    def fail(shown: Screen) -> None:
        with terminal.working("verifying"):
            shown.wait_for("verifying")
            raise ValueError("broken")

    with screen() as shown, pytest.raises(ValueError, match="broken"):
        fail(shown)
    assert not spinners()


def test_what_comes_next_is_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.next_step("run `treasury delete run 3`")
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "next: run `treasury delete run 3`\n")


HOSTILE = "\x1b[2J\x1b[Hpaid \x9b\u202e\r\x07[bold]:x: é日\n"
SHOWN = r"\x1b[2J\x1b[Hpaid \x9b\u202e\r\x07[bold]:x: é日"


def test_no_text_of_a_table_a_remark_or_an_error_can_write_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.table(HOSTILE, [HOSTILE], [[HOSTILE]])
    terminal.note(HOSTILE)
    with pytest.raises(SystemExit), terminal.reported():
        raise DataError(HOSTILE)
    out, err = capsys.readouterr()
    assert (out.count(SHOWN), err.count(SHOWN)) == (3, 2)
    assert all(one.isprintable() or one == "\n" for one in out + err)


def test_tiers_and_moves_cannot_write_to_it_either(capsys: pytest.CaptureFixture[str]) -> None:
    sums = {HOSTILE: {"amount": "1.00"}}
    row = TierRow(HOSTILE, Month(2024, 1), 1, Tier.HOT, 1, 1, 1, sums, None, None, HOSTILE)
    show_tiers([row])
    show_outcomes([MoveOutcome(HOSTILE, Month(2024, 1), MoveAction.TO_WARM, MoveResult.FAILED, reason=HOSTILE)])
    out, _ = capsys.readouterr()
    assert all(one.isprintable() or one == "\n" for one in out)
    assert r"\x1b[2J" in out
