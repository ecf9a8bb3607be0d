"""The plan of deletion: which months are past their policy, which of them stay, and why. Reads only."""

from collections.abc import Sequence
from datetime import date
from itertools import groupby

from config import Settings
from ledger.errors import ConfigError
from ledger.holds import Hold, holds_on
from ledger.months import Month
from ledger.policy import Tier
from ledger.retention import DeletionPlan, DoomedMonth, DoomedPart, KeptMonth, due_on
from ledger.tables import TieredTable
from sql.connection import Connection, connect
from sql.deletions import OldPart, old_parts, undecided_objects
from sql.holds import open_holds, read_now
from tasks.retention.holds import has_column

_IN_POSTGRES = (Tier.HOT, Tier.WARM)


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
        raise ConfigError(f"as_of: {as_of} has not come yet: nothing is deleted before its time")
    day, holds = as_of or today, open_holds(connection)
    found = [judged for table in tables for judged in _of_table(connection, table, day, holds)]
    doomed = tuple(one for one in found if isinstance(one, DoomedMonth))
    return DeletionPlan(day, doomed, tuple(one for one in found if isinstance(one, KeptMonth)))


def _of_table(
    connection: Connection, table: TieredTable, as_of: date, holds: Sequence[Hold]
) -> list[DoomedMonth | KeptMonth]:
    last = Month.of(as_of).plus(-table.policy.retention_months - 1)
    subjects = {hold.scope.subject for hold in holds if hold.scope.subject is not None}
    known = {subject for subject in subjects if has_column(connection, table, subject)}
    holds = [hold for hold in holds if hold.scope.subject is None or hold.scope.subject in known]
    undecided = undecided_objects(connection, table.name, last)
    parts = old_parts(connection, table.name, last)
    return [
        _judged(table, Month.of(first_day), list(of_month), holds, undecided)
        for first_day, of_month in groupby(parts, lambda part: part.month)
    ]


def _judged(
    table: TieredTable, month: Month, parts: Sequence[OldPart], holds: Sequence[Hold], undecided: dict[Month, str]
) -> DoomedMonth | KeptMonth:
    whole, some = holds_on(holds, table.name, month)
    names = tuple(hold.name for hold in some)
    left = [part for part in parts if part.kept is None or not set(part.kept["holds"]) <= set(names)]
    if reason := _why_kept(parts, whole, month, undecided):
        return KeptMonth(table.name, month, reason)
    if not left:
        return KeptMonth(table.name, month, f"only rows that {', '.join(names)} keep are left")
    doomed = tuple(_doomed(part) for part in left)
    return DoomedMonth(table.name, month, due_on(table.policy, month), table.policy.retention_months, doomed, names)


def _why_kept(parts: Sequence[OldPart], whole: Sequence[Hold], month: Month, undecided: dict[Month, str]) -> str:
    if whole:
        return "held by " + ", ".join(f"{hold.name} (matter {hold.matter})" for hold in whole)
    living = [part for part in parts if part.tier in _IN_POSTGRES]
    if living:
        return f"part {living[0].part} is {living[0].tier}: it must be archived first"
    if month in undecided:
        return (
            f"another database may need {undecided[month]}: run `treasury installation show`, and remove the object "
            "once no other database uses it"
        )
    return ""


def _doomed(part: OldPart) -> DoomedPart:
    return DoomedPart(
        part=part.part,
        rows=part.row_count or 0,
        root=(part.digest or b"").hex(),
        manifest_sha256=(part.manifest_sha256 or b"").hex(),
    )
