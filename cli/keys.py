"""key create, key list, key revoke: the API keys of clients."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cli import terminal
from cli.session import session
from ledger.errors import ConfigError

if TYPE_CHECKING:
    from tasks.keys import KeyRecord

Client = Annotated[str, typer.Argument(help="The client that the key's transactions belong to")]
Scopes = Annotated[list[str] | None, typer.Option("--scope", help="What the key may do; once for each scope")]
Days = Annotated[int | None, typer.Option(min=1, max=3650, help="Days until it expires; never by default")]
KeyId = Annotated[str, typer.Argument(help="The middle part of trk_<key id>_<secret>")]

keys = typer.Typer(help="API keys: make, list, revoke.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(keys, name="key")


@keys.command()
def create(client_id: Client, scope: Scopes = None, days: Days = None) -> None:
    """Make a key and print it. It is shown this once; without --scope it reads and writes transactions and VAS."""
    from tasks.keys import CLIENT_SCOPES, create_key  # noqa: PLC0415

    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with session() as settings:
        typer.echo(create_key(settings, client_id, scope or CLIENT_SCOPES, expires_at))


@keys.command("list")
def list_() -> None:
    """Show every key with its client, scopes and state. Secrets are not known here."""
    from tasks.keys import list_keys  # noqa: PLC0415

    with session() as settings:
        records = list_keys(settings)
    now = datetime.now(UTC)
    rows = [
        (record.key_id, record.client_id, " ".join(record.scopes), f"{record.created_at:%Y-%m-%d}", _state(record, now))
        for record in records
    ]
    terminal.table("API keys", ("key", "client", "scopes", "made", "state"), rows)


@keys.command()
def revoke(key_id: KeyId) -> None:
    """Make a key useless; running APIs notice within seconds."""
    from tasks.keys import revoke_key  # noqa: PLC0415

    with session() as settings:
        revoked = revoke_key(settings, key_id)
    if not revoked:
        raise ConfigError(f"there is no key {key_id!r} that could be revoked")
    typer.echo(f"revoked {key_id}")


def _state(record: "KeyRecord", now: datetime) -> str:
    if record.revoked_at is not None:
        return f"revoked {record.revoked_at:%Y-%m-%d %H:%M}"
    if record.expires_at is None:
        return "valid"
    verb = "expires" if record.expires_at > now else "expired"
    return f"{verb} {record.expires_at:%Y-%m-%d %H:%M}"
