"""Rows to PostgreSQL: a chunk, a transaction, into whichever tier takes rows of their month.

A chunk is copied straight into the partitions, which costs half of what it does through a staging table. Only when a
row is there already, the chunk goes through one, which tells exactly which lines are not new, and so do the following
chunks until one is all new: a file that is imported again costs one failed row, not one failed chunk after another.

Months may move while an import runs. Nothing is locked against that: a chunk that meets a moved or sealed month fails
as a whole, the tiers are read again, and the chunk is loaded by what they say then.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

import psycopg
from psycopg import errors
from psycopg.sql import SQL, Composed, Identifier

from config import Settings
from ledger.errors import TransientError
from ledger.months import Month
from ledger.policy import Tier
from ledger.tables import TieredTable
from sql.connection import Connection
from sql.errors import MONTH_IS_SEALED
from sql.partitions import ensure_partition
from sql.queries import load
from tasks.importing.closed_days import ClosedDays, DaysClosedError
from tasks.importing.rejects import Reject
from tasks.importing.rows import Row

_QUERIES = load("imports")
_ATTEMPTS = 10
_PAUSE_S = 0.05
_SEALED_STEPS = frozenset({"sealed", "uploaded", "verified"})
ALREADY_LOADED = "already loaded"
_FIND = SQL(_QUERIES["find_staged"])


class Target(NamedTuple):
    """Where rows of a month go: a parent table, or nowhere for a reason."""

    parent: str | None
    refusal: str = ""


class MonthTargets:
    """Where the months of a table take rows now. Read again after `forget`."""

    def __init__(self, connection: Connection, settings: Settings, table: TieredTable, dry_run: bool = False) -> None:
        self._connection = connection
        self._settings = settings
        self._table = table
        self._dry_run = dry_run
        self._known: dict[int, Target] = {}

    def target(self, month_index: int) -> Target:
        """The target of the month, whose partition is made when there is none in any tier."""
        if month_index not in self._known:
            month = Month.from_index(month_index)
            self._read()
            if month_index not in self._known and not self._dry_run:
                ensure_partition(self._connection, self._settings, self._table, month)
                self._read()
        return self._known.get(month_index) or Target(self._table.hot_parent)

    def forget(self) -> None:
        """Read the tiers again when they are asked for next."""
        self._known.clear()

    def _read(self) -> None:
        rows = self._connection.execute(_QUERIES["months"], {"table": self._table.name}).fetchall()
        for first_day, tier, step in rows:
            month = Month.of(first_day)
            self._known[month.index] = self._judge(month, tier, step)

    def _judge(self, month: Month, tier: str, step: str) -> Target:
        if tier == Tier.HOT:
            return Target(self._table.hot_parent)
        if tier == Tier.WARM and step not in _SEALED_STEPS:
            return Target(self._table.warm_parent)
        state = "sealed" if tier == Tier.WARM else tier
        return Target(None, f"month {month} is {state}: it takes no more rows")


class Loader:
    """Loads chunks of rows of one table over one autocommit connection.

    A dry run makes no partition and loads nothing: `load` then returns what would be rejected, but for repeats of a
    row further back in the same file.
    """

    def __init__(
        self,
        connection: Connection,
        settings: Settings,
        table: TieredTable,
        columns: Sequence[str],
        dry_run: bool = False,
    ) -> None:
        self._connection = connection
        self._table = table
        self._months = MonthTargets(connection, settings, table, dry_run)
        self._days = ClosedDays(connection, table, columns)
        self._dry_run = dry_run
        self._expects_repeats = dry_run
        self._names = SQL(", ").join(Identifier(name) for name in columns)
        self._stage = _copy_statement("import_staging", ("line", *columns))
        self._columns = columns
        self._take = _FIND if dry_run else SQL(_QUERIES["insert_staged"])
        connection.execute(SQL(_QUERIES["create_staging"]).format(parent=Identifier(table.hot_parent)))

    def load(self, rows: Sequence[Row]) -> list[Reject]:
        """Load ``rows`` and return those that were not, in the order of their lines.

        Safe to run again: a row whose id is there is not loaded twice. Raises TransientError when PostgreSQL is away or
        months keep moving; chunks loaded before stay loaded.
        """
        unique, rejects = _without_repeats(rows)
        rejects += self._load(unique, _ATTEMPTS)
        return sorted(rejects)

    def _load(self, rows: Sequence[Row], attempts: int) -> list[Reject]:
        rejects: list[Reject] = []
        by_parent: dict[str, list[Row]] = {}
        for row in rows:
            target = self._months.target(row.month)
            if target.parent is None:
                rejects.append(Reject(row.line, target.refusal, self._table.time_column, row.text))
            else:
                by_parent.setdefault(target.parent, []).append(row)
        for parent, group in by_parent.items():
            kept, closed = self._days.split(group)
            if closed:
                rejects += self._without_loaded(parent, group, closed)
            if kept:
                rejects += self._load_group(parent, kept, attempts)
        return rejects

    def _without_loaded(self, parent: str, rows: Sequence[Row], closed: Sequence[Reject]) -> list[Reject]:
        """The rejects of rows in closed days. One that is there already is told so: nothing is missing then."""
        lines = {reject.line for reject in closed}
        there = self._stage_and(_FIND, parent, [row for row in rows if row.line in lines])
        key = self._table.key_column
        return [one._replace(reason=ALREADY_LOADED, field=key) if one.line in there else one for one in closed]

    def _load_group(self, parent: str, rows: Sequence[Row], attempts: int) -> list[Reject]:
        try:
            repeated = self._insert(parent, rows)
        except DaysClosedError:
            return self._load(rows, attempts)  # there are only so many periods to be closed meanwhile
        except psycopg.Error as error:
            if _has_moved(error):
                return self._load_moved(rows, attempts, error)
            if isinstance(error, errors.DataError | errors.IntegrityError):
                return self._load_halves(parent, rows, attempts, error)
            raise
        return [
            Reject(row.line, ALREADY_LOADED, self._table.key_column, row.text) for row in rows if row.line in repeated
        ]

    def _load_moved(self, rows: Sequence[Row], attempts: int, error: psycopg.Error) -> list[Reject]:
        if attempts <= 1:
            raise TransientError(f"{self._table.name}: months keep moving: {error.diag.message_primary}") from error
        time.sleep(_PAUSE_S)
        self._months.forget()
        return self._load(rows, attempts - 1)

    def _load_halves(self, parent: str, rows: Sequence[Row], attempts: int, error: psycopg.Error) -> list[Reject]:
        """Find the row that PostgreSQL refuses although it passed our rules, and load the others."""
        if len(rows) == 1:
            field = error.diag.column_name or ""
            return [Reject(rows[0].line, f"PostgreSQL: {error.diag.message_primary}", field, rows[0].text)]
        middle = len(rows) // 2
        halves = (rows[:middle], rows[middle:])
        return [reject for half in halves for reject in self._load_group(parent, half, attempts)]

    def _insert(self, parent: str, rows: Sequence[Row]) -> set[int]:
        """Load ``rows`` into ``parent`` in one transaction; returns the lines that were there already."""
        if not self._expects_repeats:
            try:
                self._copy(parent, rows)
            except errors.UniqueViolation:
                self._expects_repeats = True
            else:
                return set()
        repeated = self._insert_new(parent, rows)
        self._expects_repeats = bool(repeated) or self._dry_run
        return repeated

    def _copy(self, parent: str, rows: Sequence[Row]) -> None:
        statement = _copy_statement(parent, self._columns)
        with self._connection.transaction(), self._connection.cursor() as cursor:
            self._days.enter(rows)
            with cursor.copy(statement) as copy:
                copy.write(_block([row.copy for row in rows]))

    def _insert_new(self, parent: str, rows: Sequence[Row]) -> set[int]:
        return self._stage_and(self._take, parent, rows, writes=not self._dry_run)

    def _stage_and(self, take: SQL, parent: str, rows: Sequence[Row], *, writes: bool = False) -> set[int]:
        """Stage ``rows`` and run ``take``, in one transaction; returns the lines that it gives."""
        statement = take.format(
            parent=Identifier(parent),
            columns=self._names,
            key=Identifier(self._table.key_column),
            time=Identifier(self._table.time_column),
        )
        with self._connection.transaction(), self._connection.cursor() as cursor:
            if writes:
                self._days.enter(rows)
            with cursor.copy(self._stage) as copy:
                copy.write(_block([f"{row.line}\t{row.copy}" for row in rows]))
            return {line for (line,) in cursor.execute(statement)}


def _copy_statement(relation: str, columns: Sequence[str]) -> Composed:
    names = SQL(", ").join(Identifier(name) for name in columns)
    return SQL(_QUERIES["copy_rows"]).format(relation=Identifier(relation), columns=names)


def _block(lines: Sequence[str]) -> str:
    """Lines of a COPY. Their cells have no tabs and no line ends: the backslash is all that is left to escape."""
    return "\n".join(lines).replace("\\", "\\\\") + "\n"


def _has_moved(error: psycopg.Error) -> bool:
    """Whether ``error`` comes from a month that was moved, sealed or dropped since the tiers were read."""
    if error.sqlstate == MONTH_IS_SEALED or isinstance(error, errors.DeadlockDetected | errors.SerializationFailure):
        return True
    # "no partition of relation found for row" is a check violation, and the only one without a constraint.
    return isinstance(error, errors.CheckViolation) and error.diag.constraint_name is None


def _without_repeats(rows: Sequence[Row]) -> tuple[list[Row], list[Reject]]:
    """The rows with the first of each id, and a reject for each further one."""
    first: dict[str, int] = {}
    unique: list[Row] = []
    rejects: list[Reject] = []
    for row in rows:
        line = first.setdefault(row.row_id, row.line)
        if line == row.line:
            unique.append(row)
        else:
            rejects.append(Reject(row.line, f"same key and time as line {line}", "id", row.text))
    return unique, rejects
