"""The tree of a month: headers say what their rows come to, and every leaf is proved from the chunk that it is in."""

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.canonical import FIELD_SEPARATOR, NULL_MARK, canonical_row
from ledger.columns import Column, ColumnKind
from ledger.errors import DataError, VerificationError
from ledger.merkle import EMPTY_ROOT, fold, leaf_hash, merkle_root
from ledger.merkle_proofs import inclusion_path, range_path, root_from_path, root_from_range
from ledger.month_tree import (
    CHUNK_LEAVES,
    ChunkedTree,
    Header,
    Layout,
    TreeHead,
    header_text,
    leaf_texts,
    sort_value,
    totals_hash,
    totals_text,
)

COLUMNS = (
    Column("id", ColumnKind.INTEGER),
    Column("wallet_id", ColumnKind.TEXT),
    Column("currency", ColumnKind.TEXT),
    Column("type", ColumnKind.TEXT),
    Column("status", ColumnKind.TEXT),
    Column("amount", ColumnKind.DECIMAL, precision=18, scale=2),
)
LAYOUT = Layout(COLUMNS, ("wallet_id", "id"), "wallet_id", ("amount",), "currency", "type", "status")


def row(number: int, wallet: str | None, amount: str | None = "1.00", **changes: str) -> str:
    """The text of a row."""
    fields = {"currency": "ZAR", "type": "payment", "status": "completed", **changes}
    first = [str(number), NULL_MARK if wallet is None else wallet]
    return FIELD_SEPARATOR.join([*first, *fields.values(), NULL_MARK if amount is None else amount])


def joined(*fields: str) -> str:
    return FIELD_SEPARATOR.join(fields)


def test_a_header_stands_before_the_rows_of_each_group_in_the_order_of_the_file() -> None:
    rows = [row(10, "b"), row(9, "b"), row(1, None), row(7, "a\u00e9"), row(8, "a")]
    texts = leaf_texts(LAYOUT, rows)
    assert [Header.parse(text).group for text in texts if text.startswith(NULL_MARK)] == [
        "a",
        "a\u00e9",
        "b",
        NULL_MARK,
    ]
    numbers = [text.split(FIELD_SEPARATOR)[0] for text in texts if not text.startswith(NULL_MARK)]
    assert numbers == ["8", "7", "9", "10", "1"]
    b = Header.parse(texts[4])
    assert b == Header("b", 2, totals_hash(leaf_hash(row(9, "b").encode()), "ZAR\x1fpayment\x1fcompleted\x1f2\x1f2.00"))


def test_totals_are_by_currency_type_and_status_with_null_last_and_exact() -> None:
    rows = [
        row(1, "w", "9999999999999999.99"),
        row(2, "w", "0.01"),
        row(3, "w", None, type=NULL_MARK),
        row(4, "w", "-0.50", status="failed"),
        row(5, "w", "2.00", currency="EUR"),
    ]
    assert totals_text(LAYOUT, map(LAYOUT.fields, rows)) == joined(
        *("EUR", "payment", "completed", "1", "2.00"),
        *("ZAR", "payment", "completed", "2", "10000000000000000.00"),
        *("ZAR", "payment", "failed", "1", "-0.50"),
        *("ZAR", NULL_MARK, "completed", "1", "0.00"),
    )


def test_a_table_that_is_sorted_by_its_key_has_no_headers() -> None:
    layout = Layout(COLUMNS, ("id",), None, ("amount",), None, None, None)
    assert leaf_texts(layout, [row(10, "b"), row(9, "a")]) == [row(9, "a"), row(10, "b")]
    assert totals_text(layout, map(layout.fields, [row(1, "w"), row(2, "w")])) == joined("", "", "", "2", "2.00")


@pytest.mark.parametrize(
    "text",
    [
        row(1, "w"),
        joined(f"{NULL_MARK}group-v2", "w", "1", "00"),
        joined(f"{NULL_MARK}group-v1", "w", "01", "00"),
        joined(f"{NULL_MARK}group-v1", "w", "x", "00"),
        joined(f"{NULL_MARK}group-v1", "w", "1"),
        joined(f"{NULL_MARK}group-v1", "w", "1", "00", "more"),
        "",
    ],
)
def test_what_is_no_header_is_refused(text: str) -> None:
    with pytest.raises(VerificationError, match="header"):
        Header.parse(text)


