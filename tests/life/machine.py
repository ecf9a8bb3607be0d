"""The life of a ledger in random order: each rule does something to the real one and to the model, then they are equal.

A rule that costs a move, a query by an engine or a copy of the database is `costly`: some cheap ones come before it, so
that thousands of steps are done in minutes.
"""

import sys
from collections import Counter
from collections.abc import Callable
from datetime import date
from typing import Any, ClassVar
from uuid import UUID

import psycopg
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from config import Settings
from ledger.errors import ConflictError, DataError, NotFoundError, OwnershipError
from ledger.months import Month
from ledger.proof_files import check_proof
from ledger.transparency.policies import LogPolicy
from sql.connection import connect
from tasks.archiving.late_rows import open_late_rows
from tasks.archiving.ownership import check_ownership
from tasks.archiving.to_cold import HeldBackError, archive_month
from tasks.archiving.to_warm import warm_month
from tasks.proving.proofs import Prover
from tasks.transparency.publish import publish_log
from tasks.transparency.report import policy_text
from tasks.verifying.verification import VerificationScope, verify_archive
from tests.life.model import FINISHED, Model, PartKey, Refusal
from tests.life.world import World, row_of, verifying

FIRST = Month(2012, 1)  # so long ago that every month may be deleted
MOST_NIGHTS = 9
CHEAP_BEFORE_COSTLY = 2
CHANCE = st.integers(0, 10_000)


