"""The one finder of payment card numbers in texts: what is refused, and what is hidden, is found here and nowhere else.

Card numbers do not belong into a ledger that nobody can delete from for ten years, nor into its logs, alerts and files.

A card number is 13 to 19 digits with the issuer's digits in front and a check digit at the end (ISO/IEC 7812-1). One
random number in ten has a right check digit, so the issuer and the length that goes with it are asked for too. Of
random numbers of 16 digits about one in forty then still looks like a card. How much certainty is needed depends on
what a mistake costs: see `Search`.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from functools import lru_cache
from itertools import accumulate, chain


class Search(Enum):
    """The numbers that are taken for a card's.

    Except with ``STRICT``, a UUID and an electricity token (twenty digits as 4-4-4-4-4) hold no card number.
    """

    FREE_TEXT = "free text"  # an issuer's number in any grouping: refused in texts that people write
    REFERENCE = "reference"  # an issuer's number as cards are printed: a payment must not fail by chance
    STRICT = "strict"  # as FREE_TEXT, in tokens and UUIDs too
    HIDDEN = "hidden"  # as FREE_TEXT, and whatever has a right check digit alone or as printed: a mask costs little
    RAW = "raw"  # lines of foreign files: any neighbouring groups with a right check digit, also behind letters


# Lengths by the digits in front. Sources: the networks' published ranges.
_ISSUERS = (
    (re.compile(r"4"), frozenset({13, 16, 19})),  # Visa
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), frozenset({16})),  # Mastercard
    (re.compile(r"3[47]"), frozenset({15})),  # American Express
    (re.compile(r"30[0-5]|3[689]"), frozenset({14})),  # Diners Club
    (re.compile(r"6011|64[4-9]|65"), frozenset({16, 19})),  # Discover
    (re.compile(r"35(?:2[89]|[3-8])"), frozenset({16, 19})),  # JCB
    (re.compile(r"62"), frozenset({16, 17, 18, 19})),  # UnionPay
    (re.compile(r"50(?:18|20|38)|5893|6304|6759|676[1-3]"), frozenset({13, 14, 15, 16, 17, 18, 19})),  # Maestro
    (re.compile(r"506[01]"), frozenset({16, 18, 19})),  # Verve
    (re.compile(r"220[0-4]|5019"), frozenset({16})),  # Mir, Dankort
)
_ISSUER_DIGITS = 4  # as many as identify an issuer
FEWEST_DIGITS, _MOST_DIGITS = 13, 19
_ANY_LENGTH = frozenset(range(FEWEST_DIGITS, _MOST_DIGITS + 1))
# Spaces, also those that do not break, and hyphens, dashes and the minus sign, as word processors make them.
_PARTING = " \u00a0\u2007\u2009\u202f\u2010\u2011\u2012\u2013\u2014\u2015\u2212-"
# The same as Python's repr and JSON write them: an error message may quote a value.
_ESCAPED = re.compile(r"\\(?:xa0|u(?:00[aA]0|2007|2009|202[fF]|201[0-5]|2212))")
LONGEST_CHARACTERS = _MOST_DIGITS + 3 * len("\\u00a0") * (_MOST_DIGITS - 1)  # of a card number with its separators
LONG_NUMBER = rf"[0-9][0-9.{_PARTING}]{{{FEWEST_DIGITS - 1}}}"  # every text with a card number has one, and more have
_LONG_NUMBER = re.compile(LONG_NUMBER)
_NOT_BEHIND = r"(?<![0-9A-Za-z])"
_NOT_BEFORE = r"(?![0-9A-Za-z])"
_GROUPS = rf"\d+(?:[{_PARTING}]{{1,3}}\d+)*"
# Groups of digits, whose neighbours may stand for something else: an expiry date behind a number, a counter before it.
_ANY = re.compile(_NOT_BEHIND + _GROUPS + _NOT_BEFORE, re.ASCII)
# The same, but for the fraction of a number and for ids as the ledger's own, a letter, a hyphen and digits: w-4111...
_ANY_BUT_IDS = re.compile(
    rf"{_NOT_BEHIND}(?<![\d*]\.)(?<!^[A-Za-z]-)(?<![^0-9A-Za-z][A-Za-z]-){_GROUPS}{_NOT_BEFORE}", re.ASCII
)
_ANYWHERE = re.compile(_GROUPS, re.ASCII)
# As cards are printed: 4-4-4-4 (and 3 more), 4-6-5, 4-6-4. Dots part groups of these sizes only: they are in fractions.
# The whole is looked ahead at, so that other groups of four before a number do not take its digits away.
_PRINTED = re.compile(
    rf"{_NOT_BEHIND}(?=(\d{{4}}([{_PARTING}]{{1,3}}|\.)"
    rf"(?:\d{{4}}\2\d{{4}}\2\d{{4}}(?:\2\d{{3}})?|\d{{6}}\2\d{{4,5}})){_NOT_BEFORE})",
    re.ASCII,
)
_UNBROKEN = re.compile(r"(?<![\w.-])\d{13,19}(?![\w-])", re.ASCII)
_NOT_CARDS = re.compile(
    # An electricity token has twenty digits, which no card has; one in forty would be taken for a card and more.
    rf"{_NOT_BEHIND}(?<![0-9][{_PARTING}])\d{{4}}([{_PARTING}]{{1,3}})\d{{4}}(?:\1\d{{4}}){{3}}"
    rf"{_NOT_BEFORE}(?![{_PARTING}]{{1,3}}[0-9])"
    rf"|{_NOT_BEHIND}[0-9a-fA-F]{{8}}-(?:[0-9a-fA-F]{{4}}-){{3}}[0-9a-fA-F]{{12}}{_NOT_BEFORE}",
    re.ASCII,
)
# What may precede a number without a space: words for it, and the mark of a magnetic stripe's first track. Not any
# letters: ids begin with some, and of those one in forty would be refused by chance.
_LABEL = re.compile(
    r"(?:%b|(?<![0-9A-Za-z])(?:(?:pan|card)(?:no|nr|num|number)?|cc|visa|mastercard|maestro|amex|diners|discover|jcb"
    r"|unionpay|verve|mir|dankort))(?=\d)",
    re.ASCII | re.IGNORECASE,
)
_LETTER_BEFORE = re.compile(r"[A-Za-z]\d", re.ASCII)
_PLAIN = bytes.maketrans(b"0123456789", bytes(range(10)))
_TWICE = bytes.maketrans(b"0123456789", bytes(2 * digit - 9 * (digit > 4) for digit in range(10)))
MASK = "***"

Span = tuple[int, int]
_Lengths = frozenset[int]


def passes_luhn(digits: str) -> bool:
    """Return whether the last of ``digits`` is their check digit (ISO/IEC 7812-1, annex B)."""
    backwards = digits.encode()[::-1]
    return (sum(backwards[::2].translate(_PLAIN)) + sum(backwards[1::2].translate(_TWICE))) % 10 == 0


def is_card_number(digits: str) -> bool:
    """Return whether ``digits`` can be a card's: an issuer in front, a length that it uses, a right check digit."""
    return len(digits) in _lengths(digits[:_ISSUER_DIGITS]) and passes_luhn(digits)


