"""A ledger on real servers, with a bucket that can be looked into from behind: for every room that needs one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from config import Settings
from tests.conftest import own_database
from tests.databases import Databases
from tests.tasks.archiving.ledger import COLD, HOT, WARM, Ledger


@pytest.fixture
def store(server_settings: Settings, settings: Settings) -> Path:
    """The folder that the S3 server keeps this test's part of the bucket in."""
    return folder_of(server_settings, settings)


@pytest.fixture
def ledger(settings: Settings, store: Path) -> Ledger:
    """An empty ledger: a migrated database and an empty bucket."""
    return Ledger(settings, store)


@pytest.fixture(scope="module")
def three_tiers(
    databases: Databases, server_settings: Settings, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ledger]:
    """A month in each tier, for those tests of a module that only look."""
    with own_database(databases, server_settings, template, tmp_path_factory.mktemp("tiers")) as settings:
        ledger = Ledger(settings, folder_of(server_settings, settings))
        for month in (COLD, WARM, HOT):
            ledger.fill(month)
        ledger.night()
        yield ledger


def folder_of(server: Settings, settings: Settings) -> Path:
    """The folder that the S3 server of ``server`` keeps the archive of ``settings`` in."""
    return server.home / "s3" / settings.archive_location.removeprefix("s3://")
