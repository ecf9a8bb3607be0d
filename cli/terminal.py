"""Output of all commands: results go to standard output, everything else to standard error.

`rich` is imported when something is drawn with it: to import it takes longer than to check a proof.
"""

import errno
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from ledger.errors import TransientError, TreasuryError

_FILE_WIDTH = 1000  # a file has no edge: a row stays on its line, so that it can be searched
_PATIENCE_S = 0.5  # what ends sooner needs no sign that it goes on
INTERRUPTED = 130  # of a command that Ctrl-C ends, as in a shell
DISK_IS_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    console: Console
    errors: Console


def __getattr__(name: str) -> "Console":
    """``console``, for results, and ``errors``."""
    if name not in ("console", "errors"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _console(to_errors=name == "errors")


@cache
def _console(*, to_errors: bool) -> "Console":
    from rich.console import Console  # noqa: PLC0415

    return Console(stderr=to_errors, highlight=False, emoji=False, soft_wrap=to_errors)


def visible(text: str) -> str:
    """``text`` with an escape such as ``\\x1b`` or ``\\u202e`` for each character that is not printable, but for LF.

    Texts of clients and of PostgreSQL may have sequences that clear a terminal or write over what it shows.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character == "\n" else character.encode("unicode_escape").decode()
        for character in text
    )


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table for people; in a file or a pipe, as wide as its content. Cells are `visible` text, never markup."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn = Table(title=Text(visible(title), style="bold"), title_justify="left", header_style="bold")
    for column in columns:
        drawn.add_column(Text(visible(column)), overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(visible(cell)) for cell in row))
    draw(drawn)


def draw(drawn: "Table") -> None:
    """Print a table that is made by its caller, in a file or a pipe as wide as its content."""
    from rich.console import Console  # noqa: PLC0415

    console = _console(to_errors=False)
    target = console if console.is_terminal else Console(file=console.file, highlight=False, width=_FILE_WIDTH)
    target.print(drawn)


def note(text: str) -> None:
    """Report progress or a remark on standard error."""
    _console(to_errors=True).print(visible(text), style="dim", markup=False)


def next_step(text: str) -> None:
    """Report on standard error what comes next: one line, in the imperative. Never where JSON was asked for."""
    note(f"next: {text}")


@contextmanager
def working(doing: str) -> Iterator[None]:
    """Show what is being done while the block runs, on standard error and only where that is a terminal.

    Nothing is drawn in the first half second. Print results after the block: standard output may be the same terminal.
    """
    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    spinner = threading.Thread(target=_spin, args=(doing, done), name="spinner", daemon=True)
    spinner.start()
    try:
        yield
    finally:
        done.set()
        spinner.join()


def _spin(doing: str, done: threading.Event) -> None:
    if done.wait(_PATIENCE_S):
        return
    from rich.live import Live  # noqa: PLC0415
    from rich.spinner import Spinner  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = _console(to_errors=True)
    if not console.is_interactive:  # a terminal that cannot move its cursor
        return
    spinner = Spinner("dots", Text(f"{doing} …", style="dim"))
    # rich would send what is printed to standard output to standard error.
    with Live(spinner, console=console, transient=True, redirect_stdout=False, redirect_stderr=False):
        done.wait()


@contextmanager
def reported() -> Iterator[None]:
    """Turn what a command raises into one red line on standard error and the exit code of the error's class.

    A reader that closes the pipe early (``treasury tiers | head``) ends the command in silence. The exit code is 1, as
    rich and click do where they meet it first. The signal itself stays ignored: sockets would raise it too. What nobody
    foresaw is one line as well; its traceback goes to a file (`cli.unforeseen`).
    """
    try:
        yield
        sys.stdout.flush()
    except TreasuryError as error:
        _print_error(str(error))
        raise SystemExit(error.exit_code) from None
    except BrokenPipeError:
        _give_up_output()
        raise SystemExit(1) from None
    except Exception as error:  # noqa: BLE001  # the last place before a user would see a traceback
        if isinstance(error.__cause__, KeyboardInterrupt):  # that is how DuckDB passes a Ctrl-C on
            raise SystemExit(INTERRUPTED) from None
        raise SystemExit(_unforeseen(error)) from None


def _unforeseen(error: Exception) -> int:
    """Report an error that is none of the project's; its exit code."""
    if isinstance(error, OSError) and error.errno in DISK_IS_FULL:
        _give_up_output()
        _print_error(f"cannot write: {error.strerror}")
        return TransientError.exit_code
    from cli import unforeseen  # noqa: PLC0415  # rarely needed

    known = unforeseen.translated(error)
    text = unforeseen.described(error, unforeseen.keep) if known is None else str(known)
    _print_error(text)
    return unforeseen.EXIT_CODE if known is None else known.exit_code


def _print_error(text: str) -> None:
    from rich.markup import escape  # noqa: PLC0415

    _console(to_errors=True).print(f"[bold red]error:[/] {escape(visible(text))}")


def _give_up_output() -> None:
    """The interpreter flushes standard output once more while it ends: give it something that takes the rest."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
