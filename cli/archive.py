"""`treasury tiers`, `late-rows` and `run`: list months and their tiers, and run the flows that move them."""

import json
import os
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from cli import terminal
from cli.costs import show_costs
from cli.days import DAY
from cli.json_output import AsJson, record, write_json
from cli.session import preparing, session
from cli.terminal import console, visible
from cli.tier_table import show_tiers
from config import Settings
from ledger.counts import counted
from ledger.errors import ConfigError
from ledger.months import Month
from ledger.sizes import human_bytes
from ledger.tables import TieredTable
from tasks.archiving.late_rows import open_late_rows
from tasks.archiving.tiers import TierRow, tier_rows
from tasks.prefect.access import PrefectAccess, client_environment


class Job(StrEnum):
    """The jobs that `treasury run` accepts. The first four are flows; the others are names from before the flows."""

    ROLL_PARTITIONS = "roll_partitions"
    ARCHIVE_MONTHS = "archive_months"
    RUN_ARCHIVING_OPERATIONS = "run_archiving_operations"
    DELETE_OLD_TRANSACTIONS = "delete_old_transactions"
    ARCHIVE_TRANSACTIONS_TO_WARM = "archive_transactions_to_warm"
    ARCHIVE_TRANSACTIONS_TO_COLD = "archive_transactions_to_cold"
    ARCHIVE_VAS_TRANSACTIONS = "archive_vas_transactions"


# The parameters of `archive_months` that each former name means.
_FORMER: dict[Job, dict[str, Any]] = {
    Job.ARCHIVE_TRANSACTIONS_TO_WARM: {"tables": ["transactions"], "moves": "to_warm"},
    Job.ARCHIVE_TRANSACTIONS_TO_COLD: {"tables": ["transactions"], "moves": "to_cold"},
    Job.ARCHIVE_VAS_TRANSACTIONS: {"tables": ["vas_transactions"]},
}


