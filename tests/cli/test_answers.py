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


@pytest.mark.parametrize("columns", [1, 25])
def test_a_table_shows_what_cannot_be_seen_and_sends_none_of_it_to_the_terminal(
    capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    values = ["w-1", "w-1\r", "\x1b[2J\x1b[Hpaid", "a\u202eb\x9b"]
    table = pa.table([values] * columns, names=["n\x1b[1m"] * columns)
    write_answer(Answer(table.to_reader(), 1, 1), "table", None)
    out = capsys.readouterr().out
    assert all(one.isprintable() or one == "\n" for one in out)
    for text in (r"n\x1b[1m", r"w-1\r", r"\x1b[2J\x1b[Hpaid", r"a\u202eb\x9b"):
        assert text in out


def test_formats_for_programs_keep_every_character(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    table = pa.table({"n": ["\x1b[2J\u202e"]})
    write_answer(Answer(table.to_reader(), 1, 1), "csv", None)
    assert capfdbinary.readouterr().out == "n\n\x1b[2J\u202e\n".encode()


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        ({"a": ["", None, "x"], "b": [None, "", "y"]}, 'a,b\n"",\n,""\nx,y\n'),
        ({"a": ["", None, "x"]}, 'a\n""\n""\nx\n'),  # readers pass over an empty line
        (
            {'a"b': ['say "x"', "1,5", " z "], "": ["\r", "é\n", "0"]},
            '"a""b",""\n"say ""x""","\r"\n"1,5","é\n"\n z ,0\n',
        ),
    ],
)
def test_csv_tells_nothing_from_an_empty_text(
    capfdbinary: pytest.CaptureFixture[bytes], columns: dict[str, list[str | None]], wanted: str
) -> None:
    write_answer(Answer(pa.table(columns).to_reader(), 1, 1), "csv", None)
    assert capfdbinary.readouterr().out.decode() == wanted
