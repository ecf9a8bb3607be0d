"""`treasury catalog`: PostgreSQL's catalogue of the archive, written again from the bucket."""

from pathlib import Path
from typing import Annotated

import typer

from cli import terminal
from cli.json_output import AsJson, write_json
from cli.session import session
from cli.verify import read_policy
from ledger.counts import counted
from tasks.rebuilding.catalogue import rebuild_catalogue


def rebuild(
    policy: Annotated[
        Path | None, typer.Option(help="The policy: the log's keys; default: the key files of this home")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the catalogue of an empty database from the archive.

    For a PostgreSQL that was lost without a backup. The whole archive is verified first. Hot and warm months are not in
    the archive, and cannot come back from it.

    Examples:
      treasury catalog rebuild --policy policy
    """
    trusted = None if policy is None else read_policy(policy)
    with session("s3") as settings, terminal.working("verifying the archive and writing the catalogue"):
        done = rebuild_catalogue(settings, trusted)
    for month in done.returned:
        typer.echo(
            f"{month} had gone back to warm: its rows were in the lost PostgreSQL alone. Take them from a backup; its "
            "former objects in the archive have them as they were",
            err=True,
        )
    if as_json:
        write_json(
            {
                "parts": done.parts,
                "columns": done.columns,
                "entries": done.entries,
                "installation": done.owner.installation_id,
                "incarnation": done.owner.incarnation,
                "returned": list(map(str, done.returned)),
            }
        )
        return
    typer.echo(
        f"{counted(done.parts, 'part of a month', 'parts of months')}, {counted(done.columns, 'column')} and "
        f"{counted(done.entries, 'entry', 'entries')} of the log"
    )
    typer.echo(f"this database is incarnation {done.owner.incarnation} of installation {done.owner.installation_id}")
    terminal.next_step("look at the months with `treasury tiers`")
