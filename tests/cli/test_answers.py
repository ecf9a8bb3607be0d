"""How an answer of `treasury sql` is shown to people."""

import pyarrow as pa
import pytest

from cli.answers import write_answer
from tasks.querying.query import Answer

WIDE = pa.table({f"column_{number}": [f"value-{number}-{row}" for row in "ab"] for number in range(25)})


@pytest.mark.parametrize(("table", "fits"), [(WIDE, False), (WIDE.select(["column_0", "column_1"]), True)])
def test_rows_of_more_columns_than_fit_are_shown_one_beneath_the_other(
    capsys: pytest.CaptureFixture[str], table: pa.Table, fits: bool
) -> None:
    write_answer(Answer(table.to_reader(), 1, 1), "table", None)
    lines = capsys.readouterr().out.splitlines()
    assert any("column_0" in line and "column_1 " in line for line in lines) is fits
    for name in table.column_names:
        for value in table[name].to_pylist():
            assert any(value in line for line in lines), value