def test_a_header_is_read_as_it_was_written() -> None:
    text = header_text("wallet-1", 12, "ab" * 32)
    assert Header.parse(text) == Header("wallet-1", 12, "ab" * 32)


@pytest.mark.parametrize(
    ("kind", "field"), [(ColumnKind.INTEGER, "1.5"), (ColumnKind.DATE, ""), (ColumnKind.DECIMAL, "x")]
)
def test_a_field_of_another_kind_is_named(kind: ColumnKind, field: str) -> None:
    with pytest.raises(VerificationError, match=f"born: '{field}' is not of the kind {kind}"):
        sort_value(_column(kind), field)


_ID = "018e22e3-19db-7b2b-aa7f-46c78a4f2d37"
_KEY = UUID(_ID)


SPELLINGS = [
    *((ColumnKind.UUID, other) for other in (_ID.upper(), _KEY.hex, f"{{{_ID}}}", f"urn:uuid:{_ID}", "0", "", "zz")),
    *((ColumnKind.BOOLEAN, other) for other in ("T", "true", "", "1", "f ")),
    *(
        (kind, other)
        for kind in (ColumnKind.INTEGER, ColumnKind.TIMESTAMP, ColumnKind.DATE)
        for other in ("1_0", " 7", "7\n", "+7", "07", "-0", "\u0667", "0x7", "7.", "1" * 5000 + "_0")
    ),
    *(
        (ColumnKind.DECIMAL, other)
        for other in ("1", "1.0", "1.000", "01.00", "+1.00", "-0.00", ".50", "1E+2", "1_0.00", " 1.00", "NaN")
    ),
    (ColumnKind.DECIMAL, "1E+999999999999"),
    (ColumnKind.TEXT, "a\x1eb"),
    (ColumnKind.TEXT, "a\x1fb"),
    (ColumnKind.TEXT, "\ud800"),
    (ColumnKind.JSON, "{}\x1f"),
]


@pytest.mark.parametrize(("kind", "spelling"), SPELLINGS)
def test_a_second_spelling_of_a_value_is_refused(kind: ColumnKind, spelling: str) -> None:
    """A place in another spelling would lie elsewhere than the row with that very value."""
    with pytest.raises(VerificationError, match=f"is not of the kind {kind}"):
        sort_value(_column(kind), spelling)


# Whether a text is a spelling of a value.
_SPELLS: dict[ColumnKind, Callable[[str, Any], bool]] = {
    ColumnKind.UUID: lambda text, value: UUID(text) == value,
    ColumnKind.BOOLEAN: lambda text, value: {"t": True, "f": False}[text] is value,
    ColumnKind.INTEGER: lambda text, value: int(text) == value,
    ColumnKind.DECIMAL: lambda text, value: Decimal(text) == value,
    ColumnKind.DATE: lambda text, value: int(text) == (value - date(1970, 1, 1)).days,
}
_VALUES: dict[ColumnKind, st.SearchStrategy[Any]] = {
    ColumnKind.UUID: st.uuids(),
    ColumnKind.TEXT: st.text(),
    ColumnKind.JSON: st.text(),
    ColumnKind.BOOLEAN: st.booleans(),
    ColumnKind.INTEGER: st.integers(-(2**63), 2**63 - 1),
    ColumnKind.DECIMAL: st.decimals(-9999999, 9999999, places=2),
    ColumnKind.TIMESTAMP: st.datetimes(timezones=st.timezones()),
    ColumnKind.DATE: st.dates(),
}


@given(st.data())
def test_every_value_has_a_place_by_its_one_text_and_no_text_beside_it_is_the_same_value(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(ColumnKind)))
    column, value = _column(kind), data.draw(_VALUES[kind])
    try:
        field = canonical_row([column], [value]).decode()
    except DataError:  # a text with a separator in it
        return
    assert sort_value(column, field)[0] is False
    if kind not in _SPELLS:
        return
    place = data.draw(st.integers(0, len(field)))
    beside = field[:place] + data.draw(st.sampled_from(" +-_0.eE\n{}\u0660")) + field[place:]
    for other in (beside, field.upper(), field.replace("-", ""), field.zfill(len(field) + 1)):
        try:
            sort_value(column, other)
        except VerificationError:
            continue
        assert other == field or not _SPELLS[kind](other, value)


