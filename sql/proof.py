"""PostgreSQL's side of a month's proof: the leaf hash of each row, and the sums, computed in PostgreSQL itself."""

from collections.abc import Sequence

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from ledger.canonical import FIELD_SEPARATOR, NULL_MARK
from ledger.columns import Column, ColumnKind
from ledger.identifiers import id_bounds
from ledger.months import Month
from ledger.tables import TieredTable
from sql.relations import Relation

LAST_BLOCK = 1 << 32  # one more than PostgreSQL's BlockNumber can be


def leaf_expression(columns: Sequence[Column]) -> Composable:
    """SHA-256(0x00 || canonical text) of a row as bytea; the text is defined in `ledger.canonical`."""
    # concat_ws() with many arguments is one call; a chain of || with 15 columns costs twice as much.
    fields = SQL(", ").join(_field(column) for column in columns)
    text = SQL("concat_ws({}, {})").format(Literal(FIELD_SEPARATOR), fields)
    return SQL("sha256('\\x00'::bytea || convert_to({}, 'UTF8'))").format(text)


def _field(column: Column) -> Composable:
    name = Identifier(column.name)
    value: Composable = name
    if column.kind is ColumnKind.TIMESTAMP:
        value = microseconds(name)
    elif column.kind is ColumnKind.DATE:
        value = SQL("({} - DATE '1970-01-01')").format(name)
    elif column.kind is ColumnKind.BOOLEAN:
        value = SQL("CASE WHEN {0} THEN 't' WHEN NOT {0} THEN 'f' END").format(name)
    if not column.nullable:
        return value
    return SQL("coalesce({}::text, {})").format(value, Literal(NULL_MARK))


def microseconds(instant: Composable) -> Composable:
    """Microseconds since 1970 of a timestamptz, a bigint, exact for all of them.

    In double precision the result is off by less than half a microsecond below 2**51. So it is rounded to the right one
    for the years 1900 to 2039. `extract` computes with numeric, which costs several times as much.
    """
    return SQL(
        "CASE WHEN {0} >= '1900-01-01 00:00+00' AND {0} < '2040-01-01 00:00+00' "
        "THEN (date_part('epoch', {0}) * 1000000)::bigint ELSE (extract(epoch FROM {0}) * 1000000)::bigint END"
    ).format(instant)


def totals_query(table: TieredTable, relation: Relation) -> Composed:
    """(currency, type, status, rows, first, last, sums of the money columns) of a relation, a record for each currency,
    type and status.
    """
    kind = (Identifier(name) if name else SQL("''::text") for name in table.kind_columns)
    sums = (SQL("sum({})").format(Identifier(column)) for column in table.money_columns)
    span = SQL("count(*), min({0}), max({0})").format(Identifier(table.time_column))
    return SQL("SELECT {} FROM {} GROUP BY 1, 2, 3").format(SQL(", ").join([*kind, span, *sums]), relation.identifier)


def strangers_query(table: TieredTable, relation: Relation, month: Month) -> Composed:
    """Return whether ``relation`` has a row whose key is not one of ``month``. Where a CHECK says that it has none,
    PostgreSQL reads no row for it under `constraint_exclusion`.
    """
    first, last = (Literal(str(bound)) for bound in id_bounds(month))
    return SQL("SELECT EXISTS (SELECT FROM {relation} WHERE {key} < {first}::uuid OR {key} >= {last}::uuid)").format(
        relation=relation.identifier, key=Identifier(table.key_column), first=first, last=last
    )


def leaves_query(columns: Sequence[Column], relation: Relation, blocks: range) -> Composed:
    """(leaf hashes one after the other, rows) of the rows of ``relation`` that lie in the heap's ``blocks``, as one
    record. PostgreSQL sends 32 bytes a row and no message for each.

    A range that stops nowhere (`range.stop` is `LAST_BLOCK`) has no upper bound: no block is ever left out.
    """
    where = SQL("ctid >= {}::tid").format(Literal(f"({blocks.start},0)"))
    if blocks.stop != LAST_BLOCK:
        where += SQL(" AND ctid < {}::tid").format(Literal(f"({blocks.stop},0)"))
    return SQL("SELECT coalesce(string_agg({}, ''::bytea), ''), count(*) FROM {} WHERE {}").format(
        leaf_expression(columns), relation.identifier, where
    )
