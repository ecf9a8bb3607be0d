"""The embedded Prefect server as a program: Prefect's own application behind a `Gate`.

Run as `python -m servers.prefect_app --port PORT --hosts NAME,NAME` in the environment that `servers.prefect` makes. It
takes the place of `prefect server start`, which answers requests for any host.
"""

import argparse

import uvicorn
from prefect.server.api.server import create_app
from prefect.settings import get_current_settings

from servers import ports
from servers.gate import Gate

# FastAPI's own pages of documentation: they run a script of another site, which could read the login that the UI keeps.
CLOSED = ("/docs", "/redoc", "/docs/oauth2-redirect", "/api/docs", "/api/redoc", "/api/docs/oauth2-redirect")


def main() -> None:
    """Serve until a signal ends it. The options are those that `prefect server start` gives uvicorn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--hosts", required=True)
    chosen = parser.parse_args()
    settings = get_current_settings().server
    uvicorn.run(
        Gate(create_app(final=True), chosen.hosts.split(","), chosen.port, CLOSED),
        host=ports.HOST,
        port=chosen.port,
        timeout_keep_alive=settings.api.keepalive_timeout,
        ws_ping_interval=settings.api.websocket_ping_interval,
        ws_ping_timeout=settings.api.websocket_ping_timeout,
        log_level=settings.logging_level.lower(),
    )


if __name__ == "__main__":
    main()
