"""The reports of a run: JSON, CSV, XLSX, markdown, and the file that a supplier asks back. All from the same tables.

Files hold what was found, not when: the same day reconciled again gives the same bytes.
"""

import csv
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import xlsxwriter
from pyarrow import csv as arrow_csv

from config.suppliers import Suppliers
from ledger.business_days import bounds
from ledger.shares import percent
from ledger.spreadsheet_cells import safe_text
from storage.parquet import BATCH_ROWS, even_row_groups
from suppliers.registry import definition_of
from tasks.reconciliation.engine.matching import matched_rows
from tasks.reconciliation.engine.queries import MATCHING
from tasks.statements.alert_rules import NO_LINES

MATCHES = "matches.parquet"
JSON_REPORT = "report.json"
CSV_REPORT = "breaks.csv"
XLSX_REPORT = "report.xlsx"
RETURN_FILE = "return.csv"

Returned = Callable[[pa.RecordBatch], pa.RecordBatch]

_BATCH_ROWS = 5_000
_SHEET_ROWS = 100_000  # a sheet takes 1,048,576; nobody works more than this in one, and the CSV has all
_EXACT_DIGITS = 15  # of a number in a spreadsheet, which is a double there
_CREATED = datetime(2000, 1, 1)  # noqa: DTZ001  # a fixed property of the workbook, in no timezone


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The head of every report. ``figures`` is `RunFigures.as_json`."""

    supplier: str
    day: str
    digest: str
    verdict: str
    figures: dict[str, Any]


def warnings_of(day: date, lines: int, at: datetime) -> Iterator[str]:
    """Yield the warnings about a run over ``day`` (Africa/Johannesburg), made at the aware instant ``at``.
    In no report file: those hold what was found, and not when.
    """
    if at < bounds(day)[1]:
        yield "the day is not over: what comes later is missing here, and these breaks are not final. Run it again."
    if lines == 0:
        yield f"the statement {NO_LINES}."


def write_reports(
    engine: duckdb.DuckDBPyConnection, summary: RunSummary, folder: Path, returned: Returned | None
) -> list[Path]:
    """Write every report into ``folder``; returns the files. The engine must have matched and classified.

    ``returned`` makes the columns of the file that the supplier asks back; None: it asks for none.
    """
    files = [folder / MATCHES, folder / JSON_REPORT, folder / CSV_REPORT, folder / XLSX_REPORT]
    _write_matches(engine, files[0])
    _write_json(engine, summary, files[1])
    _write_csv(engine, files[2])
    _write_xlsx(engine, summary, files[3])
    if returned is not None:
        files.append(folder / RETURN_FILE)
        write_return_file(engine, files[-1], returned)
    return files


def returned_to(settings: Suppliers, supplier: str) -> Returned | None:
    """Return what makes the columns of the file that the supplier asks back; None when it asks for none."""
    return definition_of(settings, supplier).statement().returned


def write_return_file(engine: duckdb.DuckDBPyConnection, target: Path, returned: Returned) -> None:
    """Our transactions of the day, comma delimited, in the supplier's columns. For a machine: texts as we hold them."""
    rows = engine.execute(MATCHING["return_rows"]).to_arrow_reader(BATCH_ROWS)
    schema = returned(pa.RecordBatch.from_pylist([], schema=rows.schema)).schema
    # No quotes around the heading: the supplier gives it without.
    target.write_text(",".join(schema.names) + "\n", encoding="utf-8")
    options = arrow_csv.WriteOptions(include_header=False, quoting_style="needed")
    with target.open("ab") as file, arrow_csv.CSVWriter(file, schema, write_options=options) as writer:
        for batch in rows:
            writer.write_batch(returned(batch))


def markdown(summary: RunSummary) -> str:
    """The run for people, as Prefect's UI shows it."""
    figures = summary.figures
    lines = [f"## {summary.supplier} {summary.day}: {summary.verdict}", ""]
    lines += [f"- {matched(figures)}"]
    lines += [f"- {figures['breaks']} breaks, {figures['auto_resolved']} of them resolved by rules"]
    if figures["open_rows_decided"]:
        decided = ", ".join(f"{count} {status}" for status, count in figures["open_rows_decided"].items())
        lines += [f"- the unfinished internal rows that the statement decides: {decided}"]
    lines += [f"- digest `{summary.digest[:16]}`", "", "| currency | statement | ours | difference | variance |"]
    lines += ["|---|---:|---:|---:|---:|"]
    for currency, tie in figures["currencies"].items():
        cells = (currency, tie["statement"]["value"], tie["own"]["value"], tie["difference"], tie["variance"])
        lines.append(f"| {' | '.join(cells)} |")
    if figures["float"]:
        used = figures["float"]
        lines += [
            "",
            f"Float: {used['consumed']} consumed, {used['consumed_less_statement']} more than the statement says",
        ]
    if figures["classes"]:
        lines += ["", "| class | breaks | by rules | escalated | variance |", "|---|---:|---:|---:|---:|"]
        for name, class_figures in figures["classes"].items():
            columns = ("breaks", "auto_resolved", "escalated", "variance")
            lines.append(f"| {' | '.join((name, *(str(class_figures[column]) for column in columns)))} |")
    return "\n".join(lines)


