"""The person who decides by a command: the options that name them and their reason, and the account they use."""

import os
import pwd
from typing import Annotated

import typer

Reason = Annotated[str, typer.Option(help="Reason to record")]
Actor = Annotated[
    str | None,
    typer.Option(help="Person who decides  [default: the account that runs the command, which is always recorded]"),
]


def account_of_process() -> str:
    """The login of the operating system that this process really runs under, whatever its environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without an entry
        return f"uid {os.getuid()}"