def _column(kind: ColumnKind) -> Column:
    if kind is ColumnKind.DECIMAL:
        return Column("born", kind, precision=9, scale=2)
    return Column("born", kind)


def test_fields_are_compared_by_value_and_null_comes_last() -> None:
    def order(kind: ColumnKind, *fields: str) -> list[str]:
        return sorted(fields, key=lambda field: sort_value(_column(kind), field))

    assert order(ColumnKind.INTEGER, "10", NULL_MARK, "9", "-1") == ["-1", "9", "10", NULL_MARK]
    assert order(ColumnKind.DECIMAL, "10.00", "9.50", "-1.00") == ["-1.00", "9.50", "10.00"]
    assert order(ColumnKind.TEXT, "b", "", "a\U0001f600", "a\uffff") == ["", "a\uffff", "a\U0001f600", "b"]
    assert order(ColumnKind.BOOLEAN, "t", "f") == ["f", "t"]
    assert sort_value(_column(ColumnKind.DECIMAL), "1.00")[1] == Decimal(1)


def _tree(count: int) -> tuple[ChunkedTree, list[bytes]]:
    leaves = [leaf_hash(number.to_bytes(4, "big")) for number in range(count)]
    chunks = [leaves[start : start + CHUNK_LEAVES] for start in range(0, count, CHUNK_LEAVES)]
    head = TreeHead(count, merkle_root(leaves))
    return ChunkedTree(head, b"".join(fold(b"".join(chunk)) for chunk in chunks)), leaves


def _add(tree: ChunkedTree, leaves: Sequence[bytes], leaf: int) -> None:
    chunk = tree.chunk_of(leaf)
    tree.add(chunk.start, leaves[chunk.start : chunk.stop])


sizes = st.sampled_from([1, 2, 255, 256, 257, 511, 512, 513, 768, 1000, 1024, 1025, 1281])


@given(sizes, st.data())
def test_every_leaf_is_proved_from_its_chunk_and_the_roots_of_the_others(size: int, data: st.DataObject) -> None:
    tree, leaves = _tree(size)
    index = data.draw(st.integers(0, size - 1))
    _add(tree, leaves, index)
    path = inclusion_path(index, size, tree.root_of)
    assert root_from_path(leaves[index], index, size, path) == tree.head.root


@given(sizes, st.data())
def test_every_run_of_leaves_is_proved_from_its_chunks(size: int, data: st.DataObject) -> None:
    tree, leaves = _tree(size)
    start = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(start + 1, min(size, start + 300)))
    for leaf in (start, (start + stop) // 2, stop - 1):
        _add(tree, leaves, leaf)
    path = range_path(start, stop, size, tree.root_of)
    assert root_from_range(leaves[start:stop], start, size, path) == tree.head.root


def test_roots_and_leaves_that_are_not_the_months_are_refused() -> None:
    tree, leaves = _tree(600)
    with pytest.raises(VerificationError, match="the leaves 256 and following"):
        tree.add(256, [*leaves[256:511], leaves[0]])
    for roots in (bytes(96), bytes(64), b""):
        with pytest.raises(VerificationError, match="chunks"):
            ChunkedTree(tree.head, roots)
    assert ChunkedTree(TreeHead(0, EMPTY_ROOT), b"").head.leaves == 0


def test_a_layout_is_read_back_as_it_was_written_and_nothing_else_is_taken() -> None:
    record = LAYOUT.to_record()
    assert record["columns"][5] == [0, "amount", "decimal", 18, 2]
    assert Layout.from_record(record).to_record() == record
    others: list[Any] = [
        {**record, "group_format": "group-v2"},
        {**record, "more": 1},
        {**record, "columns": [[1, "id", "float"]]},
        {**record, "columns": [[1, "id", "decimal"]]},
        {**record, "columns": None},
        {name: value for name, value in record.items() if name != "sorted_by"},
        [],
        None,
    ]
    for changed in others:
        with pytest.raises(VerificationError, match="layout of the month"):
            Layout.from_record(changed)
