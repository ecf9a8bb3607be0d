"""The ledger and the bucket of the archive's tests: a query reads what they moved."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from config import Settings
from tests.conftest import own_database
from tests.databases import Databases
from tests.tasks.archiving.fixtures import ledger, store, three_tiers
from tests.tasks.querying.placements import Placements, placements

__all__ = ["ledger", "store", "three_tiers"]

Place = Callable[[str], AbstractContextManager[Placements]]


@pytest.fixture(scope="module")
def place(
    databases: Databases, server_settings: Settings, migrated: str, tmp_path_factory: pytest.TempPathFactory
) -> Place:
    """Places the rows of a seed in every tier, in a database and an archive of their own."""

    @contextmanager
    def placing(seed: str) -> Iterator[Placements]:
        folder = tmp_path_factory.mktemp("placed")
        with own_database(databases, server_settings, migrated, folder) as own, placements(own, seed) as placed:
            yield placed

    return placing