def costly(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """The precondition of a costly rule: ``check`` holds, and cheap ones were done before."""
    return lambda machine: machine.cheap >= CHEAP_BEFORE_COSTLY and check(machine)


class Life(RuleBasedStateMachine):
    """A database and its archive beside their model. A subclass says where the world is made."""

    make_world: ClassVar[Callable[[], World]]
    steps: ClassVar[int] = 0
    done: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.world, self.model = type(self).make_world(), Model()
        self.backup: Model | None = None
        self.current = FIRST.plus(2)
        self.nights, self.cheap = 0, 0
        self.proved: dict[PartKey, bytes] = {}
        self.policy: LogPolicy | None = None

    def teardown(self) -> None:
        """Drop the world."""
        self.world.close()

    @initialize()
    def begin(self) -> None:
        """Four months with rows, two of them warm: one that may be archived, and one with a row under way."""
        for month in (FIRST, FIRST.plus(2)):
            self.world.roll(_day(month))
            self.model.make_partitions(month.plus(number) for number in range(2))
        for month in sorted(self.model.months):
            self._write(month, 2, "pending" if month == FIRST.plus(1) else "completed")
        for month in (FIRST, FIRST.plus(1)):
            assert warm_month(self.world.settings, self.world.ledger.table, month) == self.model.warm(month)

    # Writers

    @rule(place=CHANCE, count=st.integers(1, 3), status=st.sampled_from(["pending", *FINISHED[:2], FINISHED[3]]))
    @precondition(lambda self: self.model.writable())
    def write(self, place: int, count: int, status: str) -> None:
        """Rows are written to a month that takes them."""
        self._write(pick(sorted(self.model.writable()), place), count, status)
        self._cheap()

    def _write(self, month: Month, count: int, status: str) -> None:
        rows = self.world.new_rows(month, count, status)
        self.world.insert(rows)
        self.model.write(month, {key: row_of(made) for key, made in rows.items()})

    @rule(place=CHANCE)
    @precondition(lambda self: len(self.model.writable()) < len(self.model.months))
    def write_where_none_are_taken(self, place: int) -> None:
        """A month that has left the hot tier refuses rows; nothing is stored elsewhere."""
        month = pick(sorted(set(self.model.months) - set(self.model.writable())), place)
        with pytest.raises(psycopg.errors.CheckViolation):
            self.world.insert(self.world.new_rows(month, 1, "completed"))
        self._cheap()

    @rule(place=CHANCE, status=st.sampled_from([*FINISHED, "processing"]))
    @precondition(lambda self: self.model.living())
    def change_status(self, place: int, status: str) -> None:
        """A status goes on; that of a finished row never does."""
        key = pick(self.model.living(), place)
        part, row = self.model.find(key)
        if row.is_finished and status != row.status:
            with pytest.raises(psycopg.Error, match=r"terminal|never change") as refused:
                self.world.set_status(part.tier, key, status)
            assert refused.value.sqlstate == "TR001"
        elif not row.is_finished:
            assert self.world.set_status(part.tier, key, status) == 1
            self.model.set_status(key, status)
        self._cheap()

    @rule()
    @precondition(lambda self: any(not part.is_finished for _, part in self.model.parts()))
    def finish_everything(self) -> None:
        """Whatever was under way ends, so that months may leave."""
        for key in self.model.living():
            part, row = self.model.find(key)
            if not row.is_finished:
                assert self.world.set_status(part.tier, key, "completed") == 1
                self.model.set_status(key, "completed")
        self._cheap()

    # Months

    @rule()
    @precondition(lambda self: self.nights < MOST_NIGHTS)
    def next_month_begins(self) -> None:
        """Time goes on by a month, and rollover makes the partition ahead."""
        self.nights += 1
        self.current = self.current.plus(1)
        self.world.roll(_day(self.current))
        self.model.make_partitions([self.current, self.current.plus(1)])
        self._cheap()

    @rule(place=CHANCE)
    def warm(self, place: int) -> None:
        """A month moves from hot to warm, or is not hot."""
        month = pick(sorted(self.model.months), place)
        assert warm_month(self.world.settings, self.world.ledger.table, month) == self.model.warm(month)
        self._cheap()

    @rule(place=CHANCE)
    @precondition(costly(lambda self: self.model.archivable()))
    def archive(self, place: int) -> None:
        """A month moves from warm to cold."""
        month = pick(self.model.archivable(), place)
        archive_month(self.world.settings, self.world.ledger.table, month)
        self.model.archive(month)
        self._costly()

    @rule(place=CHANCE)
    @precondition(lambda self: len(self.model.archivable()) < len(self.model.months))
    def archive_too_early(self, place: int) -> None:
        """A month that is not warm, or has unfinished rows, is refused by name."""
        refused = {month: self.model.refuses_archive(month) for month in sorted(self.model.months)}
        unfinished = [month for month, why in refused.items() if why is Refusal.UNFINISHED]
        month = pick(unfinished or [month for month, why in refused.items() if why], place)
        is_warm = bool(unfinished)
        with pytest.raises(HeldBackError if is_warm else ConflictError, match=r"unfinished rows?|not warm"):
            archive_month(self.world.settings, self.world.ledger.table, month)
        self._cheap()

    @rule()
    @precondition(costly(lambda self: self.nights))
    def night(self) -> None:
        """Every month that is due moves as far as it may."""
        self.world.ledger.night(_day(self.current), _day(self.current))
        self.model.night(self.current)
        self._costly()

    @rule(place=CHANCE)
    @precondition(lambda self: self.model.reopenable())
    def open_late_rows(self, place: int) -> None:
        """An archived month takes rows again, as a further part."""
        month = pick(self.model.reopenable(), place)
        self.model.open_late_rows(month)  # unless a part is open
        opened = open_late_rows(self.world.settings, self.world.ledger.table, month)
        newest = self.model.newest(month)
        assert (opened.part, opened.tier) == (len(self.model.months[month]), newest.tier)
        assert opened.rows == len(newest.rows)
        self._cheap()

    # The archive

    @rule()
    @precondition(costly(lambda self: self.model.waiting))
    def publish(self) -> None:
        """What happened is put into the log."""
        published = publish_log(self.world.settings)
        assert published is not None
        self.model.publish()
        self._costly()

    @rule(deep=st.booleans())
    @precondition(costly(lambda self: self.model.logged))
    def verify(self, deep: bool) -> None:
        """The archive is verified: what is wrong is what a set-back left, each by name, and nothing else."""
        with verifying(self.world.settings) as connection:
            report = verify_archive(self.world.settings, VerificationScope(deep=deep), connection)
        waiting = {month for month, _ in self.model.waiting}
        lost = {f"transactions {month}, part {part}" for month, part in self.model.lost() if month not in waiting}
        expected = self.world.strays() | lost
        assert {one.place for one in report.findings} == expected, report.findings
        self._costly()

    # Databases

    @rule()
    @precondition(costly(lambda self: True))
    def back_up(self) -> None:
        """A backup of the database is kept."""
        self.world.back_up()
        self.backup = self.model.copy()
        self._costly()

    @rule(in_place=st.booleans())
    @precondition(costly(lambda self: self.backup is not None and self.backup.is_installed))
    def restore(self, in_place: bool) -> None:
        """The backup takes the database's place. Until a person says so, what went on since is not written over."""
        assert self.backup is not None
        is_behind = self.model != self.backup
        former = self.world.restore(in_place=in_place)
        self.model.restore(self.backup)
        self._refused_where_it_must_be()
        said = self.world.continue_()
        assert self.world.state() == "owner"
        if not said.startswith("nothing to do"):
            with pytest.raises(OwnershipError):
                check_writing(former.settings)
        else:
            assert in_place, is_behind
        former.drop()
        self.proved, self.policy = {}, None
        self._costly()

    @rule()
    @precondition(costly(lambda self: self._is_backup_too_old()))
    def restore_what_knows_of_no_archive(self) -> None:
        """A backup from before the first month went cold is refused: nothing shows that the archive is its own."""
        kept = self.world.settings
        former = self.world.restore(in_place=False)
        before = _bytes_of(self.world)
        with pytest.raises(OwnershipError, match="belongs to installation"):
            self.world.continue_()
        with pytest.raises(OwnershipError, match="belongs to installation"):
            check_writing(self.world.settings)
        assert _bytes_of(self.world) == before
        self.world.return_to(former)
        assert self.world.settings == kept
        self._costly()

    def _is_backup_too_old(self) -> bool:
        return self.backup is not None and not self.backup.is_installed and self.model.is_installed

    def _refused_where_it_must_be(self) -> None:
        """A copy, and a database behind its archive, writes nothing there."""
        if self.world.state() not in ("owner", "free"):
            before = _bytes_of(self.world)
            with pytest.raises(OwnershipError):
                check_writing(self.world.settings)
            assert _bytes_of(self.world) == before

    @rule(stays=st.booleans())
    @precondition(costly(lambda self: self.model.is_installed))
    def separate(self, stays: bool) -> None:
        """A copy with an archive of its own becomes an installation of its own; the original is not touched."""
        self._separate(stays)
        self._costly()

    def _separate(self, stays: bool) -> None:
        before = _bytes_of(self.world)
        twin = self.world.twin()
        with pytest.raises(OwnershipError):
            check_writing(twin.settings)
        assert "becomes an installation of its own" in twin.separate()
        assert self.world.state() == "owner"
        assert _bytes_of(self.world) == before
        if stays:
            twin.close()
        else:
            self.world.close()
            self.world, self.backup = twin, None
            self.model.separate()
        self.proved, self.policy = {}, None

    # Readers

    @rule(wallet=st.integers(0, 8), narrow=st.booleans())
    @precondition(costly(lambda self: True))
    def query(self, wallet: int, narrow: bool) -> None:
        """The auditor's query over all tiers gives every row, or every row of a wallet, once."""
        where = f" WHERE wallet_id = 'wallet-{wallet}'" if narrow else ""
        names = "month, tier, id, wallet_id, status, amount, currency"
        found = self.world.ledger.ask(f"SELECT {names} FROM transactions{where}")
        seen = {UUID(str(one["id"])): (Month.parse(one["month"]), one["tier"], row_of(one)) for one in found}
        assert len(seen) == len(found)
        rows = self.model.rows().items()
        assert seen == {key: one for key, one in rows if not narrow or one[2].wallet == f"wallet-{wallet}"}
        self._costly()

    @rule(place=CHANCE)
    @precondition(costly(lambda self: self.model.logged))
    def prove(self, place: int) -> None:
        """A statement of a wallet, or its absence, from each part of a month; refused unless all of it is archived."""
        month, wallet = pick(self.model.whole(), place), f"wallet-{place % 9}"
        parts = [(key, part) for key, part in self.model.parts() if key[0] == month]
        cold = [(key, part) for key, part in parts if part.is_archived]
        with Prover(self.world.settings) as prover:
            if len(cold) < len(parts) or any(key in self.model.waiting for key, _ in cold):
                with pytest.raises(DataError, match=r"provable|not published"):
                    prover.statement(self.world.ledger.table, wallet, month)
            elif any(row.wallet == wallet for _, part in cold for row in part.rows.values()):
                files = prover.statement(self.world.ledger.table, wallet, month)
                found = {UUID(one["id"]) for file in files for one in self._checked(file.content).proved.rows}
                assert found == {key for _, part in cold for key, row in part.rows.items() if row.wallet == wallet}
            else:
                with pytest.raises(NotFoundError):
                    prover.statement(self.world.ledger.table, wallet, month)
                assert len(prover.absence(self.world.ledger.table, wallet, month)) == len(cold)
        self._costly()

    # What is always true

    @invariant()
    def every_row_is_in_one_tier(self) -> None:
        """As the model has it; so are the sums."""
        type(self).steps += 1
        found = self.world.rows()
        seen = {key: (month, tier, row) for key, month, tier, row in found}
        assert len(seen) == len(found), "a row is visible twice"
        assert seen == self.model.rows()
        assert self.world.tiers() == {key: part.tier for key, part in self.model.parts()}

    @invariant()
    def archived_months_have_their_counts_and_sums(self) -> None:
        """In the catalogue, where reports take them from."""
        for key, (count, sums) in self.world.counted().items():
            rows = self.model.months[key[0]][key[1] - 1].rows.values()
            totals = {currency: sum(r.amount for r in rows if r.currency == currency) for currency in sums}
            assert (count, sums) == (len(rows), totals)
            assert {row.currency for row in rows} == set(sums)

    @invariant()
    def archived_months_prove_their_rows(self) -> None:
        """Once for the bytes of their objects: as long as these are the same, so is what they prove."""
        prints = {key: one for key, one in self.world.prints().items() if key in self.model.provable()}
        for month, part in [key for key, one in prints.items() if self.proved.get(key) != one]:
            rows = self.model.months[month][part - 1].rows
            with Prover(self.world.settings) as prover:
                for key in list(rows)[:2]:
                    proof = self._checked(prover.row(self.world.ledger.table, key).content)
                    (fields,) = proof.proved.rows
                    assert (fields["id"], fields["status"]) == (str(key), rows[key].status)
                    assert (proof.archived.month, proof.archived.part) == (str(month), part)
        self.proved = prints

    def _checked(self, content: bytes) -> Any:
        if self.policy is None:
            self.policy = LogPolicy.parse(policy_text(self.world.settings).encode())
        return check_proof(content, self.policy)

    def _cheap(self) -> None:
        self.cheap += 1
        self._count()

    def _costly(self) -> None:
        self.cheap = 0
        self._count()

    def _count(self) -> None:
        """Count the rule that was carried out, so that none is left out unnoticed."""
        rule_of_the_caller = sys._getframe(2).f_code.co_name
        type(self).done[rule_of_the_caller] += 1


def check_writing(settings: Settings) -> None:
    """What everything that writes to the archive does first."""
    with connect(settings.database_dsn, "tests") as connection:
        check_ownership(connection, settings)


def _bytes_of(world: World) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in world.archive.rglob("*") if path.is_file()}


def pick(items: list[Any], place: int) -> Any:
    return items[place % len(items)]


def _day(month: Month) -> date:
    return month.first_day.replace(day=15)
