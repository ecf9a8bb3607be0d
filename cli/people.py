"""Options that name a person and their reason: the same for every decision that a command records."""

from typing import Annotated

import typer

Reason = Annotated[str, typer.Option(help="Reason to record")]
Actor = Annotated[
    str | None,
    typer.Option(help="Person who decides  [default: the account that runs the command, which is always recorded]"),
]
