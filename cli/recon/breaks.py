"""`treasury recon breaks`, `show`, `resolve` and `settle`: list breaks and decide on them."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Any

import typer

from cli import terminal
from cli.json_output import AsJson, record, write_json
from cli.names import OneSupplier
from cli.people import Actor, Reason, account_of_process
from cli.recon.options import First, Last, Limit, date_of
from cli.session import session
from ledger.business_days import JOHANNESBURG
from ledger.errors import ConfigError, NotFoundError
from ledger.money import shown
from ledger.statements import BreakClass
from tasks.reconciliation.casework import breaks as casework
from tasks.reconciliation.casework import lists
from tasks.reconciliation.casework.lists import BreakFilter, BreakRecord, ResolutionRecord
from tasks.reconciliation.vocabulary import BreakState, Decision, WithdrawalState

_WAITING = (BreakState.OPEN, BreakState.PROPOSED)
# What `--state` may be, and the states that it means; None for all of them.
_STATES: Mapping[str, tuple[BreakState, ...] | None] = {
    "waiting": _WAITING,
    "all": None,
    **{str(state): (state,) for state in BreakState},
}
_AT = "at_ms"  # a field of both sides: an instant in milliseconds since 1970
_LABELS = {_AT: "time"}


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
        first=date_of(first),
        last=date_of(last),
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
    waiting = [break_record.break_id for break_record in records if break_record.state in _WAITING]
    if waiting:
        terminal.next_step(f"look at both sides of one with `treasury recon show {waiting[0]}`")


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
        return
    _show_break(break_record, records)
    decide = f"`treasury recon resolve {break_id} --decision"
    if break_record.state == BreakState.OPEN:
        terminal.next_step(f"decide with {decide} DECISION --reason TEXT`; --help has the decisions")
    elif break_record.state == BreakState.PROPOSED:
        terminal.next_step(f"let a second person confirm with {decide} {records[-1].decision} --reason TEXT`")


def _show_break(break_record: BreakRecord, records: Sequence[ResolutionRecord]) -> None:
    rows = [
        (_LABELS.get(name, name), *_side_texts(name, break_record))
        for name in dict.fromkeys([*(break_record.line or {}), *(break_record.own or {})])
    ]
    money = _money(break_record)
    title = f"Break {break_record.break_id}: {', '.join(break_record.issues)}, {money} at issue, {break_record.state}"
    terminal.table(title, ("field", "statement", "internal row"), rows)
    if break_record.note:
        typer.echo(terminal.visible(break_record.note))
    terminal.table(
        "History",
        ("time (UTC)", "action", "person", "account", "decision", "reason"),
        [(f"{r.created_at:%Y-%m-%d %H:%M}", r.action, r.actor, r.account or "", r.decision, r.reason) for r in records],
    )


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
    as_json: AsJson = False,
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
    if as_json:
        write_json(done)
        return
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
    as_json: AsJson = False,
) -> None:
    """Settle the unfinished internal row of a break. Above the limit, a second person must confirm it.

    Examples:
      treasury recon settle 17 --completed --reason "asked the supplier"
    """
    decision = Decision.SETTLE_COMPLETED if completed else Decision.SETTLE_FAILED
    with session() as settings:
        account = account_of_process()
        done = casework.resolve(settings, break_id, actor or account, decision, reason, account=account)
    if as_json:
        write_json(done)
        return
    if done.state is BreakState.PROPOSED:
        typer.echo(f"break {break_id} is proposed (a second person must confirm); its internal row is unchanged")
        outcome = "--completed" if completed else "--failed"
        terminal.next_step(f"let a second person run `treasury recon settle {break_id} {outcome} --reason TEXT`")
        return
    rest = "; its other differences still wait for a decision" if done.state is BreakState.OPEN else ""
    status = "completed" if completed else "failed"
    typer.echo(f"internal row {done.ended_row} is {status}; break {break_id} is {done.state}{rest}")


def _break_cells(break_record: BreakRecord, today: date) -> tuple[str, ...]:
    variance = shown(break_record.variance, break_record.currency)
    state = f"{break_record.state}, escalated" if break_record.escalated else break_record.state
    age = f"{break_record.age_days(today)} d"
    return (
        str(break_record.break_id),
        break_record.supplier,
        str(break_record.day),
        age,
        ", ".join(break_record.issues),
        _money(break_record),
        variance,
        state,
        break_record.note,
    )


def _money(break_record: BreakRecord) -> str:
    return f"{shown(break_record.difference, break_record.currency)} {break_record.currency}"


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
