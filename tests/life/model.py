"""What must be true of a ledger, whatever was done to it: a dict of rows in parts of months, and nothing clever.

Each method is what one action does where all is well, or says why the action is refused. To add an action: its effect
here, the deed in `world.py`, the rule in `machine.py`.
"""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from ledger.months import Month

HOT, WARM, COLD, DEEP, DELETED = "hot", "warm", "cold", "deep", "deleted"
FINISHED = ("completed", "failed", "cancelled", "reversed")
HOT_MONTHS, WARM_MONTHS = 1, 2  # the ages at which months leave those tiers
PartKey = tuple[Month, int]
"""A month, and the number of a part of it, from 1."""


@dataclass(frozen=True, slots=True)
class Row:
    """What the checks compare of a row."""

    wallet: str
    status: str
    amount: Decimal
    currency: str

    @property
    def is_finished(self) -> bool:
        """Whether the row never changes again."""
        return self.status in FINISHED


@dataclass(slots=True)
class Part:
    """A part of a month: where it is, its rows by id, and the held wallets that a deletion found every row to be of.

    ``archiving`` is the number of the move that made it cold.
    """

    tier: str
    rows: dict[UUID, Row] = field(default_factory=dict)
    kept_by: frozenset[str] = frozenset()
    archiving: int = 0

    @property
    def is_archived(self) -> bool:
        """Whether its rows are in the archive."""
        return self.tier in (COLD, DEEP)

    @property
    def is_finished(self) -> bool:
        """Whether all its rows are."""
        return all(row.is_finished for row in self.rows.values())


class Refusal(StrEnum):
    """Why a month does not go cold."""

    NOT_WARM = "not warm"
    UNFINISHED = "unfinished rows"


