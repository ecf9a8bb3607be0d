"""`treasury recon`: reconcile days, decide on breaks, close periods, verify the audit chain."""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import terminal
from cli.days import DAY
from cli.json_output import AsJson, record, write_json
from cli.names import OneSupplier, SupplierName
from cli.reports import print_report
from cli.session import session, simulators
from config import Settings
from ledger.business_days import JOHANNESBURG, days_between
from ledger.counts import counted
from ledger.errors import ConfigError, DataError, NotFoundError, TreasuryError, VerificationError, combined
from ledger.money import parse_amount
from ledger.statements import BreakClass
from sql.connection import Connection, connect
from tasks.reconciliation.audit.chain import verify_chain
from tasks.reconciliation.audit.objects import verify_objects
from tasks.reconciliation.audit.people import account_of_process
from tasks.reconciliation.casework import breaks as casework
from tasks.reconciliation.casework import lists
from tasks.reconciliation.casework.lists import BreakFilter, BreakRecord, ResolutionRecord, RunRecord
from tasks.reconciliation.closing import periods as closing
from tasks.reconciliation.closing.closed_days import verify_closed_days
from tasks.reconciliation.closing.internal_days import OwnDay
from tasks.reconciliation.closing.periods import PeriodRecord
from tasks.reconciliation.engine.tieout import FloatMovement
from tasks.reconciliation.runs.replay import replay_run
from tasks.reconciliation.runs.report import RunSummary, markdown
from tasks.reconciliation.runs.request import RunRequest
from tasks.reconciliation.runs.run import reconcile_day
from tasks.reconciliation.runs.statements import statement_of
from tasks.reconciliation.vocabulary import BreakState, Decision, Verdict, WithdrawalState

# What `--state` may be, and the states that it means; None for all of them.
_STATES: Mapping[str, tuple[BreakState, ...] | None] = {
    "waiting": (BreakState.OPEN, BreakState.PROPOSED),
    "all": None,
    **{str(state): (state,) for state in BreakState},
}
_AT = "at_ms"  # a field of both sides: an instant in milliseconds since 1970
_LABELS = {_AT: "time"}
First = Annotated[datetime | None, typer.Option(**DAY, help="First Africa/Johannesburg day")]
Last = Annotated[datetime | None, typer.Option(**DAY, help="Last Africa/Johannesburg day, included")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of entries")]
Actor = Annotated[
    str | None,
    typer.Option(help="Person who decides  [default: the account that runs the command, which is always recorded]"),
]
Reason = Annotated[str, typer.Option(help="Reason to record")]


def run(
    supplier: SupplierName,
    day: Annotated[datetime, typer.Argument(**DAY, help="Africa/Johannesburg day, or the first day of a range")],
    last_day: Annotated[datetime | None, typer.Option(**DAY, help="Last day of a range")] = None,
    statement: Annotated[
        str | None,
        typer.Option(help="Parquet file or archive key  [default: the day's statement]"),
    ] = None,
    balance: Annotated[
        str | None,
        typer.Option("--float", help="Supplier float of the day: OPENING,DEPOSITS,CLOSING[,net|gross[,CURRENCY]]"),
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Show the result and store nothing")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for a copy of the reports")] = None,
) -> None:
    """Reconcile a supplier's days with its statements.

    In a range, a day that fails does not stop the others. Exits with 65 if a verdict is critical, after the result is
    stored; with 0 if the verdict is passed or failed.

    Examples:
      treasury recon run flash 2026-11-25
      treasury recon run flash 2026-11-01 --last-day 2026-11-25 --output reports
    """
    failed: list[TreasuryError] = []
    waits = False
    days = days_between(day.date(), (last_day or day).date())
    if len(days) > 1 and (statement or balance):
        raise ConfigError("--statement and --float belong to one day: leave out --last-day")
    movement = _movement(balance)
    with session("s3", *simulators()) as settings:
        for run_day in days:
            folder = output / run_day.isoformat() if output and len(days) > 1 else output
            try:
                key = statement or statement_of(settings, supplier, run_day)
                request = RunRequest(supplier, run_day, key, account_of_process(), movement, dry_run, folder)
                with terminal.working(f"reconciling {supplier} {run_day}"):
                    result = reconcile_day(settings, request)
            except TreasuryError as error:
                failed.append(error)
                if len(days) > 1:
                    terminal.note(_of_day(supplier, run_day, error))
                continue
            print_report(result.markdown())
            waits |= result.waiting > 0
            if result.verdict is Verdict.CRITICAL:
                failed.append(DataError(f"{supplier} {run_day}: the verdict is critical"))
    if waits and not dry_run:
        terminal.next_step(f"look at what waits with `treasury recon breaks --supplier {supplier}`")
    if len(days) == 1 and failed:
        raise failed[0]
    if failed:
        raise combined(failed, f"{len(failed)} of {counted(len(days), 'day')} failed, the first: {failed[0]}")


