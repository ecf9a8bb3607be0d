"""Answers questions for totals: from what is kept where that holds, from the rows everywhere else."""

from dataclasses import dataclass

from psycopg.rows import TupleRow
from psycopg.sql import SQL, Literal

from config import Settings
from ledger.errors import ConfigError, FieldError, RefusalError
from ledger.months import Month
from ledger.tables import TieredTable
from ledger.totals import COLUMNS, Question, Sums, Total, TotalsGroup, column_of
from sql.connection import Connection, connect, fetch_one
from sql.holds import read_now
from sql.obstacles import hidden_relations
from sql.relations import Parents
from sql.totals import kept_sums, partition_sums
from tasks.querying.link import milliseconds
from tasks.totals.archived import archive_sums
from tasks.totals.places import PlaceOfRows, TablePlaces, places_of, refuse_unreadable

_KEY = 2 + len(COLUMNS)  # day, currency and columns


@dataclass(frozen=True, slots=True)
class TotalsAnswer:
    """Totals, and from how many places: those whose kept totals hold, and those whose rows were read now.

    ``deleted`` are months in the range of which rows were deleted: those are not counted. ``notes`` say so for people,
    and name places that the catalogue of months does not know.
    """

    totals: list[Total]
    kept: int
    read: int
    deleted: tuple[Month, ...] = ()
    notes: tuple[str, ...] = ()


def answer_totals(
    settings: Settings, table: TieredTable, question: Question, most: int, timeout_s: float
) -> TotalsAnswer:
    """The totals that ``question`` asks for, equal to the rows of ``table`` in whatever tier they are. Reads only.

    Raises FieldError for a column that the table has not, and for more than ``most`` groups; RefusalError for rows of a
    client where rows have none; MissingRowsError when a month is not where the catalogue says; ConfigError where
    row-level security would hide rows; TransientError when a server is away or ``timeout_s`` is over.
    """
    with connect(settings.database_dsn, "totals") as connection, connection.transaction():
        connection.execute("SET TRANSACTION READ ONLY")
        connection.execute(SQL("SET LOCAL statement_timeout = {}").format(Literal(milliseconds(timeout_s))))
        described = places_of(connection, settings, table)
        _require_columns(described, question)
        asked = [place for place in described.places if place.overlaps(question.lower, question.upper)]
        refuse_unreadable(asked)
        return _answer(connection, settings, described, asked, question, most, timeout_s)


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
    now = read_now(connection)
    relations = [oid for place in asked if (oid := place.relation_ended(now)) is not None]
    objects = [place.archived for place in asked if place.archived is not None]
    _require_sight(connection, table, asked)
    kept, rows = kept_sums(connection, table.table, question, relations, objects)
    rest = [
        place
        for place in asked
        if place.relation_ended(now) not in kept.relations
        and (place.archived is None or place.archived.key not in kept.objects)
    ]
    for place in rest:
        if place.is_plain and place.attached is not None:
            rows += partition_sums(connection, table.table, question, place.attached.item, table.names)
    mixed = [place for place in rest if not place.is_plain]
    if mixed:
        rows += archive_sums(connection, settings, table, mixed, question, timeout_s)
        fetch_one(connection, "SELECT 1")  # the locks were kept until here: no month moved meanwhile
    gone = [
        one for one in table.gone if one.month and one.month.lower < question.upper and one.month.upper > question.lower
    ]
    return TotalsAnswer(
        _added(table, rows, most),
        kept=len(asked) - len(rest),
        read=len(rest),
        deleted=tuple(one.month for one in gone if one.month),
        notes=tuple(one.note for one in (*gone, *(place.branch for place in asked)) if one.note),
    )


def _require_sight(connection: Connection, table: TablePlaces, asked: list[PlaceOfRows]) -> None:
    """Raise ConfigError where a policy hides rows from this login: kept totals are of all rows, whoever asks."""
    relations = [place.attached.relation for place in asked if place.attached and place.attached.relation]
    for reason in hidden_relations(connection, [*Parents.of(connection, table.table).found, *relations]).values():
        raise ConfigError(reason)


def _added(table: TablePlaces, rows: list[TupleRow], most: int) -> list[Total]:
    sums = Sums(table.table, table.scales)
    for row in rows:
        sums.add(row[:_KEY], row[_KEY], row[_KEY + 1 :])
    totals = sums.totals()
    if len(totals) > most:
        raise FieldError("group_by", f"makes {len(totals)} totals, and {most} fit: ask for fewer days or columns")
    return totals
