"""`treasury restore-request`: ask the store to make deep months readable, and see how far it is."""

import json
import re
from typing import Annotated

import typer

from cli import terminal
from cli.session import session
from ledger.errors import ConfigError
from ledger.months import Month
from tasks.restoring.requests import RequestedPart, RetrievalTier, is_done, request_restore

_SPAN = re.compile(r"(\d{4}-\d{2})(?:\.\.(\d{4}-\d{2}))?")
_MOST_DAYS = 365


def restore_request(
    table: Annotated[str, typer.Argument(help="The table")],
    span: Annotated[str, typer.Argument(metavar="MONTHS", help="YYYY-MM, or YYYY-MM..YYYY-MM")],
    days: Annotated[int, typer.Option(min=1, max=_MOST_DAYS, help="Days that the objects stay readable")] = 7,
    tier: Annotated[RetrievalTier, typer.Option(help="How fast, and how dear")] = RetrievalTier.BULK,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON array, for programs")] = False,
) -> None:
    """Ask the object store to make deep months readable for some days.

    A second call shows how far it is, and asks for nothing twice.

    Examples:
      treasury restore-request transactions 2016-01..2016-12 --days 14
      treasury restore-request transactions 2016-03 --tier standard --json
    """
    first, last = _months(span)
    with session("s3") as settings, terminal.working("asking the store"):
        parts = request_restore(settings, settings.table(table), first, last, days, tier)
    if as_json:
        typer.echo(json.dumps([part.as_json() for part in parts], indent=1))
        return
    for part in parts:
        typer.echo(_said(part))
    if is_done(parts):
        terminal.next_step(f"read the rows of {table} {span} with `treasury sql`")
    else:
        terminal.note(f"come back later: `treasury restore-request {table} {span}` shows how far the store is")


def _months(span: str) -> tuple[Month, Month]:
    match = _SPAN.fullmatch(span)
    if match is None:
        raise ConfigError(f"MONTHS: {span!r} must be YYYY-MM or YYYY-MM..YYYY-MM")
    return Month.parse(match[1]), Month.parse(match[2] or match[1])


def _said(part: RequestedPart) -> str:
    name = f"{part.table} {part.month}" + ("" if part.part == 1 else f", part {part.part}")
    until = f" until {part.readable_until:%Y-%m-%d %H:%M} UTC" if part.readable_until else ""
    within = f"; Amazon S3 takes up to {part.within}" if part.within else ""
    return f"{name}: {part.state}{until}{within} ({part.storage_class}, {part.size_bytes:,} bytes)"
