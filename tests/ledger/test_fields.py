"""Columns by number: a rename keeps it, another column never gets it, and views answer to old names where they can."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ledger.columns import Column, ColumnKind
from ledger.fields import ColumnPlace, Field, Fields, matched, view_columns
from ledger.installation import Identity

HERE, ELSEWHERE = Identity("7", 1), Identity("7", 2)


def _place(attribute: int, identity: Identity = HERE) -> ColumnPlace:
    return ColumnPlace(identity, 100, attribute)


def _known(*names: str) -> list[Field]:
    return [Field(number, name, (), _place(number)) for number, name in enumerate(names, 1)]


def _columns(*names: str) -> list[Column]:
    return [Column(name, ColumnKind.TEXT) for name in names]


def _archived(*numbered: tuple[int, str]) -> list[Column]:
    return [Column(name, ColumnKind.TEXT, field_id=number) for number, name in numbered]


def test_a_renamed_column_keeps_its_number_and_its_former_names() -> None:
    fields = Fields.of(_known("a", "b"), [("a", _place(1)), ("c", _place(2))])
    assert [(field.field_id, field.name, field.former_names) for field in fields.living] == [
        (1, "a", ()),
        (2, "c", ("b",)),
    ]
    assert (fields.dropped, fields.new) == ((), ())


def test_a_column_made_again_is_another_one() -> None:
    fields = Fields.of(_known("a", "b"), [("a", _place(1)), ("b", _place(3))])
    assert [field.name for field in fields.dropped] == ["b"]
    assert fields.new == (("b", _place(3)),)


def test_in_another_database_the_names_decide() -> None:
    fields = Fields.of(_known("a", "b"), [("b", _place(1, ELSEWHERE)), ("c", _place(2, ELSEWHERE))])
    assert [(field.field_id, field.name) for field in fields.living] == [(2, "b")]
    assert [name for name, _ in fields.new] == ["c"]


def test_a_former_name_that_another_column_has_is_not_given_twice() -> None:
    swapped = Fields.of(_known("a", "b"), [("b", _place(1)), ("a", _place(2))])
    view = view_columns(swapped, _columns("b", "a"), [])
    assert [(column.name, column.field_id) for column in view] == [("b", 1), ("a", 2)]
    assert matched(view, _archived((1, "a"), (2, "b"))) == [("a", "b"), ("b", "a")]


def test_a_dropped_column_has_a_name_of_its_own_where_its_last_one_is_taken() -> None:
    fields = Fields.of(_known("a", "b"), [("a", _place(1)), ("B", _place(3))])
    view = view_columns(fields, _columns("a", "B"), [_archived((1, "a"), (2, "b"))])
    assert [(column.name, column.field_id) for column in view] == [("a", 1), ("B", None), ("b_field_2", 2)]
    assert matched(view, _archived((1, "a"), (2, "b"))) == [("a", "a"), ("b", "b_field_2")]


def test_a_dropped_column_that_no_archived_month_has_is_not_in_the_view() -> None:
    fields = Fields.of(_known("a", "b"), [("a", _place(1))])
    assert [column.name for column in view_columns(fields, _columns("a"), [_archived((1, "a"))])] == ["a"]


names = st.lists(st.sampled_from("abcdeABCDE"), min_size=1, max_size=5, unique_by=str.lower)


@given(names, names, st.data())
def test_no_two_columns_of_a_view_have_one_name_and_living_ones_keep_theirs(
    before: list[str], after: list[str], data: st.DataObject
) -> None:
    attributes = data.draw(st.lists(st.integers(1, 9), min_size=len(after), max_size=len(after), unique=True))
    known = _known(*before)
    fields = Fields.of(known, [(name, _place(number)) for name, number in zip(after, attributes, strict=True)])
    archived = [replace(Column(field.name, ColumnKind.TEXT), field_id=field.field_id) for field in known]
    view = view_columns(fields, _columns(*after), [archived])
    assert [column.name for column in view[: len(after)]] == after
    assert len({column.name.lower() for column in view}) == len(view)
    assert {field.field_id for field in known} <= {column.field_id for column in view}
    assert {old for old, _ in matched(view, archived)} == set(before)
