"""The life of a ledger to its end: holds, deletion, copies and returns of archived months, and seals that are taken
off.

A backup is given up where holds or deletions come: `tests.tasks.retention.test_recovery` sets databases back past them.
"""

from contextlib import suppress
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from config import Settings
from ledger.errors import GoneError, RefusalError
from ledger.holds import HoldScope, Subject
from ledger.months import Month
from sql.restored import Request
from tasks.archiving.to_cold import Step, archive_month
from tasks.archiving.to_deep import DeepStep, deepen
from tasks.proving.proofs import Prover
from tasks.restoring.back_to_warm import return_month
from tasks.restoring.restore import drop_copies, restore_month
from tasks.restoring.unseal import unseal_month
from tasks.retention.approvals import approve, request_deletion
from tasks.retention.deletion import DeletionResult, delete_months
from tasks.retention.deletion_plan import plan_deletion
from tasks.retention.holds import place_hold, release_hold
from tasks.transparency.publish import publish_log
from tests.life.machine import CHANCE, Life, costly, pick
from tests.life.model import DELETED
from tests.tasks.retention.aged import REVIEW, KilledError

_REQUEST = Request("anna", "anna", "to look", timedelta(days=1))


class WholeLife(Life):
    """`Life`, and what ends it."""

    @rule(place=CHANCE, is_killed=st.booleans())
    @precondition(costly(lambda self: self.model.shallow()))
    def deepen(self, place: int, is_killed: bool) -> None:
        """An archived part goes deep, behind a run that was killed or not. In a folder its object stays as it is, and
        readable: storage classes are in `tests.tasks.archiving.test_deep_life`.
        """
        month, part = pick(self.model.shallow(), place)
        settings, table = self.world.settings, self.world.ledger.table

        def end(_: DeepStep) -> None:
            raise KilledError

        if is_killed:
            with pytest.raises(KilledError):
                deepen(settings, table, month, part, end)
        done = deepen(settings, table, month, part)
        assert (done is None) is is_killed  # the step that is heard in a folder is the last one
        assert deepen(settings, table, month, part) is None
        publish_log(settings)
        self.model.deepen((month, part))
        self._costly()

    @rule(place=CHANCE, whole=st.booleans())
    @precondition(costly(lambda self: any(part.is_archived and part.rows for _, part in self.model.parts())))
    def hold(self, place: int, whole: bool) -> None:
        """Somebody holds an archived month, or the rows of a wallet in it."""
        months = sorted({key[0] for key, part in self.model.parts() if part.is_archived and part.rows})
        month = pick(months, place)
        wallets = sorted({row.wallet for part in self.model.months[month] for row in part.rows.values()})
        wallet = None if whole else pick(wallets, place)
        subject = None if whole else Subject.WALLET
        scope = HoldScope(month, month, "transactions", subject, wallet)
        record = place_hold(self.world.settings, scope, "matter 7", "asked for by the court", "anna", REVIEW)
        self.model.holds[record.hold.number] = (month, wallet)
        self.backup = None
        self._costly()

    @rule(place=CHANCE)
    @precondition(costly(lambda self: self.model.holds))
    def release(self, place: int) -> None:
        """Two others release a hold."""
        number = pick(sorted(self.model.holds), place)
        release_hold(self.world.settings, number, "ben", "the matter is closed")
        release_hold(self.world.settings, number, "carol", "checked")
        del self.model.holds[number]
        self.backup = None
        self._costly()

    @rule()
    @precondition(costly(lambda self: self._deletable()))
    def delete(self) -> None:
        """What nobody holds is deleted, with a certificate each; what is held stays, and can be proved. A month whose
        folders have objects of another database is planned, and not deleted.
        """
        settings = _without_grace(self.world.settings)
        planned, doomed = self.model.doomed(), self._deletable()
        plan = plan_deletion(settings, [self.world.ledger.table])
        assert {one.month: [part.part for part in one.parts] for one in plan.months} == planned
        with suppress(RefusalError):  # nothing new: what was kept before is in a request that stays
            asked = request_deletion(settings, [self.world.ledger.table], "anna", "past the policy")
            for actor in ("ben", "carol"):
                approve(settings, asked.request_id, actor, "looked at")
        outcomes = {one.month: one for one in delete_months(settings)}
        publish_log(settings)  # a month that is kept publishes nothing by itself
        self.model.publish()
        for month in doomed:
            outcome = outcomes[month]
            assert outcome.result == self.model.delete(month), outcome
            assert bool(outcome.certificate) == (outcome.result is DeletionResult.DELETED)
        for month in planned.keys() - doomed.keys():
            assert (outcomes[month].result is DeletionResult.DELETED, outcomes[month].certificate) == (False, "")
        self.backup = None
        self._costly()

    def _deletable(self) -> dict[Month, list[int]]:
        """The doomed months, but those whose objects another database may need: a database was set back."""
        needed = self.world.not_written()
        return {
            month: parts
            for month, parts in self.model.doomed().items()
            if not any(f"{month}/" in key for key in needed)
        }

    @rule(place=CHANCE)
    @precondition(costly(lambda self: self.model.cold()))
    def copy_back(self, place: int) -> None:
        """The archived parts of a month are copied into a schema of their own, and dropped again."""
        month = pick(sorted({month for month, _ in self.model.cold()}), place)
        copies = restore_month(self.world.settings, self.world.ledger.table, month, _REQUEST)
        parts = [part for part in self.model.months[month] if part.is_archived]
        found = {UUID(str(key)) for one in copies for (key,) in self.world.sql(f"SELECT id FROM {one.relation}")}
        assert found == {key for part in parts for key in part.rows}
        drop_copies(self.world.settings, only_expired=False, month=month)
        self._costly()

    @rule(place=CHANCE)
    @precondition(costly(lambda self: self.model.returnable()))
    def give_back(self, place: int) -> None:
        """An archived month goes back to warm; its rows, and those that came late, are one part of it."""
        month = pick(self.model.returnable(), place)
        made = return_month(self.world.settings, self.world.ledger.table, month, _REQUEST)
        publish_log(self.world.settings)
        self.model.publish()
        self.model.give_back(month)
        assert made.rows == len(self.model.newest(month).rows)
        self.proved = {key: proof for key, proof in self.proved.items() if key[0] != month}
        self.world.end_work(month)
        self.backup = None
        self._costly()

    @rule(place=CHANCE)
    @precondition(costly(lambda self: self.model.is_installed and self._sealable()))
    def unseal(self, place: int) -> None:
        """A run ends behind the seal: the month takes no writes until the seal is taken off."""
        month = pick(self._sealable(), place)

        def end(step: Step) -> None:
            if step is Step.SEALED:
                raise KilledError

        with pytest.raises(KilledError):
            archive_month(self.world.settings, self.world.ledger.table, month, end)
        key = next(iter(self.model.newest(month).rows))
        with pytest.raises(psycopg.Error, match="sealed"):
            self.world.insert_again(key)
        unseal_month(self.world.settings, self.world.ledger.table, month, "anna", "rows are to be corrected")
        with pytest.raises(psycopg.errors.UniqueViolation):
            self.world.insert_again(key)
        self._costly()

    def _sealable(self) -> list[Month]:
        return [month for month in self.model.archivable() if self.model.newest(month).rows]

    @rule(place=CHANCE)
    @precondition(costly(lambda self: any(part.tier == DELETED for _, part in self.model.parts())))
    def ask_for_what_is_deleted(self, place: int) -> None:
        """A month of which nothing is left is answered with its certificate."""
        gone = [m for m, parts in sorted(self.model.months.items()) if all(part.tier == DELETED for part in parts)]
        if gone:
            month, table = pick(gone, place), self.world.ledger.table
            with pytest.raises(GoneError, match="DEL-"):
                restore_month(self.world.settings, table, month, _REQUEST)
            with Prover(self.world.settings) as prover, pytest.raises(GoneError, match="DEL-"):
                prover.statement(table, "wallet-3", month)
        self._costly()

    @rule(stays=st.booleans())
    @precondition(costly(lambda self: self.model.is_installed and not self.model.holds and not self._any_deleted()))
    def separate(self, stays: bool) -> None:
        """As before, while nothing is held or deleted: the log of the new installation begins without."""
        self._separate(stays)
        self._costly()

    def _any_deleted(self) -> bool:
        return any(part.tier == DELETED for _, part in self.model.parts())


def _without_grace(settings: Settings) -> Settings:
    return settings.model_copy(update={"retention": settings.retention.model_copy(update={"grace_days": 0})})
