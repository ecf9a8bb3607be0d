"""A month that is deleted leaves no copy of it in PostgreSQL, whenever it was restored."""

from datetime import timedelta

import pytest

from ledger.errors import ConflictError
from sql.restored import Request
from tasks.restoring.restore import list_copies, restore_month
from tasks.retention.deletion import DeletionResult
from tests.tasks.archiving.ledger import ROWS, Ledger
from tests.tasks.retention.aged import OLD, OLDER, KilledError, approved, certificate, delete, hold, wrong

WHO = Request("anna", "os anna", "asked for by the auditors", timedelta(days=30))
NAME = f"restored.transactions_{OLD.year}_{OLD.month:02d}"
WALLET = "wallet-3"


def _restore(ledger: Ledger, on_step: object = None) -> None:
    restore_month(ledger.settings, ledger.table, OLD, WHO, on_step or (lambda _: None))  # type: ignore[arg-type]


def _is_there(ledger: Ledger, name: str = NAME) -> bool:
    ((found,),) = ledger.sql("SELECT to_regclass(%s) IS NOT NULL", name)
    return bool(found)


def test_the_copy_of_a_deleted_month_is_dropped_before_its_certificate(old: Ledger) -> None:
    _restore(old)
    approved(old)
    outcomes = delete(old)
    assert [one.result for one in outcomes] == [DeletionResult.DELETED, DeletionResult.DELETED]
    assert not _is_there(old)
    assert list_copies(old.settings) == []
    said = certificate(old, outcomes[1].certificate)
    assert "the copies of it in the schema of restored months" in said["dropped_from"]
    assert wrong(old) == []


def test_a_copy_that_cannot_be_dropped_keeps_its_month_and_is_named(old: Ledger) -> None:
    _restore(old)
    old.sql(f"CREATE VIEW public.of_others AS SELECT count(*) FROM {NAME}")
    approved(old)
    outcomes = delete(old)
    assert [one.result for one in outcomes] == [DeletionResult.DELETED, DeletionResult.KEPT]
    assert NAME in outcomes[1].reason
    assert "of_others" in outcomes[1].reason
    assert old.content()[str(OLD)][0] == ROWS
    old.sql("DROP VIEW public.of_others")
    old.sql(f"ALTER TABLE {NAME} RENAME TO mine")
    assert "the restored table was renamed or moved: drop it yourself" in delete(old)[0].reason
    old.sql(f"ALTER TABLE restored.mine RENAME TO {NAME.partition('.')[2]}")
    assert [one.result for one in delete(old)] == [DeletionResult.DELETED]
    assert not _is_there(old)


@pytest.mark.parametrize("step", ["fetched", "loaded", "verified"])
def test_a_month_that_is_deleted_while_it_is_restored_leaves_no_copy(old: Ledger, step: str) -> None:
    approved(old)

    def on_step(done: str) -> None:
        if done == step:
            outcomes = delete(old)
            assert [one.result for one in outcomes] == [DeletionResult.DELETED, DeletionResult.KEPT]
            assert "is being restored by another run" in outcomes[1].reason

    with pytest.raises(ConflictError, match="changed in the catalogue while it was restored"):
        _restore(old, on_step)
    assert not _is_there(old)
    assert [one.result for one in delete(old)] == [DeletionResult.DELETED]
    assert list_copies(old.settings) == []
    assert wrong(old) == []


def test_what_a_killed_restore_left_goes_with_the_month(old: Ledger) -> None:
    def killed(done: str) -> None:
        if done == "loaded":
            raise KilledError

    with pytest.raises(KilledError):
        _restore(old, killed)
    assert len(list_copies(old.settings)) == 1
    approved(old)
    assert {one.result for one in delete(old)} == {DeletionResult.DELETED}
    assert list_copies(old.settings) == []
    assert old.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'restored'") == []


def test_a_deletion_that_was_killed_before_it_dropped_the_copy_drops_it_later(old: Ledger) -> None:
    _restore(old)
    approved(old)

    def killed(done: str) -> None:
        if done == "published":
            raise KilledError

    for _ in (OLDER, OLD):
        with pytest.raises(KilledError):
            delete(old, killed)
    delete(old)
    assert not _is_there(old)


def test_the_copy_of_a_month_of_which_a_hold_keeps_rows_goes_as_well(old: Ledger) -> None:
    _restore(old)
    hold(old, OLD, WALLET)
    approved(old)
    assert {one.result for one in delete(old)} == {DeletionResult.DELETED}
    assert not _is_there(old)
    (kept,) = restore_month(old.settings, old.table, OLD, WHO)
    assert 0 < kept.rows < ROWS
