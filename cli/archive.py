"""`treasury tiers`, `treasury sql` and `treasury run`: what is where, what it says, and the jobs that move it."""

import json
import os
import sys
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.session import auditing, session
from cli.terminal import console

if TYPE_CHECKING:
    from config import Settings
    from tasks.tiers import TierRow

_KIBIBYTE = 1024


class Job(StrEnum):
    """The jobs that can be run by name. The first two are the flows; the others are the names that jobs had before."""

    ROLL_PARTITIONS = "roll_partitions"
    ARCHIVE_MONTHS = "archive_months"
    RUN_ARCHIVING_OPERATIONS = "run_archiving_operations"
    ARCHIVE_TRANSACTIONS_TO_WARM = "archive_transactions_to_warm"
    ARCHIVE_TRANSACTIONS_TO_COLD = "archive_transactions_to_cold"
    ARCHIVE_VAS_TRANSACTIONS = "archive_vas_transactions"


# What a former name stands for: a flow's parameters, and the flow.
_FORMER: dict[Job, dict[str, Any]] = {
    Job.ARCHIVE_TRANSACTIONS_TO_WARM: {"tables": ["transactions"], "moves": "to_warm"},
    Job.ARCHIVE_TRANSACTIONS_TO_COLD: {"tables": ["transactions"], "moves": "to_cold"},
    Job.ARCHIVE_VAS_TRANSACTIONS: {"tables": ["vas_transactions"]},
}


class Format(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("tiers")(tiers)
    app.command("sql")(sql)
    app.command("run")(run)


def tiers(
    table: Annotated[list[str] | None, typer.Option(help="Only these tables")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array, for programs")] = False,
) -> None:
    """Show every month: tier, rows, bytes, sums per currency, digest, and when it moved."""
    from ledger.errors import ConfigError  # noqa: PLC0415
    from tasks.tiers import tier_rows  # noqa: PLC0415

    with session() as settings:
        tables = [settings.table(name) for name in table or settings.registry]
        rows = tier_rows(settings, tables)
    if as_json:
        typer.echo(json.dumps([row.as_json() for row in rows], indent=1))
    else:
        show_tiers(rows)
    if hidden := [row for row in rows if row.rows is None]:
        raise ConfigError(f"{len(hidden)} months are not counted: {hidden[0].note}")


def show_tiers(rows: list["TierRow"]) -> None:
    """Print the months of each table for people."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    for name in dict.fromkeys(row.table for row in rows):
        shown = Table(title=name, title_justify="left", box=None, padding=(0, 1, 0, 0), header_style="bold")
        for heading in ("month", "tier"):
            shown.add_column(heading, no_wrap=True)
        for heading in ("rows", "bytes", "was", "sum"):
            shown.add_column(heading, justify="right", no_wrap=True)
        for heading in ("digest", "moved"):
            shown.add_column(heading, no_wrap=True)
        mine = [row for row in rows if row.table == name]
        if any(row.note for row in mine):
            shown.add_column("note")
        for row in mine:
            shown.add_row(*_tier_cells(row), *([Text(row.note)] if row.note else []))
        console.print(shown)
    console.print(
        "bytes: in the tier the month is in; was: in PostgreSQL before it left; sum: of the currency with most, +N: N"
        " further currencies have sums of their own. --json: every sum, whole digests"
    )


def _tier_cells(row: "TierRow") -> tuple[str, ...]:
    return (
        str(row.month),
        row.tier,
        "hidden" if row.rows is None else f"{row.rows:,}",
        human_bytes(row.bytes),
        human_bytes(row.postgres_bytes) if row.digest else "",
        _largest_sum(row.sums),
        row.digest[:8] if row.digest else "",
        f"{row.moved_at:%Y-%m-%d}" if row.moved_at else "",
    )


def _largest_sum(sums: dict[str, dict[str, str]]) -> str:
    """The first money column's sum in the currency with most of it; how many more currencies there are."""
    amounts = {currency: next(iter(columns.values())) for currency, columns in sums.items() if columns}
    if not amounts:
        return ""
    currency = max(amounts, key=lambda name: Decimal(amounts[name]))
    more = f" +{len(amounts) - 1}" if len(amounts) > 1 else ""
    return f"{Decimal(amounts[currency]):,} {currency}{more}"


def human_bytes(size: float) -> str:
    """A number of bytes with a binary unit."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < _KIBIBYTE:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= _KIBIBYTE
    return f"{size:.1f} TiB"


def sql(
    query: Annotated[str, typer.Argument(help="One SELECT over transactions, vas_transactions, ...")],
    output_format: Annotated[Format, typer.Option("--format", "-f", help="How the answer is written")] = Format.TABLE,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file")] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.001, max=86_400, help="Seconds it may take  [default: TREASURY_SQL_TIMEOUT_S]")
    ] = None,
) -> None:
    """Ask one read-only SQL question of all tiers: the views have the table's columns, `tier` and `month`."""
    from cli.answers import write_answer  # noqa: PLC0415
    from tasks.query import run_query  # noqa: PLC0415

    with auditing("s3") as settings, run_query(settings, query, timeout) as answer:
        write_answer(answer, output_format.value, output)
        print(f"read {answer.months_read} of {answer.months_known} months", file=sys.stderr)  # noqa: T201  # not part of the answer


def run(
    job: Annotated[Job, typer.Argument(help="The job's name")],
    as_of: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="UTC day that the policy is applied at")
    ] = None,
    table: Annotated[list[str] | None, typer.Option(help="Only these tables")] = None,
    plan_only: Annotated[bool, typer.Option(help="Show what would happen, and change nothing")] = False,
) -> None:
    """Run one of the flows now, in this process, with its run recorded in Prefect."""

    parameters: dict[str, Any] = {"as_of": as_of.date() if as_of else None, "plan_only": plan_only}
    parameters |= {"tables": table} if table else {}
    with session("s3", "prefect") as settings:
        run_job(settings, job, parameters)


