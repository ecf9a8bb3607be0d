"""Rows to PostgreSQL: a chunk, a transaction, into whichever tier takes rows of their month.

A chunk is copied straight into the partitions, and its identities beside it in the same transaction. Only when a row is
known already, the known ones are looked up and left out. The same holds for the following chunks until one is all new.
So a file that is imported again costs one failed row, not one failed chunk after another. A row that is there without
an identity, put there by somebody else, is found through a staging table.

What was loaded is what PostgreSQL says that it stored. Where a trigger may drop or change rows, every stored row is
compared with the one that was sent. A dropped row is rejected, and a changed one stops the import.

Months may move while an import runs. Nothing is locked against that. A chunk that meets a moved or sealed month fails
as a whole. The tiers are read again, and the chunk is loaded by what they say then.
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
from sql.partitions import try_partition
from sql.queries import load
from sql.relations import Parents, Relation
from sql.storing import alterers, check_stored
from tasks.importing.closed_days import ClosedDays, DaysClosedError
from tasks.importing.identity import differing
from tasks.importing.known_rows import ALREADY_LOADED, KnownRows
from tasks.importing.rejects import RecordOutcome, Reject
from tasks.importing.rows import Row

_QUERIES = load("imports")
_ATTEMPTS = 10
_PAUSE_S = 0.05


class Target(NamedTuple):
    """The target of a month's rows: a parent table, or nowhere for a reason."""

    parent: Relation | None
    refusal: str = ""


class MonthTargets:
    """The targets of a table's months now. Read again after `forget`."""

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
                self._make(month)
        return self._known.get(month_index) or Target(self._parents.hot)

    def _make(self, month: Month) -> None:
        """Make the month's partition. Where something is in the way, the month takes no rows, and the others do."""
        _, obstacle = try_partition(self._connection, self._settings, self._table, month)
        if obstacle is None:
            self._read()
        else:
            self._known[month.index] = Target(None, f"month {month} can get no partition: {obstacle}")

    def forget(self) -> None:
        """Read the tiers again when they are asked for next."""
        self._known.clear()

    def _read(self) -> None:
        rows = self._connection.execute(_QUERIES["months"], {"table": self._table.name}).fetchall()
        for first_day, tier, is_sealed in rows:
            month = Month.of(first_day)
            self._known[month.index] = self._judge(month, tier, is_sealed=is_sealed)

    def _judge(self, month: Month, tier: str, *, is_sealed: bool) -> Target:
        if tier == Tier.HOT:
            return Target(self._parents.hot)
        if tier == Tier.WARM and not is_sealed:
            return Target(self._parents.warm)
        state = "sealed" if tier == Tier.WARM else tier
        return Target(None, f"month {month} is {state}: it takes no more rows")


