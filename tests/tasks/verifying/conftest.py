"""What the tests of verification share: a ledger on real servers with its bucket, and an installation."""

from tests.tasks.archiving.fixtures import ledger, store
from tests.tasks.transparency.fixtures import installation

__all__ = ["installation", "ledger", "store"]
