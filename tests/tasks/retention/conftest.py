"""What the tests of retention share: a ledger with months of ten years ago, in a bucket and in a folder."""

from pathlib import Path

import pytest

from config import Settings
from config.retention import RetentionSettings
from tests.archives import Archives
from tests.tasks.archiving.copies import copied
from tests.tasks.archiving.fixtures import store
from tests.tasks.archiving.ledger import Ledger
from tests.tasks.retention.aged import two_old_months

__all__ = ["aged", "copied", "ledger", "old", "store"]


@pytest.fixture
def ledger(settings: Settings, store: Path) -> Ledger:
    """An empty ledger whose deletions have no grace period."""
    rules = RetentionSettings(grace_days=0, controller="Acme Payments (Pty) Ltd")
    return Ledger(settings.model_copy(update={"retention": rules}), store)


@pytest.fixture(params=["s3", "folder"])
def aged(request: pytest.FixtureRequest, ledger: Ledger, tmp_path: Path, archives: Archives) -> Ledger:
    """Two archived months that are past their policy, published: in a bucket and in a folder."""
    if request.param == "folder":
        folder = tmp_path / "archive"
        folder.mkdir()
        ledger = Ledger(ledger.settings.model_copy(update={"archive_url": f"file://{folder}"}), folder)
    archives.begin(ledger.settings, two_old_months)
    return ledger


@pytest.fixture
def old(ledger: Ledger, archives: Archives) -> Ledger:
    """The same in a bucket alone."""
    archives.begin(ledger.settings, two_old_months)
    return ledger
