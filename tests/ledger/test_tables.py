"""A table is described once; where its months live follows from its name."""

import pytest
from pydantic import ValidationError

from ledger.columns import Column, ColumnKind
from ledger.months import Month
from ledger.tables import BUILT_IN, TieredTable


def test_a_table_of_a_given_name_lives_where_the_name_says() -> None:
    table = TieredTable(name="card_events")
    assert table.hot_parent == "card_events_partitioned"
    assert table.warm_parent == "card_events_archive_warm"
    assert table.cold_view == "card_events_archive_cold"
    assert table.partition(Month(2026, 2)) == "card_events_2026_02"


def test_the_two_ledger_tables_are_values_and_differ_only_in_what_they_hold() -> None:
    transactions, vas = BUILT_IN
    assert (transactions.name, vas.name) == ("transactions", "vas_transactions")
    assert vas.money_columns == (*transactions.money_columns, "commission")
    assert transactions.policy == vas.policy


@pytest.mark.parametrize("name", ["", "Transactions", "1st", "a-b", "a b", 'a"b', "a" * 41, "naïve", "a\n"])
def test_a_name_that_would_need_quoting_or_cutting_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="lower-case letters, digits and underscores"):
        TieredTable(name=name)


@pytest.mark.parametrize("field", ["time_column", "key_column"])
def test_the_names_of_columns_follow_the_same_rule(field: str) -> None:
    with pytest.raises(ValidationError, match="'Created At'"):
        TieredTable.model_validate({"name": "events", field: "Created At"})


def test_the_longest_name_still_leaves_room_for_every_derived_name() -> None:
    longest = TieredTable(name="a" * 40)
    derived = (longest.hot_parent, longest.warm_parent, longest.cold_view, longest.partition(Month(2026, 2)))
    assert max(map(len, derived)) <= 63  # PostgreSQL cuts identifiers there


def test_an_unknown_field_of_a_table_is_refused() -> None:
    with pytest.raises(ValidationError, match="colour"):
        TieredTable.model_validate({"name": "events", "colour": "red"})


def test_a_decimal_column_needs_precision_and_scale_and_no_other_column_has_them() -> None:
    with pytest.raises(ValueError, match="amount: precision and scale"):
        Column("amount", ColumnKind.DECIMAL)
    with pytest.raises(ValueError, match="name: precision and scale"):
        Column("name", ColumnKind.TEXT, precision=18, scale=2)