def run_job(settings: "Settings", job: Job, given: dict[str, Any]) -> None:
    """Run a flow in this process. Raises what the flow raises; its report is printed as its log shows it."""
    enter_prefect(settings)
    parameters = {**_FORMER.get(job, {}), **given}
    _check_tables(settings, parameters.get("tables") or [])
    from prefect.logging.handlers import APILogWorker  # noqa: PLC0415  # Prefect reads its settings when imported

    from flows.archive_months import archive_months  # noqa: PLC0415
    from flows.parameters import ArchivingParameters, TableParameters  # noqa: PLC0415
    from flows.roll_partitions import roll_partitions  # noqa: PLC0415
    from flows.run_archiving_operations import run_archiving_operations  # noqa: PLC0415

    try:
        if job is Job.ROLL_PARTITIONS:
            roll_partitions(TableParameters.model_validate(parameters))
            return
        flow = run_archiving_operations if job is Job.RUN_ARCHIVING_OPERATIONS else archive_months
        show_outcomes(flow(ArchivingParameters.model_validate(parameters)))
    finally:
        APILogWorker.drain_all()  # the server may stop right after this


def enter_prefect(settings: "Settings") -> None:
    """Make this process a client of the Prefect server, as a worker is; before Prefect is imported anywhere."""
    from servers import prefect  # noqa: PLC0415

    os.environ.update(settings.environment() | prefect.environment(settings.home, str(settings.prefect_api_url)))


def _check_tables(settings: "Settings", names: list[str]) -> None:
    for name in names:
        settings.table(name)


def show_outcomes(outcomes: list[Any]) -> None:
    """Print what moved, or would move, for people."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    shown = Table(title="Moves", title_justify="left", box=None, padding=(0, 1, 0, 0), header_style="bold")
    for heading in ("table", "month", "move", "result"):
        shown.add_column(heading, no_wrap=True)
    for heading in ("rows", "was", "is", "s"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("reason")
    for o in outcomes:
        sizes = (human_bytes(o.postgres_bytes), human_bytes(o.archive_bytes) if o.archive_bytes else "")
        shown.add_row(
            o.table, str(o.month), o.action, o.result, f"{o.rows:,}", *sizes, f"{o.duration_s:.2f}", Text(o.reason)
        )
    console.print(shown)
