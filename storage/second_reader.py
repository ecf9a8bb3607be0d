"""The archive's second reader: Apache DataFusion, which decodes a Parquet file that pyarrow wrote and hashes its rows.

Its Parquet decoder (arrow-rs) and its SHA-256 share no code with the writer or with PostgreSQL. A file is declared to
be in the table's order, so that totals of groups need no memory for the month; `storage.month_tree` checks the order.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from datafusion import RuntimeEnvBuilder, SessionConfig, SessionContext, col

from config import Settings
from ledger.canonical import FIELD_SEPARATOR, NULL_MARK
from ledger.columns import Column, ColumnKind
from ledger.month_tree import HEADER_MARK, Layout
from ledger.tables import TieredTable
from storage.engine import identifier, literal
from storage.spool import spool_folder

SOURCE = "archived"
_BATCH_ROWS = 8192
_SUMMED_DIGITS = 28  # DataFusion's sum adds 10 digits, up to 38; beyond, it could wrap around
_WIDE_DIGITS = 76
_UUID_PARTS = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))  # (place, length) of the hexadecimal digits
_INFINITE = {ColumnKind.TIMESTAMP: 2**63 - 1, ColumnKind.DATE: 2**31 - 1}  # as DuckDB writes PostgreSQL's infinity
_INTEGERS = {ColumnKind.TIMESTAMP: "bigint", ColumnKind.DATE: "int"}


@contextmanager
def second_reader(settings: Settings, threads: int) -> Iterator[SessionContext]:
    """A session that is bounded in memory, spills to the spool folder and touches no network."""
    with spool_folder(settings.spool, "datafusion") as spills:
        runtime = (
            RuntimeEnvBuilder()
            .with_fair_spill_pool(settings.archive_memory_mb << 20)
            .with_disk_manager_specified(str(spills))
        )
        options = {
            "datafusion.execution.parquet.schema_force_view_types": "false",
            "datafusion.optimizer.enable_round_robin_repartition": "false",  # it would break the order of the rows
        }
        config = SessionConfig(options).with_target_partitions(threads).with_batch_size(_BATCH_ROWS)
        yield SessionContext(config, runtime)


def open_file(context: SessionContext, layout: Layout, file: Path) -> None:
    """Make ``file`` the relation `SOURCE`, in the order that the layout says."""
    order = [col(name).sort(ascending=True, nulls_first=False) for name in layout.sorted_by]
    context.register_parquet(SOURCE, str(file), file_sort_order=[order])


def leaf_expression(columns: Sequence[Column]) -> str:
    """SHA-256(0x00 || canonical text) of a row; the text is defined in `ledger.canonical`."""
    fields = ", ".join(field_expression(column) for column in columns)
    return f"sha256(concat(chr(0), concat_ws({literal(FIELD_SEPARATOR)}, {fields})))"


def field_expression(column: Column) -> str:
    """The canonical text of one field."""
    text = _text(column)
    return f"coalesce({text}, {literal(NULL_MARK)})" if column.nullable else text


def _text(column: Column) -> str:
    name = identifier(column.name)
    if column.kind is ColumnKind.UUID:
        digits = f"encode({name}, 'hex')"
        return " || '-' || ".join(f"substr({digits}, {place}, {length})" for place, length in _UUID_PARTS)
    if column.kind is ColumnKind.BOOLEAN:
        return f"CASE WHEN {name} THEN 't' WHEN NOT {name} THEN 'f' END"
    if column.kind in _INTEGERS:
        return f"CAST(CAST({name} AS {_INTEGERS[column.kind]}) AS varchar)"
    return name if column.kind in (ColumnKind.TEXT, ColumnKind.JSON) else f"CAST({name} AS varchar)"


def unhashable_expression(columns: Sequence[Column]) -> str:
    """True for a row without a canonical form: a text holds a reserved character, or a date or instant is infinite."""
    texts = [identifier(column.name) for column in columns if column.kind is ColumnKind.TEXT]
    together = f"concat_ws('', {', '.join(texts)})"  # one text to look through costs half of looking through each
    tests = [f"contains({together}, {literal(mark)})" for mark in (FIELD_SEPARATOR, NULL_MARK)] if texts else []
    tests += [
        f"coalesce(abs(CAST({identifier(column.name)} AS {_INTEGERS[column.kind]})) = {_INFINITE[column.kind]}, false)"
        for column in columns
        if column.kind in _INFINITE
    ]
    return " OR ".join(tests) or "false"


def totals_query(table: TieredTable, columns: Sequence[Column]) -> str:
    """(currency, type, status, rows, first, last, sums of the money columns) of a month, a record for each
    currency, type and status."""
    described = {column.name: column for column in columns}
    kind = [identifier(name) if name else "''" for name in table.kind_columns]
    time_column = identifier(table.time_column)
    parts = [
        *(f"{expression} AS kind_{number}" for number, expression in enumerate(kind)),
        "count(*)",
        f"min({time_column})",
        f"max({time_column})",
        *(_sum(described[name]) for name in table.money_columns),
    ]
    return f"SELECT {', '.join(parts)} FROM {SOURCE} GROUP BY 1, 2, 3"


def records_query(layout: Layout) -> str:
    """(group, group as text, rows, record as text) of each currency, type and status of every group. The order is that
    of the file and of the totals. The records of a group, joined, are its totals: see `ledger.month_tree`.
    """
    if layout.group_column is None:
        raise ValueError("such rows have no groups")
    group = identifier(layout.group_column)
    names = [identifier(name) for name in layout.kind_columns if name]
    kind = [field_expression(layout.column(name)) if name else "''" for name in layout.kind_columns]
    sums = [_sum_text(layout.column(name)) for name in layout.money_columns]
    fields = ", ".join([*kind, "CAST(count(*) AS varchar)", *sums])
    by = list(dict.fromkeys((group, *names)))
    order = ", ".join(f"{name} ASC NULLS LAST" for name in by)
    return (
        f'SELECT {group}, {field_expression(layout.column(layout.group_column))} AS "#name", count(*) AS "#rows", '
        f'concat_ws({literal(FIELD_SEPARATOR)}, {fields}) AS "#record" '
        f"FROM {SOURCE} GROUP BY {', '.join(by)} ORDER BY {order}"
    )


def header_expression() -> str:
    """The leaf of a group header, from the columns ``name``, ``rows``, ``totals`` and ``first``, the leaf of its first
    row.
    """
    separator = literal(FIELD_SEPARATOR)
    totals = f"encode(sha256(concat_ws({separator}, encode(first, 'hex'), totals)), 'hex')"
    text = f"concat_ws({separator}, {literal(HEADER_MARK)}, name, CAST(rows AS varchar), {totals})"
    return f"sha256(concat(chr(0), {text}))"


def _sum(column: Column) -> str:
    """The exact sum of a decimal column, NULL of nothing but NULLs."""
    name = identifier(column.name)
    if (column.precision or 0) <= _SUMMED_DIGITS:
        return f"sum({name})"
    return f"sum(arrow_cast({name}, 'Decimal256({_WIDE_DIGITS}, {column.scale})'))"


def _sum_text(column: Column) -> str:
    zero = format(0, f".{column.scale}f")
    return f"coalesce(CAST({_sum(column)} AS varchar), {literal(zero)})"
