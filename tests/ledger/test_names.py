"""One rule for names, in rows one by one and in columns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import column_checks
from ledger.column_checks import NotWell
from ledger.errors import FieldError
from ledger.names import check_asked_name, check_name

GOOD = ["w-1", "w 1", "é" * 64, "\u00e9", "电费", "a", "user@example.com", "w--1", "\u03a9"]
BAD = [
    "",
    "x" * 65,
    "w-1 ",
    " w-1",
    " ",
    "w\t1",
    "w-1\n",
    "\x00",
    "w\u00a01",
    "\u200bw",
    "e\u0301",
    "\u212b",
    "\u2126",
    "\ud800",
]


@pytest.mark.parametrize("name", GOOD)
def test_a_good_name_is_kept_as_it_is(name: str) -> None:
    assert check_name("wallet_id", name) == name
    assert column_checks.names([name, "w"]) == [name, "w"]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_name_is_refused_and_never_changed(name: str) -> None:
    with pytest.raises(FieldError, match="wallet_id"):
        check_name("wallet_id", name)
    with pytest.raises(NotWell):
        column_checks.names(["w", name])


@pytest.mark.parametrize("name", ["w-1 ", " w-1", "e\u0301"])
def test_a_stored_name_of_before_the_rule_can_be_asked_for(name: str) -> None:
    assert check_asked_name("wallet_id", name) == name


@given(st.lists(st.text(st.sampled_from("ab é\u0301\u00e9 \t"), max_size=4), min_size=1, max_size=4))
def test_a_column_is_refused_exactly_when_one_of_its_names_is(names: list[str]) -> None:
    def good(name: str) -> bool:
        try:
            check_name("wallet_id", name)
        except FieldError:
            return False
        return True

    try:
        assert column_checks.names(names) == names
        accepted = True
    except NotWell:
        accepted = False
    assert accepted == all(map(good, names))