def find(text: str, search: Search) -> Iterator[Span]:
    """Return where card numbers are in ``text``, from the first digit to behind the last; spans may overlap.

    A few steps for each character, whatever the text is: clients choose it.
    """
    if "\\" in text and _ESCAPED.search(text):
        text, places = _unescaped(text)
        return ((places[start], places[end - 1] + 1) for start, end in find(text, search))
    if not holds_long_number(text):
        return iter(())
    if _LETTER_BEFORE.search(text):
        text = _LABEL.sub(_blank, text)
    spans = _spans(text, search)
    first = next(spans, None)
    if first is None:
        return iter(())
    if search is not Search.STRICT and _NOT_CARDS.search(text):
        return _spans(_NOT_CARDS.sub(_blank, text), search)
    return chain((first,), spans)


def holds_long_number(text: str) -> bool:
    """Return whether ``text`` may have as many digits together as a card number; without, `find` finds nothing."""
    if len(text) < FEWEST_DIGITS:
        return False
    return _LONG_NUMBER.search(text) is not None or ("\\" in text and _ESCAPED.search(text) is not None)


def holds_card_number(text: str, search: Search) -> bool:
    """Return whether `find` finds anything."""
    return next(find(text, search), None) is not None


def mask_card_numbers(text: str, search: Search = Search.HIDDEN, shown_digits: int = 0) -> str:
    """``text`` with `MASK` in place of each card number, or with ``*`` for all but the last ``shown_digits`` digits."""
    spans = sorted(find(text, search))
    if not spans:
        return text
    return _starred(text, spans, shown_digits) if shown_digits else _replaced(text, spans)


def _blank(match: re.Match[str]) -> str:
    """As many characters that part numbers, so that places stay what they were."""
    return "," * len(match[0])


def _unescaped(text: str) -> tuple[str, list[int]]:
    """``text`` with a space for each escaped separator, and where each of its characters stood."""
    pieces: list[str] = []
    places: list[int] = []
    done = 0
    for match in _ESCAPED.finditer(text):
        pieces += [text[done : match.start()], " "]
        places += range(done, match.start() + 1)
        done = match.end()
    return "".join((*pieces, text[done:])), [*places, *range(done, len(text))]


