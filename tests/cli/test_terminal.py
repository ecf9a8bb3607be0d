"""What commands show while they work: on a terminal alone, and never in a pipe."""

import io
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cli import terminal


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
