"""`treasury installation`, as a user types it."""

import pytest

from ledger.errors import ConfigError, ConflictError
from storage.marker import KEY, read_marker
from storage.store import ObjectStore
from tasks.archiving.to_cold import archive_month
from tests.cli.conftest import Treasury
from tests.tasks.archiving.copies import Copier
from tests.tasks.archiving.ledger import COLD, Ledger


def test_it_is_shown_before_and_after_the_first_month(ledger: Ledger, treasury_here: Treasury) -> None:
    before = treasury_here("installation", "show")
    assert before.returncode == 0, before.stderr
    assert "none yet: the first write to the archive makes it" in before.stdout
    assert not ObjectStore(ledger.settings).exists(KEY)  # showing makes nothing
    ledger.warm(COLD)
    archive_month(ledger.settings, ledger.table, COLD)
    marker = read_marker(ObjectStore(ledger.settings))
    assert marker is not None
    after = treasury_here("installation", "show").stdout
    assert f"{marker.installation}, incarnation 1" in after
    assert str(ledger.settings.archive_url) in after
    assert "│ made " in after


@pytest.mark.heavy("the archive's tests repeat the id in one process")
def test_a_copy_continues_only_after_its_id_was_repeated(ledger: Ledger, copied: Copier, treasury: Treasury) -> None:
    ledger.warm(COLD)
    archive_month(ledger.settings, ledger.table, COLD)
    twin = copied(ledger)
    there = {"TREASURY_DATABASE_URL": twin.settings.database_dsn}
    assert "│ copy" in treasury("installation", "show", **there).stdout
    refused = treasury("installation", "separate", "--yes", **there)
    assert refused.returncode == ConflictError.exit_code
    assert "is the archive that this database was copied from" in refused.stderr
    unsaid = treasury("installation", "continue", **there)  # nobody is there to type
    assert unsaid.returncode == ConfigError.exit_code
    assert "nothing was changed" in unsaid.stderr
    done = treasury("installation", "continue", "--yes", **there)
    assert done.returncode == 0, done.stderr
    assert "as incarnation 2; every other copy of it is refused from now on" in done.stdout
    assert treasury("installation", "continue", "--yes", **there).stdout.startswith("nothing to do")
    assert "│ replaced" in treasury("installation", "show").stdout
