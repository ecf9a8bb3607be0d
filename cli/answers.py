"""Output of `treasury sql`: a table for people; CSV, JSON or Parquet for programs. Rows are streamed."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
from rich.table import Table
from rich.text import Text

from cli.answer_columns import stored_type
from cli.answer_values import Values, plain_values
from cli.output_file import whole_file
from cli.terminal import console, visible
from ledger.errors import ConfigError, DataError
from tasks.querying.query import Answer

_QUOTED_IN_CSV = frozenset(',"\r\n')
_EMPTY = '""'
_FILE_WIDTH = 200  # of a table for people that is written to a file
_COLUMN_WIDTH = 9  # what a column needs at least, its frame included, to be read across
_SHOWN_ROWS = 1000  # of a table for people; the other formats give every row


def write_answer(answer: Answer, output_format: str, output: Path | None) -> None:
    """Write all rows. A file is there when it is whole.

    Raises ConfigError for Parquet on a terminal or for a file that cannot be made, and TransientError when the disk is
    full. Raises DataError for a value that the format cannot hold, and what reading the answer raises.
    """
    if output_format == "table" and output is None:
        console.print(_drawn(answer.batches, console.width))
        return
    if output_format == "parquet" and output is None and sys.stdout.isatty():
        raise ConfigError("--format parquet: give --output FILE or redirect the output")
    with _target(output) as file:
        _WRITERS[output_format](answer.batches, file)


@contextmanager
def _target(output: Path | None) -> Iterator[IO[bytes]]:
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with whole_file(output) as file:
        yield file


def _write_table(batches: pa.RecordBatchReader, file: IO[bytes]) -> None:
    text = TextIOWrapper(file, encoding="utf-8", write_through=True)
    type(console)(file=text, width=_FILE_WIDTH).print(_drawn(batches, _FILE_WIDTH))
    text.detach()


def _drawn(batches: pa.RecordBatchReader, width: int) -> Table:
    """The answer as a table. If the columns do not fit side by side, each row becomes a list of names and values."""
    across = len(batches.schema) * _COLUMN_WIDTH <= width
    shown = _table_across(batches.schema) if across else Table("column", "value", show_lines=False)
    more = False
    for number, row in enumerate(_rows(batches)):
        if number == _SHOWN_ROWS:
            more = True
            break
        texts = [Text("" if value is None else visible(_text(value)), overflow="fold") for value in row]
        if across:
            shown.add_row(*texts)
        else:
            for name, text in zip(batches.schema.names, texts, strict=True):
                shown.add_row(Text(visible(name)), text)
            shown.add_section()
    if more:
        shown.caption = f"first {_SHOWN_ROWS} rows; --format csv, json or parquet gives all rows"
    return shown


def _table_across(schema: pa.Schema) -> Table:
    shown = Table()
    for field in schema:
        kind = stored_type(field.type)
        numeric = pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_floating(kind)
        shown.add_column(Text(visible(field.name)), justify="right" if numeric else "left", overflow="fold")
    return shown


def _rows(batches: pa.RecordBatchReader) -> Iterator[tuple[Any, ...]]:
    """The rows by position: two columns may have the same name."""
    for batch in batches:
        yield from zip(*map(_values, batch.columns, batch.schema.names), strict=True)


def _values(column: pa.Array, name: str) -> Values:
    try:
        return plain_values(column)
    except (ValueError, OverflowError):  # of infinite times, or those before the year 1 or after 9999
        raise DataError(
            f"SQL: {name}: only Parquet holds an infinite or far time: use --format parquet, or CAST({name} AS VARCHAR)"
        ) from None


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, list | dict):
        return _json(value)
    return str(value)


def _json(value: Any) -> str:
    return json.dumps(value, default=_text, ensure_ascii=False, allow_nan=False)


def _write_csv(batches: pa.RecordBatchReader, file: IO[bytes]) -> None:
    """Lines that end with LF, as every tool on a pipe wants them; NULL is an empty field, an empty text is `""`.

    Not by the csv module: it has no such form before Python 3.12.
    """
    file.write(_csv_line(batches.schema.names))
    for row in _rows(batches):
        file.write(_csv_line(None if value is None else _text(value) for value in row))


def _csv_line(fields: Iterable[str | None]) -> bytes:
    line = ",".join("" if field is None else _csv_field(field) for field in fields)
    return f"{line or _EMPTY}\n".encode()  # readers pass over an empty line


def _csv_field(text: str) -> str:
    if text and _QUOTED_IN_CSV.isdisjoint(text):
        return text
    return '"' + text.replace('"', '""') + '"'


def _write_json(batches: pa.RecordBatchReader, file: IO[bytes]) -> None:
    """One array of objects, a line each; decimals are strings, as everywhere in this project."""
    names = batches.schema.names
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"--format json: more than one column is named {', '.join(repeated)}; rename them with AS")
    separator = b"[\n"
    for row in _rows(batches):
        file.write(separator + _json(dict(zip(names, row, strict=True))).encode())
        separator = b",\n"
    file.write(b"[]\n" if separator == b"[\n" else b"\n]\n")


def _write_parquet(batches: pa.RecordBatchReader, file: IO[bytes]) -> None:
    from cli.parquet_answers import write_parquet  # noqa: PLC0415  # Arrow's compute functions: no other format needs them

    write_parquet(batches, file)


_WRITERS = {"table": _write_table, "csv": _write_csv, "json": _write_json, "parquet": _write_parquet}
