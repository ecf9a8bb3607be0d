"""What the tests of restoring share: a ledger with archived months."""

from pathlib import Path

import pytest

from config import Settings
from tests.archives import Archives, one_cold_month
from tests.tasks.archiving.ledger import Ledger


@pytest.fixture
def store(server_settings: Settings, settings: Settings) -> Path:
    """The folder that the S3 server keeps this test's part of the bucket in."""
    return server_settings.home / "s3" / settings.archive_location.removeprefix("s3://")


@pytest.fixture
def ledger(settings: Settings, store: Path) -> Ledger:
    """An empty ledger."""
    return Ledger(settings, store)


@pytest.fixture
def archived(ledger: Ledger, archives: Archives) -> Ledger:
    """A ledger with a cold month."""
    archives.begin(ledger.settings, one_cold_month)
    return ledger
