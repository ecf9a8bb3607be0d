"""The life of all months at a glance, for people: where each is, what is the matter with it, and what moves next.

Reading only, and without any right but those of the API's role: rows in PostgreSQL are estimates. `plan` decides what
moves; this looks at it in the same way, with eyes of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from itertools import groupby

from psycopg.sql import SQL, Identifier

from config import Settings
from ledger.forecast import KnownPart, whole
from ledger.holds import Hold
from ledger.months import Month
from ledger.policy import Tier
from ledger.retention import due_on
from ledger.tables import TieredTable
from sql.archive_objects import object_amounts
from sql.clock import read_now
from sql.connection import Connection, connect, fetch_one
from sql.holds import open_holds
from sql.installation import read_installation
from sql.locks import promised_until
from sql.log import LogRow, count_waiting, read_log
from sql.obstacles import dependents, missing_constraints, unlogged_relations
from sql.old_months import MonthEnd, month_ends
from sql.queries import load
from sql.relations import Parents, Relation
from sql.verified import PartAge, part_ages
from tasks.admin.schedules import Schedule, expected
from tasks.archiving.catalogue import MonthState, month_states
from tasks.archiving.known_parts import kept_parts, known_parts
from tasks.archiving.plan import PlannedMove, plan_states

NIGHT = "run-archiving-operations"  # the deployment of the nightly run
_COUNTED_ROWS = 1000
_QUERIES = load("life")
_HEALTH = load("health")
_TABLE = "r"
_CLIENT = "client_id"
UNFINISHED = "unfinished row"  # in the reason of a move that such rows hold back


class MonthCondition(StrEnum):
    """What is the matter with a month, apart from its tier. The first that fits."""

    MISSING = "missing"
    FAILED = "failed"
    DELETING = "deleting"
    SEALED = "sealed"
    REFUSED = "refused"
    HELD_BACK = "held back"
    DUE = "due"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class MonthLife:
    """A month of a table. ``parts`` are those that are not deleted, and all parts of a month without any.

    ``is_exact``: all rows were counted. ``reason`` explains the condition. ``deletion`` is ``due``, ``waiting``,
    ``grace``, ``approved``, ``deleting`` or ``deleted``, "" before it is due.
    """

    table: str
    month: Month
    parts: tuple[KnownPart, ...]
    is_exact: bool
    condition: MonthCondition
    reason: str
    held_by: tuple[str, ...]
    deletion: str
    certificate: str

    @property
    def tier(self) -> Tier:
        """That of its first part: late rows are a part of their own, and may be in another tier."""
        return self.parts[0].tier

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """Every tier that has a part of it."""
        return tuple(dict.fromkeys(part.tier for part in self.parts))

    @property
    def rows(self) -> int | None:
        """Its rows, an estimate unless ``is_exact``; None before there is one."""
        return whole(part.rows for part in self.parts)

    @property
    def size_bytes(self) -> int | None:
        """What its rows take now; None where nobody knows."""
        return whole(part.size_bytes for part in self.parts)

    @property
    def was_bytes(self) -> int | None:
        """What its rows take or took in PostgreSQL; None where nobody knows."""
        return whole(part.postgres_bytes for part in self.parts)


@dataclass(frozen=True, slots=True)
class TableLife:
    """All months of a table up to the present one, oldest first, and how many partitions are ready ahead."""

    name: str
    months: tuple[MonthLife, ...]
    ahead: int


@dataclass(frozen=True, slots=True)
class ProofStanding:
    """How far the public log and the nightly verification have come. Times are UTC; None: not yet."""

    entries: int
    published_at: datetime | None
    waiting: int
    waiting_since: datetime | None
    witnessed: str
    timestamped: str
    shortfall: str
    parts: int
    oldest: PartAge | None


@dataclass(frozen=True, slots=True)
class Life:
    """Everything as of one moment. ``moves`` are those of the next nightly run, which begins at ``next_run``."""

    read_at: datetime
    present: Month
    tables: tuple[TableLife, ...]
    moves: tuple[PlannedMove, ...]
    next_run: datetime | None
    proof: ProofStanding


@dataclass(frozen=True, slots=True)
class MonthEvent:
    """An event of a month's history, with its time, UTC."""

    event: str
    detail: Mapping[str, object]
    happened_at: datetime


