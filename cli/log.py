"""`treasury log`: the public log of what happens to the archive."""

from typing import Any

import typer

from cli import terminal
from cli.json_output import AsJson, write_json
from cli.session import session
from ledger.counts import counted
from tasks.transparency.publish import Published, publish_log
from tasks.transparency.report import LogReport, policy_text, report_log
from tasks.transparency.rotation import rotate_keys


def publish(as_json: AsJson = False) -> None:
    """Publish the events that wait.

    Also completes a publication that was interrupted.
    """
    with session("s3") as settings, terminal.working("publishing"):
        published = publish_log(settings)
    if as_json:
        write_json(Published("", 0, 0, 0) if published is None else published)
        return
    if published is None:
        typer.echo("no event was ever recorded: the log begins with the first archived month")
        return
    typer.echo(f"{counted(published.events, 'event')} published; the log {published.origin} has {published.size}")
    if published.shortfall:
        terminal.note(published.shortfall)


def show(as_json: AsJson = False) -> None:
    """Show how far the log is published, and its newest events.

    Reads PostgreSQL only.
    """
    with session() as settings:
        report = report_log(settings)
    if as_json:
        write_json(_as_json(report))
        return
    terminal.table("Public log", ("", ""), _rows(report))
    rows = [
        (
            "" if event.entry_index is None else str(event.entry_index),
            event.event,
            f"{event.incarnation}/{event.number}",
            f"{event.happened_at:%Y-%m-%d %H:%M:%S}",
        )
        for event in report.events
    ]
    terminal.table("Newest events (UTC)", ("entry", "event", "incarnation/number", "when"), rows)


def _as_json(report: LogReport) -> dict[str, Any]:
    """What is shown; the fields about what was published are null before the first time."""
    row = report.row
    published = {
        "origin": None if row is None else row.origin,
        "folder": None if row is None else row.folder,
        "published_size": 0 if row is None else row.published_size,
        "published_at": None if row is None else row.published_at,
        "root": None if row is None else row.root,
        "witnesses": (row.witnessed or None) if row else None,
        "timestamps": (row.timestamped or None) if row else None,
        "shortfall": (row.shortfall or None) if row else None,
    }
    return published | {"waiting": report.waiting, "waiting_since": report.oldest, "events": report.events}


def _rows(report: LogReport) -> list[tuple[str, str]]:
    row = report.row
    waiting = f"{report.waiting} since {report.oldest:%Y-%m-%d %H:%M:%S} UTC" if report.oldest else "none"
    if row is None:
        return [("published", "not yet"), ("events that wait", waiting)]
    return [
        ("origin", row.origin),
        ("folder in the archive", row.folder),
        ("published", counted(row.published_size, "event")),
        ("last published", f"{row.published_at:%Y-%m-%d %H:%M:%S} UTC" if row.published_at else "never"),
        ("root", row.root.hex() if row.root else ""),
        ("events that wait", waiting),
        ("witnesses", row.witnessed or "none are set"),
        ("timestamps", row.timestamped or "none are set"),
        ("shortfall", row.shortfall or "none"),
    ]


def keys() -> None:
    """Print the verifier keys of the log and its policy.

    The output is a policy file of c2sp.org/tlog-policy.

    Examples:
      treasury log keys > policy
    """
    with session() as settings:
        typer.echo(policy_text(settings), nl=False)


def rotate_key(as_json: AsJson = False) -> None:
    """Sign the log with new keys from now on.

    The former public keys stay valid for what they signed.
    """
    with session("s3") as settings, terminal.working("publishing"):
        texts = rotate_keys(settings)
    if as_json:
        write_json({"keys": texts})
        return
    for text in texts:
        typer.echo(text)
    terminal.next_step("give auditors and witnesses the new policy: `treasury log keys` prints it")
