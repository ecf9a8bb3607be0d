"""Answers questions for totals: from what is kept where that holds, from the rows everywhere else."""

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from psycopg.sql import SQL, Literal

from config import Settings
from ledger.errors import ConfigError, FieldError, RefusalError
from ledger.months import Month
from ledger.tables import TieredTable
from ledger.totals import Question, Row, Sums, Total, TotalsGroup, column_of
from sql.connection import Connection, fetch_one
from sql.kept_connections import KeptConnections
from sql.obstacles import hidden_relations
from sql.totals import kept_sums, partition_sums
from tasks.querying.left_out import LeftOut
from tasks.querying.link import milliseconds
from tasks.totals.archived import archive_sums
from tasks.totals.places import KnownPlaces, PlaceOfRows, TablePlaces, refuse_unreadable


@dataclass(frozen=True, slots=True)
class TotalsAnswer:
    """Totals, and from how many places: those whose kept totals hold, and those whose rows were read now.

    ``deleted`` are months in the range of which rows were deleted: those are not counted. ``notes`` say so for people.
    They name places that the catalogue of months does not know, and rows that are not counted for the archive has them.
    ``different`` is how many of those the archive has with other values.
    """

    totals: list[Total]
    kept: int
    read: int
    deleted: tuple[Month, ...] = ()
    notes: tuple[str, ...] = ()
    different: int = 0


def answer_totals(
    settings: Settings, table: TieredTable, question: Question, most: int, timeout_s: float
) -> TotalsAnswer:
    """The answer of a `TotalsReader`, in a process that asks no other question."""
    with TotalsReader(settings) as reader:
        return reader.answer(table, question, most, timeout_s)


class TotalsReader:
    """Answers questions for totals. Thread-safe; keep one for the life of a process, and close it.

    It keeps some connections to PostgreSQL, and where the rows of each table are.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connections = KeptConnections(settings.database_dsn, "totals")
        self._places = KnownPlaces(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give back what it has open. Safe to call twice."""
        self._connections.close()

    def answer(self, table: TieredTable, question: Question, most: int, timeout_s: float) -> TotalsAnswer:
        """The totals that ``question`` asks for, equal to the rows of ``table`` in whatever tier they are. Reads only.

        Raises FieldError for a column that the table has not, and for more than ``most`` groups. Raises RefusalError
        for rows of a client where rows have none, and MissingRowsError when a month is not where the catalogue says.
        Raises ConfigError where row-level security would hide rows, and TransientError when a server is away or
        ``timeout_s`` is over.
        """
        with self._connections.taken() as connection, connection.transaction():
            limit = SQL("SET TRANSACTION READ ONLY; SET LOCAL statement_timeout = {}")
            connection.execute(limit.format(Literal(milliseconds(timeout_s))))
            described = self._places.read(connection, table)
            return answer_within(connection, self._settings, described, question, most, timeout_s)


def answer_within(
    connection: Connection, settings: Settings, table: TablePlaces, question: Question, most: int, timeout_s: float
) -> TotalsAnswer:
    """The answer of a `TotalsReader`, in the transaction in which the places of ``table`` were found."""
    _require_columns(table, question)
    asked = [place for place in table.places if place.overlaps(question.lower, question.upper)]
    refuse_unreadable(asked)
    return _answer(connection, settings, table, asked, question, most, timeout_s)


def _require_columns(table: TablePlaces, question: Question) -> None:
    for group in question.columns:
        if column_of(table.table, group, table.names) is None:
            raise FieldError("group_by", f"{table.table.name} has no column for {group}")
    if question.client_id is not None and column_of(table.table, TotalsGroup.CLIENT, table.names) is None:
        raise RefusalError(f"rows of {table.table.name} belong to no client: only who sees all rows may ask for totals")


def _answer(
    connection: Connection,
    settings: Settings,
    table: TablePlaces,
    asked: list[PlaceOfRows],
    question: Question,
    most: int,
    timeout_s: float,
) -> TotalsAnswer:
    relations = [place.attached.oid for place in asked if place.attached is not None and place.is_plain]
    objects = [place.archived for place in asked if place.archived is not None]
    _require_sight(connection, table, asked)
    kept, whole = kept_sums(connection, table.table, question, relations, objects)
    rest = [place for place in asked if not place.is_among(kept)]
    parts: list[Row] = []
    left_out: list[LeftOut] = []
    for place in rest:
        if place.is_plain and place.attached is not None:
            parts += partition_sums(connection, table.table, question, place.attached.item, table.names)
    mixed = [place for place in rest if not place.is_plain]
    if mixed:
        sums, left_out = archive_sums(connection, settings, table, mixed, question, timeout_s)
        parts += sums
        fetch_one(connection, "SELECT 1")  # the locks were kept until here: no month moved meanwhile
    gone = [
        branch
        for branch in table.gone
        if branch.month and branch.month.lower < question.upper and branch.month.upper > question.lower
    ]
    return TotalsAnswer(
        _fitting(Sums(table.table, table.scales).totals(whole, parts), most),
        kept=len(asked) - len(rest),
        read=len(rest),
        deleted=tuple(branch.month for branch in gone if branch.month),
        notes=(
            *(branch.note for branch in (*gone, *(place.branch for place in asked)) if branch.note),
            *(branch.note for branch in left_out),
        ),
        different=sum(branch.different for branch in left_out),
    )


def _require_sight(connection: Connection, table: TablePlaces, asked: list[PlaceOfRows]) -> None:
    """Raise ConfigError where a policy hides rows from this login: kept totals are of all rows, whoever asks."""
    relations = [place.attached.relation for place in asked if place.attached and place.attached.relation]
    for reason in hidden_relations(connection, [*table.parents, *relations]).values():
        raise ConfigError(reason)


def _fitting(totals: list[Total], most: int) -> list[Total]:
    if len(totals) > most:
        raise FieldError("group_by", f"makes {len(totals)} totals, and {most} fit: ask for fewer days or columns")
    return totals