def matched(figures: dict[str, Any]) -> str:
    """Return how much of both sides is matched. Rows without an expected line, such as failed ones, do not count."""
    rows = figures["own_rows"] - figures["nothing_expected"]
    counts = f"{figures['matched_lines']} of {figures['lines']} lines, {figures['matched_own_rows']} of {rows} own rows"
    more = f", and {figures['nothing_expected']} own rows that expect no line" if figures["nothing_expected"] else ""
    return f"{percent(Decimal(figures['matched_share']))} matched: {counts}{more}"


def _write_matches(engine: duckdb.DuckDBPyConnection, target: Path) -> None:
    """In row groups of one size, however the engine cuts its stream: so the bytes are the same each time."""
    batches = engine.execute(matched_rows()).to_arrow_reader(BATCH_ROWS)
    with even_row_groups(target, batches.schema) as write:
        for batch in batches:
            write(batch)


def _rows(engine: duckdb.DuckDBPyConnection) -> Iterator[dict[str, Any]]:
    cursor = engine.execute(MATCHING["report_rows"])
    names = [column[0] for column in cursor.description or ()]
    while batch := cursor.fetchmany(_BATCH_ROWS):
        for row in batch:
            yield dict(zip(names, row, strict=True))


def _plain(value: Any) -> Any:
    return f"{value:f}" if isinstance(value, Decimal) else value


def _write_json(engine: duckdb.DuckDBPyConnection, summary: RunSummary, target: Path) -> None:
    head = {"supplier": summary.supplier, "day": summary.day, "digest": summary.digest, "verdict": summary.verdict}
    with target.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head | {"figures": summary.figures}, ensure_ascii=False, indent=1).removesuffix("\n}"))
        file.write(',\n "breaks": [')
        for number, row in enumerate(_rows(engine)):
            file.write(("," if number else "") + "\n  " + json.dumps(row, default=_plain, ensure_ascii=False))
        file.write("\n ]\n}\n")


def _write_csv(engine: duckdb.DuckDBPyConnection, target: Path) -> None:
    """Texts are made harmless; figures are plain, a minus sign before a number starts no formula that does anything."""
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        cursor = engine.execute(MATCHING["report_rows"])
        writer.writerow(column[0] for column in cursor.description or ())
        while batch := cursor.fetchmany(_BATCH_ROWS):
            for row in batch:
                writer.writerow(safe_text(value) if isinstance(value, str) else _plain(value) for value in row)


def _write_xlsx(engine: duckdb.DuckDBPyConnection, summary: RunSummary, target: Path) -> None:
    """Two sheets. A text is a text cell whatever it begins with; money is a number where that is exact."""
    with (
        tempfile.TemporaryDirectory(dir=target.parent) as scratch,
        xlsxwriter.Workbook(str(target), {"constant_memory": True, "tmpdir": scratch}) as book,
    ):
        book.set_properties({"title": f"Reconciliation {summary.supplier} {summary.day}", "created": _CREATED})
        money = book.add_format({"num_format": "0.00##"})
        _fill(book.add_worksheet("Summary"), money, _summary_rows(summary))
        _fill(book.add_worksheet("Breaks"), money, _sheet_rows(engine))


def _fill(sheet: Any, money: Any, rows: Iterator[list[Any]]) -> None:
    for number, row in enumerate(rows):
        for place, value in enumerate(row):
            if value is None:
                continue
            if isinstance(value, bool):
                sheet.write_boolean(number, place, value)
            elif isinstance(value, Decimal) and len(value.as_tuple().digits) <= _EXACT_DIGITS:
                sheet.write_number(number, place, value, money)
            elif isinstance(value, int) and abs(value) < 10**_EXACT_DIGITS:
                sheet.write_number(number, place, value)
            else:
                sheet.write_string(number, place, str(value))


def _summary_rows(summary: RunSummary) -> Iterator[list[Any]]:
    figures = summary.figures
    yield ["Supplier", summary.supplier]
    yield ["Day (Africa/Johannesburg)", summary.day]
    yield ["Verdict", summary.verdict]
    yield ["Digest", summary.digest]
    for name in ("lines", "own_rows", "matched_share", "breaks", "auto_resolved"):
        yield [name, figures[name]]
    for status, count in figures["open_rows_decided"].items():
        yield [f"open rows decided: {status}", count]
    for currency, tie in figures["currencies"].items():
        yield []
        yield [currency, "rows", "value"]
        for side in ("statement", "own"):
            yield [side, tie[side]["rows"], Decimal(tie[side]["value"])]
        for name, figure in tie["items"].items():
            yield [name, figure["rows"], Decimal(figure["value"])]
        yield ["difference", None, Decimal(tie["difference"])]
        yield ["variance", None, Decimal(tie["variance"])]
        for name, value in tie["commission"].items():
            yield [f"commission {name}", None, Decimal(value)]


def _sheet_rows(engine: duckdb.DuckDBPyConnection) -> Iterator[list[Any]]:
    for number, row in enumerate(_rows(engine)):
        if number == 0:
            yield list(row)
        if number == _SHEET_ROWS:
            yield [f"more than {_SHEET_ROWS} breaks: {CSV_REPORT} has them all"]
            return
        yield list(row.values())
