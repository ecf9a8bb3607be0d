"""What the tests of reconciliation share."""

from pathlib import Path

import pytest

from config import Settings
from tests.tasks.archiving.copies import copied  # noqa: F401  # a fixture
from tests.tasks.reconciliation.books import Books


@pytest.fixture(scope="session")
def template(prepared: str) -> str:
    """The name of a database in which the ledger tables are prepared."""
    return prepared


@pytest.fixture
def books(settings: Settings, tmp_path: Path) -> Books:
    """Empty books on a database and an archive of their own."""
    return Books(settings, tmp_path)
