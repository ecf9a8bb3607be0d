"""Months move through a store with storage classes in random order: what is deep cannot be read, no answer is short."""

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

import pytest

from ledger.errors import ConflictError, DeepTierError
from ledger.months import Month
from sql.connection import connect
from sql.restored import Request
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_deep import DeepStep, deepen
from tasks.proving.proofs import Prover
from tasks.restoring.back_to_warm import return_month
from tasks.restoring.requests import RetrievalTier, request_restore
from tasks.transparency.publish import publish_log
from tasks.verifying.verification import VerificationScope, verify_archive
from tests.stores import Store
from tests.tasks.archiving.ledger import COLD, Ledger

LIVES = 6
STEPS = 24
MONTHS = tuple(COLD.plus(number) for number in range(4))
CLASS = "DEEP_ARCHIVE"
WHO = Request("anna", "anna", "to look", timedelta(days=1))


class KilledError(BaseException):
    """Stands for the end of a process."""


class State(StrEnum):
    """Where a month is; READABLE is deep, and restored for some days."""

    WARM = "warm"
    COLD = "cold"
    DEEP = "deep"
    READABLE = "readable"


@dataclass
class Life:
    """The months of a ledger, and what must be true of each."""

    ledger: Ledger
    chance: random.Random
    months: dict[Month, State]
    sums: dict[Month, Decimal]
    done: set[str] = field(default_factory=set)

    def pick(self, *states: State) -> Month | None:
        """A month in one of these states."""
        found = [month for month, state in self.months.items() if state in states]
        return self.chance.choice(found) if found else None

    def deepen(self) -> bool:
        """A cold month goes deep, behind a run that was killed at some step or not."""
        month = self.pick(State.COLD)
        if month is None:
            return False
        last = self.chance.choice([None, *DeepStep])

        def end(step: DeepStep) -> None:
            if step is last:
                raise KilledError

        try:
            deepen(self.ledger.settings, self.ledger.table, month, 1, end)
        except KilledError:
            deepen(self.ledger.settings, self.ledger.table, month)
        assert deepen(self.ledger.settings, self.ledger.table, month) is None
        self.months[month] = State.DEEP
        return True

    def deepen_what_is_not_cold(self) -> bool:
        """A warm month does not go deep."""
        month = self.pick(State.WARM)
        if month is None:
            return False
        with pytest.raises(ConflictError, match="only a cold month goes deep"):
            deepen(self.ledger.settings, self.ledger.table, month)
        return True

    def ask_for_a_restore(self) -> bool:
        """The store makes a deep month readable."""
        month = self.pick(State.DEEP)
        if month is None:
            return False
        request_restore(self.ledger.settings, self.ledger.table, month, month, 2, RetrievalTier.BULK)
        self.months[month] = State.READABLE
        return True

    def give_back(self) -> bool:
        """A month goes back to warm, where its object can be read."""
        month = self.pick(State.COLD, State.DEEP, State.READABLE)
        if month is None:
            return False
        if self.months[month] is State.DEEP:
            with pytest.raises(DeepTierError, match=f"restore-request transactions {month}"):
                return_month(self.ledger.settings, self.ledger.table, month, WHO)
            return True
        return_month(self.ledger.settings, self.ledger.table, month, WHO)
        self.ledger.sql("UPDATE archive_months SET work_until = NULL WHERE month = %s", month.first_day)
        self.months[month] = State.WARM
        return True

    def archive(self) -> bool:
        """A warm month is archived."""
        month = self.pick(State.WARM)
        if month is None:
            return False
        archive_month(self.ledger.settings, self.ledger.table, month)
        self.months[month] = State.COLD
        return True

    def prove(self) -> bool:
        """A statement of a wallet is made from what can be read."""
        month = self.pick(State.COLD, State.DEEP, State.READABLE)
        if month is None:
            return False
        publish_log(self.ledger.settings)
        with Prover(self.ledger.settings) as prover:
            if self.months[month] is State.DEEP:
                with pytest.raises(DeepTierError, match=f"restore-request transactions {month}"):
                    prover.statement(self.ledger.table, "wallet-3", month)
            else:
                assert prover.statement(self.ledger.table, "wallet-3", month)
        return True

    def check(self) -> None:
        """Each month answers wholly or not at all, in the tier that it has; nothing is wrong in the archive."""
        for month, state in self.months.items():
            query = f"SELECT sum(amount) AS total FROM transactions WHERE month = '{month}'"
            if state is State.DEEP:
                with pytest.raises(DeepTierError, match=f"restore-request transactions {month}"):
                    self.ledger.ask(query)
            else:
                assert self.ledger.ask(query) == [{"total": self.sums[month]}]
            tier = State.DEEP if state is State.READABLE else state
            assert self.ledger.tier(month) == tier
        publish_log(self.ledger.settings)
        with connect(self.ledger.settings.database_dsn, "tests") as connection:
            assert verify_archive(self.ledger.settings, VerificationScope(), connection).findings == []


@pytest.mark.slow
@pytest.mark.parametrize("number", range(LIVES))
def test_months_move_through_a_store_with_classes_in_any_order(
    ledger: Ledger, moto_store: Store, tmp_path: Path, number: int, record_property: Callable[[str, object], None]
) -> None:
    settings = moto_store.settings(ledger.settings, moto_store.plain, uuid.uuid4().hex)
    own = Ledger(settings.model_copy(update={"deep_storage_class": CLASS, "object_cache_mb": 0}), tmp_path)
    own.warm(*MONTHS)
    sums = {Month.parse(month): total for month, (_, total) in own.content().items()}
    life = Life(own, random.Random(f"deep {number}"), dict.fromkeys(MONTHS, State.WARM), sums)  # noqa: S311
    life.archive()
    actions = (life.deepen, life.deepen_what_is_not_cold, life.ask_for_a_restore, life.give_back, life.archive)
    for step in range(STEPS):
        action = life.chance.choice([*actions, life.deepen, life.ask_for_a_restore, life.archive, life.prove])
        if action():
            life.done.add(action.__name__)
        if step % 4 == 3:
            life.check()
    record_property("actions", sorted(life.done))
    assert {"deepen", "archive", "ask_for_a_restore"} <= life.done