def nightly_schedule(settings: Settings) -> Schedule | None:
    """The schedule of the nightly run; None where it has none. Reads `prefect.yaml`, which takes some milliseconds."""
    try:
        return next((schedule for schedule in expected(settings) if schedule.deployment == NIGHT), None)
    except OSError:  # an installation without that file has no schedules of its own
        return None


def read_life(settings: Settings, night: Schedule | None) -> Life:
    """Everything, now; ``night`` is the nightly run. Safe to run at any time: the statements are short, and none waits
    long for the lock of a move.
    """
    with connect(settings.database_dsn, "life") as connection:
        now = read_now(connection)
        run_at = None if night is None else night.due_after(now)[0]
        as_of = now.date() if run_at is None else run_at.date()
        lives, moves, holds = [], list[PlannedMove](), open_holds(connection)
        for table in settings.registry.values():
            states = month_states(connection, table)
            eyes = _VisitorsLook.of(connection, table, states)
            planned = plan_states(settings, table, states, eyes, as_of, as_of)
            lives.append(_table(connection, table, states, eyes, planned, holds, now.date()))
            moves += planned
        return Life(now, Month.of(now), tuple(lives), tuple(moves), run_at, _standing(connection))


def unfinished_rows(
    settings: Settings, table: TieredTable, month: Month, tier: Tier, client_id: str | None, most: int
) -> list[str]:
    """The ids of at most ``most`` unfinished rows of a hot or warm month, in no order: those of a client, or of all.

    Nothing where the login may not read them.
    """
    with connect(settings.database_dsn, "unfinished rows") as connection:
        parents = Parents.of(connection, table)
        parent = parents.hot if tier is Tier.HOT else parents.warm
        if parent is None or table.status_column is None or not _may_read(connection, parent):
            return []
        query = SQL(_QUERIES["unfinished"]).format(
            parent=parent.identifier,
            key=Identifier(table.key_column),
            time=Identifier(table.time_column),
            status=Identifier(table.status_column),
            client=Identifier(_CLIENT),
        )
        bounds = {"lower": month.lower, "upper": month.upper, "client": client_id, "most": most}
        rows = connection.execute(query, bounds | {"terminal": sorted(table.terminal_statuses)})
        return [str(key) for (key,) in rows]


def _may_read(connection: Connection, parent: Relation) -> bool:
    return bool(fetch_one(connection, _QUERIES["may_read"], {"relation": parent.oid})[0])


@dataclass(frozen=True, slots=True)
class _VisitorsLook:
    """What a login sees that owns nothing: sizes, estimates, and rows through the parents, if it may read those."""

    connection: Connection
    table: TieredTable
    parents: Parents
    estimates: Mapping[int, tuple[int | None, int]]
    refused: Mapping[Relation, str]

    @classmethod
    def of(cls, connection: Connection, table: TieredTable, states: Sequence[MonthState]) -> "_VisitorsLook":
        partitions = [state.partition.relation for state in states if state.partition is not None]
        oids = [partition.oid for partition in partitions]
        rows = connection.execute(_QUERIES["estimates"], {"partitions": oids}).fetchall()
        estimates = {oid: (count, size) for oid, count, size in rows}
        refused = unlogged_relations(connection, partitions) | dependents(connection, partitions)
        return cls(connection, table, Parents.of(connection, table), estimates, refused)

    def obstacle(self, state: MonthState, partition: Relation) -> str | None:
        if (reason := self.refused.get(partition)) is not None:
            return reason
        (kind,) = fetch_one(self.connection, _QUERIES["shape"], {"relation": partition.oid})
        if kind != _TABLE:
            return f"{partition} has another shape: a month is archived from one plain table"
        if state.tier is Tier.HOT and self.parents.warm is not None:
            return missing_constraints(self.connection, partition, self.parents.warm)
        return None

    def size(self, partition: Relation) -> int:
        return self.estimates.get(partition.oid, (None, 0))[1]

    def rows(self, partition: Relation) -> int:
        return self.estimates.get(partition.oid, (None, 0))[0] or 0

    def unfinished(self, state: MonthState, partition: Relation) -> str:
        del partition  # read through its parent
        parent = self.parents.hot if state.tier is Tier.HOT else self.parents.warm
        status = self.table.status_column
        if parent is None or status is None or not _may_read(self.connection, parent):
            return ""
        query = SQL(_HEALTH["count_unfinished"]).format(
            warm=parent.identifier, time=Identifier(self.table.time_column), status=Identifier(status)
        )
        bounds = {"lower": state.month.lower, "upper": state.month.upper}
        parameters = {**bounds, "terminal": sorted(self.table.terminal_statuses), "limit": _COUNTED_ROWS}
        count = int(fetch_one(self.connection, query, parameters)[0])
        return f"{count} or more" if count >= _COUNTED_ROWS else str(count or "")


