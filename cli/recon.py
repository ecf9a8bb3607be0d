"""`treasury recon` and `treasury verify`: reconcile a day, work its breaks, close a period, prove the chain."""

import re
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import terminal
from cli.names import OneSupplier, SupplierName
from cli.session import session, simulators
from ledger.errors import ConfigError, DataError, NotFoundError, TreasuryError, combined

if TYPE_CHECKING:
    from tasks.reconciliation.breaks import BreakRecord, RunRecord
    from tasks.reconciliation.periods import PeriodRecord
    from tasks.reconciliation.tieout import FloatMovement

_DAY = ["%Y-%m-%d"]
_AT = "at_ms"  # the field of either side that is an instant: milliseconds since 1970
_LABELS = {_AT: "time"}
First = Annotated[datetime | None, typer.Option(formats=_DAY, help="From this Africa/Johannesburg day")]
Last = Annotated[datetime | None, typer.Option(formats=_DAY, help="To this day, included")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="Most to show")]
Actor = Annotated[
    str | None, typer.Option(help="Who decides; by default the account that runs the command, which is recorded too")
]
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
    """Reconcile a supplier's day with its statement, in this process. Of a range, a day that fails stops no other.

    Ends with 65 when a verdict is critical, after the day was written down; with 0 when it is passed or failed.
    """
    from tasks.reconciliation.classes import Verdict  # noqa: PLC0415
    from tasks.reconciliation.days import days_between  # noqa: PLC0415
    from tasks.reconciliation.people import account_of_process  # noqa: PLC0415
    from tasks.reconciliation.request import RunRequest  # noqa: PLC0415
    from tasks.reconciliation.run import reconcile_day  # noqa: PLC0415
    from tasks.reconciliation.statements import statement_of  # noqa: PLC0415

    failed: list[TreasuryError] = []
    days = days_between(day.date(), (last_day or day).date())
    if len(days) > 1 and (statement or balance):
        raise ConfigError("--statement and --float are of one day; leave --last-day out")
    movement = _movement(balance)
    with session("s3", *simulators()) as settings:
        for one in days:
            folder = output / one.isoformat() if output and len(days) > 1 else output
            try:
                found = statement or statement_of(settings, supplier, one)
                request = RunRequest(supplier, one, found, account_of_process(), movement, dry_run, folder)
                result = reconcile_day(settings, request)
            except TreasuryError as error:
                failed.append(error)
                if len(days) > 1:
                    terminal.note(_of_day(supplier, one, error))
                continue
            terminal.markdown(result.markdown())
            if result.verdict is Verdict.CRITICAL:
                failed.append(DataError(f"{supplier} {one}: the verdict is critical"))
    if len(days) == 1 and failed:
        raise failed[0]
    if failed:
        raise combined(failed, f"{len(failed)} of {len(days)} days failed, the first: {failed[0]}")


@recon.command()
def runs(supplier: OneSupplier = None, first: First = None, last: Last = None, limit: Limit = 50) -> None:
    """List runs, the newest first."""
    from tasks.reconciliation.breaks import list_runs  # noqa: PLC0415

    with session() as settings:
        found = list_runs(settings, supplier, _date(first), _date(last), limit=limit)
    columns = ("run", "supplier", "day", "verdict", "lines", "own", "matched", "breaks", "digest", "state")
    terminal.table("Runs", columns, [_run_cells(one) for one in found])