@dataclass(slots=True)
class Model:
    """A ledger: the parts of each month, what the log says, and what it does not say yet."""

    months: dict[Month, list[Part]] = field(default_factory=dict)
    waiting: set[PartKey] = field(default_factory=set)  # archived, their events recorded and not published
    logged: set[PartKey] = field(default_factory=set)  # archived as the published log has it
    deepened: set[PartKey] = field(default_factory=set)  # deep as the published log has it
    archivings: int = 0  # so far, those of databases that were set back, too
    published: set[tuple[PartKey, int]] = field(default_factory=set)  # the archivings that the log has
    is_installed: bool = False  # whether it ever wrote to its archive
    holds: dict[int, tuple[Month, str | None]] = field(default_factory=dict)  # the open ones; None: on a whole month
    former: set[Month] = field(default_factory=set)  # months that went back to warm: their former objects stay

    def copy(self) -> "Model":
        """The same, apart: what a backup has."""
        return copy.deepcopy(self)

    # What is there

    def parts(self) -> Iterator[tuple[PartKey, Part]]:
        """Every part of every month."""
        for month, parts in sorted(self.months.items()):
            for number, part in enumerate(parts, 1):
                yield (month, number), part

    def rows(self) -> dict[UUID, tuple[Month, str, Row]]:
        """Every row: its month, its tier, itself."""
        found = [(key, (month, part.tier, row)) for (month, _), part in self.parts() for key, row in part.rows.items()]
        assert len(dict(found)) == len(found)
        return dict(found)

    def living(self) -> list[UUID]:
        """The ids of the rows in PostgreSQL."""
        return [key for _, part in self.parts() if part.tier in (HOT, WARM) for key in part.rows]

    def writable(self) -> list[Month]:
        """The months that take new rows."""
        return [month for month, parts in self.months.items() if parts[-1].tier == HOT]

    def archivable(self) -> list[Month]:
        """The months that may go from warm to cold."""
        return [month for month in sorted(self.months) if self.refuses_archive(month) is None]

    def whole(self) -> list[Month]:
        """The months of which nothing was deleted."""
        return [month for month, parts in sorted(self.months.items()) if all(part.tier != DELETED for part in parts)]

    def newest(self, month: Month) -> Part:
        """The part of a month that may be in PostgreSQL."""
        return self.months[month][-1]

    def cold(self) -> set[PartKey]:
        """The archived parts, the deep ones too."""
        return {key for key, part in self.parts() if part.is_archived}

    def shallow(self) -> list[PartKey]:
        """The archived parts that are not deep yet."""
        return [key for key, part in self.parts() if part.tier == COLD]

    def reopenable(self) -> list[Month]:
        """The months with an archived part, of which nothing was deleted with a certificate."""
        deleted = {month for (month, _), part in self.parts() if part.tier == DELETED}
        return sorted({month for month, _ in self.cold()} - deleted)

    def provable(self) -> set[PartKey]:
        """The archived parts whose newest event is published."""
        return self.cold() - self.waiting

    def lost(self) -> set[PartKey]:
        """What the log has as archived, and PostgreSQL does not: a database was set back."""
        return self.logged - self.cold()

    # What is done

    def make_partitions(self, months: Iterable[Month]) -> None:
        """Rollover: months that are not there are made."""
        for month in months:
            self.months.setdefault(month, [Part(HOT)])

    def write(self, month: Month, rows: dict[UUID, Row]) -> None:
        """New rows of a month."""
        self.newest(month).rows.update(rows)

    def find(self, key: UUID) -> tuple[Part, Row]:
        """A row in PostgreSQL and its part."""
        return next((part, part.rows[key]) for _, part in self.parts() if part.tier in (HOT, WARM) and key in part.rows)

    def set_status(self, key: UUID, status: str) -> None:
        """Another status of a row."""
        part, row = self.find(key)
        part.rows[key] = Row(row.wallet, status, row.amount, row.currency)

    def warm(self, month: Month) -> bool:
        """Hot to warm; False where the month is not hot."""
        part = self.newest(month)
        if part.tier != HOT:
            return False
        part.tier = WARM
        return True

    def refuses_archive(self, month: Month) -> Refusal | None:
        """Why a month does not go from warm to cold."""
        part = self.newest(month)
        if part.tier != WARM:
            return Refusal.NOT_WARM
        return None if part.is_finished else Refusal.UNFINISHED

    def archive(self, month: Month) -> None:
        """Warm to cold: the rows are in the archive, and their event waits."""
        self.archivings += 1
        self.newest(month).tier, self.newest(month).archiving = COLD, self.archivings
        key = (month, len(self.months[month]))
        self.waiting.add(key)
        self.deepened.discard(key)
        self.is_installed = True

    def deepen(self, key: PartKey) -> None:
        """Cold to deep, and the log says so."""
        self.months[key[0]][key[1] - 1].tier = DEEP
        self.deepened.add(key)
        self.publish()

    def night(self, current: Month) -> None:
        """Every month that is due in the month ``current``; each is published when it went cold."""
        for month in sorted(self.months):
            age = current.index - month.index - 1
            if age >= HOT_MONTHS:
                self.warm(month)
            if age >= WARM_MONTHS and self.refuses_archive(month) is None:
                self.archive(month)
                self.publish()

    def open_late_rows(self, month: Month) -> bool:
        """A further part of a month; False where the month has not left PostgreSQL."""
        if not self.newest(month).is_archived:
            return False
        self.months[month].append(Part(HOT))
        return True

    def keeping(self, month: Month) -> dict[int, str | None]:
        """The open holds on a month: the wallet whose rows each keeps, None for the whole month."""
        return {number: wallet for number, (held, wallet) in self.holds.items() if held == month}

    def doomed(self) -> dict[Month, list[int]]:
        """What a deletion is about, where every month is old enough: the numbers of the parts of each month."""
        found = {month: self._doomed(month) for month in sorted(self.months)}
        return {month: parts for month, parts in found.items() if parts}

    def _doomed(self, month: Month) -> list[int]:
        parts, keeping = self.months[month], self.keeping(month)
        if None in keeping.values() or any(part.tier in (HOT, WARM) for part in parts):
            return []
        cold = [(number, part) for number, part in enumerate(parts, 1) if part.is_archived]
        return [number for number, part in cold if not (part.kept_by and part.kept_by <= set(keeping.values()))]

    def delete(self, month: Month) -> str:
        """The doomed parts of a month go; rows that holds keep stay as further parts. ``held``: every row is."""
        keeping, parts = self.keeping(month), self.months[month]
        if keeping and month in self.former:
            return "kept"  # nobody divides former objects
        doomed = {number: self._held(parts[number - 1], keeping) for number in self._doomed(month)}
        gone = {number: held for number, held in doomed.items() if not held or held != parts[number - 1].rows}
        for number in doomed.keys() - gone.keys():
            parts[number - 1].kept_by = self._wallets(doomed[number])
        for number, held in gone.items():
            parts[number - 1] = Part(DELETED)
            self.logged.discard((month, number))
            self.deepened.discard((month, number))
            if held:
                parts.append(Part(COLD, held, self._wallets(held)))
                self.logged.add((month, len(parts)))
        if gone:
            self.former.discard(month)
        return "deleted" if gone else "held"

    @staticmethod
    def _wallets(rows: dict[UUID, Row]) -> frozenset[str]:
        return frozenset(row.wallet for row in rows.values())

    @staticmethod
    def _held(part: Part, keeping: dict[int, str | None]) -> dict[UUID, Row]:
        return {key: row for key, row in part.rows.items() if row.wallet in keeping.values()}

    def give_back(self, month: Month) -> None:
        """The archived parts of a month are one warm part, the newest of the month."""
        parts = self.months[month]
        numbers = [number for number, part in enumerate(parts, 1) if part.is_archived]
        rows = {key: row for number in numbers for key, row in parts[number - 1].rows.items()}
        gone = max((number for number, part in enumerate(parts, 1) if part.tier == DELETED), default=0)
        self.logged -= {(month, number) for number in numbers}
        self.deepened -= {(month, number) for number in numbers}
        self.former.add(month)
        assert numbers[0] > gone, month  # `returnable` says so
        parts[numbers[0] - 1 :] = [Part(WARM, rows)]

    def returnable(self) -> list[Month]:
        """The months of which nothing is in PostgreSQL and some part is archived, behind every deleted one."""
        found = []
        for month, parts in sorted(self.months.items()):
            tiers = [COLD if part.is_archived else part.tier for part in parts]
            if COLD in tiers and not {HOT, WARM} & set(tiers) and DELETED not in tiers[tiers.index(COLD) :]:
                found.append(month)
        return found

    def publish(self) -> None:
        """The log says all that happened."""
        self.logged |= self.waiting
        self.published |= self._archivings(self.waiting)
        self.waiting.clear()

    def _archivings(self, keys: Iterable[PartKey]) -> set[tuple[PartKey, int]]:
        return {(key, self.months[key[0]][key[1] - 1].archiving) for key in keys}

    def restore(self, backup: "Model") -> None:
        """A backup in the place of the database: rows and months as they were; the log forgets nothing, and what it
        says of archived parts is entered.
        """
        kept = backup.copy()
        self.months, self.is_installed = kept.months, kept.is_installed
        self.waiting = {key for key, _ in self._archivings(kept.waiting) - self.published}  # the others were published
        for key, part in self.parts():
            if key in self.deepened and part.tier == COLD:
                part.tier = DEEP

    def separate(self) -> None:
        """An installation of its own: its log begins with the months that are cold."""
        self.logged, self.deepened, self.published = set(), set(), set()
        self.waiting, self.is_installed = self.cold(), True
