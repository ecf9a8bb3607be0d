"""`treasury recon verify`: verify the audit chain, its archived objects and the closed days."""

from typing import Annotated

import typer

from cli import terminal
from cli.session import session
from config import Settings
from ledger.counts import counted
from ledger.errors import ConfigError
from sql.connection import Connection, connect
from tasks.reconciliation.audit.chain import verify_chain
from tasks.reconciliation.audit.objects import verify_objects
from tasks.reconciliation.closing.closed_days import verify_closed_days


def verify(
    noted: Annotated[
        str | None, typer.Option(help="Hash of an event from an earlier verification, which must still exist")
    ] = None,
    chain_only: Annotated[
        bool, typer.Option(help="Do not read the objects in the archive and the rows of closed days")
    ] = False,
) -> None:
    """Verify the audit chain, its archived objects and the closed days.

    The tables and the archive must hold exactly what the chain records.

    Examples:
      treasury recon verify --chain-only
    """
    try:
        expected = bytes.fromhex(noted) if noted else None
    except ValueError:
        raise ConfigError("--noted: must be a hash in hex") from None
    with (
        session() if chain_only else session("s3") as settings,
        connect(settings.database_dsn, "verify") as connection,
        terminal.working("verifying reconciliation"),
    ):
        lines = verify_reconciliation(settings, connection, expected, chain_only=chain_only)
    for line in lines:
        typer.echo(terminal.visible(line))


def verify_reconciliation(
    settings: Settings, connection: Connection, expected: bytes | None = None, *, chain_only: bool = False
) -> list[str]:
    """Return what `treasury recon verify` prints. Raises VerificationError naming what is wrong."""
    head = verify_chain(connection, expected)
    lines = [f"reconciliation: {counted(head.event_no, 'event')}, complete; head {head.hash.hex()}"]
    if not chain_only:
        lines.append(f"archive: {verify_objects(settings, connection)} statements and reports as recorded")
        lines.append(
            f"closed days: {verify_closed_days(settings, connection)} verified, their internal rows are unchanged"
        )
    return lines
