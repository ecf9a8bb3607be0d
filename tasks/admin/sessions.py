"""Sessions of the dashboard, for commands: listing and ending them. `housekeeping` deletes old ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from config import Settings
from ledger.errors import NotFoundError
from sql.connection import connect
from sql.queries import load
from sql.storing import check_stored

LIST_LIMIT = 500
_QUERIES = load("dashboard_sessions")


@dataclass(frozen=True, slots=True)
class DashboardSession:
    """A session as lists show it. ``network`` is that of the browser's address. Times are UTC.

    ``is_open``: a request could use it now; its key is good, too.
    """

    session_id: int
    key_id: str
    client_id: str
    over_https: bool
    network: str
    browser: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    is_open: bool

    @property
    def state(self) -> str:
        """``open``, ``revoked`` or ``ended``: by its age, for want of use, or with its key."""
        return "open" if self.is_open else "ended" if self.revoked_at is None else "revoked"


def read_session(row: Sequence[Any]) -> DashboardSession:
    """A row of the query `list`."""
    return DashboardSession(*row)


def list_sessions(settings: Settings) -> list[DashboardSession]:
    """The newest sessions of all keys, newest first, `LIST_LIMIT` at most."""
    which = {"key_id": None, "idle": settings.dashboard.idle, "limit": LIST_LIMIT}
    with connect(settings.database_dsn, "sessions") as connection:
        return [read_session(row) for row in connection.execute(_QUERIES["list"], which)]


def revoke_session(settings: Settings, session_id: int) -> bool:
    """End a session within seconds; False when it was revoked before. Safe to run again.

    Raises NotFoundError for a number that no session has.
    """
    which = {"session_id": session_id, "key_id": None}
    with connect(settings.database_dsn, "sessions") as connection, connection.transaction():
        revoked = connection.execute(_QUERIES["revoke"], which)
        if revoked.rowcount:
            return True
        row = connection.execute(_QUERIES["is_open"], which).fetchone()
        if row is not None and row[0]:
            check_stored(revoked, 1, "dashboard_sessions")  # raises: the session is there, and as good as before
        if not connection.execute(_QUERIES["exists"], which).fetchone():
            raise NotFoundError(f"session {session_id} does not exist: `treasury sessions list` lists them")
        return False
