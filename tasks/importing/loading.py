"""Rows to PostgreSQL: a chunk, a transaction, into whichever tier takes rows of their month.

A chunk is copied straight into the partitions, which costs half of what it does through a staging table. Only when a
row is there already, the chunk goes through one, which tells exactly which lines are not new, and so do the following
chunks until one is all new: a file that is imported again costs one failed row, not one failed chunk after another.

What was loaded is what PostgreSQL says that it stored. Where a trigger may drop or change rows, every row that was
stored is compared with the one that was sent: a dropped row is rejected, a changed one stops the import.

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
from ledger.errors import ConfigError, NotStoredError, TransientError
from ledger.months import Month
from ledger.policy import Tier
from ledger.tables import TieredTable
from sql.connection import Connection
from sql.errors import MONTH_IS_SEALED
from sql.partitions import ensure_partition
from sql.queries import load
from sql.relations import Parents, Relation
from sql.storing import alterers, check_stored
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

    parent: Relation | None
    refusal: str = ""


class MonthTargets:
    """Where the months of a table take rows now. Read again after `forget`."""

    def __init__(self, connection: Connection, settings: Settings, table: TieredTable, dry_run: bool = False) -> None:
        self._connection = connection
        self._settings = settings
        self._table = table
        self._dry_run = dry_run
        self._known: dict[int, Target] = {}
        self._parents = Parents.of(connection, table)

    def target(self, month_index: int) -> Target:
        """The target of the month, whose partition is made when there is none in any tier."""
        if month_index not in self._known:
            month = Month.from_index(month_index)
            self._read()
            if month_index not in self._known and not self._dry_run:
                ensure_partition(self._connection, self._settings, self._table, month)
                self._read()
        return self._known.get(month_index) or Target(self._parents.hot)

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
            return Target(self._parents.hot)
        if tier == Tier.WARM and step not in _SEALED_STEPS:
            return Target(self._parents.warm)
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
        self._names = _listed(columns)
        self._stage = _copy_statement(Identifier("pg_temp", "import_staging"), ("line", *columns))
        self._columns = columns
        hot = Parents.of(connection, table).hot
        if hot is None:
            raise ConfigError(f"table {table.name}: there is no {table.hot_parent} in the database")
        connection.execute(SQL(_QUERIES["create_staging"]).format(parent=hot.identifier))

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
        by_parent: dict[Relation, list[Row]] = {}
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

    def _without_loaded(self, parent: Relation, rows: Sequence[Row], closed: Sequence[Reject]) -> list[Reject]:
        """The rejects of rows in closed days. A row that is there already gets that reason: nothing is missing then."""
        lines = {reject.line for reject in closed}
        there = self._find_loaded(parent, [row for row in rows if row.line in lines])
        key = self._table.key_column
        return [one._replace(reason=ALREADY_LOADED, field=key) if one.line in there else one for one in closed]

    def _load_group(self, parent: Relation, rows: Sequence[Row], attempts: int) -> list[Reject]:
        try:
            refused = self._insert(parent, rows)
        except DaysClosedError:
            return self._load(rows, attempts)  # there are only so many periods to be closed meanwhile
        except psycopg.Error as error:
            if _has_moved(error):
                return self._load_moved(rows, attempts, error)
            if isinstance(error, errors.DataError | errors.IntegrityError):
                return self._load_halves(parent, rows, attempts, error)
            raise
        return [Reject(row.line, *refused[row.line], row.text) for row in rows if row.line in refused]

    def _load_moved(self, rows: Sequence[Row], attempts: int, error: psycopg.Error) -> list[Reject]:
        if attempts <= 1:
            raise TransientError(f"{self._table.name}: months keep moving: {error.diag.message_primary}") from error
        time.sleep(_PAUSE_S)
        self._months.forget()
        return self._load(rows, attempts - 1)

    def _load_halves(self, parent: Relation, rows: Sequence[Row], attempts: int, error: psycopg.Error) -> list[Reject]:
        """Find the row that PostgreSQL refuses although it passed our rules, and load the others."""
        if len(rows) == 1:
            field = error.diag.column_name or ""
            return [Reject(rows[0].line, f"PostgreSQL: {error.diag.message_primary}", field, rows[0].text)]
        middle = len(rows) // 2
        halves = (rows[:middle], rows[middle:])
        return [reject for half in halves for reject in self._load_group(parent, half, attempts)]

    def _insert(self, parent: Relation, rows: Sequence[Row]) -> dict[int, tuple[str, str]]:
        """Load ``rows`` into ``parent`` in one transaction; returns the lines that were not, with reason and field."""
        altering = [] if self._dry_run else alterers(self._connection, parent)
        if not self._expects_repeats and not altering:
            try:
                self._copy(parent, rows)
            except errors.UniqueViolation:
                self._expects_repeats = True
            except NotStoredError:  # a trigger that was made just now
                altering = alterers(self._connection, parent)
            else:
                return {}
        missing, repeated = self._insert_new(parent, rows, altering)
        self._expects_repeats = bool(repeated) or self._dry_run
        lost = f"PostgreSQL did not store the row: {', '.join(altering) or 'a trigger'} drops it"
        known = dict.fromkeys(repeated, (ALREADY_LOADED, self._table.key_column))
        return dict.fromkeys(missing, (lost, "")) | known

    def _copy(self, parent: Relation, rows: Sequence[Row]) -> None:
        statement = _copy_statement(parent.identifier, self._columns)
        with self._connection.transaction(), self._connection.cursor() as cursor:
            self._days.enter(rows)
            with cursor.copy(statement) as copy:
                copy.write(_block([row.copy for row in rows]))
            check_stored(cursor, len(rows), str(parent))

    def _find_loaded(self, parent: Relation, rows: Sequence[Row]) -> set[int]:
        """The lines of ``rows`` that are in ``parent`` already."""
        with self._connection.transaction(), self._connection.cursor() as cursor:
            with cursor.copy(self._stage) as copy:
                copy.write(_block([f"{row.line}\t{row.copy}" for row in rows]))
            return {line for (line,) in cursor.execute(self._statement("find_staged", parent))}

    def _insert_new(self, parent: Relation, rows: Sequence[Row], altering: Sequence[str]) -> tuple[set[int], set[int]]:
        """Load what is new; returns the lines that PostgreSQL did not store, and those that were there already."""
        with self._connection.transaction(), self._connection.cursor() as cursor:
            if not self._dry_run:
                self._days.enter(rows)
            with cursor.copy(self._stage) as copy:
                copy.write(_block([f"{row.line}\t{row.copy}" for row in rows]))
            found = [] if self._dry_run else cursor.execute(self._statement("insert_staged", parent)).fetchall()
            changed = [line for line, stored in found if stored]
            if changed:
                raise NotStoredError(_changed(changed, altering or [f"a trigger of {parent}"]))
            absent = {line for line, _ in found}
            there = {line for (line,) in cursor.execute(self._statement("find_staged", parent))}
            # In a dry run nothing was loaded, so what is there was there before.
            repeated = there if self._dry_run else there & absent
            return absent - repeated, repeated

    def _statement(self, query: str, parent: Relation) -> Composed:
        return SQL(_QUERIES[query]).format(
            parent=parent.identifier,
            columns=self._names,
            loaded=_listed(self._columns, "loaded"),
            staged=_listed(self._columns, "staged"),
            key=Identifier(self._table.key_column),
            time=Identifier(self._table.time_column),
        )


def _changed(lines: Sequence[int | None], altering: Sequence[str]) -> str:
    where = f"line {min(known)}" if (known := [line for line in lines if line is not None]) else "a row"
    return (
        f"{where}: {', '.join(altering)} changes rows while they are stored; no row of this part of the file was "
        "loaded: disable it for the import"
    )


def _listed(columns: Sequence[str], *of: str) -> Composed:
    return SQL(", ").join(Identifier(*of, name) for name in columns)


def _copy_statement(relation: Identifier, columns: Sequence[str]) -> Composed:
    return SQL(_QUERIES["copy_rows"]).format(relation=relation, columns=_listed(columns))


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