def runs(
    supplier: OneSupplier = None,
    first: First = None,
    last: Last = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List the reconciliation runs, newest first."""
    with session() as settings:
        records = lists.list_runs(settings, supplier, _date(first), _date(last), limit=limit)
    if as_json:
        write_json([record(run, "figures", "rules", "object_prefix", warnings=run.warnings) for run in records])
        return
    columns = ("run", "supplier", "day", "verdict", "lines", "internal rows", "matched", "breaks", "digest", "state")
    terminal.table("Runs", columns, list(map(_run_cells, records)))


def breaks(
    supplier: OneSupplier = None,
    state: Annotated[
        str, typer.Option(help="open, proposed, resolved, closed, waiting (open or proposed) or all")
    ] = "waiting",
    first: First = None,
    last: Last = None,
    class_: Annotated[str | None, typer.Option("--class", help="Only this class, such as missing_here")] = None,
    *,
    escalated: Annotated[bool, typer.Option(help="Only escalated breaks")] = False,
    after: Annotated[int | None, typer.Option(help="Continue after this break number")] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List breaks, by default those that wait for a decision.

    Examples:
      treasury recon breaks --supplier flash --class missing_here
      treasury recon breaks --state all --first 2026-11-01 --json
    """
    if state not in _STATES:
        raise ConfigError(f"--state: must be one of {', '.join(_STATES)}")
    if class_ is not None and class_ not in set(BreakClass):
        raise ConfigError(f"--class: must be one of {', '.join(BreakClass)}")
    wanted = BreakFilter(
        supplier,
        _STATES[state],
        BreakClass(class_) if class_ else None,
        first=_date(first),
        last=_date(last),
        escalated=True if escalated else None,
    )
    with session() as settings:
        records = lists.list_breaks(settings, wanted, after=after, limit=limit)
    today = datetime.now(JOHANNESBURG).date()
    if as_json:
        write_json([_break_as_json(break_record, today) for break_record in records])
        return
    columns = ("break", "supplier", "day", "age", "issues", "amount at issue", "variance", "state", "note")
    terminal.table("Breaks", columns, [_break_cells(break_record, today) for break_record in records])


def show(break_id: Annotated[int, typer.Argument(help="Number of the break")], as_json: AsJson = False) -> None:
    """Show both sides of a break and its history.

    Examples:
      treasury recon show 17
    """
    with session() as settings:
        break_record = lists.get_break(settings, break_id)
        records = lists.history(settings, break_id)
    if break_record is None:
        raise NotFoundError(f"break {break_id} does not exist")
    if as_json:
        rows = {"line": _side_as_json(break_record.line), "own": _side_as_json(break_record.own)}
        write_json(_break_as_json(break_record, datetime.now(JOHANNESBURG).date()) | rows | {"resolutions": records})
    else:
        _show_break(break_record, records)


def _show_break(break_record: BreakRecord, records: Sequence[ResolutionRecord]) -> None:
    rows = [
        (_LABELS.get(name, name), *_side_texts(name, break_record))
        for name in dict.fromkeys([*(break_record.line or {}), *(break_record.own or {})])
    ]
    money = f"{break_record.difference:f} {break_record.currency}"
    title = f"Break {break_record.break_id}: {', '.join(break_record.issues)}, {money} at issue, {break_record.state}"
    terminal.table(title, ("field", "statement", "internal row"), rows)
    if break_record.note:
        typer.echo(terminal.visible(break_record.note))
    terminal.table(
        "History",
        ("time (UTC)", "action", "person", "account", "decision", "reason"),
        [(f"{r.created_at:%Y-%m-%d %H:%M}", r.action, r.actor, r.account or "", r.decision, r.reason) for r in records],
    )


def show_run(run_id: Annotated[int, typer.Argument(help="Number of the run")], as_json: AsJson = False) -> None:
    """Show the figures of a run and its inputs.

    Examples:
      treasury recon show-run 42
    """
    with session() as settings:
        run = lists.get_run(settings, run_id)
    if run is None:
        raise NotFoundError(f"run {run_id} does not exist")
    if as_json:
        write_json(record(run, warnings=run.warnings))
    else:
        _show_run(run)


def _show_run(run: RunRecord) -> None:
    print_report(markdown(RunSummary(run.supplier, str(run.day), run.digest.hex(), run.verdict, run.figures)))
    for warning in run.warnings:
        typer.echo(f"\nWarning: {terminal.visible(warning)}")
    if "own_day" in run.figures:
        own = OwnDay(**run.figures["own_day"])
        typer.echo(f"\nInternal rows of the day: {own.text()}, SHA-256 {own.digest}.")
    statement = run.figures.get("statement", {})
    state = "the current run of its day" if run.current else "superseded by a later run of its day"
    typer.echo(f"\nRun {run.run_id} by {run.actor}, {run.started_at:%Y-%m-%d %H:%M} UTC: {state}.")
    if statement:
        typer.echo(f"Statement {statement['key']}, SHA-256 {statement['sha256']}.")
    typer.echo(f"Reports in the archive under {run.object_prefix}/.")


def replay(run_id: Annotated[int, typer.Argument(help="Number of the run")]) -> None:
    """Compute a run again without writing, and compare the results.

    The statement and the earlier results are those of the run. The internal rows are the present ones.

    Examples:
      treasury recon replay 42
    """
    with session("s3") as settings, terminal.working("computing"):
        replayed = replay_run(settings, run_id)
    if replayed.is_same:
        typer.echo(f"run {run_id}: same result, digest {replayed.digest}")
        return
    for difference in replayed.differences:
        typer.echo(terminal.visible(difference))
    terminal.note(
        "the replay uses the run's own statement and earlier results, and the present internal rows: rows that were"
    )
    terminal.note("settled since then differ")
    raise VerificationError(f"run {run_id}: the replay has digest {replayed.digest}, the run has {replayed.recorded}")


def resolve(
    break_id: Annotated[int, typer.Argument(help="Number of the break")],
    decision: Annotated[
        str,
        typer.Option(
            help="ours_is_right, theirs_is_right, same_transaction, write_off, settle_completed, settle_failed, "
            "withdraw (a decision, by two people), reject (a proposal)"
        ),
    ],
    reason: Reason,
    actor: Actor = None,
) -> None:
    """Record a decision on a break. Above the limit, a second person must confirm it.

    Examples:
      treasury recon resolve 17 --decision theirs_is_right --reason "row added"
      treasury recon resolve 17 --decision withdraw --reason "the wrong break"
    """
    if decision not in set(Decision):
        raise ConfigError(f"--decision: must be one of {', '.join(Decision)}")
    with session() as settings:
        account = account_of_process()
        done = casework.resolve(settings, break_id, actor or account, Decision(decision), reason, account=account)
    waits = " (a second person must confirm)" if done.state is BreakState.PROPOSED else ""
    others = f", with {', '.join(map(str, done.together))}" if done.together else ""
    if done.withdrawal is not None:
        typer.echo(f"break {break_id}{others} {_withdrawal_text(done)}")
    else:
        typer.echo(f"break {break_id}{others} is {done.state}{waits}")
    if waits or done.withdrawal is WithdrawalState.PROPOSED:
        same = f"`treasury recon resolve {break_id} --decision {decision} --reason TEXT`"
        terminal.next_step(f"let a second person run {same}")


def _withdrawal_text(done: casework.ResolvedBreak) -> str:
    kept = "; its internal row stays as it is: correct it with a new row" if done.keeps_ended_row else ""
    if done.withdrawal is WithdrawalState.CONFIRMED:
        return f"is open: the decision is withdrawn{kept}"
    if done.withdrawal is WithdrawalState.REJECTED:
        return "is resolved as before: the withdrawal is rejected"
    return f"is resolved: its withdrawal is proposed (a second person must confirm){kept}"


def settle(
    break_id: Annotated[int, typer.Argument(help="Number of the break")],
    completed: Annotated[bool, typer.Option("--completed/--failed", help="Outcome of the purchase")],
    reason: Reason,
    actor: Actor = None,
) -> None:
    """Settle the unfinished internal row of a break. Above the limit, a second person must confirm it.

    Examples:
      treasury recon settle 17 --completed --reason "asked the supplier"
    """
    decision = Decision.SETTLE_COMPLETED if completed else Decision.SETTLE_FAILED
    with session() as settings:
        account = account_of_process()
        done = casework.resolve(settings, break_id, actor or account, decision, reason, account=account)
    if done.state is BreakState.PROPOSED:
        typer.echo(f"break {break_id} is proposed (a second person must confirm); its internal row is unchanged")
        outcome = "--completed" if completed else "--failed"
        terminal.next_step(f"let a second person run `treasury recon settle {break_id} {outcome} --reason TEXT`")
        return
    rest = "; its other differences still wait for a decision" if done.state is BreakState.OPEN else ""
    status = "completed" if completed else "failed"
    typer.echo(f"internal row {done.ended_row} is {status}; break {break_id} is {done.state}{rest}")


def close_period(
    supplier: SupplierName,
    first: Annotated[datetime, typer.Argument(**DAY, help="First day")],
    last: Annotated[datetime, typer.Argument(**DAY, help="Last day, included")],
    reason: Reason,
    actor: Actor = None,
    carry: Annotated[bool, typer.Option(help="Carry undecided breaks into the next open day")] = False,
    reject: Annotated[bool, typer.Option(help="Withdraw the proposal instead")] = False,
) -> None:
    """Propose to close a period, or confirm its closing.

    The first call proposes. The same call by a second person closes the period for good.

    Examples:
      treasury recon close-period flash 2026-11-01 2026-11-30 --reason "month end"
      treasury recon close-period flash 2026-11-01 2026-11-30 --reason "too early" --reject
    """
    account = account_of_process()
    who, days = actor or account, (first.date(), last.date())
    with session("s3") as settings:
        if reject:
            done = closing.reject_closing(settings, supplier, *days, who, reason, account=account)
        else:
            done = closing.close_period(settings, supplier, *days, who, reason, account=account, carry=carry)
    if done.under_way:
        terminal.note(f"{done.under_way} internal rows of these days are unfinished; in closed days only vends can end")
    waits = counted(done.waiting, "break waits", "breaks wait")
    results = {
        closing.PeriodState.CLOSED: f"is closed; {counted(done.waiting, 'break')} carried over",
        closing.PeriodState.PROPOSED: f"is proposed for closing; {waits} (a second person confirms)",
        closing.PeriodState.REJECTED: "is no longer proposed for closing",
    }
    typer.echo(f"{supplier} {days[0]} to {days[1]} {results[done.state]}")
    if done.state is closing.PeriodState.PROPOSED:
        same = f"treasury recon close-period {supplier} {days[0]} {days[1]} --reason TEXT{' --carry' if carry else ''}"
        terminal.next_step(f"let a second person run `{same}`")


def periods(supplier: OneSupplier = None, limit: Limit = 50, as_json: AsJson = False) -> None:
    """List the closed periods and the proposed ones."""
    with session() as settings:
        records = closing.list_periods(settings, supplier, limit=limit)
    if as_json:
        write_json(records)
        return
    columns = (
        *("supplier", "first day", "last day", "state", "internal rows", "value", "digest"),
        *("proposed by", "decided by", "time (UTC)", "reason"),
    )
    terminal.table("Periods", columns, list(map(_period_cells, records)))


def verify(
    noted: Annotated[
        str | None, typer.Option(help="Hash of an event from an earlier verification, which must still exist")
    ] = None,
    chain_only: Annotated[
        bool, typer.Option(help="Do not read the objects in the archive and the rows of closed days")
    ] = False,
) -> None:
    """Verify the audit chain, its archived objects and the closed days.

    The tables and the archive must hold exactly what the chain records.

    Examples:
      treasury recon verify --chain-only
    """
    try:
        expected = bytes.fromhex(noted) if noted else None
    except ValueError:
        raise ConfigError("--noted: must be a hash in hex") from None
    with (
        session() if chain_only else session("s3") as settings,
        connect(settings.database_dsn, "verify") as connection,
        terminal.working("verifying reconciliation"),
    ):
        lines = verify_reconciliation(settings, connection, expected, chain_only=chain_only)
    for line in lines:
        typer.echo(terminal.visible(line))


def verify_reconciliation(
    settings: Settings, connection: Connection, expected: bytes | None = None, *, chain_only: bool = False
) -> list[str]:
    """Return what `treasury recon verify` prints. Raises VerificationError naming what is wrong."""
    head = verify_chain(connection, expected)
    lines = [f"reconciliation: {counted(head.event_no, 'event')}, complete; head {head.hash.hex()}"]
    if not chain_only:
        lines.append(f"archive: {verify_objects(settings, connection)} statements and reports as recorded")
        lines.append(
            f"closed days: {verify_closed_days(settings, connection)} verified, their internal rows are unchanged"
        )
    return lines


def _date(moment: datetime | None) -> date | None:
    return moment.date() if moment else None


def _movement(balance: str | None) -> FloatMovement | None:
    """The float of a day, read from ``OPENING,DEPOSITS,CLOSING[,BASIS[,CURRENCY]]``."""
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
    further = dict(zip(("basis", "currency"), parts[3:], strict=False))
    if further.get("basis", "net") not in ("net", "gross"):
        raise ConfigError("--float: BASIS must be net or gross")
    if re.fullmatch("[A-Z]{3}", further.get("currency", "ZAR")) is None:
        raise ConfigError("--float: CURRENCY must be three capital letters")
    return FloatMovement.model_validate({"opening": opening, "deposits": deposits, "closing": closing} | further)


def _of_day(supplier: str, day: date, error: TreasuryError) -> str:
    """The error of one day of a range, with the day, which not every error names."""
    head, text = f"{supplier} {day}: ", str(error)
    return text if text.startswith(head) else head + text


def _run_cells(run: RunRecord) -> tuple[str, ...]:
    counts = (run.line_count, run.own_count, run.matched_count, run.break_count)
    state = "current" if run.current else "superseded"
    return (
        str(run.run_id),
        run.supplier,
        str(run.day),
        run.verdict,
        *map(str, counts),
        run.digest.hex()[:8],
        state,
    )


def _period_cells(period: PeriodRecord) -> tuple[str, ...]:
    days = (str(period.first_day), str(period.last_day))
    state = (
        f"{period.state}, {counted(period.days_changed, 'day')} changed since" if period.days_changed else period.state
    )
    money = ", ".join(f"{sums['value']} {currency}" for currency, sums in (period.own_sums or {}).items())
    own = ("" if period.own_rows is None else str(period.own_rows), money, (period.own_digest or "")[:8])
    people = (period.proposed_by or "", period.actor, f"{period.at:%Y-%m-%d %H:%M}", period.reason)
    return (period.supplier, *days, state, *own, *people)


def _break_cells(break_record: BreakRecord, today: date) -> tuple[str, ...]:
    money = (f"{break_record.difference:f} {break_record.currency}", f"{break_record.variance:f}")
    state = f"{break_record.state}, escalated" if break_record.escalated else break_record.state
    age = f"{break_record.age_days(today)} d"
    return (
        str(break_record.break_id),
        break_record.supplier,
        str(break_record.day),
        age,
        ", ".join(break_record.issues),
        *money,
        state,
        break_record.note,
    )


def _break_as_json(break_record: BreakRecord, today: date) -> dict[str, Any]:
    """A break with the fields of the API's answer, without both sides."""
    return record(
        break_record, "class_", "line", "own", age_days=break_record.age_days(today), break_class=break_record.class_
    )


def _side_as_json(side: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A side of a break, with its time as an instant."""
    if side is None:
        return None
    times = {"at": None if side[_AT] is None else _instant(side[_AT])} if _AT in side else {}
    return {name: value for name, value in side.items() if name != _AT} | times


def _side_texts(name: str, break_record: BreakRecord) -> tuple[str, str]:
    return _text(name, (break_record.line or {}).get(name)), _text(name, (break_record.own or {}).get(name))


def _text(name: str, value: Any) -> str:
    """A value for people. An instant is shown in Johannesburg, with its offset."""
    if value is None:
        return ""
    if name == _AT:
        return _instant(value).isoformat(" ", "milliseconds")
    return str(value)


def _instant(at_ms: int) -> datetime:
    """The aware instant, in Johannesburg."""
    return datetime.fromtimestamp(0, JOHANNESBURG) + timedelta(milliseconds=at_ms)