def _spans(text: str, search: Search) -> Iterator[Span]:
    for pattern, any_issuer in _PATTERNS[search]:
        judge = _printed if pattern is _PRINTED else _grouped
        for match in pattern.finditer(text):
            yield from judge(match, any_issuer)


def _printed(match: re.Match[str], any_issuer: bool) -> Iterator[Span]:
    """The number that is written as on a card; of 19 digits the first 16 may be one, too."""
    start, end = match.span(1)
    digits = _NO_DIGITS.sub("", match[1])
    if _is_one(digits, any_issuer):
        yield start, end
    elif len(digits) == _MOST_DIGITS and _is_one(digits[:-3], any_issuer):
        yield start, end - 3 - len(match[2])


def _grouped(match: re.Match[str], any_issuer: bool) -> Iterator[Span]:
    """The numbers that neighbouring groups of digits make together."""
    run, offset = match[0], match.start()
    if run.isdecimal():
        if _is_one(run, any_issuer):
            yield match.span()
        return
    if len(run) < FEWEST_DIGITS:
        return
    places: list[int] = []
    for start, end in _windows(_DIGITS.findall(run), any_issuer):
        places = places or _places_of_digits(run)
        yield offset + places[start], offset + places[end - 1] + 1


def _is_one(digits: str, any_issuer: bool) -> bool:
    return len(digits) in _possible(digits, any_issuer) and passes_luhn(digits)


def _windows(groups: Sequence[str], any_issuer: bool) -> Iterator[Span]:
    """Yield which neighbouring ``groups`` of digits are a card number together, as places among all their digits."""
    digits = "".join(groups)
    if len(digits) < FEWEST_DIGITS:
        return
    starts = [0, *accumulate(map(len, groups))]
    is_edge = bytearray(len(digits) + _MOST_DIGITS + 1)
    for start in starts:
        is_edge[start] = 1
    sums = _luhn_sums(digits)
    for start in starts:
        for length in _possible(digits[start : start + _ISSUER_DIGITS], any_issuer):
            end = start + length
            if is_edge[end]:
                of_end = sums[(end - 1) % 2]
                if (of_end[end] - of_end[start]) % 10 == 0:
                    yield start, end


def _possible(digits: str, any_issuer: bool) -> _Lengths:
    return _ANY_LENGTH if any_issuer else _lengths(digits[:_ISSUER_DIGITS])


@lru_cache(maxsize=10_000)
def _lengths(front: str) -> _Lengths:
    """The lengths of numbers that begin with ``front``, by all issuers that they may be of."""
    return frozenset().union(*(lengths for issuer, lengths in _ISSUERS if issuer.match(front)))


def _luhn_sums(digits: str) -> tuple[list[int], list[int]]:
    """Return the sums of the digits before each place, as for a check digit at an even place and at an odd one."""
    plain, twice = digits.encode().translate(_PLAIN), digits.encode().translate(_TWICE)
    last_even, last_odd = bytearray(twice), bytearray(twice)
    last_even[::2], last_odd[1::2] = plain[::2], plain[1::2]
    return list(accumulate(last_even, initial=0)), list(accumulate(last_odd, initial=0))


def _places_of_digits(text: str) -> list[int]:
    return [digit.start() for digit in _DIGIT.finditer(text)]


def _starred(text: str, spans: Iterable[Span], shown_digits: int) -> str:
    characters = list(text)
    for start, end in spans:
        number = _ESCAPED.sub(_blank, text[start:end])
        for place in _places_of_digits(number)[:-shown_digits]:
            characters[start + place] = "*"
    return "".join(characters)


def _replaced(text: str, spans: Iterable[Span]) -> str:
    """``text`` with one `MASK` for each stretch that ``spans``, in order, cover."""
    pieces, done = [], 0
    for start, end in spans:
        if start >= done:
            pieces += [text[done:start], MASK]
        done = max(done, end)
    return "".join((*pieces, text[done:]))


_NO_DIGITS = re.compile(r"\D+", re.ASCII)
_DIGIT, _DIGITS = re.compile(r"\d", re.ASCII), re.compile(r"\d+", re.ASCII)
# Each pattern, and whether its numbers need no issuer.
_PATTERNS: dict[Search, tuple[tuple[re.Pattern[str], bool], ...]] = {
    Search.FREE_TEXT: ((_ANY, False), (_PRINTED, False)),
    Search.REFERENCE: ((_PRINTED, False),),
    Search.STRICT: ((_ANY, False), (_PRINTED, False)),
    Search.HIDDEN: ((_ANY_BUT_IDS, False), (_PRINTED, True), (_UNBROKEN, True)),
    Search.RAW: ((_ANYWHERE, True), (_PRINTED, True)),
}
