"""Bytes to records: every line is accounted for, and a bad one costs only itself."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.importing import records
from tasks.importing.mapping import FileFormat
from tasks.importing.records import LINE_LIMIT_BYTES, FileRecord, read_records

COMMA = FileFormat()
INSIDE = 'has a quote inside a value that has none around it; in a file without quoting say quote = ""'
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
table = st.lists(st.lists(texts, min_size=2, max_size=4), max_size=8)


def read(content: bytes, format_: FileFormat = COMMA) -> list[FileRecord]:
    return list(read_records(io.BytesIO(content), format_))


def problems(content: bytes, format_: FileFormat = COMMA) -> list[tuple[int, str | None]]:
    return [(record.line, record.problem) for record in read(content, format_)]


@given(table, st.sampled_from([",", ";", "\t", "|"]), st.sampled_from(["\n", "\r\n"]))
def test_what_csv_writes_comes_back(rows: list[list[str]], delimiter: str, end: str) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    found = read(buffer.getvalue().encode(), FileFormat(delimiter=delimiter))
    assert [record.fields for record in found] == rows
    assert all(record.problem is None for record in found)


noise = st.lists(
    st.sampled_from([b'"', b",", b"\n", b"\r\n", b"\r", b"a", b"b c", b"\xff", b"\0", b"\xc3\xa9"]), max_size=40
)


@given(noise.map(b"".join))
def test_no_byte_is_lost_or_read_twice(content: bytes) -> None:
    """The physical lines of the records, put together, are the file: each line belongs to exactly one record."""
    lines = content.splitlines(keepends=True)
    found = read(content)
    starts = [record.line for record in found]
    assert starts == sorted(set(starts))
    for record, following in zip(found, [*starts, len(lines) + 1][1:], strict=True):
        own = b"".join(lines[record.line - 1 : following - 1])
        shown = own.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "backslashreplace")
        assert record.text == shown


def test_a_record_has_the_number_of_the_line_it_starts_on() -> None:
    found = read(b'a,b\n"one\ntwo\r\nthree",x\nlast,y\n')
    assert [(record.line, record.fields) for record in found] == [
        (1, ["a", "b"]),
        (2, ["one\ntwo\r\nthree", "x"]),
        (5, ["last", "y"]),
    ]
    assert found[1].text == '"one\ntwo\r\nthree",x'


def test_a_quote_that_is_never_closed_costs_its_own_line_only() -> None:
    found = read(b'a,b\n"open,x\nc,d\ne,f\n')
    assert [(record.line, record.problem) for record in found] == [
        (1, None),
        (2, "has a quote that is not closed"),
        (3, None),
        (4, None),
    ]
    assert [record.fields for record in found[2:]] == [["c", "d"], ["e", "f"]]


def test_text_behind_a_closing_quote_is_refused() -> None:
    ((line, problem),) = problems(b'"a"b,c\n')
    assert line == 1
    assert problem is not None
    assert problem == "has text behind a closing quote"


@pytest.mark.parametrize("line", [b'5" pipe,x', b'x,w"1', b'x,w1"', b'"x"" y,z'])
def test_a_quote_inside_a_value_without_quotes_costs_its_line_and_no_other(line: bytes) -> None:
    found = read(b"a,b\n" + line + b"\nc,d\n")
    assert [record.line for record in found] == [1, 2, 3]
    assert found[1].problem is not None
    assert "quote" in found[1].problem
    assert found[2].fields == ["c", "d"]


def test_a_quote_inside_a_value_is_a_character_where_quotes_have_no_meaning() -> None:
    assert read(b'5" pipe,x\n', FileFormat(quote=""))[0].fields == ['5" pipe', "x"]


def test_without_a_quote_character_quotes_mean_nothing() -> None:
    assert read(b'"a,b"\n', FileFormat(quote=""))[0].fields == ['"a', 'b"']


def test_blanks_around_quotes_are_left_out_like_those_around_any_value() -> None:
    assert read(b' "a,b" ,"c" \n')[0].fields == ["a,b", "c"]


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
def test_cr_lf_and_crlf_end_lines_across_blocks(end: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [["a" * length, f'x{end.decode()}"{length}'] for length in range(200)]
    quoted = (b'"%s","%s"' % (one.encode(), other.replace('"', '""').encode()) for one, other in rows)
    content = end.join(quoted) + end
    for block_bytes in (1, 2, 3, 7, 1024):
        monkeypatch.setattr(records, "_BLOCK_BYTES", block_bytes)
        assert [record.fields for record in read(content)] == rows


def test_crlf_lf_and_no_line_end_at_all_are_read() -> None:
    assert [record.fields for record in read(b"a,b\r\nc,d\ne,f")] == [["a", "b"], ["c", "d"], ["e", "f"]]


def test_a_byte_order_mark_is_left_out() -> None:
    assert read(b"\xef\xbb\xbfa,b\n")[0].fields == ["a", "b"]


def test_bad_bytes_and_nul_and_empty_lines_are_problems_of_their_line() -> None:
    assert problems(b"a,b\n\xff\xfe,x\nc,\x00d\n\n \ne,f\n") == [
        (1, None),
        (2, "is not utf-8: byte 1 of the line"),
        (3, "has a NUL character"),
        (4, "is empty"),
        (5, "is empty"),
        (6, None),
    ]


def test_a_bad_line_inside_quotes_breaks_the_record_off_and_is_reported_itself() -> None:
    assert problems(b'"a\n\xff\nb",c\nd,e\n') == [
        (1, "has a quote that is not closed"),
        (2, "is not utf-8: byte 1 of the line"),
        (3, INSIDE),  # b",c : the quote is inside a value
        (4, None),
    ]


def test_an_empty_line_inside_quotes_belongs_to_the_value() -> None:
    assert read(b'"a\n\nb",c\n')[0].fields == ["a\n\nb", "c"]


def test_other_encodings_are_read() -> None:
    assert read("žluť;x\n".encode("cp1250"), FileFormat(delimiter=";", encoding="cp1250"))[0].fields == ["žluť", "x"]


@pytest.mark.parametrize("tail", [b"\nc,d\n", b'\n"c",d\n'])
def test_a_gigantic_line_is_one_reject_and_is_not_kept(tail: bytes) -> None:
    found = read(b"a,b\n" + b"x" * (3 * LINE_LIMIT_BYTES) + tail)
    assert [(record.line, record.problem) for record in found] == [
        (1, None),
        (2, f"is longer than {LINE_LIMIT_BYTES} bytes"),
        (3, None),
    ]
    assert len(found[1].text) <= 4096


def test_a_quoted_value_over_many_lines_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_bytes = 1 << 16
    monkeypatch.setattr(records, "LINE_LIMIT_BYTES", limit_bytes)
    found = read(b'"' + b"x\n" * limit_bytes)
    assert found[0].problem is not None
    assert found[0].problem.startswith("has a quote that is not closed")
    assert len(found) == limit_bytes
