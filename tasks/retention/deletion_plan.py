"""The plan of deletion: which months are past their policy, which of them stay, and why. Reads only."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import groupby

from config import Settings
from ledger.errors import ConfigError
from ledger.holds import Hold, Subject, holds_on
from ledger.months import Month
from ledger.policy import Tier
from ledger.retention import DeletionPlan, DoomedMonth, DoomedPart, KeptMonth, due_on
from ledger.tables import TieredTable
from sql.clock import read_now
from sql.connection import Connection, connect
from sql.holds import list_holds, open_holds, wrongly_released
from sql.locks import promised_until
from sql.old_months import OldPart, old_parts, rows_in_postgres, undecided_objects
from tasks.retention.subjects import has_column


def plan_deletion(settings: Settings, tables: Sequence[TieredTable], as_of: date | None = None) -> DeletionPlan:
    """The result of the policies and the open holds on the UTC day ``as_of``; default: today.

    Raises ConfigError for a day that has not come: nothing is deleted before its time.
    """
    with connect(settings.database_dsn, "deletion plan") as connection:
        return read_plan(connection, tables, as_of)


def read_plan(connection: Connection, tables: Sequence[TieredTable], as_of: date | None = None) -> DeletionPlan:
    """`plan_deletion` over a connection, and in its transaction if there is one."""
    today = read_now(connection).date()
    if as_of is not None and as_of > today:
        raise ConfigError(
            f"as_of: {as_of} has not come yet: nothing is deleted before its time; `treasury policy simulate` shows "
            "what will be due"
        )
    day, now = as_of or today, read_now(connection)
    subjects = {record.hold.name: _whose(record.hold) for record in list_holds(connection)}
    holds = _Holds(open_holds(connection), wrongly_released(connection), subjects)
    judged_months = [judged for table in tables for judged in _of_table(connection, table, day, holds, now)]
    doomed = tuple(month for month in judged_months if isinstance(month, DoomedMonth))
    return DeletionPlan(day, doomed, tuple(month for month in judged_months if isinstance(month, KeptMonth)))


Whose = tuple[Subject | None, str | None]


def _whose(hold: Hold) -> Whose:
    return hold.scope.subject, hold.scope.value


@dataclass(frozen=True, slots=True)
class _Holds:
    """The holds that keep rows; the names of those whose recorded release does not count; whose rows each hold keeps,
    those that are released too.
    """

    keeping: Sequence[Hold]
    wrongly_released: Collection[str]
    whose: Mapping[str, Whose]

    def said(self, hold: Hold) -> str:
        """A hold in words."""
        why = "; its release in hold_decisions is not by two others: remove that row, and release the hold again"
        return f"{hold.name} (matter {hold.matter}{why if hold.name in self.wrongly_released else ''})"

    def keep_all(self, part: OldPart, some: Sequence[Hold]) -> bool:
        """Whether open holds on rows keep every row of a part: those that kept it, or others of the same subjects."""
        kept = set(map(_whose, some))
        return any({self.whose.get(name) for name in names} <= kept for names in part.held_by)


def _of_table(
    connection: Connection, table: TieredTable, as_of: date, holds: _Holds, now: datetime
) -> list[DoomedMonth | KeptMonth]:
    last = Month.of(as_of).plus(-table.policy.retention_months - 1)
    subjects = {hold.scope.subject for hold in holds.keeping if hold.scope.subject is not None}
    known = {subject for subject in subjects if has_column(connection, table, subject)}
    keeping = [hold for hold in holds.keeping if hold.scope.subject is None or hold.scope.subject in known]
    holds = replace(holds, keeping=keeping)
    reasons = {month: _locked(until) for month, until in promised_until(connection, table.name).items() if until > now}
    reasons |= {month: _in_postgres(where) for month, where in rows_in_postgres(connection, table, last).items()}
    reasons |= {month: _undecided(key) for month, key in undecided_objects(connection, table.name, last).items()}
    parts = old_parts(connection, table.name, last)
    return [
        _judged(table, Month.of(first_day), list(of_month), holds, reasons)
        for first_day, of_month in groupby(parts, lambda part: part.month)
    ]


def _judged(
    table: TieredTable, month: Month, parts: Sequence[OldPart], holds: _Holds, reasons: dict[Month, str]
) -> DoomedMonth | KeptMonth:
    whole, some = holds_on(holds.keeping, table.name, month)
    names = tuple(hold.name for hold in some)
    if whole:
        return KeptMonth(table.name, month, f"held by {', '.join(map(holds.said, whole))}")
    left = [part for part in parts if not holds.keep_all(part, some)]
    if not left:
        return KeptMonth(table.name, month, f"only rows that {', '.join(names)} keep are left", is_wholly_held=True)
    if reason := _in_tiers(parts) or reasons.get(month):
        return KeptMonth(table.name, month, reason)
    doomed = tuple(_doomed(part) for part in left)
    return DoomedMonth(table.name, month, due_on(table.policy, month), table.policy.retention_months, doomed, names)


def _in_tiers(parts: Sequence[OldPart]) -> str:
    living = [part for part in parts if Tier(part.tier).is_in_postgres]
    return f"part {living[0].part} is {living[0].tier}: it must be archived first" if living else ""


def _locked(until: datetime) -> str:
    return f"the store was asked to keep its objects until {until:%Y-%m-%d %H:%M} UTC, and a promise is not shortened"


def _in_postgres(partition: str) -> str:
    return (
        f"PostgreSQL has rows of it in {partition}, which the catalogue does not know. Archive them as late rows, or "
        "remove them (docs/operations.md, partitions made by others)"
    )


def _undecided(key: str) -> str:
    return (
        f"another database may need {key}: run `treasury installation show`, and remove the object once no other "
        "database uses it"
    )


def _doomed(part: OldPart) -> DoomedPart:
    return DoomedPart(
        part=part.part,
        rows=part.row_count or 0,
        root=(part.digest or b"").hex(),
        manifest_sha256=(part.manifest_sha256 or b"").hex(),
    )
