"""What the tests of the flows share: one Prefect server for the run, and a ledger that the flows find by themselves."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from config import Settings
from ledger.months import Month
from servers.lending import running
from tasks.archiving.calendar import utc_today
from tests.tasks.archiving.fixtures import store  # noqa: F401  # a fixture of the ledger's
from tests.tasks.archiving.ledger import Ledger


@pytest.fixture(scope="session")
def prefect_url(server_settings: Settings) -> Iterator[str]:
    """The address of a real Prefect server, shared by the workers of the run."""
    with running(server_settings, "prefect") as settings:
        yield str(settings.prefect_api_url)


@pytest.fixture
def ledger(
    settings: Settings,
    store: Path,  # noqa: F811
    prefect_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Ledger]:
    """A ledger with partitions up to today, whose settings are this process's as they are a worker's."""
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    made = Ledger(settings, store)
    for table in settings.registry.values():
        made.fill(Month.of(utc_today()), rows=0, table=table)
    with temporary_settings({PREFECT_API_URL: prefect_url}):
        yield made
