"""`treasury hold`: place and release legal holds, and list them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from cli import terminal
from cli.days import DAY
from cli.json_output import AsJson, record, write_json
from cli.people import Actor, Reason, account_of_process
from cli.session import session
from ledger.errors import ConfigError
from ledger.holds import HoldScope, Subject, hold_number
from ledger.months import Month
from sql.holds import HoldDecision, HoldRecord
from tasks.retention import holds as legal

Number = Annotated[str, typer.Argument(help="The hold: HOLD-7, or 7")]


def place(
    first: Annotated[str, typer.Argument(help="First month, YYYY-MM")],
    last: Annotated[str | None, typer.Argument(help="Last month, included  [default: the first]")] = None,
    *,
    matter: Annotated[str, typer.Option(help="Number of the matter, such as that of the court")],
    reason: Reason,
    review: Annotated[datetime, typer.Option(**DAY, help="Day on which somebody must look at the hold again")],
    table: Annotated[str | None, typer.Option(help="Only this table  [default: every table]")] = None,
    wallet: Annotated[str | None, typer.Option(help="Only the rows of this wallet")] = None,
    user: Annotated[str | None, typer.Option(help="Only the rows of this user")] = None,
    client: Annotated[str | None, typer.Option(help="Only the rows of this client")] = None,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Keep months, or a wallet's, user's or client's rows in them, from being deleted.

    Examples:
      treasury hold place 2024-01 2024-06 --matter "CASE 2026/17" --reason "order of the court" --review 2027-06-30
      treasury hold place 2024-03 --wallet w-1 --matter "CASE 2026/18" --reason "dispute" --review 2027-01-31
    """
    values = {Subject.WALLET: wallet, Subject.USER: user, Subject.CLIENT: client}
    named = [(subject, value) for subject, value in values.items() if value is not None]
    if len(named) > 1:
        raise ConfigError("--wallet, --user, --client: a hold is of one of them: place a hold for each")
    subject, value = named[0] if named else (None, None)
    scope = HoldScope(Month.parse(first), Month.parse(last or first), table, subject, value)
    account = account_of_process()
    with session("s3") as settings, terminal.working("placing the hold"):
        placed = legal.place_hold(settings, scope, matter, reason, actor or account, review.date(), account=account)
    if as_json:
        write_json(_as_json(placed, []))
        return
    typer.echo(f"{placed.hold.name} keeps {placed.hold.scope}; look at it again on {placed.hold.review_on}")
    for lack in placed.hold.lacks:
        typer.echo(f"{lack}: {placed.hold.name} keeps what is left")
    terminal.next_step(f"see it with `treasury hold show {placed.hold.name}`")


def list_(
    every: Annotated[bool, typer.Option("--all", help="List the released ones too")] = False,
    as_json: AsJson = False,
) -> None:
    """List the legal holds that are open."""
    with session() as settings:
        records = [entry for entry in legal.holds(settings) if every or entry.is_open]
    if as_json:
        write_json([_as_json(entry, [entry.decision] if entry.decision else []) for entry in records])
        return
    columns = ("hold", "matter", "keeps", "state", "placed by", "placed (UTC)", "review", "reason")
    terminal.table("Legal holds", columns, list(map(_cells, records)))


def show(number: Number, as_json: AsJson = False) -> None:
    """Show a legal hold and the decisions about its release.

    Examples:
      treasury hold show HOLD-7
    """
    with session() as settings:
        entry = legal.show_hold(settings, hold_number(number))
    if as_json:
        write_json(_as_json(entry.record, entry.decisions))
        return
    hold = entry.record.hold
    facts = (
        ("hold", hold.name),
        ("matter", hold.matter),
        ("keeps", str(hold.scope)),
        ("state", entry.record.state),
        ("reason", hold.reason),
        ("placed by", f"{hold.actor}, account {hold.account}"),
        ("placed (UTC)", f"{hold.placed_at:%Y-%m-%d %H:%M:%S}"),
        ("review", str(hold.review_on)),
        *(("lacks", str(lack)) for lack in hold.lacks),
    )
    terminal.table(hold.name, ("field", "value"), facts)
    decisions = [
        (f"{decision.decided_at:%Y-%m-%d %H:%M}", decision.action, decision.actor, decision.account, decision.reason)
        for decision in entry.decisions
    ]
    terminal.table("Decisions about its release", ("time (UTC)", "action", "person", "account", "reason"), decisions)


def release(
    number: Number,
    reason: Reason,
    actor: Actor = None,
    reject: Annotated[bool, typer.Option(help="Withdraw the proposal instead")] = False,
    as_json: AsJson = False,
) -> None:
    """Propose to release a legal hold, or confirm its release.

    The first call proposes. The same call by a second person releases the hold. Whoever placed it is neither of them.

    Examples:
      treasury hold release HOLD-7 --reason "the case is closed"
      treasury hold release HOLD-7 --reason "a second case" --reject
    """
    account = account_of_process()
    with session("s3") as settings:
        decide = legal.reject_release if reject else legal.release_hold
        done = decide(settings, hold_number(number), actor or account, reason, account=account)
    if as_json:
        write_json(_as_json(done, [done.decision] if done.decision else []))
        return
    waits = " (a second person must confirm)" if done.state == "release proposed" else ""
    typer.echo(f"{done.hold.name}: {done.state}{waits}; {done.hold.scope}")
    if waits:
        terminal.next_step(f"let a second person run `treasury hold release {done.hold.name} --reason TEXT`")


def _as_json(hold_record: HoldRecord, decisions: Sequence[HoldDecision]) -> dict[str, Any]:
    """A hold with the fields of the API's answer; ``decisions`` are the newest one in a list, all of one hold."""
    hold, scope = hold_record.hold, hold_record.hold.scope
    return {
        "hold": hold.name,
        "matter": hold.matter,
        **scope.to_record(),
        "reason": hold.reason,
        "actor": hold.actor,
        "account": hold.account,
        "placed_at": hold.placed_at,
        "review_on": hold.review_on,
        "lacks": [lack.to_record() for lack in hold.lacks],
        "state": hold_record.state,
        "decisions": list(map(record, decisions)),
    }


def _cells(entry: HoldRecord) -> tuple[str, ...]:
    hold = entry.hold
    people = (hold.actor, f"{hold.placed_at:%Y-%m-%d %H:%M}", str(hold.review_on), hold.reason)
    return (hold.name, hold.matter, str(hold.scope), entry.state, *people)
