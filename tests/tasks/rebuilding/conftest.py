"""What the tests of rebuilding share: a ledger on real servers, and its bucket."""

from tests.tasks.archiving.fixtures import ledger, store

__all__ = ["ledger", "store"]
