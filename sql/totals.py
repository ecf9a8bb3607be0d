"""PostgreSQL's side of daily totals: the mark of writes, what is kept, and the sums of a partition."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg.rows import TupleRow, class_row
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal
from psycopg.types.json import Jsonb

from ledger.errors import TransientError
from ledger.months import Month
from ledger.tables import TieredTable
from ledger.totals import COLUMNS, DETAILS, Question, TotalsGroup, Zone, column_of
from sql.connection import Connection, fetch_one, schema_of
from sql.queries import load
from sql.relations import Relation
from sql.session_lock import try_session_lock
from sql.storing import check_stored, fetch_stored

_QUERIES = load("totals")
_MARK = "treasury_mark_totals"
_DAYS: Mapping[Zone, LiteralString] = {Zone.UTC: "utc_day", Zone.JOHANNESBURG: "sa_day"}
# The days of an instant. The offset of Johannesburg is written out: no time zone database takes part.
UTC_DAY = "({} AT TIME ZONE 'UTC')::date"
SA_DAY = "({} AT TIME ZONE 'UTC' + INTERVAL '2 hours')::date"


@dataclass(frozen=True, slots=True)
class KeptObject:
    """An archived object whose totals may be kept: its key, and what its totals were computed from."""

    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class KeptPlaces:
    """The places whose kept totals hold: the OIDs of partitions and the keys of objects."""

    relations: frozenset[int]
    objects: frozenset[str]


def _columns(table: TieredTable) -> dict[str, list[Any]]:
    """The columns that kept totals sum, and those that they are grouped by: totals of other ones do not hold."""
    return {"money_columns": list(table.money_columns), "kind_columns": list(table.kind_columns)}


@contextmanager
def totals_lock(connection: Connection) -> Iterator[None]:
    """Keep totals alone, until the end of the block or the connection. Raises ConflictError while another run does."""
    otherwise = "another run keeps daily totals; one does so at a time"
    with try_session_lock(connection, _QUERIES["lock"], _QUERIES["unlock"], otherwise):
        yield


def read_kept(
    connection: Connection, table: TieredTable, relations: Iterable[int], objects: Sequence[KeptObject]
) -> KeptPlaces:
    """Those of the partitions and objects whose kept totals hold now."""
    rows = connection.execute(_QUERIES["valid"], _asked(table, relations, objects)).fetchall()
    return _places(rows)


def _places(rows: Iterable[TupleRow]) -> KeptPlaces:
    places = [(relation, key) for _, relation, key, *_ in rows]
    return KeptPlaces(
        frozenset(relation for relation, _ in places if relation is not None),
        frozenset(key for _, key in places if key is not None),
    )


def _asked(table: TieredTable, relations: Iterable[int], objects: Sequence[KeptObject]) -> dict[str, Any]:
    return {
        **_columns(table),
        "table": table.name,
        "relations": list(relations),
        "objects": [stored.key for stored in objects],
        "fingerprints": [stored.fingerprint for stored in objects],
    }


def kept_sums(
    connection: Connection,
    table: TieredTable,
    question: Question,
    relations: Iterable[int],
    objects: Sequence[KeptObject],
) -> tuple[KeptPlaces, list[TupleRow]]:
    """The places whose kept totals hold, and their totals: day, currency, the columns of `COLUMNS`, rows and sums. They
    are in the order of these keys, None first; a key has several where a day has several pieces.

    A column that totals are not grouped by is None. One statement asks both, so no run that keeps totals comes between.
    """
    day = SQL(_DAYS[question.zone])
    names = [SQL(name) for name in ("day", "currency", *(group.value for group in COLUMNS))]
    order = [SQL("day NULLS FIRST"), *(SQL('{} COLLATE "C" NULLS FIRST').format(name) for name in names[1:])]
    expressions = [day if TotalsGroup.DAY in question.groups else SQL("NULL::date"), SQL("currency")]
    expressions += [SQL(group.value) if group in question.groups else SQL("NULL::text") for group in COLUMNS]
    added = [SQL("row_count"), *(SQL("sums[{}]").format(Literal(n + 1)) for n in range(len(table.money_columns)))]
    if not question.is_of_pieces:  # else PostgreSQL would add up hardly anything, and take as long as for all the rest
        added = [SQL("sum(row_count)::bigint"), *(SQL("sum({})").format(amount) for amount in added[1:])]
    query = SQL(_QUERIES["kept_sums"]).format(
        valid=SQL(_QUERIES["valid"]),
        named=SQL(", ").join(
            SQL("{} AS {}").format(column, name) for column, name in zip(expressions, names, strict=True)
        ),
        added=SQL(", ").join(added),
        grouped=SQL("" if question.is_of_pieces else "GROUP BY 4, 5, 6, 7, 8, 9"),
        day=day,
        client=SQL("" if question.client_id is None else "AND client_id = %(client)s"),
        nothing=SQL(", ").join([SQL("NULL")] * (len(COLUMNS) + 1)),
        counted=SQL(", ").join([SQL("row_count"), *[SQL("0")] * len(table.money_columns)]),
        order=SQL(", ").join(order),
    )
    values = {"first": question.first, "last": question.last, "client": question.client_id, "detail": question.detail}
    rows = connection.execute(query, values | _asked(table, relations, objects)).fetchall()
    return _places(row for row in rows if row[0] is not None), [row[3:] for row in rows if row[0] is None]


def partition_sums(
    connection: Connection, table: TieredTable, question: Question, item: Composable, living: Sequence[str]
) -> list[TupleRow]:
    """The totals of a FROM item, as those of `kept_sums`, from its rows now."""
    time_column = Identifier(table.time_column)
    day = SQL(UTC_DAY if question.zone is Zone.UTC else SA_DAY).format(time_column)
    columns = {group: _column(table, group, living) for group in COLUMNS}
    expressions = [day if TotalsGroup.DAY in question.groups else SQL("NULL::date"), _currency(table)]
    expressions += [columns[group] if group in question.groups else SQL("NULL::text") for group in COLUMNS]
    where = [SQL("{} >= %(lower)s AND {} < %(upper)s").format(time_column, time_column)]
    if question.client_id is not None:
        where.append(SQL("{} = %(client)s").format(columns[TotalsGroup.CLIENT]))
    selected = SQL(", ").join([*expressions, SQL("count(*)"), *_sums(table)])
    query = SQL("SELECT {} FROM {} WHERE {} GROUP BY 1, 2, 3, 4, 5, 6").format(selected, item, SQL(" AND ").join(where))
    values = {"lower": question.lower, "upper": question.upper, "client": question.client_id}
    return connection.execute(query, values).fetchall()


def _column(table: TieredTable, group: TotalsGroup, living: Sequence[str]) -> Composable:
    name = column_of(table, group, living)
    return SQL("{}::text").format(Identifier(name)) if name else SQL("NULL::text")


def _currency(table: TieredTable) -> Composable:
    return SQL("{}::text").format(Identifier(table.currency_column)) if table.currency_column else SQL("NULL::text")


def _sums(table: TieredTable) -> list[Composable]:
    return [SQL("coalesce(sum({}), 0)").format(Identifier(column)) for column in table.money_columns]


def fingerprint(connection: Connection, relation: Relation) -> str | None:
    """What must be as it is now for kept totals of ``relation`` to hold; None where its writes are not marked."""
    fingerprint_now: str | None = fetch_one(connection, _QUERIES["fingerprint"], {"relation": relation.oid})[0]
    return fingerprint_now


def mark_writes(connection: Connection, relation: Relation) -> None:
    """Make every write to ``relation`` leave a mark. To be called within `sql.maintenance.run_ddl`. Safe to run again.

    Making the trigger waits for every writer to end: what is read after the commit has all rows that were not marked.
    """
    connection.execute(
        SQL(
            "CREATE OR REPLACE TRIGGER {0} AFTER INSERT OR UPDATE OR DELETE ON {1} FOR EACH ROW EXECUTE FUNCTION {2}()"
        ).format(Identifier(_MARK), relation.identifier, Identifier(schema_of(connection), _MARK))
    )
    connection.execute(SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}").format(relation.identifier, Identifier(_MARK)))


def keep_partition(
    connection: Connection, table: TieredTable, month: Month, relation: Relation, living: Sequence[str]
) -> int:
    """Keep the totals of ``relation`` as its rows are in this transaction, which must read one snapshot; its rows.

    Marks that this snapshot sees are of writes that it sees, so they go; those of later writes stay. Raises
    TransientError when writes to the relation are not marked any more.
    """
    fingerprint_now = fingerprint(connection, relation)
    if fingerprint_now is None:
        raise TransientError(f"{relation}: the trigger {_MARK} was taken away meanwhile; run it again")
    connection.execute(_QUERIES["forget_changes"], {"relation": relation.oid})
    connection.execute(_QUERIES["forget_relation"], {"table": table.name, "relation": relation.oid})
    place = _add_place(connection, table, month, fingerprint_now, 0, relation=relation.oid)
    connection.execute(_insert(table, place, relation, living))
    counted = connection.execute(_QUERIES["count_rows"], {"place": place})
    check_stored(counted, 1, "daily_totals_places")
    (rows,) = fetch_row(counted)
    return int(rows)


def fetch_row(cursor: psycopg.Cursor[TupleRow]) -> TupleRow:
    """The one row of an answer that always has one."""
    row = cursor.fetchone()
    assert row is not None  # noqa: S101  # the statement returns a row
    return row


def _insert(table: TieredTable, place: int, relation: Relation, living: Sequence[str]) -> Composed:
    """The statement that stores the totals of a partition, each set of them, from one scan, in the order of questions:
    those of a set, of a client and of some days are then next to each other.
    """
    time_column = Identifier(table.time_column)
    pieces = [SQL(UTC_DAY).format(time_column), SQL(SA_DAY).format(time_column)]
    names = ["utc_day", "sa_day", *(group.value for group in COLUMNS), "currency"]
    columns = [*pieces, *(_column(table, group, living) for group in COLUMNS), _currency(table)]
    read = [SQL("{} AS {}").format(column, Identifier(name)) for column, name in zip(columns, names, strict=True)]
    read += [
        SQL("{} AS {}").format(Identifier(column), Identifier(f"money {number}"))
        for number, column in enumerate(table.money_columns)
    ]
    money = [SQL("coalesce(sum({}), 0)").format(Identifier(f"money {n}")) for n in range(len(table.money_columns))]
    return SQL(
        "INSERT INTO daily_totals (place_id, detail, utc_day, sa_day, client_id, type, status, supplier, currency,"
        " row_count, sums) SELECT {place}, {detail}, {names}, count(*), ARRAY[{money}]::numeric[]"
        " FROM (SELECT {read} FROM {relation}) AS rows GROUP BY GROUPING SETS ({sets}) ORDER BY 2, client_id, utc_day"
    ).format(
        place=Literal(place),
        detail=SQL("CASE grouping(client_id, type) WHEN 3 THEN 0 WHEN 1 THEN 1 ELSE 2 END"),
        names=SQL(", ").join(map(Identifier, names)),
        money=SQL(", ").join(money),
        read=SQL(", ").join(read),
        relation=relation.identifier,
        sets=SQL(", ").join(map(_set, DETAILS)),
    )


def _set(groups: frozenset[TotalsGroup]) -> Composable:
    names = ["utc_day", "sa_day", "currency", *(group.value for group in COLUMNS if group in groups)]
    return SQL("({})").format(SQL(", ").join(map(Identifier, names)))


def keep_object(
    connection: Connection, table: TieredTable, month: Month, archived: KeptObject, totals: Iterable[Sequence[Any]]
) -> bool:
    """Keep the totals of an archived object, records of detail, days, columns, rows and sums; False where it is
    none any more. To be called within a transaction. A deletion of the month comes before or after it.
    """
    named = {"table": table.name, "object": archived.key}
    if connection.execute(_QUERIES["hold_archived"], named).fetchone() is None:
        return False
    connection.execute(_QUERIES["forget_object"], named)
    records = list(totals)
    rows = sum(record[-2] for record in records if record[0] == 0)
    place = _add_place(connection, table, month, archived.fingerprint, rows, object=archived.key)
    with connection.cursor() as cursor:
        with cursor.copy(_QUERIES["copy_rows"]) as copy:
            for record in records:
                copy.write_row((place, *record))
        check_stored(cursor, len(records), "daily_totals")
    return True


def _add_place(
    connection: Connection, table: TieredTable, month: Month, fingerprint_now: str, rows: int, **place: int | str
) -> int:
    values: dict[str, Any] = {
        "relation": None,
        "object": None,
        "fingerprint": fingerprint_now,
        "row_count": rows,
        **place,
    }
    values |= {"table": table.name, "month": month.first_day, **_columns(table)}
    return int(fetch_stored(connection, _QUERIES["add_place"], values, "daily_totals_places")[0])


def forget_others(connection: Connection, table: TieredTable, relations: Sequence[int], objects: Sequence[str]) -> int:
    """Remove what is kept of places that are not among these; the number of places. Safe to run again."""
    places = {"table": table.name, "relations": list(relations), "objects": list(objects)}
    gone = connection.execute(_QUERIES["forget_others"], places).rowcount
    connection.execute(_QUERIES["forget_gone_changes"])
    return gone


def forget_deleted(connection: Connection, table: str, month: Month, parts: Sequence[int]) -> None:
    """Remove what is kept of parts of a month, in the transaction that begins their deletion."""
    values = {"table": table, "month": month.first_day, "parts": list(parts)}
    connection.execute(_QUERIES["forget_deleted"], values)


@dataclass(frozen=True, slots=True)
class UnkeptMonth:
    """A month (``YYYY-MM``) without totals that hold, and since when it could have them, UTC."""

    table_name: str
    month: str
    since: datetime


def unkept(connection: Connection, tables: Iterable[TieredTable]) -> list[UnkeptMonth]:
    """The months that have ended and have no totals that hold, the longest without them first."""
    with connection.cursor(row_factory=class_row(UnkeptMonth)) as cursor:
        described = Jsonb([{"name": table.name, **_columns(table)} for table in tables])
        return cursor.execute(_QUERIES["unkept"], {"tables": described}).fetchall()