@recon.command()
def breaks(
    supplier: OneSupplier = None,
    state: Annotated[
        str, typer.Option(help="open, proposed, resolved, closed, waiting (the first two) or all")
    ] = "waiting",
    first: First = None,
    last: Last = None,
    class_: Annotated[str | None, typer.Option("--class", help="Only of this class, such as missing_here")] = None,
    escalated: Annotated[bool, typer.Option(help="Only what is escalated")] = False,
    after: Annotated[int | None, typer.Option(help="Go on after this break")] = None,
    limit: Limit = 100,
) -> None:
    """List breaks: those that wait for somebody, unless told otherwise."""
    from tasks.reconciliation.breaks import BreakFilter, list_breaks  # noqa: PLC0415
    from tasks.reconciliation.classes import BreakClass, BreakState  # noqa: PLC0415
    from tasks.reconciliation.days import JOHANNESBURG  # noqa: PLC0415

    groups = {"waiting": (BreakState.OPEN, BreakState.PROPOSED), "all": None} | {str(one): (one,) for one in BreakState}
    if state not in groups:
        raise ConfigError(f"--state: must be one of {', '.join(groups)}")
    if class_ is not None and class_ not in set(BreakClass):
        raise ConfigError(f"--class: must be one of {', '.join(BreakClass)}")
    wanted = BreakFilter(
        supplier,
        groups[state],
        BreakClass(class_) if class_ else None,
        first=_date(first),
        last=_date(last),
        escalated=True if escalated else None,
    )
    with session() as settings:
        found = list_breaks(settings, wanted, after=after, limit=limit)
    today = datetime.now(JOHANNESBURG).date()
    columns = ("break", "supplier", "day", "age", "issues", "in question", "variance", "state", "note")
    terminal.table("Breaks", columns, [_break_cells(one, today) for one in found])


@recon.command()
def show(break_id: Annotated[int, typer.Argument(help="The break's number")]) -> None:
    """Show both sides of a break and everything that was done about it."""
    from tasks.reconciliation.breaks import get_break, history  # noqa: PLC0415

    with session() as settings:
        one = get_break(settings, break_id)
        records = history(settings, break_id)
    if one is None:
        raise NotFoundError(f"break {break_id}: there is none of that number")
    sides = [
        (_LABELS.get(name, name), *_side_texts(name, one))
        for name in dict.fromkeys([*(one.line or {}), *(one.own or {})])
    ]
    title = f"Break {one.break_id}: {', '.join(one.issues)}, {one.difference:f} {one.currency} in question, {one.state}"
    terminal.table(title, ("field", "statement", "ours"), sides)
    if one.note:
        typer.echo(one.note)
    terminal.table(
        "What was done",
        ("when (UTC)", "what", "who", "account", "decision", "why"),
        [(f"{r.created_at:%Y-%m-%d %H:%M}", r.action, r.actor, r.account or "", r.decision, r.reason) for r in records],
    )


@recon.command("show-run")
def show_run(run_id: Annotated[int, typer.Argument(help="The run's number")]) -> None:
    """Show the figures of a run, what it was made from and by whom."""
    from tasks.reconciliation.breaks import get_run  # noqa: PLC0415
    from tasks.reconciliation.own_days import OwnDay  # noqa: PLC0415
    from tasks.reconciliation.report import Summary, markdown  # noqa: PLC0415

    with session() as settings:
        one = get_run(settings, run_id)
    if one is None:
        raise NotFoundError(f"run {run_id}: there is none of that number")
    terminal.markdown(markdown(Summary(one.supplier, str(one.day), one.digest.hex(), one.verdict, one.figures)))
    for warning in one.warnings:
        typer.echo(f"\nWarning: {warning}")
    if "own_day" in one.figures:
        own = OwnDay(**one.figures["own_day"])
        typer.echo(f"\nOur rows of the day: {own.text()}, SHA-256 {own.digest}.")
    statement = one.figures.get("statement", {})
    state = "counts for its day" if one.current else "superseded by a later run of its day"
    typer.echo(f"\nRun {one.run_id} by {one.actor}, {one.started_at:%Y-%m-%d %H:%M} UTC: {state}.")
    if statement:
        typer.echo(f"Statement {statement['key']}, SHA-256 {statement['sha256']}.")
    typer.echo(f"Reports in the archive under {one.object_prefix}/.")


@recon.command()
def replay(run_id: Annotated[int, typer.Argument(help="The run's number")]) -> None:
    """Compute a run again from its statement and our rows, write nothing, and say whether it comes to the same."""
    from ledger.errors import VerificationError  # noqa: PLC0415
    from tasks.reconciliation.replay import replay_run  # noqa: PLC0415

    with session("s3") as settings:
        found = replay_run(settings, run_id)
    if found.is_same:
        typer.echo(f"run {run_id}: the same, digest {found.digest}")
        return
    for difference in found.differences:
        typer.echo(difference)
    terminal.note(
        "the statement and what lay before the run are as they were; our rows are those of now: what the run or"
    )
    terminal.note("anything else has ended since then differs")
    raise VerificationError(f"run {run_id}: replayed it comes to {found.digest}, not to {found.recorded}")


