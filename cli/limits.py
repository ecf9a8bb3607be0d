"""limits show, limits lift: the addresses that the API slows or refuses because they attacked."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli import terminal
from cli.session import servers

Address = Annotated[str, typer.Argument(help="The address, as `treasury limits show` lists it or as a client has it")]
Minutes = Annotated[int, typer.Option("--minutes", min=1, max=10_080, help="How long it is not held again")]

limits = typer.Typer(help="Addresses that the API slows or refuses: list them, let one go.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(limits, name="limits")


@limits.command()
def show() -> None:
    """List the addresses that are slowed, refused or lifted now, and until when (UTC)."""
    from api.attackers import list_held  # noqa: PLC0415  # the command line must answer --help at once

    with _redis() as (url, prefix):
        held = sorted(list_held(url, prefix), key=lambda one: (one.stage, -one.ends_s))
    rows = [(one.address, one.stage, f"{datetime.fromtimestamp(one.ends_s, UTC):%Y-%m-%d %H:%M:%S}") for one in held]
    terminal.table("Addresses", ("address", "state", "until (UTC)"), rows)


@limits.command()
def lift(address: Address, minutes: Minutes = 60) -> None:
    """Let an address go, and do not hold it again for a while; running APIs follow within two seconds."""
    from api import attackers  # noqa: PLC0415
    from api.addresses import given_subject  # noqa: PLC0415

    subject = given_subject(address)
    with _redis() as (url, prefix):
        was = attackers.lift(url, prefix, subject, minutes * 60)
    until = datetime.fromtimestamp(time.time() + minutes * 60, UTC)
    typer.echo(f"{subject}: was {' and '.join(was) or 'not held'}; it is not held until {until:%Y-%m-%d %H:%M} UTC")


@contextmanager
def _redis() -> Iterator[tuple[str, str]]:
    """The URL of Redis, and how the API's keys in it begin."""
    with servers("redis") as settings:
        url = settings.redis_url.get_secret_value() if settings.redis_url is not None else ""
        yield url, settings.redis_prefix
