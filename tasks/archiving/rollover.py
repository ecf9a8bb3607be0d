"""Rollover: the partitions ahead are made, and what is wrong is reported, never repaired in silence."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from config import Settings
from ledger.counts import counted
from ledger.errors import ConfigError
from ledger.months import Month, months_between
from ledger.tables import TieredTable
from sql.catalog import check_exactness, columns_of
from sql.connection import Connection, connect
from sql.obstacles import obstacles
from sql.partition_checks import ensure_bounds_check
from sql.partitions import Partition, list_partitions, monthly_partitions, try_partition
from sql.preparation import prepare_table
from sql.relations import Parents, Relation
from tasks.archiving.calendar import check_as_of, utc_today
from tasks.archiving.catalogue import (
    MonthState,
    Stray,
    count_rows,
    month_states,
    register_months,
    rows_by_month,
    stray_partitions,
)


@dataclass(frozen=True, slots=True)
class RolloverReport:
    """One table's rollover. ``created`` and ``wanted`` are months; every other field is a finding to look at.

    gaps: months between the first and the current one that no tier has. overlaps: months that both parents have.
    blocked: what kept a wanted month from getting its partition; the others got theirs. irregular: partitions whose
    bounds are not exactly one UTC month. outside: rows in DEFAULT partitions, by partition and UTC month.
    missing: months that the catalogue places in PostgreSQL, but whose partition is not there.
    returned: partitions of archived months that somebody made again, with their rows.
    unfit: why the table as it is now can be neither read over all tiers nor archived.
    """

    table: str
    created: tuple[Month, ...] = ()
    wanted: tuple[Month, ...] = ()
    gaps: tuple[Month, ...] = ()
    overlaps: tuple[Month, ...] = ()
    missing: tuple[Month, ...] = ()
    irregular: tuple[str, ...] = ()
    returned: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    unfit: str = ""

    @property
    def problems(self) -> list[str]:
        """What somebody must look into, a line each; empty when all is well."""
        lines = [f"blocked: {text}" for text in self.blocked]
        lines += [f"overlap: {month} is in hot and in warm" for month in self.overlaps]
        lines += [f"missing: the partition of {month} is not where the catalogue says" for month in self.missing]
        lines += [f"irregular: {text}" for text in self.irregular]
        lines += [f"returned: {text}" for text in self.returned]
        if self.unfit:
            lines.append(f"unfit: {self.unfit}")
        lines += [f"outside: {text}" for text in self.outside]
        return lines

    @property
    def findings(self) -> list[str]:
        """Everything to report: the gaps, which an import of old history leaves too, and then the problems."""
        return [f"gap: no tier has {first} to {last}" for first, last in _ranges(self.gaps)] + self.problems


def _ranges(months: tuple[Month, ...]) -> list[tuple[Month, Month]]:
    """Neighbouring months joined: the first and the last of each run."""
    runs: list[tuple[Month, Month]] = []
    for month in months:
        if runs and runs[-1][1].plus(1) == month:
            runs[-1] = (runs[-1][0], month)
        else:
            runs.append((month, month))
    return runs


def roll_table(
    settings: Settings, table: TieredTable, as_of: date, plan_only: bool = False, today: date | None = None
) -> RolloverReport:
    """Make the hot partitions of the month of ``as_of`` and of ``settings.partitions_ahead`` months after it.

    Safe to run again and from several processes. Raises ConfigError when the table does not fit its description, or
    when ``as_of`` is later than ``today`` (default: the UTC day) and than every partition. A slip of the keyboard must
    not make partitions of another decade.
    """
    with connect(settings.database_dsn, "rollover") as connection:
        prepare_table(connection, settings, table)
        register_months(connection, table)
        if not plan_only:
            _ensure_checks(connection, settings, table)
        current = Month.of(as_of)
        known = {state.month for state in month_states(connection, table)}
        check_as_of(table, known, as_of, today or utc_today())
        wanted = [m for m in months_between(current, current.plus(settings.partitions_ahead)) if m not in known]
        created, blocked = ([], []) if plan_only else _make(connection, settings, table, wanted)
        report = report_table(connection, table, current, tuple(created), tuple(wanted))
        return replace(report, blocked=tuple(blocked))


def _make(
    connection: Connection, settings: Settings, table: TieredTable, months: Sequence[Month]
) -> tuple[list[Month], list[str]]:
    """Make the partitions; returns the months that got one, and what is in the way of the others."""
    created, blocked = [], []
    for month in months:
        is_made, obstacle = try_partition(connection, settings, table, month)
        if is_made:
            created.append(month)
        elif obstacle is not None:
            blocked.append(f"{month} has no partition: {obstacle}")
    return created, blocked


def _ensure_checks(connection: Connection, settings: Settings, table: TieredTable) -> None:
    """Give the partitions that others made their CHECK, but for those that the plan refuses."""
    hot = Parents.of(connection, table).hot
    months = monthly_partitions(connection, hot)
    refused = obstacles(connection, list(months.values()))
    for month, partition in months.items():
        if hot is not None and partition not in refused:
            ensure_bounds_check(connection, settings, table, month, partition, hot)


def report_table(
    connection: Connection,
    table: TieredTable,
    current: Month,
    created: tuple[Month, ...] = (),
    wanted: tuple[Month, ...] = (),
) -> RolloverReport:
    """Return what is found of a table's partitions in the month ``current``. Looking changes nothing."""
    states = month_states(connection, table)
    known = {state.month for state in states}
    parents = Parents.of(connection, table)
    hot, warm = (list_partitions(connection, parent) for parent in (parents.hot, parents.warm))
    past = months_between(min(known), current) if known else ()
    strays = stray_partitions(connection, table, states)
    return RolloverReport(
        table.name,
        created,
        wanted,
        gaps=tuple(month for month in past if month not in known and month not in wanted),
        overlaps=tuple(sorted(_months(hot) & _months(warm))),
        missing=tuple(state.month for state in states if state.tier.is_in_postgres and state.partition is None),
        irregular=tuple(f"{part.relation} {part.bound}" for part in (*hot, *warm) if _is_irregular(part)),
        returned=tuple(
            f"{stray} has {_counted_rows(connection, stray.partition.relation)} of a month that is archived"
            for stray in strays
            if _is_of_archived(stray, states)
        ),
        outside=tuple(
            line for part in (*hot, *warm) if part.bound == "DEFAULT" for line in _outside(connection, table, part)
        ),
        unfit=_unfit(connection, table, parents),
    )


