"""The shell of `treasury sql`: questions one after the other in a warm process, with history and completion.

A question ends with a semicolon; a line that begins with a backslash is a command of the shell.
"""

import time
from collections.abc import Callable, Sequence

import typer
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.history import FileHistory

from cli import terminal
from cli.answers import write_answer
from config import Settings
from ledger.counts import counted
from ledger.errors import TreasuryError
from ledger.totals import totals_columns
from storage.branches import Described
from tasks.querying.query import Querier
from tasks.querying.reading import is_ended

_HISTORY = "sql_history"
_HELP = "\\d: the views   \\d NAME: the columns of one   \\timing: show times or not   \\q: end   a query ends with ;"
_WORDS = (
    *("SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "HAVING", "LIMIT", "WITH", "JOIN", "LEFT JOIN", "ON", "AS"),
    *("AND", "OR", "NOT", "IN", "IS NULL", "BETWEEN", "LIKE", "CASE", "WHEN", "THEN", "ELSE", "END", "DISTINCT"),
    *("count(*)", "sum(", "min(", "max(", "avg_exact(", "exact_div(", "json_exact(", "DESC", "tier", "month"),
)


def run_shell(settings: Settings, timeout_s: float | None) -> None:
    """Ask for queries on the terminal until its user ends it."""
    with Querier(settings) as querier:
        shell = Shell(querier, timeout_s)
        prompts: PromptSession[str] = PromptSession(history=_history(settings), completer=_completer(querier))
        terminal.note(_HELP)
        while shell.is_open:
            try:
                line = prompts.prompt(shell.prompt)
            except KeyboardInterrupt:
                shell.drop()
            except EOFError:
                return
            else:
                shell.take(line)


def _history(settings: Settings) -> FileHistory:
    """The questions of earlier shells, in a file that its owner alone may read: they name wallets."""
    settings.home.mkdir(parents=True, exist_ok=True)  # with servers of one's own there may be none yet
    path = settings.home / _HISTORY
    path.touch(mode=0o600)
    path.chmod(0o600)
    return FileHistory(str(path))


def _completer(querier: Querier) -> WordCompleter:
    tables = querier.tables()
    names = [name for table, columns in tables for name in (*table.views, *(c.name for c in columns))]
    return WordCompleter([*dict.fromkeys((*_WORDS, *names))], ignore_case=True)


class Shell:
    """What the shell does with each line. A failed question is reported, and the next one is asked for."""

    def __init__(self, querier: Querier, timeout_s: float | None) -> None:
        self._querier, self._timeout_s = querier, timeout_s
        self._lines: list[str] = []
        self._is_timed = False
        self.is_open = True
        self._commands: dict[str, Callable[[str], None]] = {
            "\\q": self._quit,
            "\\d": self._describe,
            "\\timing": self._time,
            "\\?": lambda _: terminal.note(_HELP),
        }

    @property
    def prompt(self) -> str:
        """What is shown before a line: a question may have several."""
        return "treasury-> " if self._lines else "treasury=> "

    def drop(self) -> None:
        """Forget the lines of a question that has not ended."""
        self._lines = []

    def take(self, line: str) -> None:
        """The next line."""
        text = line.strip()
        try:
            if text.startswith("\\") and not self._lines:
                self._command(text)
            elif text:
                self._lines.append(line)
                query = "\n".join(self._lines)
                if is_ended(query):
                    self._lines = []
                    self._ask(query)
        except TreasuryError as error:
            terminal.errors.print(f"error: {terminal.visible(str(error))}", style="red", markup=False)
        except KeyboardInterrupt:
            terminal.note("cancelled")

    def _command(self, text: str) -> None:
        name, _, argument = text.partition(" ")
        command = self._commands.get(name)
        if command is None:
            terminal.note(f"{name} is unknown. {_HELP}")
        else:
            command(argument.strip().rstrip(";"))

    def _ask(self, query: str) -> None:
        started = time.perf_counter()
        with self._querier.answer(query, self._timeout_s) as answer:
            write_answer(answer, "table", None)
            typer.echo(f"read {answer.months_read} of {counted(answer.months_known, 'month')}", err=True)
            for note in answer.notes:
                typer.echo(terminal.visible(note), err=True)
        if self._is_timed:
            typer.echo(f"{1000 * (time.perf_counter() - started):.1f} ms", err=True)

    def _quit(self, _: str) -> None:
        self.is_open = False

    def _time(self, _: str) -> None:
        self._is_timed = not self._is_timed
        terminal.note(f"times are {'shown' if self._is_timed else 'not shown'}")

    def _describe(self, name: str) -> None:
        tables = self._querier.tables()
        if not name:
            views = [(view, len(_columns(described, view))) for described in tables for view in described[0].views]
            terminal.table("views", ("view", "columns"), ((view, str(count)) for view, count in views))
            return
        columns = [_columns(described, name) for described in tables if name in described[0].views]
        if not columns:
            terminal.note(f"{name} is not a view. {_names(tables)}")
            return
        terminal.table(name, ("column", "kind", ""), columns[0])


def _columns(described: Described, view: str) -> list[tuple[str, str, str]]:
    """The columns of one of a table's views: name, kind and a remark."""
    table, columns = described
    is_totals = view in table.totals_views
    shown = totals_columns(table, columns) if is_totals else columns
    rows = [(column.name, str(column.kind), "" if column.nullable else "not null") for column in shown]
    return rows if is_totals else [*rows, ("tier", "text", ""), ("month", "text", "YYYY-MM")]


def _names(tables: Sequence[Described]) -> str:
    return f"The views are {', '.join(view for table, _ in tables for view in table.views)}."
