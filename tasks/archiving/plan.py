"""What is due on a day: which months would move, which are held back and why. Looking changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import takewhile
from typing import Protocol
from uuid import uuid4

from config import Settings
from ledger.months import Month
from ledger.policy import Tier
from ledger.tables import TieredTable
from sql.connection import Connection, connect
from sql.obstacles import missing_constraints, obstacles
from sql.preparation import prepare_table
from sql.relations import Parents, Relation
from sql.seal import count_unfinished
from tasks.archiving.calendar import check_as_of
from tasks.archiving.catalogue import MonthState, count_rows, month_states, register_months, relation_bytes
from tasks.archiving.outcome import MoveAction

ALL_MOVES = frozenset(MoveAction)
_STEPS = {
    (Tier.HOT, Tier.WARM): (MoveAction.TO_WARM,),
    (Tier.WARM, Tier.COLD): (MoveAction.TO_COLD,),
    (Tier.HOT, Tier.COLD): (
        MoveAction.TO_WARM,
        MoveAction.TO_COLD,
    ),  # a hot month that is due for cold goes through warm
}


class Look(Protocol):
    """How a plan looks at a partition: exactly, as the run that moves it does, or as a login that owns nothing can."""

    def obstacle(self, state: MonthState, partition: Relation) -> str | None:
        """What no later night takes away, or None."""
        ...

    def size(self, partition: Relation) -> int:
        """Its bytes."""
        ...

    def rows(self, partition: Relation) -> int:
        """Its rows."""
        ...

    def unfinished(self, state: MonthState, partition: Relation) -> str:
        """How many of its rows are unfinished, in words; "" for none."""
        ...


@dataclass(frozen=True, slots=True)
class PlannedMove:
    """A month that is due: from where to where and by which moves, its exact rows and bytes now.

    ``held_at`` is the first move that may not be made yet, and ``held_back`` why; those before it are made.
    """

    table: str
    month: Month
    tier: Tier
    due: Tier
    actions: tuple[MoveAction, ...]
    rows: int
    postgres_bytes: int
    held_at: MoveAction | None = None
    held_back: str = ""
    refused: bool = False  # held back by what no later night takes away: the run says that it failed
    part: int = 1  # of the month: late rows make further ones
    # Distinguishes the tries of one run from those of another.
    run: str = field(default_factory=lambda: uuid4().hex, compare=False)

    @property
    def made(self) -> tuple[MoveAction, ...]:
        """The moves that are made now."""
        return tuple(takewhile(lambda action: action is not self.held_at, self.actions))


def plan_table(
    settings: Settings, table: TieredTable, as_of: date, today: date, allowed: frozenset[MoveAction] = ALL_MOVES
) -> list[PlannedMove]:
    """The months of one table that its policy moves on the UTC day ``as_of``, oldest first, by ``allowed`` moves only.

    A month that has not ended on ``today`` is held back whatever ``as_of`` says: it still takes writes. Raises
    AsOfError before anything moves when ``as_of`` lies in the future beyond the table's partitions. Safe to run again.
    """
    with connect(settings.database_dsn, "plan") as connection:
        prepare_table(connection, settings, table)
        register_months(connection, table)
        states = month_states(connection, table)
        check_as_of(table, [state.month for state in states], as_of, today)
        return plan_states(settings, table, states, _OwnersLook(connection, table), as_of, today, allowed)


def plan_states(
    settings: Settings,
    table: TieredTable,
    states: Sequence[MonthState],
    look: Look,
    as_of: date,
    today: date,
    allowed: frozenset[MoveAction] = ALL_MOVES,
) -> list[PlannedMove]:
    """The moves of `plan_table` among ``states``, as ``look`` sees them."""
    moves = [_plan_month(table, state, look, as_of, today, allowed) for state in states]
    moves += [_plan_deep(settings, table, state, as_of, allowed) for state in states]
    return sorted((move for move in moves if move is not None), key=lambda move: (move.month, move.part))


def _plan_deep(
    settings: Settings, table: TieredTable, state: MonthState, as_of: date, allowed: frozenset[MoveAction]
) -> PlannedMove | None:
    """The way of an archived part into the deep tier; also of a deep one whose object has no storage class yet. A month
    that is past its retention stays where it is: it is about to be deleted.
    """
    known = state.catalogue
    if MoveAction.TO_DEEP not in allowed or not state.is_archived or known.step != "idle":
        return None
    if table.policy.tier_of(state.month, as_of) is not Tier.DEEP:
        return None
    wants_class = settings.deep_storage_class is not None and settings.archive_location.startswith("s3://")
    if state.tier is Tier.DEEP and (known.storage_class is not None or not wants_class):
        return None
    rows, size = known.row_count or 0, known.object_bytes or 0
    return PlannedMove(
        table.name, state.month, state.tier, Tier.DEEP, (MoveAction.TO_DEEP,), rows, size, part=known.part
    )


def _plan_month(
    table: TieredTable, state: MonthState, look: Look, as_of: date, today: date, allowed: frozenset[MoveAction]
) -> PlannedMove | None:
    due = table.policy.tier_of(state.month, as_of)
    if due in (Tier.DEEP, Tier.DELETED):
        due = Tier.COLD  # as far as a month goes from PostgreSQL; deeper tiers are the object store's
    actions = tuple(takewhile(allowed.__contains__, _STEPS.get((state.tier, due), ())))
    if not actions:
        return None
    if state.partition is None:
        reason = f"the catalogue says {state.tier}, but PostgreSQL has no such partition there"
        return PlannedMove(table.name, state.month, state.tier, due, actions, 0, 0, actions[0], reason)
    partition = state.partition.relation
    size = look.size(partition)
    if (obstacle := look.obstacle(state, partition)) is not None:
        return PlannedMove(
            table.name, state.month, state.tier, due, actions, 0, size, actions[0], obstacle, refused=True
        )
    rows = look.rows(partition)
    held_at, reason = _hold(state, actions, look, partition, today)
    return PlannedMove(table.name, state.month, state.tier, due, actions, rows, size, held_at, reason)


@dataclass(frozen=True, slots=True)
class _OwnersLook:
    """Everything exactly, now: for those who move months."""

    connection: Connection
    table: TieredTable

    def obstacle(self, state: MonthState, partition: Relation) -> str | None:
        reason = obstacles(self.connection, [partition]).get(partition)
        warm = Parents.of(self.connection, self.table).warm
        if reason is None and state.tier is Tier.HOT and warm is not None:
            reason = missing_constraints(self.connection, partition, warm)
        return reason

    def size(self, partition: Relation) -> int:
        return relation_bytes(self.connection, partition)

    def rows(self, partition: Relation) -> int:
        return count_rows(self.connection, partition)

    def unfinished(self, state: MonthState, partition: Relation) -> str:
        return str(count_unfinished(self.connection, self.table, partition) or "")


def _hold(
    state: MonthState, actions: tuple[MoveAction, ...], look: Look, partition: Relation, today: date
) -> tuple[MoveAction | None, str]:
    """The first move that may not be made yet, and why."""
    if state.month >= Month.of(today):
        return actions[0], "the month has not ended yet"
    if state.partition is not None and state.partition.detach_pending:
        return actions[
            0
        ], "a DETACH CONCURRENTLY of the partition is pending: run ALTER TABLE ... DETACH PARTITION ... FINALIZE"
    until = state.catalogue.work_until
    if until is not None and today <= until:
        return actions[0], f"it went back to warm, and is in work until {until}"
    if MoveAction.TO_COLD in actions and (unfinished := look.unfinished(state, partition)):
        return MoveAction.TO_COLD, f"{unfinished} unfinished {'row' if unfinished == '1' else 'rows'}"
    return None, ""
