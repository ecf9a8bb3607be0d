"""`treasury limits`: the addresses that the API slows or refuses because of attacks."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer

from api.abuse import attackers
from api.abuse.addresses import given_subject
from cli import terminal
from cli.json_output import AsJson, write_json
from cli.session import servers

Address = Annotated[str, typer.Argument(help="Address as `treasury limits show` lists it, or a client's own address")]
Minutes = Annotated[int, typer.Option(min=1, max=10_080, help="Minutes until the address can be blocked again")]


def show(as_json: AsJson = False) -> None:
    """List the addresses that are slowed, refused or lifted. Times are UTC."""
    with _redis() as (url, prefix):
        held = sorted(attackers.list_held(url, prefix), key=lambda entry: (entry.stage, -entry.ends_s))
    ends = [datetime.fromtimestamp(entry.ends_s, UTC) for entry in held]
    if as_json:
        write_json(
            [
                {"address": entry.address, "state": entry.stage, "until": until}
                for entry, until in zip(held, ends, strict=True)
            ]
        )
        return
    rows = [(entry.address, entry.stage, f"{until:%Y-%m-%d %H:%M:%S}") for entry, until in zip(held, ends, strict=True)]
    terminal.table("Addresses", ("address", "state", "until (UTC)"), rows)


def lift(address: Address, minutes: Minutes = 60, as_json: AsJson = False) -> None:
    """Unblock an address, and keep it unblocked for a while. Running API processes follow within two seconds.

    Examples:
      treasury limits lift 203.0.113.9 --minutes 120
    """
    subject = given_subject(address)
    with _redis() as (url, prefix):
        was = attackers.lift(url, prefix, subject, minutes * 60)
    until = datetime.fromtimestamp(time.time() + minutes * 60, UTC)
    if as_json:
        write_json({"address": subject, "was": was, "until": until})
        return
    typer.echo(
        f"{subject}: was {' and '.join(was) or 'not blocked'}; cannot be blocked until {until:%Y-%m-%d %H:%M} UTC"
    )


@contextmanager
def _redis() -> Iterator[tuple[str, str]]:
    """The URL of Redis, and the prefix of the API's keys in it."""
    with servers("redis") as settings:
        url = settings.redis_url.get_secret_value() if settings.redis_url is not None else ""
        yield url, settings.redis_prefix
