"""`treasury key`: create, rotate, revoke and list the API keys of clients."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cli import terminal
from cli.json_output import AsJson, record, write_json
from cli.session import session
from ledger.errors import ConfigError, NotFoundError
from ledger.scopes import ALLOWS, CLIENT_SCOPES
from tasks.admin.keys import (
    KeyRecord,
    create_key,
    is_whole_key,
    key_events,
    key_id_of,
    list_keys,
    revoke_key,
    rotate_key,
)

Client = Annotated[str, typer.Argument(help="Client that owns the key's transactions")]
Scopes = Annotated[list[str] | None, typer.Option("--scope", help="A scope of the list above; repeat for several")]
Days = Annotated[int | None, typer.Option(min=1, max=3650, help="Days until the key expires  [default: never]")]
Limits = Annotated[
    list[str] | None,
    typer.Option("--limit", help="Rate limit of this key, such as transactions=600/minute; repeat for several"),
]
Grace = Annotated[str, typer.Option(help="How long the old key stays valid, such as 30m, 24h or 7d")]
KeyId = Annotated[str, typer.Argument(help="Middle part of trk_<key id>_<secret>; the secret is not needed")]

_GRACE = re.compile(r"(\d{1,5})([smhd])\Z", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _listed() -> str:
    """All scopes with what they allow, for the end of a help text. typer does not wrap the lines after ``\\b``."""
    width = max(map(len, ALLOWS))
    lines = [f"  {scope:{width}}  {allowed}" for scope, allowed in ALLOWS.items()]
    return "\n".join(("", "\b", "Scopes:", *lines))


def create(
    client_id: Client, scope: Scopes = None, days: Days = None, limit: Limits = None, as_json: AsJson = False
) -> None:
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    limits = _limits(limit or [])
    with session() as settings:
        key = create_key(settings, client_id, scope or CLIENT_SCOPES, expires_at, limits)
    if as_json:
        write_json({"key": key, "key_id": key_id_of(key), "client_id": client_id, "expires_at": expires_at})
        return
    typer.echo(key)
    terminal.next_step(f"send the key to {client_id} where nobody else can read it; it is not shown again")


create.__doc__ = f"""Create an API key and print it. It is printed only once.

Without --scope, the key has {", ".join(CLIENT_SCOPES)}.
{_listed()}

Examples:
  treasury key create acme --days 365
  treasury key create auditors --scope archive:read --limit general=60/minute
"""


def rotate(key_id: KeyId, grace: Grace = "24h", as_json: AsJson = False) -> None:
    """Replace an API key with a new one, and print the new one. It is printed only once.

    The new key has the same client, scopes and limits. The old key stays valid for the grace period.

    Examples:
      treasury key rotate 5f0c2a9d71be --grace 7d
    """
    match = _GRACE.match(grace)
    if match is None:
        raise ConfigError("--grace: must be like 30m, 24h or 7d")
    wanted = _key_id(key_id)
    with session() as settings:
        key = rotate_key(settings, wanted, timedelta(**{_UNITS[match[2]]: int(match[1])}))
    if as_json:
        write_json({"key": key, "key_id": key_id_of(key), "former_key_id": wanted})
        return
    typer.echo(key)
    terminal.next_step(f"send the new key to the client within {grace}; it is not shown again")


def list_(as_json: AsJson = False) -> None:
    """List all API keys with client, scopes and state. Their secrets are not stored."""
    with session() as settings:
        records = list_keys(settings)
    now = datetime.now(UTC)
    if as_json:
        write_json([record(key, state=_state(key, now)) for key in records])
        return
    rows = [
        (
            key.key_id,
            key.client_id,
            " ".join(key.scopes),
            " ".join(f"{policy}={rate}" for policy, rate in key.limits.items()),
            f"{key.created_at:%Y-%m-%d}",
            _state_text(key, now),
        )
        for key in records
    ]
    terminal.table("API keys", ("key", "client", "scopes", "limits", "created", "state"), rows)


def events(
    key_id: Annotated[str | None, typer.Argument(help="Only the events of this key")] = None,
    as_json: AsJson = False,
) -> None:
    """Show who created, rotated and revoked API keys, and when.

    Examples:
      treasury key events 5f0c2a9d71be --json
    """
    wanted = None if key_id is None else _key_id(key_id)
    with session() as settings:
        records = key_events(settings, wanted)
    if as_json:
        write_json(records)
        return
    rows = [
        (
            f"{record.happened_at:%Y-%m-%d %H:%M:%S}",
            record.key_id,
            record.event,
            record.actor,
            json.dumps(record.detail),
        )
        for record in records
    ]
    terminal.table("API key events (UTC)", ("time", "key", "event", "account", "detail"), rows)


def revoke(key_id: KeyId, as_json: AsJson = False) -> None:
    """Revoke an API key. Running API processes refuse it within seconds.

    Examples:
      treasury key revoke 5f0c2a9d71be
    """
    wanted = _key_id(key_id)
    with session() as settings:
        revoked = revoke_key(settings, wanted)
    if not revoked:
        raise NotFoundError(f"key {wanted!r} does not exist or is already revoked")
    if as_json:
        write_json({"key_id": wanted, "state": "revoked"})
    else:
        typer.echo(f"revoked {wanted}")


def _key_id(text: str) -> str:
    """The key id in what was typed. A secret is then in the shell's history; a note says so."""
    if is_whole_key(text):
        terminal.note("a whole key was typed, so its secret is in the history of this shell: the key id is enough")
    return key_id_of(text)


def _limits(options: list[str]) -> dict[str, str]:
    parts = [text.partition("=") for text in options]
    for policy, equals, _ in parts:
        if not equals:
            raise ConfigError(f"--limit {policy}: must be like transactions=600/minute")
    return {policy: rate for policy, _, rate in parts}


def _state(key: KeyRecord, now: datetime) -> str:
    """``valid``, ``expired`` or ``revoked``."""
    if key.revoked_at is not None:
        return "revoked"
    return "valid" if key.expires_at is None or key.expires_at > now else "expired"


def _state_text(key: KeyRecord, now: datetime) -> str:
    if key.revoked_at is not None:
        return f"revoked {key.revoked_at:%Y-%m-%d %H:%M}"
    if key.expires_at is None:
        return "valid"
    verb = "expires" if key.expires_at > now else "expired"
    return f"{verb} {key.expires_at:%Y-%m-%d %H:%M}"
