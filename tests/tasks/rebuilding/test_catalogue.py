"""A lost PostgreSQL: the catalogue comes back from the bucket alone, verified, and the work goes on."""

from pathlib import Path

import pytest

from config import Settings
from ledger.errors import ConflictError, OwnershipError, VerificationError
from ledger.transparency.policies import LogPolicy
from sql.connection import connect
from storage.store import ObjectStore
from tasks.admin.setup import prepare_database
from tasks.archiving.to_cold import archive_month
from tasks.rebuilding.catalogue import rebuild_catalogue
from tasks.transparency.publish import publish_log
from tasks.transparency.report import policy_text
from tasks.verifying.verification import VerificationScope, verify_archive
from tests.archives import Archives
from tests.conftest import own_database
from tests.databases import Databases
from tests.tasks.archiving.ledger import COLD, Ledger

NEXT = COLD.plus(1)
LAST = COLD.plus(2)
DESCRIBED = """
    SELECT table_name, month, part, tier, attempt, row_count, sums, digest, object_key, object_bytes, object_sha256,
           manifest_key, manifest_sha256, keys_tell_month, columns, tree, layout
    FROM archive_months WHERE tier = 'cold' ORDER BY 1, 2, 3
"""
FIELDS = """
    SELECT field_id, name, former_names, dropped_at IS NOT NULL
    FROM archive_columns WHERE table_name = 'transactions' ORDER BY 1
"""
UPLOADS = "SELECT object_key, part, attempt FROM archive_uploads WHERE state = 'current' ORDER BY 1"


@pytest.fixture
def archived(ledger: Ledger, archives: Archives) -> Ledger:
    """Two archived months, of which the second has a column more."""
    archives.begin(ledger.settings, _months_with_a_new_column)
    return ledger


def _months_with_a_new_column(settings: Settings) -> None:
    ledger = Ledger(settings, settings.home)
    ledger.warm(COLD)
    archive_month(ledger.settings, ledger.table, COLD)
    ledger.sql(f"ALTER TABLE {ledger.table.hot_parent} ADD COLUMN branch text")
    ledger.sql(f"ALTER TABLE {ledger.table.warm_parent} ADD COLUMN branch text")
    ledger.warm(NEXT)
    archive_month(ledger.settings, ledger.table, NEXT)
    publish_log(ledger.settings)


def test_an_empty_database_gets_the_catalogue_back_and_goes_on(
    archived: Ledger, databases: Databases, server_settings: Settings, template: str, tmp_path: Path
) -> None:
    policy = LogPolicy.parse(policy_text(archived.settings).encode())
    with own_database(databases, server_settings, template, tmp_path / "new") as empty:
        settings = empty.model_copy(
            update={"archive_url": archived.settings.archive_url, "home": archived.settings.home}
        )
        rebuilt = Ledger(settings, archived.store)
        prepare_database(settings)  # `treasury setup`: it gives numbers to columns
        done = rebuild_catalogue(settings, policy)
        assert (done.parts, done.entries, done.owner.incarnation) == (2, 4, 2)
        assert rebuilt.sql(DESCRIBED) == archived.sql(DESCRIBED)
        assert rebuilt.sql(FIELDS) == archived.sql(FIELDS)
        assert rebuilt.sql(UPLOADS) == archived.sql(UPLOADS)
        assert rebuilt.whole() == archived.whole()
        with pytest.raises(ConflictError, match="has months, an installation or a log already"):
            rebuild_catalogue(settings, policy)
        publish_log(settings)
        with connect(settings.database_dsn, "tests") as connection:
            assert verify_archive(settings, VerificationScope(deep=True), connection).findings == []
        rebuilt.warm(LAST)
        archive_month(settings, rebuilt.table, LAST)
        publish_log(settings)
        assert sorted(month for month, _ in rebuilt.whole()) == [str(COLD), str(NEXT), str(LAST)]
        archived.warm(LAST)
        with pytest.raises(OwnershipError):  # the lost database, should it come back, writes nothing
            archive_month(archived.settings, archived.table, LAST)


def test_a_damaged_archive_is_not_rebuilt_from_and_all_that_is_wrong_is_named(
    archived: Ledger, databases: Databases, server_settings: Settings, template: str, tmp_path: Path
) -> None:
    policy = LogPolicy.parse(policy_text(archived.settings).encode())
    key = archived.catalogue(COLD)["object_key"]
    ObjectStore(archived.settings).remove(key)
    with own_database(databases, server_settings, template, tmp_path / "new") as empty:
        settings = empty.model_copy(update={"archive_url": archived.settings.archive_url})
        with pytest.raises(VerificationError, match=f"nothing was rebuilt: {key}: is missing"):
            rebuild_catalogue(settings, policy)
        assert Ledger(settings, archived.store).sql("SELECT count(*) FROM archive_months") == [(0,)]