def tiers(
    table: Annotated[list[str] | None, typer.Option(help="Only this table; repeat for several")] = None,
    cost: Annotated[
        bool, typer.Option(help="Show what the tiers cost, and what they save, in place of the months")
    ] = False,
    every_month: Annotated[
        bool, typer.Option("--all", help="Show every month also where years would be folded into a line")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON array, for programs")] = False,
) -> None:
    """Show each month's tier, rows, bytes, sums and digest. The last column is the day of its last move.

    Examples:
      treasury tiers --table transactions --all
      treasury tiers --cost --json
    """
    with session() as settings:
        tables = settings.chosen_tables(table)
        if cost:
            show_costs(settings, tables, as_json=as_json)
            return
        with terminal.working("counting rows"):
            rows, refused = _each_table(settings, tables)
    if as_json:
        typer.echo(json.dumps([row.as_json() for row in rows], indent=1))
    else:
        show_tiers(rows, every_month=every_month)
    if refused:
        raise ConfigError("; ".join(refused))
    if hidden := [row for row in rows if row.rows is None]:
        raise ConfigError(f"{counted(len(hidden), 'month is', 'months are')} not counted: {hidden[0].note}")


def _each_table(settings: Settings, tables: list[TieredTable]) -> tuple[list[TierRow], list[str]]:
    """The months of every table that can be read, and why the others cannot."""
    rows, refused = [], []
    for table in tables:
        try:
            rows += tier_rows(settings, [table])
        except ConfigError as error:
            refused.append(f"table {table.name} is left out: {error}")
    return rows, refused


def late_rows(
    table: Annotated[str, typer.Argument(help="A ledger table")],
    month: Annotated[str, typer.Argument(help="An archived month, YYYY-MM")],
    as_json: AsJson = False,
) -> None:
    """Open an archived month for rows that came late.

    The rows become a further part of the month, with a proof of its own. A partition of the month that somebody made is
    taken over. The nightly run archives the part when it is due.

    Examples:
      treasury late-rows transactions 2024-03
    """
    archived = Month.parse(month)
    with session("s3") as settings, terminal.working("opening the month"):
        opened = open_late_rows(settings, settings.table(table), archived)
    if as_json:
        write_json({"table": table, "month": archived, **record(opened, partition=str(opened.partition))})
        return
    typer.echo(
        f"{table} {month}: part {opened.part} is {opened.tier}, {opened.partition} has {counted(opened.rows, 'row')}"
    )
    terminal.next_step(f"import or insert the rows; `treasury tiers --table {table}` shows the part")


def run(
    job: Annotated[Job, typer.Argument(help="Name of the flow, or a former job name")],
    as_of: Annotated[
        datetime | None, typer.Option(**DAY, help="UTC day to apply the policy at  [default: today]")
    ] = None,
    table: Annotated[list[str] | None, typer.Option(help="Only this table; repeat for several")] = None,
    plan_only: Annotated[bool, typer.Option(help="Show the planned moves and change nothing")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a flow now, in this process. Prefect records the run.

    Examples:
      treasury run run_archiving_operations --plan-only
      treasury run archive_months --as-of 2026-11-01 --table transactions
    """
    parameters: dict[str, Any] = {"as_of": as_of.date() if as_of else None, "plan_only": plan_only}
    parameters |= {"tables": table} if table else {}
    with preparing("s3", "prefect") as settings:
        run_job(settings, job, parameters, as_json=as_json)


def run_job(settings: Settings, job: Job, options: dict[str, Any], *, as_json: bool = False) -> None:
    """Run a flow in this process and print its result; its log has its report. Raises what the flow raises."""
    enter_prefect(settings)
    parameters = {**_FORMER.get(job, {}), **options}
    for name in parameters.get("tables") or []:
        settings.table(name)
    from cli import flow_runs  # noqa: PLC0415  # Prefect reads its settings when it is imported

    if job is Job.ROLL_PARTITIONS:
        reports = flow_runs.roll(parameters)
        if as_json:
            write_json(reports)
        else:
            terminal.next_step(_next_step(parameters, planned=any(report.wanted for report in reports)))
    elif job is Job.DELETE_OLD_TRANSACTIONS:
        from cli.deletion import show_run  # noqa: PLC0415  # no other command needs it

        show_run(settings, flow_runs.delete(parameters), parameters, as_json=as_json)
    else:
        outcomes = flow_runs.archive(parameters, nightly=job is Job.RUN_ARCHIVING_OPERATIONS)
        if as_json:
            write_json([record(outcome, "transient") for outcome in outcomes])
            return
        show_outcomes(outcomes)
        terminal.next_step(_next_step(parameters, planned=bool(outcomes)))


def _next_step(parameters: dict[str, Any], *, planned: bool) -> str:
    """What comes after a run, or after a plan that has something in it."""
    if parameters.get("plan_only") and planned:
        return "run the same without --plan-only to do this"
    return "look at the months with `treasury tiers`"


def enter_prefect(settings: Settings) -> None:
    """Make this process a client of the Prefect server, as a worker is. Must run before Prefect is imported.

    Raises TransientError when the server does not answer as Prefect does, ConfigError when it refuses the login.
    """
    access = PrefectAccess.of(settings)
    access.ask("/admin/version")
    os.environ.update(settings.environment() | client_environment(settings.home, access))


def show_outcomes(outcomes: list[Any]) -> None:
    """Print the moves, or the planned moves, for people."""
    shown = Table(title="Moves", title_justify="left", box=None, padding=(0, 1, 0, 0), header_style="bold")
    for heading in ("table", "month", "move", "result"):
        shown.add_column(heading, no_wrap=True)
    for heading in ("rows", "was", "is", "s"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("reason")
    for o in outcomes:
        sizes = (human_bytes(o.postgres_bytes), human_bytes(o.archive_bytes) if o.archive_bytes else "")
        cells = (o.table, str(o.month), o.action, o.result, f"{o.rows:,}", *sizes, f"{o.duration_s:.2f}", o.reason)
        shown.add_row(*(Text(visible(cell)) for cell in cells))
    console.print(shown)
