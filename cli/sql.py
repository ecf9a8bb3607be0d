"""`treasury sql`: one read-only query over all tiers, or a shell of them."""

import sys
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli import terminal
from cli.answers import write_answer
from cli.session import auditing
from ledger.counts import counted
from ledger.errors import ConfigError
from tasks.querying.query import run_query


class Format(StrEnum):
    """The output format of a query's answer."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def sql(
    query: Annotated[
        str | None,
        typer.Argument(help="One SELECT over transactions, vas_transactions, ...; without it: a shell on the terminal"),
    ] = None,
    output_format: Annotated[Format, typer.Option("--format", "-f", help="Output format")] = Format.TABLE,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File  [default: standard output]")] = None,
    timeout: Annotated[
        float | None,
        typer.Option(min=0.001, max=86_400, help="Time limit in s  [default: TREASURY_SQL_TIMEOUT_S]"),
    ] = None,
) -> None:
    """Run one read-only query over all tiers.

    Each table is a view with the table's own columns, `tier` and `month`. Standard error shows how many months were
    read. Without a query, on a terminal, it is a shell with history and completion.

    Examples:
      treasury sql "SELECT tier, count(*) FROM transactions GROUP BY tier"
      treasury sql "SELECT * FROM transactions WHERE month = '2024-03'" --format parquet --output march.parquet
    """
    if query is None:
        _shell(timeout)
        return
    with auditing("s3") as settings, ExitStack() as stack:
        with terminal.working("asking"):
            answer = stack.enter_context(run_query(settings, query, timeout))
        write_answer(answer, output_format.value, output)
        typer.echo(f"read {answer.months_read} of {counted(answer.months_known, 'month')}", err=True)
        for note in answer.notes:
            typer.echo(terminal.visible(note), err=True)


def _shell(timeout: float | None) -> None:
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()):  # None: it is closed
        raise ConfigError("QUERY: give one SELECT; the shell needs a terminal")
    from cli.sql_shell import run_shell  # noqa: PLC0415  # no other command needs it

    with auditing("s3") as settings:
        run_shell(settings, timeout)
