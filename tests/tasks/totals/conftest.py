"""The ledger and the bucket of the archive's tests: totals are of what they moved."""

from collections.abc import Iterator

import pytest

from tests.tasks.archiving.fixtures import ledger, store, three_tiers
from tests.tasks.totals.rows import READERS

__all__ = ["ledger", "store", "three_tiers"]


@pytest.fixture(autouse=True)
def _readers() -> Iterator[None]:
    yield
    while READERS:
        READERS.popitem()[1].close()
