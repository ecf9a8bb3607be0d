"""What the API logs, for the tests of the fast path: its lines must be those of the long one."""

from tests.api.server.conftest import log

__all__ = ["log"]