def _table(
    connection: Connection,
    table: TieredTable,
    states: Sequence[MonthState],
    eyes: _VisitorsLook,
    planned: Sequence[PlannedMove],
    holds: Sequence[Hold],
    today: date,
) -> TableLife:
    ends, moves = month_ends(connection, table.name, holds), {(move.month, move.part): move for move in planned}
    present = Month.of(today)
    begun = [state for state in states if state.month <= present]
    known = known_parts(begun, eyes.estimates, object_amounts(connection, table.name))
    kept = kept_parts(known, table.name, holds, promised_until(connection, table.name))
    living = {month: tuple(parts) for month, parts in groupby(kept, key=lambda part: part.month)}
    months = [
        _month(table, list(parts), living[month], moves, ends.get((table.name, month), MonthEnd()), today)
        for month, parts in groupby(begun, key=lambda state: state.month)
    ]
    return TableLife(table.name, tuple(months), len({state.month for state in states if state.month > present}))


def _month(
    table: TieredTable,
    states: Sequence[MonthState],
    living: tuple[KnownPart, ...],
    moves: Mapping[tuple[Month, int], PlannedMove],
    end: MonthEnd,
    today: date,
) -> MonthLife:
    month = states[0].month
    condition, reason = _worst(_condition(state, moves.get((month, state.catalogue.part))) for state in states)
    is_gone = all(part.tier is Tier.DELETED for part in living)
    due = due_on(table.policy, month) <= today and any(state.is_archived for state in states)
    return MonthLife(
        table=table.name,
        month=month,
        parts=living,
        is_exact=all(state.partition is None for state in states),
        condition=condition,
        reason=reason,
        held_by=() if is_gone else end.held_by,
        deletion="deleted" if is_gone else end.state or ("due" if due else ""),
        certificate=next((certificate for state in states if (certificate := state.catalogue.certificate)), ""),
    )


def _condition(state: MonthState, move: PlannedMove | None) -> tuple[MonthCondition, str]:
    """What is the matter with a part of a month, and why."""
    known = state.catalogue
    if state.is_missing:
        return MonthCondition.MISSING, f"{state.tier} by the catalogue, but no partition of the month is attached there"
    if known.step == "deleting" and state.tier is not Tier.DELETED:
        return MonthCondition.DELETING, f"it is being deleted under {known.certificate}"
    if state.partition is not None and known.last_error:
        return MonthCondition.FAILED, known.last_error
    if state.partition is not None and state.is_sealed:
        return (
            MonthCondition.SEALED,
            f"it takes no writes since {known.sealed_at:%Y-%m-%d %H:%M} UTC, step {known.step}",
        )
    return (MonthCondition.QUIET, "") if move is None else _of_move(move)


def _of_move(move: PlannedMove) -> tuple[MonthCondition, str]:
    if move.held_at is None:
        return MonthCondition.DUE, f"due to go {move.due}"
    return (MonthCondition.REFUSED if move.refused else MonthCondition.HELD_BACK), move.held_back


def _worst(conditions: Iterable[tuple[MonthCondition, str]]) -> tuple[MonthCondition, str]:
    order = list(MonthCondition)
    return min(conditions, key=lambda condition: order.index(condition[0]))


def _standing(connection: Connection) -> ProofStanding:
    installation = read_installation(connection)
    ages = part_ages(connection)
    row: LogRow | None = None
    waiting, since = 0, None
    if installation is not None:
        row = read_log(connection, installation.installation_id)
        waiting, since = count_waiting(connection, installation.installation_id)
    return ProofStanding(
        entries=0 if row is None else row.published_size,
        published_at=None if row is None else row.published_at,
        waiting=waiting,
        waiting_since=since,
        witnessed="" if row is None else row.witnessed,
        timestamped="" if row is None else row.timestamped,
        shortfall="" if row is None else row.shortfall,
        parts=len(ages),
        oldest=ages[0] if ages else None,
    )