def _counted_rows(connection: Connection, relation: Relation) -> str:
    return counted(count_rows(connection, relation), "row")


def _outside(connection: Connection, table: TieredTable, partition: Partition) -> list[str]:
    """Return the rows of a DEFAULT partition, a line for each month."""
    rows = rows_by_month(connection, table, partition.relation)
    return [
        f"{counted(count, 'row')} of {month or 'no month'} in the DEFAULT partition {partition.relation}"
        for month, count in rows.items()
    ]


def _unfit(connection: Connection, table: TieredTable, parents: Parents) -> str:
    """Return why a column cannot be archived, be in the views or keep values exactly; nothing where all can."""
    try:
        for parent in parents.found:
            columns_of(connection, parent)
            check_exactness(connection, table, parent)
    except ConfigError as error:
        return str(error)
    return ""


def _months(partitions: list[Partition]) -> set[Month]:
    return {part.month for part in partitions if part.month is not None}


def _is_irregular(partition: Partition) -> bool:
    return partition.detach_pending or (partition.month is None and partition.bound != "DEFAULT")


def _is_of_archived(stray: Stray, states: Sequence[MonthState]) -> bool:
    """Return whether the month of a partition has left PostgreSQL with all its parts."""
    tiers = {state.tier for state in states if state.month == stray.partition.month}
    return bool(tiers) and not any(tier.is_in_postgres for tier in tiers)
