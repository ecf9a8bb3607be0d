"""The process is killed at any step of a deletion: the next run completes it, and nothing is seen twice."""

import os
import signal

import pytest

from ledger.errors import TransientError
from sql.connection import connect
from tasks.archiving.orphans import remove_orphans
from tasks.retention.approvals import revoke
from tasks.retention.deletion import DeletionResult
from tests.tasks.archiving.ledger import Ledger
from tests.tasks.retention.aged import (
    OLD,
    OLDER,
    KilledError,
    approved,
    certificate,
    delete,
    hold,
    objects_of,
    verified,
    wrong,
)

STEPS = [
    "kept",
    "ordered",
    "begun",
    "published",
    "held",
    "dropped",
    "forgotten",
    "noted",
    "released",
    "removed",
    "proved",
    "certified",
    "stored",
    "done",
]
KILLED = """
import os, signal, sys
from config import load_settings
from tasks.retention.deletion import delete_months

def die(step):
    if step.startswith(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)

delete_months(load_settings(), on_step=die)
"""


def states(ledger: Ledger) -> set[tuple[str, str]]:
    """Tier and step of every part."""
    return set(ledger.sql("SELECT tier, step FROM archive_months"))


@pytest.mark.sampled(1, heavy=8)
@pytest.mark.parametrize("which", [1, 2, 3])
@pytest.mark.parametrize("step", STEPS)
def test_a_deletion_that_is_killed_at_any_step_is_completed_by_the_next_run(old: Ledger, step: str, which: int) -> None:
    """``which``: the step's first, second or third time, as there are several objects and two months."""
    hold(old, OLDER, "wallet-3")
    held = old.ask("SELECT * FROM transactions WHERE wallet_id = 'wallet-3' AND month = '2014-01' ORDER BY id")
    approved(old)
    seen = 0

    def die(done: str) -> None:
        nonlocal seen
        seen += done.startswith(step)
        if seen == which:
            raise KilledError

    try:
        delete(old, die)
    except KilledError:
        assert len(old.content()) in (1, 2)  # each month is seen whole, or as its held rows alone
        assert [text for _, text in wrong(old) if "is missing" in text] == []
        with connect(old.settings.database_dsn, "tests") as connection:
            remove_orphans(connection, old.settings, old.table)
    delete(old)
    assert states(old) == {("deleted", "idle"), ("cold", "idle")}
    assert old.ask("SELECT * FROM transactions WHERE wallet_id = 'wallet-3' ORDER BY id") == held
    assert old.content().keys() == {str(OLDER)}
    assert objects_of(old, OLD) == set()
    assert wrong(old) == []
    numbers = [number for (number,) in old.sql("SELECT certificate FROM deletions ORDER BY number")]
    assert len(numbers) == 2
    assert [certificate(old, number)["month"] for number in numbers] == [str(OLDER), str(OLD)]


@pytest.mark.heavy("a kill at a step is tested beside it")
def test_a_process_that_is_killed_by_the_kernel_leaves_what_the_next_run_completes(old: Ledger) -> None:
    approved(old)
    killed = old.run(KILLED, "removed", TREASURY_RETENTION='{"grace_days": 0}')
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert states(old) == {("deleted", "deleting"), ("cold", "idle")}
    assert [one.result for one in delete(old)] == [DeletionResult.DELETED, DeletionResult.DELETED]
    assert wrong(old) == []
    assert os.getpid()


@pytest.mark.heavy("a kill at a step is tested beside it")
def test_a_deletion_that_has_begun_is_completed_although_its_request_is_revoked(old: Ledger) -> None:
    asked = approved(old)

    def die(done: str) -> None:
        if done == "begun":
            raise KilledError

    with pytest.raises(KilledError):
        delete(old, die)
    revoke(old.settings, asked.request_id, "dora", "stop")
    notes = verified(old).notes
    assert any("publication" in note or "is being deleted under" in note for note in notes)
    assert [(one.month, one.result) for one in delete(old)] == [(OLDER, DeletionResult.DELETED)]
    assert old.content().keys() == {str(OLD)}
    assert wrong(old) == []


@pytest.mark.heavy("a kill at a step is tested beside it")
def test_nothing_is_certified_while_the_store_does_not_answer(old: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    from storage.versions import VersionedStore

    approved(old)
    real = VersionedStore.remove
    monkeypatch.setattr(VersionedStore, "remove", _away)
    first, second = delete(old)
    assert (first.result, first.transient) == (DeletionResult.FAILED, True)
    assert old.sql("SELECT count(*) FROM deletions WHERE certificate_content IS NOT NULL") == [(0,)]
    assert old.sql("SELECT DISTINCT last_error FROM deletions") == [("the store is away",)]
    monkeypatch.setattr(VersionedStore, "remove", real)
    assert [one.result for one in delete(old)] == [DeletionResult.DELETED, DeletionResult.DELETED]
    assert second.result is DeletionResult.FAILED
    assert wrong(old) == []


def _away(_store: object, _key: str) -> None:
    raise TransientError("the store is away")
