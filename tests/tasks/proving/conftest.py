"""What the tests of the log share: an installation that owns its archive, in a bucket and in a folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from config import Settings
from tests.tasks.archiving.copies import copied  # noqa: F401  # a fixture
from tests.tasks.archiving.ledger import Ledger
from tests.tasks.transparency.installation import Installation


@pytest.fixture
def store(server_settings: Settings, settings: Settings) -> Path:
    """The folder that the S3 server keeps this test's part of the bucket in."""
    return server_settings.home / "s3" / settings.archive_location.removeprefix("s3://")


@pytest.fixture
def ledger(settings: Settings, store: Path) -> Ledger:
    """An empty ledger: a migrated database and an empty bucket."""
    return Ledger(settings, store)


@pytest.fixture(params=["s3", "folder"])
def installation(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> Iterator[Installation]:
    """An installation that has written to its archive once."""
    if request.param == "folder":
        settings = settings.model_copy(update={"archive_url": f"file://{tmp_path / 'archive'}"})
    with Installation.begun(settings) as begun:
        yield begun
