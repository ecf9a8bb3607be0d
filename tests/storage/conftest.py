"""Settings for what needs no server: an archive in a folder."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from config import Settings, load_settings
from storage.engine import engine


@pytest.fixture
def in_folder(tmp_path: Path) -> Settings:
    """Settings of an archive in a folder of the test's own."""
    return load_settings(home=tmp_path / "home", archive_url=f"file://{tmp_path / 'archive'}", archive_threads=1)


@pytest.fixture
def duck(in_folder: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """The set-based engine, as the project makes it."""
    with engine(in_folder) as connection:
        yield connection
