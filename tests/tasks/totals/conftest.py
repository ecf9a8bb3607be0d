"""The ledger and the bucket of the archive's tests: totals are of what they moved."""

from tests.tasks.archiving.conftest import ledger, store, three_tiers

__all__ = ["ledger", "store", "three_tiers"]
