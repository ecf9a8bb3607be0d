"""A canonical statement that is not as it must be is refused with line, field and rule, whoever wrote the file."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ledger.errors import DataError
from suppliers.statement import STATEMENT_SCHEMA
from tasks.reconciliation.runs.statements import open_statement
from tests.tasks.reconciliation.books import DAY
from tests.tasks.reconciliation.desk import line

_LOOSE = pa.schema([field.with_nullable(True) for field in STATEMENT_SCHEMA])
_NEEDED = [field.name for field in STATEMENT_SCHEMA if not field.nullable]


def opened(folder: Path, *lines: dict[str, object]) -> None:
    """Open a file of ``lines`` that was written without a look at what may be empty."""
    path = folder / "statement.parquet"
    pq.write_table(pa.Table.from_pylist(list(lines), schema=_LOOSE), path)
    with duckdb.connect() as engine:
        open_statement(engine, path, "flash", DAY)


def test_a_statement_that_is_as_it_must_be_is_opened(tmp_path: Path) -> None:
    opened(tmp_path, line(1), line(2, supplier_transaction_id=None, reference=None, net=None))


@pytest.mark.parametrize("name", _NEEDED)
def test_a_field_that_is_needed_and_empty_refuses_the_file(tmp_path: Path, name: str) -> None:
    place = "\\?" if name == "line_no" else "2"
    with pytest.raises(DataError, match=rf"statement.parquet: line {place}: {name}: must not be empty$"):
        opened(tmp_path, line(1), line(2, **{name: None}), line(3))


def test_every_empty_field_of_a_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 1: amount: must not be empty; line 1: status: must not be empty$"):
        opened(tmp_path, line(1, status=None, amount=None))
