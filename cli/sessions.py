"""`treasury sessions`: list and revoke the sessions of the dashboard."""

from typing import Annotated

import typer

from cli import terminal
from cli.json_output import AsJson, record, write_json
from cli.session import session
from tasks.admin.sessions import DashboardSession, list_sessions, revoke_session

SessionId = Annotated[int, typer.Argument(min=1, help="Number of the session, from `treasury sessions list`")]


def list_(
    every: Annotated[bool, typer.Option("--all", help="List the sessions that have ended too")] = False,
    as_json: AsJson = False,
) -> None:
    """List the sessions of the dashboard, newest first. Without --all, only those that are open."""
    with session() as settings:
        sessions = [
            dashboard_session for dashboard_session in list_sessions(settings) if every or dashboard_session.is_open
        ]
    if as_json:
        write_json([record(dashboard_session, state=dashboard_session.state) for dashboard_session in sessions])
        return
    columns = ("session", "key", "client", "state", "browser", "network", "began (UTC)", "last used", "ends")
    terminal.table("Sessions of the dashboard", columns, [_cells(dashboard_session) for dashboard_session in sessions])


def revoke(session_id: SessionId, as_json: AsJson = False) -> None:
    """End a session of the dashboard. Its browser is signed out within seconds.

    Examples:
      treasury sessions revoke 12
    """
    with session() as settings:
        revoked = revoke_session(settings, session_id)
    if as_json:
        write_json({"session_id": session_id, "state": "revoked", "was_revoked_before": not revoked})
        return
    typer.echo(f"ended session {session_id}" if revoked else f"session {session_id} was revoked before")


def _cells(session: DashboardSession) -> tuple[str, ...]:
    times = (session.created_at, session.last_used_at, session.expires_at)
    said = (str(session.session_id), session.key_id, session.client_id, session.state, session.browser, session.network)
    return (*said, *(f"{moment:%Y-%m-%d %H:%M}" for moment in times))
