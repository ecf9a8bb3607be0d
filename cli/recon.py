"""`treasury recon` and `treasury verify`: reconcile a day, work its breaks, close a period, prove the chain."""

import getpass
import re
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import terminal
from cli.session import session
from ledger.errors import ConfigError, TreasuryError, combined

if TYPE_CHECKING:
    from tasks.reconciliation.breaks import BreakRecord, RunRecord
    from tasks.reconciliation.tieout import FloatMovement

_DAY = ["%Y-%m-%d"]
SupplierName = Annotated[str, typer.Argument(help="flash, mobilemart or peach")]
OneSupplier = Annotated[str | None, typer.Option(help="Only this supplier")]
First = Annotated[datetime | None, typer.Option(formats=_DAY, help="From this Africa/Johannesburg day")]
Last = Annotated[datetime | None, typer.Option(formats=_DAY, help="To this day, included")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="Most to show")]
Actor = Annotated[str | None, typer.Option(help="Who decides; by default the account that runs the command")]
Reason = Annotated[str, typer.Option(help="Why, for the record")]

recon = typer.Typer(help="Reconcile suppliers' statements with our own rows.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(recon, name="recon")
    app.command("verify")(verify)


@recon.command()
def run(
    supplier: SupplierName,
    day: Annotated[datetime, typer.Argument(formats=_DAY, help="The Africa/Johannesburg day")],
    last_day: Annotated[datetime | None, typer.Option(formats=_DAY, help="Of a range of days")] = None,
    statement: Annotated[str | None, typer.Option(help="Canonical statement: a Parquet file or archive key")] = None,
    balance: Annotated[
        str | None,
        typer.Option(
            "--float", help="The supplier's float on the day: OPENING,DEPOSITS,CLOSING[,net|gross[,CURRENCY]]"
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Show what would be found; write nothing down")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder that gets the reports too")] = None,
) -> None:
    """Reconcile a supplier's day with its statement, in this process. Of a range, a day that fails stops no other."""
    from tasks.reconciliation.days import days_between  # noqa: PLC0415
    from tasks.reconciliation.run import RunRequest, reconcile_day  # noqa: PLC0415
    from tasks.reconciliation.statements import statement_of  # noqa: PLC0415

    failed: list[TreasuryError] = []
    days = days_between(day.date(), (last_day or day).date())
    if len(days) > 1 and (statement or balance):
        raise ConfigError("--statement and --float are of one day; leave --last-day out")
    movement = _movement(balance)
    with session("s3") as settings:
        for one in days:
            folder = output / one.isoformat() if output and len(days) > 1 else output
            try:
                found = statement or statement_of(settings, supplier, one)
                request = RunRequest(supplier, one, found, _actor(None), movement, dry_run, folder)
                typer.echo(reconcile_day(settings, request).markdown())
            except TreasuryError as error:
                if len(days) == 1:
                    raise
                failed.append(error)
                terminal.note(f"{supplier} {one}: {error}")
    if failed:
        raise combined(failed, f"{len(failed)} of {len(days)} days failed, the first: {failed[0]}")


@recon.command()
def runs(supplier: OneSupplier = None, first: First = None, last: Last = None, limit: Limit = 50) -> None:
    """List runs, the newest first."""
    from tasks.reconciliation.breaks import list_runs  # noqa: PLC0415

    with session() as settings:
        found = list_runs(settings, supplier, _date(first), _date(last), limit=limit)
    columns = ("run", "supplier", "day", "verdict", "lines", "own", "matched", "breaks", "digest", "")
    terminal.table("Runs", columns, [_run_cells(one) for one in found])


@recon.command()
def breaks(
    supplier: OneSupplier = None,
    state: Annotated[
        str, typer.Option(help="open, proposed, resolved, closed, waiting (the first two) or all")
    ] = "waiting",
    first: First = None,
    last: Last = None,
    escalated: Annotated[bool, typer.Option(help="Only what is escalated")] = False,
    after: Annotated[int | None, typer.Option(help="Go on after this break")] = None,
    limit: Limit = 100,
) -> None:
    """List breaks: those that wait for somebody, unless told otherwise."""
    from tasks.reconciliation.breaks import BreakFilter, list_breaks  # noqa: PLC0415
    from tasks.reconciliation.classes import BreakState  # noqa: PLC0415
    from tasks.reconciliation.days import JOHANNESBURG  # noqa: PLC0415

    groups = {"waiting": (BreakState.OPEN, BreakState.PROPOSED), "all": None} | {str(one): (one,) for one in BreakState}
    if state not in groups:
        raise ConfigError(f"--state: must be one of {', '.join(groups)}")
    wanted = BreakFilter(
        supplier, groups[state], first=_date(first), last=_date(last), escalated=True if escalated else None
    )
    with session() as settings:
        found = list_breaks(settings, wanted, after=after, limit=limit)
    today = datetime.now(JOHANNESBURG).date()
    columns = ("break", "supplier", "day", "age", "issues", "in question", "variance", "state", "note")
    terminal.table("Breaks", columns, [_break_cells(one, today) for one in found])


@recon.command()
def show(break_id: Annotated[int, typer.Argument(help="The break's number")]) -> None:
    """Show both sides of a break and everything that was done about it."""
    from tasks.reconciliation.breaks import BreakFilter, history, list_breaks  # noqa: PLC0415

    with session() as settings:
        found = list_breaks(settings, BreakFilter(states=None), after=break_id - 1, limit=1)
        records = history(settings, break_id)
    if not found or found[0].break_id != break_id:
        raise ConfigError(f"break {break_id}: there is none of that number")
    one = found[0]
    sides = [(name, *_side_texts(name, one)) for name in dict.fromkeys([*(one.line or {}), *(one.own or {})])]
    title = f"Break {one.break_id}: {', '.join(one.issues)}, {one.difference:f} {one.currency} in question, {one.state}"
    terminal.table(title, ("", "statement", "ours"), sides)
    if one.note:
        typer.echo(one.note)
    terminal.table(
        "What was done",
        ("when (UTC)", "what", "who", "decision", "why"),
        [(f"{r.created_at:%Y-%m-%d %H:%M}", r.action, r.actor, r.decision, r.reason) for r in records],
    )


@recon.command()
def resolve(
    break_id: Annotated[int, typer.Argument(help="The break's number")],
    decision: Annotated[
        str, typer.Option(help="ours_is_right, theirs_is_right, same_transaction, write_off, or reject a proposal")
    ],
    reason: Reason,
    actor: Actor = None,
) -> None:
    """Decide about a break. Above the limit a second, different person must confirm."""
    from tasks.reconciliation import breaks as work  # noqa: PLC0415
    from tasks.reconciliation.classes import BreakState, Decision  # noqa: PLC0415

    if decision not in set(Decision):
        raise ConfigError(f"--decision: must be one of {', '.join(Decision)}")
    with session() as settings:
        done = work.resolve(settings, break_id, _actor(actor), Decision(decision), reason)
    waits = " (somebody else must confirm)" if done.state is BreakState.PROPOSED else ""
    typer.echo(f"break {break_id} is {done.state}{waits}")


@recon.command("close-period")
def close_period(
    supplier: SupplierName,
    first: Annotated[datetime, typer.Argument(formats=_DAY, help="First day")],
    last: Annotated[datetime, typer.Argument(formats=_DAY, help="Last day, included")],
    reason: Reason,
    actor: Actor = None,
    carry: Annotated[bool, typer.Option(help="Carry breaks that still wait into the next open day")] = False,
) -> None:
    """Close days for good: nothing in them is run or resolved any more."""
    from tasks.reconciliation import breaks as work  # noqa: PLC0415

    with session() as settings:
        carried = work.close_period(settings, supplier, first.date(), last.date(), _actor(actor), reason, carry=carry)
    typer.echo(f"{supplier} {first:%Y-%m-%d} to {last:%Y-%m-%d} is closed; {carried} breaks carried on")


def verify(
    noted: Annotated[
        str | None, typer.Option(help="Hash of an event noted down earlier: it must still be there")
    ] = None,
) -> None:
    """Prove that the audit chain of reconciliation is whole and that the tables hold what it says."""
    from sql.connection import connect  # noqa: PLC0415
    from tasks.reconciliation.chain import verify_chain  # noqa: PLC0415

    try:
        expected = bytes.fromhex(noted) if noted else None
    except ValueError:
        raise ConfigError("--noted: must be a hash in hex") from None
    with session() as settings, connect(settings.database_dsn, "verify") as connection:
        head = verify_chain(connection, expected)
    typer.echo(f"reconciliation: {head.event_no} events, whole; head {head.hash.hex()}")


def _actor(given: str | None) -> str:
    return given or getpass.getuser()


def _date(given: datetime | None) -> date | None:
    return given.date() if given else None


def _movement(balance: str | None) -> "FloatMovement | None":
    """The float of a day out of ``OPENING,DEPOSITS,CLOSING[,BASIS[,CURRENCY]]``."""
    from ledger.money import parse_amount  # noqa: PLC0415
    from tasks.reconciliation.tieout import FloatMovement  # noqa: PLC0415

    if balance is None:
        return None
    parts = balance.split(",")
    if not 3 <= len(parts) <= 5:
        raise ConfigError(
            "--float: must be OPENING,DEPOSITS,CLOSING[,BASIS[,CURRENCY]], such as 5000.00,0.00,4100.00,net"
        )
    opening, deposits, closing = (parse_amount("--float", part) for part in parts[:3])
    if deposits < 0:
        raise ConfigError("--float: DEPOSITS must be 0 or more")
    told = dict(zip(("basis", "currency"), parts[3:], strict=False))
    if told.get("basis", "net") not in ("net", "gross"):
        raise ConfigError("--float: BASIS must be net or gross")
    if re.fullmatch("[A-Z]{3}", told.get("currency", "ZAR")) is None:
        raise ConfigError("--float: CURRENCY must be three capital letters")
    return FloatMovement.model_validate({"opening": opening, "deposits": deposits, "closing": closing} | told)


def _run_cells(one: "RunRecord") -> tuple[str, ...]:
    counts = (one.line_count, one.own_count, one.matched_count, one.break_count)
    state = "" if one.current else "superseded"
    return (str(one.run_id), one.supplier, str(one.day), one.verdict, *map(str, counts), one.digest.hex()[:8], state)


def _break_cells(one: "BreakRecord", today: date) -> tuple[str, ...]:
    money = (f"{one.difference:f} {one.currency}", f"{one.variance:f}")
    state = f"{one.state}, escalated" if one.escalated else one.state
    age = f"{one.age_days(today)} d"
    return (str(one.break_id), one.supplier, str(one.day), age, ", ".join(one.issues), *money, state, one.note)


def _side_texts(name: str, one: "BreakRecord") -> tuple[str, str]:
    return tuple("" if (side or {}).get(name) is None else str((side or {})[name]) for side in (one.line, one.own))  # type: ignore[return-value]  # of two