class Loader:
    """Loads chunks of rows of one table over one autocommit connection.

    A dry run makes no partition and loads nothing. `load` then returns what would be rejected, except repeats of a row
    further back in the same file.
    """

    def __init__(
        self,
        connection: Connection,
        settings: Settings,
        table: TieredTable,
        columns: Sequence[str],
        dry_run: bool = False,
        same_values: bool = False,
    ) -> None:
        self._connection = connection
        self._table = table
        self._months = MonthTargets(connection, settings, table, dry_run)
        self._days = ClosedDays(connection, table, columns)
        self._known = KnownRows(connection, table, columns, same_values)
        self.dry_run = dry_run
        self._expects_known = dry_run
        self._names = _listed(columns)
        self._stage = _copy_statement(Identifier("pg_temp", "import_staging"), ("line", *columns))
        self._columns = columns
        hot = Parents.of(connection, table).hot
        if hot is None:
            raise ConfigError(f"table {table.name}: there is no {table.hot_parent} in the database")
        connection.execute(SQL(_QUERIES["create_staging"]).format(parent=hot.identifier))

    def load(self, rows: Sequence[Row]) -> list[Reject]:
        """Load ``rows`` and return those that were not, in the order of their lines.

        Safe to run again: a row that is known is not loaded twice. Raises TransientError when PostgreSQL is away or
        months keep moving; chunks loaded before stay loaded.
        """
        unique, repeats = _without_repeats(rows)
        rejects = self._load(unique, _ATTEMPTS)
        refused = {reject.line for reject in rejects if reject.outcome is RecordOutcome.REJECTED}
        return sorted([*rejects, *(self._repeat(row, first, refused) for row, first in repeats)])

    def _repeat(self, row: Row, first: Row, refused: set[int]) -> Reject:
        """Return what is said of a row whose key is that of an earlier one: known, unless that one was refused."""
        names = differing(first.fingerprint, row.fingerprint, self._columns[1:])
        reason = f"same key as line {first.line}"
        if names:
            listed = ", ".join(names)
            return Reject(row.line, f"{reason}, with another {listed}", listed, row.text, RecordOutcome.DIFFERENT)
        outcome = RecordOutcome.REJECTED if first.line in refused else RecordOutcome.KNOWN
        return Reject(row.line, reason, self._table.key_column, row.text, outcome)

    def _load(self, rows: Sequence[Row], attempts: int) -> list[Reject]:
        looked_up = self._expects_known
        new, rejects = self._known.split(rows) if looked_up else (rows, [])
        refused: dict[int, Reject] = {}
        by_parent: dict[Relation, list[Row]] = {}
        for row in new:
            target = self._months.target(row.month)
            if target.parent is None:
                refused[row.line] = Reject(row.line, target.refusal, self._table.time_column, row.text)
            else:
                by_parent.setdefault(target.parent, []).append(row)
        for parent, group in by_parent.items():
            kept, closed = self._days.split(group)
            refused |= {reject.line: reject for reject in closed}
            if kept:
                rejects += self._load_group(parent, kept, attempts, looked_up)
        if refused:
            rejects += self._refused(refused, [row for row in new if row.line in refused], looked_up)
        if looked_up and not self.dry_run:
            self._expects_known = len(new) < len(rows)
        return rejects

    def _refused(self, refused: dict[int, Reject], rows: Sequence[Row], looked_up: bool) -> list[Reject]:
        """The rejects of rows that can go nowhere. One that was loaded before is known: nothing is missing then."""
        known = [] if looked_up else self._known.split(rows)[1]
        return [*(refused | {reject.line: reject for reject in known}).values()]

    def _load_group(self, parent: Relation, rows: Sequence[Row], attempts: int, looked_up: bool) -> list[Reject]:
        try:
            refused = self._insert(parent, rows, looked_up)
        except DaysClosedError:
            return self._load(rows, attempts)  # there are only so many periods to be closed meanwhile
        except errors.UniqueViolation as error:
            self._expects_known = True
            return self._load(rows, attempts) if not looked_up else self._load_moved(rows, attempts, error)
        except psycopg.Error as error:
            if _has_moved(error):
                return self._load_moved(rows, attempts, error)
            if isinstance(error, errors.DataError | errors.IntegrityError):
                return self._load_halves(parent, rows, attempts, error)
            raise
        return [
            Reject(row.line, *refused[row.line][:2], row.text, refused[row.line][2])
            for row in rows
            if row.line in refused
        ]

    def _load_moved(self, rows: Sequence[Row], attempts: int, error: psycopg.Error) -> list[Reject]:
        if attempts <= 1:
            return self._load_months(rows, error)
        time.sleep(_PAUSE_S)
        self._months.forget()
        return self._load(rows, attempts - 1)

    def _load_months(self, rows: Sequence[Row], error: psycopg.Error) -> list[Reject]:
        """The last try: each month for itself. One without a partition takes no rows, whatever the tier map says."""
        months = sorted({row.month for row in rows})
        if len(months) > 1:
            groups = ([row for row in rows if row.month == month] for month in months)
            return [reject for group in groups for reject in self._load(group, 1)]
        if not _is_without_partition(error):
            raise TransientError(
                f"{self._table.name}: months keep moving, or others import the same rows: {error.diag.message_primary}"
            ) from error
        reason = f"month {Month.from_index(months[0])} has no partition: {error.diag.message_primary}"
        return [Reject(row.line, reason, self._table.time_column, row.text) for row in rows]

    def _load_halves(self, parent: Relation, rows: Sequence[Row], attempts: int, error: psycopg.Error) -> list[Reject]:
        """Find the row that PostgreSQL refuses although it passed our rules, and load the others."""
        if len(rows) == 1:
            field = error.diag.column_name or ""
            return [Reject(rows[0].line, f"PostgreSQL: {error.diag.message_primary}", field, rows[0].text)]
        middle = len(rows) // 2
        halves = (rows[:middle], rows[middle:])
        return [reject for half in halves for reject in self._load_group(parent, half, attempts, looked_up=True)]

    def _insert(
        self, parent: Relation, rows: Sequence[Row], looked_up: bool
    ) -> dict[int, tuple[str, str, RecordOutcome]]:
        """Load ``rows`` into ``parent`` in one transaction; returns the lines that were not, with reason and field.

        Raises UniqueViolation when a row was loaded before, or by another import just now.
        """
        altering = [] if self.dry_run else alterers(self._connection, parent)
        if not self.dry_run and not altering:
            try:
                self._copy(parent, rows)
            except errors.UniqueViolation:
                if not looked_up:
                    raise
            except NotStoredError:  # a trigger that was made just now
                altering = alterers(self._connection, parent)
            else:
                return {}
        missing, repeated = self._insert_new(parent, rows, altering)
        lost = f"PostgreSQL did not store the row: {', '.join(altering) or 'a trigger'} drops it"
        known = dict.fromkeys(repeated, (ALREADY_LOADED, self._table.key_column, RecordOutcome.KNOWN))
        return dict.fromkeys(missing, (lost, "", RecordOutcome.REJECTED)) | known

    def _copy(self, parent: Relation, rows: Sequence[Row]) -> None:
        statement = _copy_statement(parent.identifier, self._columns)
        with self._connection.transaction(), self._connection.cursor() as cursor:
            self._days.enter(rows)
            with cursor.copy(statement) as copy:
                copy.write(_block([row.copy for row in rows]))
            check_stored(cursor, len(rows), str(parent))
            self._known.record(cursor, rows)

    def _insert_new(self, parent: Relation, rows: Sequence[Row], altering: Sequence[str]) -> tuple[set[int], set[int]]:
        """Load what is new; returns the lines that PostgreSQL did not store, and those that were there already."""
        with self._connection.transaction(), self._connection.cursor() as cursor:
            if not self.dry_run:
                self._days.enter(rows)
            with cursor.copy(self._stage) as copy:
                copy.write(_block([f"{row.line}\t{row.copy}" for row in rows]))
            inserted = [] if self.dry_run else cursor.execute(self._statement("insert_staged", parent)).fetchall()
            changed = [line for line, stored in inserted if stored]
            if changed:
                raise NotStoredError(_changed(changed, altering or [f"a trigger of {parent}"]))
            absent = {line for line, _ in inserted}
            there = {line for (line,) in cursor.execute(self._statement("find_staged", parent))}
            # In a dry run nothing was loaded, so what is there was there before.
            repeated = there if self.dry_run else there & absent
            missing = absent - repeated
            if not self.dry_run:
                self._known.record(cursor, [row for row in rows if row.line not in missing])
            return missing, repeated

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
    """Return whether ``error`` comes from a month that was moved, sealed or dropped since the tiers were read."""
    if error.sqlstate == MONTH_IS_SEALED or isinstance(error, errors.DeadlockDetected | errors.SerializationFailure):
        return True
    return _is_without_partition(error)


def _is_without_partition(error: psycopg.Error) -> bool:
    """Return whether PostgreSQL found no partition for a row: the only check violation without a constraint."""
    return isinstance(error, errors.CheckViolation) and error.diag.constraint_name is None


def _without_repeats(rows: Sequence[Row]) -> tuple[list[Row], list[tuple[Row, Row]]]:
    """The rows with the first of each identity, and each further one with the first."""
    first: dict[str, Row] = {}
    unique: list[Row] = []
    repeats: list[tuple[Row, Row]] = []
    for row in rows:
        earlier = first.setdefault(row.identities[0] if row.identities else row.row_id, row)
        if earlier is row:
            unique.append(row)
        else:
            repeats.append((row, earlier))
    return unique, repeats
