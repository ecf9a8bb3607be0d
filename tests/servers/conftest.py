"""What the tests of the servers share: a home that PostgreSQL's account can reach, and ways to look at processes."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty home outside pytest's folders, which are closed to other accounts."""
    path = Path(tempfile.mkdtemp(prefix="treasury-servers-"))
    yield path
    shutil.rmtree(path)
