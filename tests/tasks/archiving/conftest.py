"""What the tests of the archive share: a ledger on real servers, with a bucket that can be looked into from behind."""

from tests.tasks.archiving.copies import copied
from tests.tasks.archiving.fixtures import ledger, store, three_tiers

__all__ = ["copied", "ledger", "store", "three_tiers"]
