"""What a transaction may be: every field has its rule, and the error names the field that broke it."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import FieldError
from ledger.tables import TRANSACTIONS, VAS_TRANSACTIONS, TieredTable
from ledger.transactions import (
    METADATA_BYTES,
    METADATA_DEPTH,
    NEXT_STATUSES,
    Status,
    field_names,
    may_follow,
    new_transaction,
    required_fields,
)

ROW: dict[str, Any] = {
    "client_id": "acme",
    "user_id": "user-1",
    "wallet_id": "wallet-1",
    "type": "payment",
    "amount": "120.50",
    "currency": "ZAR",
}
VAS_ROW: dict[str, Any] = {**ROW, "supplier": "flash", "vas_type": "airtime"}
TABLES = [(TRANSACTIONS, ROW), (VAS_TRANSACTIONS, VAS_ROW)]
NAMES = ("client_id", "user_id", "wallet_id", "counterparty_wallet_id", "supplier_product_id")
LENGTHS = {
    "reference": 128,
    "description": 512,
    "supplier_reference": 128,
    "supplier_transaction_id": 128,
}


def _refused(
    changes: dict[str, Any], table: TieredTable = VAS_TRANSACTIONS, row: dict[str, Any] = VAS_ROW
) -> FieldError:
    with pytest.raises(FieldError) as caught:
        new_transaction(table, {**row, **changes})
    return caught.value


def test_a_row_comes_back_complete_in_exact_types() -> None:
    assert new_transaction(TRANSACTIONS, ROW) == {
        **ROW,
        "amount": Decimal("120.50"),
        "counterparty_wallet_id": None,
        "status": "pending",
        "fee": Decimal("0.00"),
        "reference": None,
        "description": None,
        "metadata": "{}",
    }


@pytest.mark.parametrize(("table", "row"), TABLES)
def test_the_result_has_the_fields_in_the_order_that_is_announced(table: TieredTable, row: dict[str, Any]) -> None:
    assert tuple(new_transaction(table, row)) == field_names(table)
    assert set(required_fields(table)) == set(row)


@pytest.mark.parametrize(("table", "row"), TABLES)
def test_each_required_field_is_named_when_absent_or_null(table: TieredTable, row: dict[str, Any]) -> None:
    for name in required_fields(table):
        without = {field: value for field, value in row.items() if field != name}
        for values in (without, {**row, name: None}):
            with pytest.raises(FieldError) as caught:
                new_transaction(table, values)
            assert (caught.value.field, caught.value.rule) == (name, "is required")


@pytest.mark.parametrize("name", ["id", "created_at", "updated_at", "Amount", "", "amount ", "pin"])
def test_a_field_that_is_not_the_callers_is_refused_by_name(name: str) -> None:
    assert _refused({name: "x"}).field == name


def test_fields_of_services_are_no_fields_of_a_plain_transaction() -> None:
    assert _refused({"supplier": "flash"}, TRANSACTIONS, ROW).field == "supplier"


@pytest.mark.parametrize(("name", "longest"), LENGTHS.items())
def test_text_is_bounded_in_characters_and_printable(name: str, longest: int) -> None:
    longest_text = "\U0001f600" * longest
    assert new_transaction(VAS_TRANSACTIONS, {**VAS_ROW, name: longest_text})[name] == longest_text
    for text in ("", longest_text + "x"):
        error = _refused({name: text})
        assert (error.field, error.rule) == (name, f"must have 1 to {longest} characters")
    for character in ("\x00", "\n", "\x1e", "\x1f", "\x7f", "\x85", "\ud800"):
        assert _refused({name: f"a{character}"}).rule == "must have no control characters"
    for value in (1, 1.5, True, b"a", ["a"], {"a": 1}):
        error = _refused({name: value})
        assert (error.field, error.rule) == (name, "must be a string")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_bounded_and_has_nothing_that_cannot_be_seen(name: str) -> None:
    for text in ("x" * 64, "\U0001f600" * 64, "a b", "Ωmega-7"):
        assert new_transaction(VAS_TRANSACTIONS, {**VAS_ROW, name: text})[name] == text
    unseen = ("\u00a0", "\u200b", "\u202e", "\u2028", "\u0378", "\ue000", "\x00", "\n", "\x7f", "\x85", "\ud800")
    for text in ("", "x" * 65, *(f"a{character}" for character in unseen)):
        error = _refused({name: text})
        assert (error.field, error.rule) == (name, "must have 1 to 64 printable characters")
    for value in (1, 1.5, True, b"a", ["a"]):
        assert _refused({name: value}).rule == "must be a string"


@pytest.mark.parametrize("name", ["type", "status", "supplier", "vas_type"])
@pytest.mark.parametrize("value", ["", "PAYMENT", "unknown", 1, ["payment"], {}])
def test_a_choice_is_one_of_its_values_and_the_error_lists_them(name: str, value: Any) -> None:
    error = _refused({name: value})
    assert error.field == name
    assert error.rule.startswith("must be one of ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("amount", "0"),
        ("amount", "-1"),
        ("amount", "NaN"),
        ("amount", 120.5),
        ("amount", 120),
        ("amount", Decimal(1)),
        ("fee", "-0.01"),
        ("fee", "Infinity"),
        ("fee", 0),
        ("commission", "1e3"),
        ("commission", True),
        ("currency", "zar"),
        ("currency", "XXX"),
        ("currency", 710),
        ("mobile_number", "12345678"),
        ("mobile_number", "1234567890123456"),
        ("mobile_number", "083 001 2300"),
        ("mobile_number", "++27830012300"),
        ("mobile_number", "\u0660" * 10),
        ("mobile_number", 27830012300),
        ("processed_at", "2026-02-03T09:15:00Z"),
        ("processed_at", datetime(2026, 2, 3)),  # noqa: DTZ001  # without an offset, as the rule forbids
        ("metadata", "{}"),
        ("metadata", []),
    ],
)
def test_a_value_that_breaks_its_rule_is_refused_by_the_name_of_its_field(name: str, value: Any) -> None:
    assert _refused({name: value}).field == name


@pytest.mark.parametrize("number", ["+27830012300", "0830012300", "123456789", "+123456789012345"])
def test_mobile_numbers_are_digits_with_or_without_a_plus(number: str) -> None:
    assert new_transaction(VAS_TRANSACTIONS, {**VAS_ROW, "mobile_number": number})["mobile_number"] == number


def test_commission_may_be_negative() -> None:
    assert new_transaction(VAS_TRANSACTIONS, {**VAS_ROW, "commission": "-4.50"})["commission"] == Decimal("-4.50")


def test_an_instant_is_kept_in_utc_at_the_precision_that_the_ledger_has() -> None:
    moment = datetime(2026, 2, 3, 9, 15, 0, 123_456, tzinfo=timezone(timedelta(hours=2)))
    stored = new_transaction(VAS_TRANSACTIONS, {**VAS_ROW, "processed_at": moment})["processed_at"]
    assert stored == datetime(2026, 2, 3, 7, 15, 0, 123_000, tzinfo=UTC)


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.decimals(-(10**15), 10**15, places=30).map(lambda number: float(round(number, 12)))
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=5)
)


def _levels(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return scalars | st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)


@given(st.dictionaries(st.text("xyz", max_size=3), _levels(_levels(_levels(scalars))), max_size=4))
def test_metadata_within_its_bounds_comes_back_as_the_same_json(metadata: dict[str, Any]) -> None:
    assert json.loads(new_transaction(TRANSACTIONS, {**ROW, "metadata": metadata})["metadata"]) == metadata


def _nested(depth: int) -> dict[str, Any]:
    value: Any = {}
    for _ in range(depth - 1):
        value = {"a": value}
    assert isinstance(value, dict)
    return value


def test_metadata_may_be_nested_only_so_deep() -> None:
    assert new_transaction(TRANSACTIONS, {**ROW, "metadata": _nested(METADATA_DEPTH)})
    too_deep: list[dict[str, Any]] = [_nested(METADATA_DEPTH + 1), {"a": [[[[[]]]]]}]
    for metadata in too_deep:
        assert _refused({"metadata": metadata}).rule == f"must be nested at most {METADATA_DEPTH} levels deep"


def test_metadata_is_bounded_in_bytes_not_in_characters() -> None:
    room = METADATA_BYTES - len('{"a":""}')
    assert new_transaction(TRANSACTIONS, {**ROW, "metadata": {"a": "x" * room}})
    assert new_transaction(TRANSACTIONS, {**ROW, "metadata": {"a": "\u00e9" * (room // 2)}})
    for text in ("x" * (room + 1), "\u00e9" * (room // 2 + 1)):
        assert _refused({"metadata": {"a": text}}).rule.startswith(f"must have at most {METADATA_BYTES} bytes as JSON")


@pytest.mark.parametrize(
    "number",
    [float("nan"), float("inf"), float("-inf"), 1e300, -1e16, 10**16, 10**400, Decimal("1e999999"), Decimal("NaN")],
)
def test_metadata_holds_no_number_that_jsonb_would_refuse_or_write_out_at_length(number: Any) -> None:
    assert _refused({"metadata": {"a": [number]}}).rule.startswith("must have finite numbers")


@pytest.mark.parametrize("number", [5e-324, Decimal("1e-31"), Decimal("0e999999"), Decimal("0e-999999")])
def test_metadata_holds_no_number_with_more_places_than_are_kept(number: Any) -> None:
    assert _refused({"metadata": {"a": number}}).rule == "must have numbers with at most 30 decimal places"


@pytest.mark.parametrize(
    ("number", "stored"),
    [
        (Decimal("0.12345678901234567890123456789"), "0.12345678901234567890123456789"),
        (Decimal("1.50"), "1.50"),
        (Decimal("1e3"), "1000"),
        (Decimal("2E-30"), "0." + "0" * 29 + "2"),
        (-0.5, "-0.5"),
        (1e-7, "0.0000001"),
        (12345678901234567, None),
        (123456789012345, "123456789012345"),
        (True, "true"),
    ],
)
def test_metadata_keeps_every_digit_of_a_number_and_writes_it_out(number: Any, stored: str | None) -> None:
    if stored is None:
        assert _refused({"metadata": {"a": number}}).field == "metadata"
    else:
        assert new_transaction(TRANSACTIONS, {**ROW, "metadata": {"a": number}})["metadata"] == f'{{"a":{stored}}}'


def test_metadata_is_bounded_by_what_is_stored_not_by_how_it_is_spelt() -> None:
    spelt = [Decimal("1e-30")] * 200
    assert len(",".join(map(str, spelt))) < METADATA_BYTES
    assert "bytes as JSON, with numbers written without exponents" in _refused({"metadata": {"a": spelt}}).rule


@pytest.mark.parametrize("text", ["\x00", "\ud800", "a\udfff"])
def test_metadata_holds_no_text_that_postgresql_refuses(text: str) -> None:
    for metadata in ({"a": text}, {text: 1}, {"a": {"b": [text]}}):
        assert _refused({"metadata": metadata}).rule.startswith("must have no NUL")


@pytest.mark.parametrize(("current", "wanted"), list(product(Status, Status)))
def test_a_status_moves_only_forward_and_never_leaves_a_terminal_one(current: Status, wanted: Status) -> None:
    order = [Status.PENDING, Status.PROCESSING]
    terminal = set(Status) - set(order)
    if may_follow(current, wanted):
        assert current in order
        assert wanted in terminal or order.index(wanted) > order.index(current)
    else:
        assert wanted not in NEXT_STATUSES[current]


def test_the_terminal_statuses_are_those_that_the_tables_are_guarded_by() -> None:
    terminal = {status.value for status in Status if not NEXT_STATUSES[status]}
    assert terminal == TRANSACTIONS.terminal_statuses == VAS_TRANSACTIONS.terminal_statuses


def test_every_status_can_be_reached_from_pending() -> None:
    reached, waiting = set(), [Status.PENDING]
    while waiting:
        status = waiting.pop()
        reached.add(status)
        waiting += [following for following in NEXT_STATUSES[status] if following not in reached]
    assert reached == set(Status)
