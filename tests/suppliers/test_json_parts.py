"""A long list in parts is the same list wherever it is cut, and anything else is refused as if it were read whole."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from suppliers.json_parts import parts
from suppliers.statement import StatementError

_texts = st.sampled_from(["", "},{", "]", '"', "\\", "\\\\", "[{", "é", "\u2028", "plain"])
_values = st.recursive(
    _texts | st.integers(-9, 9) | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)
_records = st.lists(st.dictionaries(_texts, _values, max_size=4), max_size=12)
_sizes = st.integers(1, 120)
_RULE = r"^name: line [0-9]+: is not the JSON of a list of transactions, or is cut off, at byte [0-9]+$"


def read(content: bytes, part_bytes: int) -> list[Any]:
    return [one for part in parts(content, "name", "list", part_bytes) for one in json.loads(part)]


@given(records=_records, part_bytes=_sizes, indent=st.sampled_from([None, 1]), escaped=st.booleans())
def test_wherever_a_list_is_cut_its_records_are_the_same(
    records: list[Any], part_bytes: int, indent: int | None, escaped: bool
) -> None:
    text = json.dumps(records, indent=indent, ensure_ascii=escaped)
    assert read(text.encode(), part_bytes) == records
    around = json.dumps({"list": records, "more": 1}, indent=indent, ensure_ascii=escaped)
    assert read(b"\xef\xbb\xbf" + around.encode(), part_bytes) == records


@given(records=_records, part_bytes=_sizes, place=st.integers(0, 400), by=st.sampled_from(list('[]{},"\\ 1x')))
@example(records=[{}, {}], part_bytes=1, place=7, by=",")
def test_what_one_decoder_refuses_as_a_whole_is_refused_in_parts(
    records: list[Any], part_bytes: int, place: int, by: str
) -> None:
    text = json.dumps(records)
    content = (text[: place % len(text)] + by + text[place % len(text) + 1 :]).encode()
    try:
        wanted: list[Any] | None = [
            json.loads(bytes(one)) for one in msgspec.json.decode(content, type=list[msgspec.Raw])
        ]
    except msgspec.DecodeError:
        wanted = None
    if wanted is not None:
        assert read(content, part_bytes) == wanted
    elif not content.lstrip().startswith(b"{"):
        with pytest.raises(StatementError, match=_RULE):
            read(content, part_bytes)


def test_a_list_of_objects_within_every_record_is_never_cut() -> None:
    records = [{"id": number, "inner": [{"a": 1}, {"b": 2}] * 40} for number in range(30)]
    content = json.dumps(records).encode()
    cut = list(parts(content, "name", "list", 700))
    assert [one for part in cut for one in json.loads(part)] == records
    assert max(map(len, cut)) < len(content) / 10


@pytest.mark.parametrize(
    "around",
    [
        b'{"list":[1],"list":[2]}',
        b'\xef\xbb\xbf{"list":[1],"list":[]}',
        b'{"a":{"b":1,"b":2},"list":[]}',
        b'{"a":1,"list":[],"\\u0061":2}',
    ],
)
def test_a_name_twice_around_a_list_is_refused(around: bytes) -> None:
    """A decoder keeps the last of two lists."""
    with pytest.raises(StatementError, match=r"^name: has a name that appears twice$"):
        read(around, 4)


def test_what_is_around_a_list_may_be_anything_that_a_decoder_passes_on() -> None:
    around = b'{"a":"\xff","b":' + b"9" * 5000 + b',"list":[{"a":1,"b":2}],"c":{"a":1,"list":[]}}'
    assert read(around, 4) == [{"a": 1, "b": 2}]
