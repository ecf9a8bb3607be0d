"""`treasury recon verify`: verify the audit chain, its archived objects and the closed days."""

from dataclasses import dataclass
from typing import Annotated

import typer

from cli import terminal
from cli.json_output import AsJson, write_json
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
    as_json: AsJson = False,
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
        verified = verify_reconciliation(settings, connection, expected, chain_only=chain_only)
    if as_json:
        write_json(verified)
        return
    for line in verified.lines:
        typer.echo(terminal.visible(line))


@dataclass(frozen=True, slots=True)
class VerifiedReconciliation:
    """What was verified: events of the chain and its head, objects in the archive and closed days. With the chain
    alone, there are no counts of these two.
    """

    events: int
    head: bytes
    objects: int | None = None
    closed_days: int | None = None

    @property
    def lines(self) -> list[str]:
        """The same for people."""
        lines = [f"reconciliation: {counted(self.events, 'event')}, complete; head {self.head.hex()}"]
        if self.objects is not None:
            lines.append(f"archive: {self.objects} statements and reports as recorded")
        if self.closed_days is not None:
            lines.append(f"closed days: {self.closed_days} verified, their internal rows are unchanged")
        return lines


def verify_reconciliation(
    settings: Settings, connection: Connection, expected: bytes | None = None, *, chain_only: bool = False
) -> VerifiedReconciliation:
    """Return what `treasury recon verify` shows. Raises VerificationError naming what is wrong."""
    head = verify_chain(connection, expected)
    if chain_only:
        return VerifiedReconciliation(head.event_no, head.hash)
    objects, closed_days = verify_objects(settings, connection), verify_closed_days(settings, connection)
    return VerifiedReconciliation(head.event_no, head.hash, objects, closed_days)
