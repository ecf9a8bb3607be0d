"""A lost PostgreSQL, and one that was set back: open holds still hold, and deletions that had begun are completed."""

from pathlib import Path

import pytest

from config import Settings
from ledger.errors import RefusalError
from ledger.transparency.policies import LogPolicy
from tasks.admin.setup import prepare_database
from tasks.archiving.installation import continue_installation
from tasks.rebuilding.catalogue import rebuild_catalogue
from tasks.retention.certificate_checks import verify_certificate
from tasks.retention.deletion import DeletionResult
from tasks.retention.deletion_plan import plan_deletion
from tasks.retention.holds import holds
from tasks.transparency.publish import publish_log
from tasks.transparency.report import policy_text
from tests.conftest import own_database
from tests.databases import Databases
from tests.tasks.archiving.copies import Copier
from tests.tasks.archiving.ledger import Ledger
from tests.tasks.retention.aged import (
    OLD,
    OLDER,
    YOUNG,
    KilledError,
    age,
    approved,
    delete,
    hold,
    objects_of,
    release,
    wrong,
)

NEXT = OLD.plus(1)
OF_WALLET = "SELECT * FROM transactions WHERE wallet_id = 'wallet-3' ORDER BY id"


def prepare(ledger: Ledger) -> None:
    """One hold that is released, one on rows of `OLDER`, one on all of `NEXT`; `OLDER` deleted, `OLD` half deleted."""
    age(ledger, NEXT)
    hold(ledger, OLD)
    release(ledger, 1)
    hold(ledger, OLDER, "wallet-3")
    hold(ledger, NEXT)
    approved(ledger)

    def die(done: str) -> None:
        if done.startswith("removed") and str(OLD) in done:
            raise KilledError

    with pytest.raises(KilledError):
        delete(ledger, die)


def check(ledger: Ledger) -> None:
    """The work goes on where it ended."""
    assert [(one.hold.name, one.state) for one in holds(ledger.settings)] == [
        ("HOLD-1", "released"),
        ("HOLD-2", "open"),
        ("HOLD-3", "open"),
    ]
    assert [(one.month, one.result) for one in delete(ledger)] == [(OLD, DeletionResult.DELETED)]
    assert objects_of(ledger, OLD) == set()
    assert ledger.content().keys() == {str(OLDER), str(NEXT)}
    assert [one.reason for one in plan_deletion(ledger.settings, [ledger.table]).kept] == [
        "only rows that HOLD-2 keep are left",
        "held by HOLD-3 (matter matter 2026/17)",
    ]
    for (number,) in ledger.sql("SELECT certificate FROM deletions"):
        assert len(verify_certificate(ledger.settings, number)) == 3
    assert hold(ledger, NEXT).hold.name == "HOLD-3"
    assert hold(ledger, NEXT, actor="ben").hold.name == "HOLD-4"
    publish_log(ledger.settings)
    assert wrong(ledger) == []


def test_a_catalogue_rebuilt_from_the_bucket_has_the_holds_and_completes_the_deletion(
    old: Ledger, databases: Databases, server_settings: Settings, template: str, tmp_path: Path
) -> None:
    prepare(old)
    rows = old.ask(OF_WALLET)
    policy = LogPolicy.parse(policy_text(old.settings).encode())
    with own_database(databases, server_settings, template, tmp_path / "new") as empty:
        same = {name: getattr(old.settings, name) for name in ("archive_url", "home", "retention")}
        rebuilt = Ledger(empty.model_copy(update=same), old.store)
        prepare_database(rebuilt.settings)
        rebuild_catalogue(rebuilt.settings, policy)
        assert rebuilt.ask(OF_WALLET) == rows
        check(rebuilt)


@pytest.mark.heavy("tests/tasks/transparency/test_copies.py sets databases back")
def test_a_database_that_was_set_back_takes_over_holds_and_deletions(old: Ledger, copied: Copier) -> None:
    age(old, YOUNG)
    backup = copied(old)
    prepare(old)
    rows = [row for row in old.ask(OF_WALLET) if row["month"] == str(OLDER)]
    continue_installation(backup.settings, lambda _told, _id: True)
    assert [row for row in backup.ask(OF_WALLET) if row["month"] == str(OLDER)] == rows
    assert backup.content().keys() == {str(OLDER), str(YOUNG)}  # NEXT was archived after the backup
    assert [one.state for one in holds(backup.settings)] == ["released", "open", "open"]
    assert [(one.month, one.result) for one in delete(backup)] == [(OLD, DeletionResult.DELETED)]
    assert objects_of(backup, OLD) == set()


@pytest.mark.heavy("a rebuilt catalogue is tested beside it")
def test_a_hold_that_only_the_set_back_database_has_is_refused_by_name(old: Ledger, copied: Copier) -> None:
    backup = copied(old)
    hold(old, OLD)
    publish_log(old.settings)
    backup.sql(
        "INSERT INTO holds SELECT 1, 'theirs', NULL, '2014-01-01', '2014-01-01', NULL, NULL, 'r', 'a', 'a', now(),"
        " '2030-01-01', 'k', 1, sha256('')"
    )
    with pytest.raises(RefusalError, match="HOLD-1 in PostgreSQL is another one than _treasury/holds/HOLD-1"):
        continue_installation(backup.settings, lambda _told, _id: True)
