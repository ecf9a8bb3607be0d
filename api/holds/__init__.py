"""Legal holds over HTTP: placed by one client, released by two others. The work itself is in `tasks.retention`."""

from api.holds.routes import operations

__all__ = ["operations"]
