"""An installation that owns its archive, in a bucket and in a folder: for every room that needs one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from config import Settings
from tests.tasks.transparency.installation import Installation


@pytest.fixture(params=["s3", "folder"])
def installation(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> Iterator[Installation]:
    """An installation that has written to its archive once."""
    if request.param == "folder":
        settings = settings.model_copy(update={"archive_url": f"file://{tmp_path / 'archive'}"})
    with Installation.begun(settings) as begun:
        yield begun
