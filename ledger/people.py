"""The people who decide: the name that a person gives, and the account that it is given under. Four eyes are two
people's, whatever the spelling of their names.
"""

from dataclasses import dataclass
from unicodedata import normalize

from ledger.card_numbers import refuse_card_number
from ledger.errors import FieldError

SYSTEM = "treasury"  # what runs sign with
REASON_CHARACTERS = 1000
_NAME_CHARACTERS = 128
_UNSEEN = (  # first and last code point of each range
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x115F, 0x1160),  # fillers of Hangul
    (0x17B4, 0x17B5),  # inherent vowels of Khmer
    (0x180B, 0x180F),  # selectors of Mongolian
    (0x2800, 0x2800),  # the Braille pattern without a dot
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFFA0, 0xFFA0),
    (0xE0100, 0xE01EF),
)


@dataclass(frozen=True, slots=True)
class Person:
    """``name`` is what they call themselves; ``account`` is the login of the operating system or the API key that they
    used, which they cannot choose.
    """

    name: str
    account: str

    def check(self) -> None:
        """Raise FieldError for a name that is none, or that of the system."""
        check_text("actor", self.name, _NAME_CHARACTERS)
        check_text("account", self.account, _NAME_CHARACTERS)
        if "" in folded_names(self.name, self.account):
            raise FieldError("actor", "must have characters that are seen")
        if SYSTEM in folded_names(self.name):
            raise FieldError("actor", f"must be a person: {SYSTEM} is what runs sign with")

    def is_same_as(self, name: str, account: str | None) -> bool:
        """Return whether the other may be the same person: any name of one is any name of the other's."""
        return bool(folded_names(self.name, self.account) & folded_names(name, account))


def check_text(field: str, text: str, longest: int) -> None:
    """Raise FieldError unless the text is 1 to ``longest`` printable characters without a payment card number. What
    people write about a decision is kept for ever.
    """
    if not len(text.strip()) >= 1 or len(text) > longest or not text.isprintable():
        raise FieldError(field, f"must be 1 to {longest} printable characters")
    refuse_card_number(field, text)


def folded_names(*names: str | None) -> set[str]:
    """What the spellings of each name have in common. Two people whose names and accounts have nothing in common here
    are two; others may be one.

    Case, the form of letters and accents (Unicode's NFKC), spaces, and characters that are not seen make no other
    person.
    """
    return {_folded(name) for name in names if name is not None}


def _folded(name: str) -> str:
    folded = normalize("NFKC", normalize("NFKC", name).casefold())
    return " ".join("".join(character for character in folded if not _is_unseen(ord(character))).split())


def _is_unseen(code: int) -> bool:
    """Whether a printable character has no mark: most are Unicode's Default_Ignorable_Code_Point
    (DerivedCoreProperties.txt). The others of those are not printable, and refused in every name.
    """
    return any(first <= code <= last for first, last in _UNSEEN)
