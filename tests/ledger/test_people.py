"""Two spellings of a name are one person, and two names are two."""

import pytest

from ledger.errors import FieldError
from ledger.people import Person, folded_names


@pytest.mark.parametrize(
    "other",
    ["BEN", " ben ", "\uff22en", "ben\ufe0f", "b\u034fen", "ben\u3164", "be\u17b5n", "\u2800ben", "ben\U000e0100"],
)
def test_what_cannot_be_seen_or_is_the_same_letter_makes_no_other_person(other: str) -> None:
    assert folded_names("ben") == folded_names(other)


@pytest.mark.parametrize(
    ("name", "other"),
    [("Jos\u00e9", "Jose\u0301"), ("Thandi  Mokoena", "thandi\u00a0mokoena"), ("STRASSE", "stra\u00dfe")],
)
def test_accents_spaces_and_letters_have_one_form(name: str, other: str) -> None:
    assert folded_names(name) == folded_names(other)


@pytest.mark.parametrize(("name", "other"), [("ben", "bens"), ("Jos\u00e9", "Jose"), ("\u0915\u0940", "\u0915")])
def test_other_letters_are_another_person(name: str, other: str) -> None:
    assert not Person(name, name).is_same_as(other, other)


def test_one_account_is_one_person_whatever_the_names_are() -> None:
    assert Person("ben", "desk").is_same_as("carol", "Desk\ufe0f")
    assert Person("ben", "desk").is_same_as("desk", "other")


@pytest.mark.parametrize("name", ["\uff54reasury", "treasury\u3164", "Treasury\ufe0f", "\u3164", "\ufe0f\u2800"])
def test_nobody_signs_as_the_system_or_with_a_name_that_cannot_be_seen(name: str) -> None:
    with pytest.raises(FieldError, match="actor: must"):
        Person(name, "ben").check()