@recon.command()
def resolve(
    break_id: Annotated[int, typer.Argument(help="The break's number")],
    decision: Annotated[
        str,
        typer.Option(
            help="ours_is_right, theirs_is_right, same_transaction, write_off, settle_completed, settle_failed, reject"
        ),
    ],
    reason: Reason,
    actor: Actor = None,
) -> None:
    """Decide about a break. Above the limit a second, different person must confirm."""
    from tasks.reconciliation import breaks as work  # noqa: PLC0415
    from tasks.reconciliation.classes import BreakState, Decision  # noqa: PLC0415
    from tasks.reconciliation.people import account_of_process  # noqa: PLC0415

    if decision not in set(Decision):
        raise ConfigError(f"--decision: must be one of {', '.join(Decision)}")
    with session() as settings:
        account = account_of_process()
        done = work.resolve(settings, break_id, actor or account, Decision(decision), reason, account=account)
    waits = " (somebody else must confirm)" if done.state is BreakState.PROPOSED else ""
    others = f", with {', '.join(map(str, done.together))}" if done.together else ""
    typer.echo(f"break {break_id}{others} is {done.state}{waits}")


@recon.command()
def settle(
    break_id: Annotated[int, typer.Argument(help="The break's number")],
    completed: Annotated[bool, typer.Option("--completed/--failed", help="Whether it was sold")],
    reason: Reason,
    actor: Actor = None,
) -> None:
    """End the row of ours in a break, as long as it is under way. Above the limit a second person must confirm."""
    from tasks.reconciliation import breaks as work  # noqa: PLC0415
    from tasks.reconciliation.classes import BreakState, Decision  # noqa: PLC0415
    from tasks.reconciliation.people import account_of_process  # noqa: PLC0415

    decision = Decision.SETTLE_COMPLETED if completed else Decision.SETTLE_FAILED
    with session() as settings:
        account = account_of_process()
        done = work.resolve(settings, break_id, actor or account, decision, reason, account=account)
    if done.state is BreakState.PROPOSED:
        typer.echo(f"break {break_id} is proposed (somebody else must confirm); its row is as it was")
        return
    rest = "; what else differs in it is still to be decided" if done.state is BreakState.OPEN else ""
    status = "completed" if completed else "failed"
    typer.echo(f"row {done.ended_row} is {status}; break {break_id} is {done.state}{rest}")


@recon.command("close-period")
def close_period(
    supplier: SupplierName,
    first: Annotated[datetime, typer.Argument(formats=_DAY, help="First day")],
    last: Annotated[datetime, typer.Argument(formats=_DAY, help="Last day, included")],
    reason: Reason,
    actor: Actor = None,
    carry: Annotated[bool, typer.Option(help="Carry breaks that still wait into the next open day")] = False,
    reject: Annotated[bool, typer.Option(help="Take back what was proposed instead")] = False,
) -> None:
    """Close days for good: the first call proposes, the same by somebody else closes."""
    from tasks.reconciliation import periods as work  # noqa: PLC0415
    from tasks.reconciliation.people import account_of_process  # noqa: PLC0415

    account = account_of_process()
    who, days = actor or account, (first.date(), last.date())
    with session("s3") as settings:
        if reject:
            done = work.reject_closing(settings, supplier, *days, who, reason, account=account)
        else:
            done = work.close_period(settings, supplier, *days, who, reason, account=account, carry=carry)
    if done.under_way:
        terminal.note(
            f"{done.under_way} of our rows in these days have not ended; only a purchase can, once they are closed"
        )
    told = {
        work.PeriodState.CLOSED: f"is closed; {done.waiting} breaks carried on",
        work.PeriodState.PROPOSED: f"is proposed for closing; {done.waiting} breaks wait (somebody else must close it)",
        work.PeriodState.REJECTED: "is no longer proposed for closing",
    }
    typer.echo(f"{supplier} {days[0]} to {days[1]} {told[done.state]}")


