"""`treasury restore` and `unseal`: archived months as tables for some days or back in warm, and months that take writes
again.
"""

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer

from cli import terminal
from cli.json_output import AsJson, write_json
from cli.people import Reason, account_of_process
from cli.session import session
from config import Settings
from ledger.errors import ConfigError, TreasuryError, combined
from ledger.months import Month, months_between
from ledger.tables import TieredTable
from sql.restored import Copy, Request
from tasks.restoring import restore as restoring
from tasks.restoring.back_to_warm import WORK_DAYS, ReturnedMonth, return_month
from tasks.restoring.restore import COPY_DAYS, MOST_DAYS, RestoredPart
from tasks.restoring.unseal import unseal_month
from tasks.transparency.at_once import publish_at_once


class Destination(StrEnum):
    """Where a restored month goes: into a schema of its own, or back into its table."""

    COPY = "copy"
    WARM = "warm"


Table = Annotated[str, typer.Option(help="The table")]
Actor = Annotated[
    str | None, typer.Option(help="Person who asks  [default: the account that runs the command, always recorded]")
]


def months(
    first_month: Annotated[str, typer.Argument(metavar="FIRST", help="First month, YYYY-MM")],
    last_month: Annotated[
        str | None, typer.Argument(metavar="[LAST]", help="Last month, included  [default: the first]")
    ] = None,
    *,
    reason: Reason,
    to: Annotated[
        Destination,
        typer.Option(help="copy: into the schema of restored months. warm: back into the table, to be worked on"),
    ] = Destination.COPY,
    days: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_DAYS,
            help="Days after which the copies are dropped, or a month in warm is archived again  "
            f"[default: {COPY_DAYS}; with --to warm {WORK_DAYS}]",
        ),
    ] = None,
    table: Table = "transactions",
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Bring archived months back, as copies or into their table, each compared with the archive.

    Copies are in the schema of restored months, and the nightly run drops them when their days are over. A month that
    goes back to warm takes writes; when its days are over, the nightly run archives it again. A second call gives both
    more days.

    Examples:
      treasury restore months 2024-03 --reason "asked for by the auditors" --days 30
      treasury restore months 2024-03 2024-05 --to warm --reason "a correction of fees"
    """
    span = Month.parse(first_month), Month.parse(last_month or first_month)
    if span[1] < span[0]:
        raise ConfigError(f"{span[1]} is before {span[0]}")
    account, problems = account_of_process(), []
    back = list[RestoredPart | ReturnedMonth]()
    lasting = timedelta(days=days or (WORK_DAYS if to is Destination.WARM else COPY_DAYS))
    who = Request(actor or account, account, reason, lasting)
    with session("s3") as settings:
        chosen = settings.table(table)
        for month in months_between(*span):
            try:
                with terminal.working(f"restoring {chosen.name} {month}"):
                    results = _restored(settings, chosen, month, who, to)
            except TreasuryError as error:
                problems.append(error)
                typer.echo(terminal.visible(str(error)), err=True)
                continue
            back += results
            if not as_json:
                typer.echo("\n".join(map(_said, results)))
        if said := publish_at_once(settings, "restored"):
            typer.echo(said, err=True)
    if as_json:
        write_json(back)
    elif back:
        terminal.next_step(_next_step(settings, chosen, back[0].month, to))
    if problems:
        raise combined(problems)


def _next_step(settings: Settings, table: TieredTable, month: Month, to: Destination) -> str:
    """What to do with months that came back, of which ``month`` is the first."""
    if to is Destination.WARM:
        return f"work on {table.name} {month}; `treasury tiers --table {table.name}` shows until when"
    schema = settings.restored_schema
    return f"query the schema {schema} in PostgreSQL; `treasury restore list` shows when its tables are dropped"


def _restored(
    settings: Settings, table: TieredTable, month: Month, who: Request, to: Destination
) -> Sequence[RestoredPart | ReturnedMonth]:
    """Bring a month back; returns the parts of the result."""
    if to is Destination.COPY:
        return restoring.restore_month(settings, table, month, who)
    return [return_month(settings, table, month, who)]


def list_(as_json: AsJson = False) -> None:
    """List the copies of archived months."""
    with session() as settings:
        copies = restoring.list_copies(settings)
    if as_json:
        write_json(list(map(_as_json, copies)))
        return
    columns = ("copy", "rows", "state", "restored (UTC)", "dropped on", "by", "reason")
    rows = [
        (
            str(copy.relation),
            f"{copy.row_count:,}",
            copy.state if copy.is_there else "dropped by others",
            f"{copy.ready_at:%Y-%m-%d %H:%M}" if copy.ready_at else "",
            f"{copy.expires_at:%Y-%m-%d}" if copy.expires_at else "",
            copy.actor,
            copy.reason,
        )
        for copy in copies
    ]
    terminal.table("Restored months", columns, rows)


def drop(
    month: Annotated[str | None, typer.Argument(help="The month, YYYY-MM")] = None,
    table: Table = "transactions",
    expired: Annotated[bool, typer.Option(help="Drop every copy whose days are over instead")] = False,
    as_json: AsJson = False,
) -> None:
    """Drop the copies of a month. The archive keeps it.

    Examples:
      treasury restore drop 2024-03
      treasury restore drop --expired
    """
    if expired == (month is not None):
        raise ConfigError("give a month or --expired, and not both")
    with session() as settings:
        wanted = {} if month is None else {"table": settings.table(table).name, "month": Month.parse(month)}
        dropped = restoring.drop_copies(settings, only_expired=expired, **wanted)  # type: ignore[arg-type]  # of two kinds
    if as_json:
        write_json(list(map(_as_json, dropped)))
        return
    for copy in dropped:
        typer.echo(f"dropped {copy.relation}")
    if not dropped:
        typer.echo("there was no copy to drop")


def unseal(
    month: Annotated[str, typer.Argument(help="A warm month whose archiving did not end, YYYY-MM")],
    *,
    reason: Reason,
    table: Table = "transactions",
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Let a sealed month take writes again. Its archiving begins again when it is next due.

    Examples:
      treasury unseal 2025-08 --reason "two rows must be ended first"
    """
    unsealed = Month.parse(month)
    with session() as settings:
        unseal_month(settings, settings.table(table), unsealed, actor or account_of_process(), reason)
    if as_json:
        write_json({"table": table, "month": unsealed, "is_sealed": False})
    else:
        typer.echo(f"{table} {month} takes writes again")


def _as_json(copy: Copy) -> dict[str, Any]:
    return {
        "table": copy.table_name,
        "month": Month.of(copy.month),
        "part": copy.part,
        "relation": str(copy.relation),
        "rows": copy.row_count,
        "state": copy.state,
        "is_there": copy.is_there,
        "restored_at": copy.ready_at,
        "expires_at": copy.expires_at,
        "actor": copy.actor,
        "account": copy.account,
        "reason": copy.reason,
    }


def _said(part: RestoredPart | ReturnedMonth) -> str:
    if isinstance(part, ReturnedMonth):
        said = "is in warm already" if part.was_there else "back in warm, compared with the archive"
        return f"{part.relation}: {part.rows:,} rows, {said}; in work until {part.until}, then archived again"
    state = "is kept longer" if part.was_there else "restored and compared with the archive"
    without = f"; without {', '.join(part.without)}" if part.without else ""
    return f"{part.relation}: {part.rows:,} rows, {state}; dropped on {part.expires_at:%Y-%m-%d}{without}"
