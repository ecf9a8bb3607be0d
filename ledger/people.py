"""Names of people and of their accounts: which spellings may be those of one person."""

from unicodedata import normalize

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
