"""What the tests of restoring share: a ledger with archived months."""

from pathlib import Path

import pytest

from config import Settings
from tasks.archiving.to_cold import archive_month
from tests.tasks.archiving.ledger import COLD, Ledger


@pytest.fixture
def store(server_settings: Settings, settings: Settings) -> Path:
    """The folder that the S3 server keeps this test's part of the bucket in."""
    return server_settings.home / "s3" / settings.archive_location.removeprefix("s3://")


@pytest.fixture
def ledger(settings: Settings, store: Path) -> Ledger:
    """An empty ledger."""
    return Ledger(settings, store)


@pytest.fixture
def archived(ledger: Ledger) -> Ledger:
    """A ledger with a cold month."""
    ledger.warm(COLD)
    archive_month(ledger.settings, ledger.table, COLD)
    return ledger
