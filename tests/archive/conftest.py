"""What the tests of the archive share: a ledger on real servers, with a bucket that can be looked into from behind."""

from pathlib import Path

import pytest

from config import Settings
from tests.archive.ledger import Ledger


@pytest.fixture
def store(server_settings: Settings, settings: Settings) -> Path:
    """The folder that the S3 server keeps this test's part of the bucket in."""
    return server_settings.home / "s3" / settings.archive_location.removeprefix("s3://")


@pytest.fixture
def ledger(settings: Settings, store: Path) -> Ledger:
    """An empty ledger: a migrated database and an empty bucket."""
    return Ledger(settings, store)
