"""`treasury check-proof`: check a proof file, with the file and a policy alone."""

from pathlib import Path
from typing import Annotated

import typer

from cli.checked_proof import describe_checked


def check_proof(
    file: Annotated[Path, typer.Argument(help="A proof file")],
    policy: Annotated[Path, typer.Option(help="The policy: the logs, and the witnesses, that you trust")],
    as_json: Annotated[bool, typer.Option("--json", help="Write what is proved as JSON, for programs")] = False,
) -> None:
    """Check a proof file. Needs no database, no archive and no network.

    Exit code 65 means that the proof does not hold.

    Examples:
      treasury check-proof transactions-2024-03-statement-wlt_00000010.tlog-proof --policy policy
    """
    typer.echo(describe_checked(file, policy, as_json=as_json), nl=False)
