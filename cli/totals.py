"""`treasury totals`: sums of rows per day and more, from what is kept where that holds, from the rows elsewhere."""

import csv
import json
import sys
from datetime import date, datetime, timedelta
from typing import Annotated, Any

import typer

from cli import terminal
from cli.days import DAY
from cli.session import auditing, session
from ledger.counts import counted
from ledger.errors import ConfigError, TreasuryError, combined
from ledger.spreadsheet_cells import safe_text
from ledger.tables import TieredTable
from ledger.totals import Question, Total, TotalsGroup, Zone
from tasks.totals.answer import answer_totals
from tasks.totals.keeping import TotalsResult, keep_daily_totals

_MOST = 1_000_000
_DAYS = 31


def totals(
    first: Annotated[
        datetime | None, typer.Option("--from", help="First day  [default: 31 days before --to]", **DAY)
    ] = None,
    last: Annotated[datetime | None, typer.Option("--to", help="Last day, included  [default: today]", **DAY)] = None,
    table: Annotated[str, typer.Option(help="The table")] = "transactions",
    zone: Annotated[Zone, typer.Option(help="Whose days")] = Zone.UTC,
    group_by: Annotated[
        list[TotalsGroup] | None,
        typer.Option(help="Group by this and the currency; repeat for several  [default: day]"),
    ] = None,
    client: Annotated[str | None, typer.Option(help="Only rows of this client")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON array, for programs")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Write CSV, for spreadsheets")] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the totals of months that have ended, and show nothing")
    ] = False,
) -> None:
    """Sum rows per day, client, type, status, currency and supplier.

    The sums are those of all tiers, equal to the rows to the cent. Deleted rows are not counted.

    Examples:
      treasury totals --from 2026-11-01 --to 2026-11-30 --group-by client_id
      treasury totals --from 2026-01-01 --group-by day --group-by type --csv
    """
    if keep:
        _keep()
        return
    if as_json and as_csv:
        raise ConfigError("give --json or --csv, and not both")
    question = _question(first, last, zone, frozenset(group_by or [TotalsGroup.DAY]), client)
    with auditing("s3") as settings, terminal.working("summing"):
        chosen = settings.table(table)
        answer = answer_totals(settings.for_auditor(), chosen, question, _MOST, settings.sql_timeout_s)
    for note in answer.notes:
        terminal.note(note)
    columns = [name for name in ("day", "client_id", "type", "status", "supplier") if name in question.groups]
    texts = [*columns, "currency"]
    rows = [_record(chosen, total, texts) for total in answer.totals]
    heads = [*texts, "rows", *chosen.money_columns]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, heads, lineterminator="\n")
        writer.writeheader()
        # Not the sums: one below zero begins with what would start a formula, and is a number.
        writer.writerows(row | {name: safe_text(row[name] or "") for name in texts} for row in rows)
    else:
        shown = ([_cell(row[name]) for name in heads] for row in rows)
        terminal.table(f"{chosen.name}, {question.first} to {question.last}, {zone}", heads, shown)
        terminal.note(f"from kept totals of {counted(answer.kept, 'month')}, and from the rows of {answer.read}")


def _question(
    first: datetime | None, last: datetime | None, zone: Zone, groups: frozenset[TotalsGroup], client: str | None
) -> Question:
    until = datetime.now(zone.timezone).date() if last is None else last.date()
    since: date = until - timedelta(days=_DAYS) if first is None else first.date()
    return Question(since, until, zone, groups, client)


def _record(table: TieredTable, total: Total, columns: list[str]) -> dict[str, Any]:
    """A total as one record; money stays decimal text."""
    cells = {name: getattr(total, name) for name in columns}
    return {name: str(value) if isinstance(value, date) else value for name, value in cells.items()} | {
        "rows": total.rows,
        **total.amounts(table),
    }


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _keep() -> None:
    """Do what the flow `keep-daily-totals` does. Raises the errors of the months that failed."""
    problems: list[TreasuryError] = []
    with session("s3") as settings, terminal.working("summing the months that have ended"):
        outcomes = keep_daily_totals(settings)
    for outcome in outcomes:
        if outcome.result is not TotalsResult.HELD:
            said = f", {counted(outcome.rows, 'row')}" if outcome.error is None else f": {outcome.error}"
            typer.echo(f"{outcome.place}: {outcome.result}{said}")
        problems += [] if outcome.error is None else [outcome.error]
    if problems:
        raise combined(problems)
