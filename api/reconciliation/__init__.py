"""Reconciliation over HTTP: the runs, the breaks, and the work of people on them. The work itself is in `tasks`."""

from api.reconciliation.routes import operations

__all__ = ["operations"]
