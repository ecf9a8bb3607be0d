"""What the tests of reconciliation share."""

from pathlib import Path

import pytest

from config import Settings
from sql.connection import connect
from sql.partitions import prepare_table
from tests.tasks.archiving.copies import copied  # noqa: F401  # a fixture
from tests.tasks.reconciliation.books import Books


@pytest.fixture
def books(settings: Settings, tmp_path: Path) -> Books:
    """Empty books on a database and an archive of their own."""
    with connect(settings.database_dsn, "tests") as connection:
        prepare_table(connection, settings, settings.table("vas_transactions"))
    return Books(settings, tmp_path)