@recon.command()
def periods(supplier: OneSupplier = None, limit: Limit = 50) -> None:
    """List closed periods and those that are proposed for closing."""
    from tasks.reconciliation.periods import list_periods  # noqa: PLC0415

    with session() as settings:
        found = list_periods(settings, supplier, limit=limit)
    columns = (
        *("supplier", "first day", "last day", "state", "our rows", "value", "digest", "proposed by", "who"),
        *("when (UTC)", "why"),
    )
    terminal.table("Periods", columns, [_period_cells(one) for one in found])


def verify(
    noted: Annotated[
        str | None, typer.Option(help="Hash of an event noted down earlier: it must still be there")
    ] = None,
    chain_only: Annotated[
        bool, typer.Option(help="Leave the objects in the archive and the rows of closed days unread")
    ] = False,
) -> None:
    """Prove that the audit chain of reconciliation is whole, that tables and archive hold what it says, and that our
    rows of closed days are what they were.
    """
    from sql.connection import connect  # noqa: PLC0415
    from tasks.reconciliation.chain import verify_chain  # noqa: PLC0415
    from tasks.reconciliation.closed_days import verify_closed_days  # noqa: PLC0415
    from tasks.reconciliation.objects import verify_objects  # noqa: PLC0415

    try:
        expected = bytes.fromhex(noted) if noted else None
    except ValueError:
        raise ConfigError("--noted: must be a hash in hex") from None
    with session() if chain_only else session("s3") as settings, connect(settings.database_dsn, "verify") as connection:
        head = verify_chain(connection, expected)
        typer.echo(f"reconciliation: {head.event_no} events, whole; head {head.hash.hex()}")
        if not chain_only:
            typer.echo(f"archive: {verify_objects(settings, connection)} statements and reports as recorded")
            typer.echo(f"closed days: our rows of {verify_closed_days(settings, connection)} are what they were")


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


def _of_day(supplier: str, day: date, error: TreasuryError) -> str:
    """What went wrong on a day of a range, with the day, which not every error names."""
    head, told = f"{supplier} {day}: ", str(error)
    return told if told.startswith(head) else head + told


def _run_cells(one: "RunRecord") -> tuple[str, ...]:
    counts = (one.line_count, one.own_count, one.matched_count, one.break_count)
    state = "counts" if one.current else "superseded"
    return (str(one.run_id), one.supplier, str(one.day), one.verdict, *map(str, counts), one.digest.hex()[:8], state)


def _period_cells(one: "PeriodRecord") -> tuple[str, ...]:
    days = (str(one.first_day), str(one.last_day))
    state = f"{one.state}, {one.days_changed} days changed since" if one.days_changed else one.state
    money = ", ".join(f"{sums['value']} {currency}" for currency, sums in (one.own_sums or {}).items())
    own = ("" if one.own_rows is None else str(one.own_rows), money, (one.own_digest or "")[:8])
    people = (one.proposed_by or "", one.actor, f"{one.at:%Y-%m-%d %H:%M}", one.reason)
    return (one.supplier, *days, state, *own, *people)


def _break_cells(one: "BreakRecord", today: date) -> tuple[str, ...]:
    money = (f"{one.difference:f} {one.currency}", f"{one.variance:f}")
    state = f"{one.state}, escalated" if one.escalated else one.state
    age = f"{one.age_days(today)} d"
    return (str(one.break_id), one.supplier, str(one.day), age, ", ".join(one.issues), *money, state, one.note)


def _side_texts(name: str, one: "BreakRecord") -> tuple[str, str]:
    return _text(name, (one.line or {}).get(name)), _text(name, (one.own or {}).get(name))


def _text(name: str, value: Any) -> str:
    """A value of a side for people; an instant in Johannesburg, with its offset."""
    from tasks.reconciliation.days import JOHANNESBURG  # noqa: PLC0415

    if value is None:
        return ""
    if name == _AT:
        moment = datetime.fromtimestamp(0, JOHANNESBURG) + timedelta(milliseconds=value)
        return moment.isoformat(" ", "milliseconds")
    return str(value)
