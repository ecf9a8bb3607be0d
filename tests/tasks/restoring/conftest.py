"""What the tests of restoring share: a ledger with archived months."""

import pytest

from tests.archives import Archives, one_cold_month
from tests.tasks.archiving.fixtures import ledger, store
from tests.tasks.archiving.ledger import Ledger

__all__ = ["archived", "ledger", "store"]


@pytest.fixture
def archived(ledger: Ledger, archives: Archives) -> Ledger:
    """A ledger with a cold month."""
    archives.begin(ledger.settings, one_cold_month)
    return ledger
