"""key create, rotate, revoke, list, events: the API keys of clients."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cli import terminal
from cli.session import session
from ledger.errors import ConfigError, NotFoundError
from ledger.scopes import ALLOWS, CLIENT_SCOPES

if TYPE_CHECKING:
    from tasks.keys import KeyRecord

Client = Annotated[str, typer.Argument(help="The client that the key's transactions belong to")]
Scopes = Annotated[list[str] | None, typer.Option("--scope", help="One of the scopes above; once for each")]
Days = Annotated[int | None, typer.Option(min=1, max=3650, help="Days until it expires; never by default")]
Limits = Annotated[
    list[str] | None, typer.Option("--limit", help="A rate of its own, as transactions=600/minute; once for each")
]
Grace = Annotated[str, typer.Option(help="How long the old key still works, as 30m, 24h or 7d")]
KeyId = Annotated[str, typer.Argument(help="The middle part of trk_<key id>_<secret>")]

_GRACE = re.compile(r"(\d{1,5})([smhd])\Z", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

keys = typer.Typer(help="API keys: make, rotate, revoke, list.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(keys, name="key")


def _listed() -> str:
    """Every scope with what it allows, as the end of a help text; click leaves the lines after its mark as they are."""
    width = max(map(len, ALLOWS))
    lines = [f"  {scope:{width}}  {allowed}" for scope, allowed in ALLOWS.items()]
    return "\n".join(("", "\b", "Scopes:", *lines))


@keys.command(
    help="Make a key and print it. It is shown this once; without --scope it has "
    f"{', '.join(CLIENT_SCOPES)}.\n{_listed()}"
)
def create(client_id: Client, scope: Scopes = None, days: Days = None, limit: Limits = None) -> None:
    """Make a key and print it; the help text lists the scopes."""
    from tasks.keys import create_key  # noqa: PLC0415

    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    limits = _limits(limit or [])
    with session() as settings:
        typer.echo(create_key(settings, client_id, scope or CLIENT_SCOPES, expires_at, limits))


@keys.command()
def rotate(key_id: KeyId, grace: Grace = "24h") -> None:
    """Make a key like this one and print it; the old one ends after the grace. The new one is shown this once."""
    from tasks.keys import rotate_key  # noqa: PLC0415

    match = _GRACE.match(grace)
    if match is None:
        raise ConfigError("--grace: must be like 30m, 24h or 7d")
    with session() as settings:
        typer.echo(rotate_key(settings, key_id, timedelta(**{_UNITS[match[2]]: int(match[1])})))


@keys.command("list")
def list_() -> None:
    """Show every key with its client, scopes and state. Secrets are not known here."""
    from tasks.keys import list_keys  # noqa: PLC0415

    with session() as settings:
        records = list_keys(settings)
    now = datetime.now(UTC)
    rows = [
        (
            record.key_id,
            record.client_id,
            " ".join(record.scopes),
            " ".join(f"{policy}={rate}" for policy, rate in record.limits.items()),
            f"{record.created_at:%Y-%m-%d}",
            _state(record, now),
        )
        for record in records
    ]
    terminal.table("API keys", ("key", "client", "scopes", "limits", "made", "state"), rows)


@keys.command()
def events(key_id: Annotated[str | None, typer.Argument(help="Only this key")] = None) -> None:
    """Show who made, rotated and revoked keys, and when."""
    from tasks.keys import key_events  # noqa: PLC0415

    with session() as settings:
        found = key_events(settings, key_id)
    rows = [
        (f"{one.happened_at:%Y-%m-%d %H:%M:%S}", one.key_id, one.event, one.actor, json.dumps(one.detail))
        for one in found
    ]
    terminal.table("Events of API keys (UTC)", ("when", "key", "event", "by", "detail"), rows)


@keys.command()
def revoke(key_id: KeyId) -> None:
    """Make a key useless; running APIs notice within seconds."""
    from tasks.keys import revoke_key  # noqa: PLC0415

    with session() as settings:
        revoked = revoke_key(settings, key_id)
    if not revoked:
        raise NotFoundError(f"there is no key {key_id!r} that could be revoked")
    typer.echo(f"revoked {key_id}")


def _limits(given: list[str]) -> dict[str, str]:
    parts = [text.partition("=") for text in given]
    for policy, equals, _ in parts:
        if not equals:
            raise ConfigError(f"--limit {policy}: must be like transactions=600/minute")
    return {policy: rate for policy, _, rate in parts}


def _state(record: "KeyRecord", now: datetime) -> str:
    if record.revoked_at is not None:
        return f"revoked {record.revoked_at:%Y-%m-%d %H:%M}"
    if record.expires_at is None:
        return "valid"
    verb = "expires" if record.expires_at > now else "expired"
    return f"{verb} {record.expires_at:%Y-%m-%d %H:%M}"
