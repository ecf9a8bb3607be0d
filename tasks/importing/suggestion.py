"""A mapping to begin with, from the beginning of a file: delimiter, encoding, header, marks, date format, key.

It is a proposal and says where it is unsure: what a column means for the business, only its owner knows. A date or an
amount that can be read in two ways by the beginning of the file is reported. Neither reading is chosen silently.
"""

import codecs
import csv
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ledger.errors import DataError, FieldError
from tasks.importing.amounts import is_code
from tasks.importing.instants import ISO, compile_instant
from tasks.importing.source import open_source

_LOOKED_AT_BYTES = 1 << 18
_LONGEST_PREAMBLE = 50  # lines before the header
_DELIMITERS = (",", ";", "\t", "|")
_ENCODINGS = ("utf-8", "cp1252")
_SIGN, _SYMBOL, _WORDS = r"[+\u2212-]", r"[A-Z$\u20ac\u00a3]{1,3}", (("Cr", "Dr"), ("CR", "DR"))
_NUMBER = re.compile(
    rf"\(?\s*{_SIGN}?\s*(?P<before>{_SYMBOL})?\s*{_SIGN}?\s*\d[\d\s.,'\u2019]*"
    rf"(?P<behind>(?![CD]R){_SYMBOL})?\s*{_SIGN}?\s*(?P<word>[CD][rR])?\s*\)?\Z"
)
_SIGNED = re.compile(r"[-\u2212(]|D[rR]")
_UNMARKED_DEBIT = '"" = "-"'
_FORMATS = (
    "iso",
    *(f"{day}{time}" for day in ("%Y-%m-%d", "%Y/%m/%d") for time in ("", " %H:%M", " %H:%M:%S")),
    *(
        f"{day}{time}"
        for day in ("%-d.%-m.%Y", "%-d/%-m/%Y", "%-m/%-d/%Y", "%-d-%-m-%Y")
        for time in ("", " %H:%M", " %H:%M:%S")
    ),
    *("%Y%m%d", "%-d %b %Y", "%-d-%b-%Y", "%b %-d, %Y", "%-d.%-m.%y", "%-d/%-m/%y", "%-m/%-d/%y"),
)
_MOST = 0.5  # of the values of a column: totals below the records are others
_KEY_WORDS = ("transaction id", "trans_id", "id", "reference", "volgnr", "number", "no")
_AMOUNT_WORDS = ("amount", "gross", "betrag", "bedrag", "montant", "importe", "value")


class _Sample(NamedTuple):
    delimiter: str
    encoding: str
    skip_lines: int
    header: tuple[str, ...]
    rows: list[list[str]]
    has_header: bool

    @property
    def is_padded(self) -> bool:
        """Whether values have white space around them, which a name must not have."""
        return any(value != value.strip() for row in self.rows for value in row if value.strip())

    def column(self, name: str) -> list[str]:
        """The values of a column that are not empty."""
        at = self.header.index(name)
        return [value for row in self.rows if (value := row[at].strip())]


def suggest_mapping(path: Path) -> str:
    """A mapping for the file at ``path``, as TOML with remarks. Raises DataError for one that shows no columns."""
    sample = _sample(path)
    times = {name: formats for name in sample.header if (formats := _formats(sample.column(name)))}
    numbers = [name for name in sample.header if name not in times and _are_numbers(sample.column(name))]
    key = _key(sample, set(times) | _with_decimals(sample, numbers))
    lines = [
        f"# A proposal for {_quoted(path.name)}, from its first {len(sample.rows)} records. Check every line.",
        f"# Columns: {', '.join(sample.header)}",
        'name = "CHANGE"   # the source, small letters; never change it once a file is imported',
        'table = "transactions"',
        *_key_lines(key),
        "",
        "[file]",
        f"delimiter = {_quoted(sample.delimiter)}",
        f"encoding = {_quoted(sample.encoding)}",
        *([f"skip_lines = {sample.skip_lines}"] if sample.skip_lines else []),
        *(["strip = true   # values have white space around them"] if sample.is_padded else []),
        *(
            []
            if sample.has_header
            else [f"columns = {[*sample.header]}   # no line names the columns".replace("'", '"')]
        ),
        "",
        "[fields]",
        *(f'{name} = {{ constant = "CHANGE" }}' for name in ("client_id", "user_id", "wallet_id")),
        'status = { constant = "completed" }',
        *_amount_lines(sample, numbers),
        *_time_lines(times),
    ]
    return "\n".join(lines)


def _sample(path: Path) -> _Sample:
    with open_source(path) as source:
        source.survey(lambda _: None)
        content = source.stream().read(_LOOKED_AT_BYTES)
    encoding = next((name for name in _ENCODINGS if _decodes(content, name)), "latin-1")
    # Split as the import splits: in a text, other characters would end lines, too.
    lines = [line.decode(encoding, "ignore") for line in content.removeprefix(codecs.BOM_UTF8).splitlines()]
    if len(content) == _LOOKED_AT_BYTES:
        lines.pop()  # cut off
    best: _Sample | None = None
    for delimiter in _DELIMITERS:
        rows = [_values(line, delimiter) for line in lines]
        for skipped in range(min(_LONGEST_PREAMBLE, len(rows))):
            sample = _read(rows[skipped:], delimiter, encoding, skipped)
            if sample and (best is None or _weight(sample) > _weight(best)):
                best = sample
    if best is None:
        raise DataError(
            f"{path}: no columns were found: no line has a comma, semicolon, tab or bar that others have, too"
        )
    return best


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content[: content.rfind(b"\n") + 1].decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _values(line: str, delimiter: str) -> list[str]:
    """The values of a line. A stray quote costs only its own line, as in the import."""
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:  # longer than a value may be
        return []


def _read(rows: Sequence[list[str]], delimiter: str, encoding: str, skipped: int) -> _Sample | None:
    """The sample whose header is the first of ``rows``, with the records that have as many columns."""
    header, *rows = rows
    names = tuple(name.strip() for name in header)
    has_header = not any(_NUMBER.match(name) or _formats([name]) for name in names)
    if not has_header:
        names, rows = tuple(f"column_{number}" for number in range(1, len(names) + 1)), [header, *rows]
    whole = [row for row in rows if len(row) == len(names)]
    if len(names) < 2 or not all(names) or len(set(names)) < len(names) or not whole:
        return None
    return _Sample(delimiter, encoding, skipped, names, whole, has_header)


def _weight(sample: _Sample) -> tuple[int, int]:
    return len(sample.header) * len(sample.rows), -sample.skip_lines


def _formats(values: Sequence[str]) -> list[str]:
    """The formats that most of ``values`` have: more than one means that the sample does not decide."""
    read = {format_: sum(_reads(format_, value) for value in values) for format_ in _FORMATS}
    most = max(read.values())
    return [format_ for format_, count in read.items() if count == most > _MOST * len(values)]


@cache
def _parser(format_: str) -> Callable[[str], datetime]:
    return compile_instant("time", format_, "UTC")


def _reads(format_: str, value: str) -> bool:
    try:
        _parser(format_)(value)
    except FieldError:
        return False
    return True


def _are_numbers(values: Sequence[str]) -> bool:
    return sum(_NUMBER.match(value) is not None for value in values) > _MOST * len(values)


def _with_decimals(sample: _Sample, numbers: Sequence[str]) -> set[str]:
    return {name for name in numbers if any(re.search(r"[.,]\d", value) for value in sample.column(name))}


def _key(sample: _Sample, taken: set[str]) -> str | None:
    """The column that looks like a key: never empty, never twice, and no time or amount. A name with a word for keys
    wins.
    """
    unique = [
        name
        for name in sample.header
        if name not in taken and len(set(sample.column(name))) == len(sample.column(name)) == len(sample.rows)
    ]
    named = [
        name
        for word in _KEY_WORDS
        for name in unique
        if word in re.split(r"[^a-z_]+", name.lower()) or word == name.lower()
    ]
    return next(iter([*named, *(unique if len(sample.rows) > 1 else [])]), None)


def _key_lines(key: str | None) -> list[str]:
    if key is None:
        return [
            '# No column identifies a row: identity = "values" or "file", see docs/importing.md',
            'identity = "values"',
        ]
    return [f"key = [{_quoted(key)}]   # has no value twice in what was looked at"]


def _amount_lines(sample: _Sample, numbers: Sequence[str]) -> list[str]:
    named = [name for word in _AMOUNT_WORDS for name in numbers if word in name.lower()]
    decimals = _with_decimals(sample, numbers)
    column = next(iter([*named, *(name for name in numbers if name in decimals), *numbers]), None)
    if pair := _credit_and_debit(numbers):
        values = [value for name in pair for value in sample.column(name)]
        credit, debit = map(_quoted, pair)
        options = [f"first_of = [{credit}, {debit}]", *_marks(values)]
        type_ = f'{{ column_of = "amount", map = {{ {credit} = "receive", {debit} = "send" }} }}'
    elif column is None:
        values, options, type_ = [], ['column = "CHANGE"'], '{ constant = "CHANGE" }   # no column of numbers was found'
    else:
        values = sample.column(column)
        options, type_ = [f"column = {_quoted(column)}", *_marks(values)], '{ constant = "CHANGE" }'
        if any(_SIGNED.search(value) for value in values) or any(_UNMARKED_DEBIT in option for option in options):
            options.append('sign = "absolute"')
            type_ = '{ sign_of = "amount", map = { "+" = "receive", "-" = "send" } }'
    return [f"currency = {_currency(values)}", f"amount = {{ {', '.join(options)} }}", f"type = {type_}"]


def _currency(values: Sequence[str]) -> str:
    """Where amounts have several symbols, each says the currency of its row."""
    symbols = _symbols(values)
    if len(symbols) < 2:
        return '{ constant = "CHANGE" }   # or { column = "..." }'
    entries = (f"{_quoted(symbol)} = {_quoted(symbol if is_code(symbol) else 'CHANGE')}" for symbol in symbols)
    return f'{{ symbol_of = "amount", map = {{ {", ".join(entries)} }} }}'


def _symbols(values: Sequence[str]) -> list[str]:
    numbers = [number for value in values if (number := _NUMBER.match(value))]
    return sorted({symbol for number in numbers for symbol in number.group("before", "behind") if symbol})


def _credit_and_debit(numbers: Sequence[str]) -> tuple[str, str] | None:
    """The columns of an amount that is in one of two, by their names."""
    by_name = {name.lower(): name for name in numbers}
    for lower, name in by_name.items():
        other = lower.replace("credit", "debit").replace("paid in", "paid out")
        if other != lower and other in by_name:
            return name, by_name[other]
    return None


def _marks(values: Sequence[str]) -> list[str]:
    """The options of money that the values show: marks of decimals and thousands, symbols, and words for signs."""
    numbers = [number for value in values if (number := _NUMBER.match(value))]
    symbols = _symbols(values)
    return [
        *_decimal_and_thousands(values),
        *([f"symbols = [{', '.join(map(_quoted, symbols))}]"] if symbols else []),
        *_signs(numbers),
    ]


def _signs(numbers: Sequence[re.Match[str]]) -> list[str]:
    """The words for signs. Where a bank marks credits alone, an amount without a word and a sign is a debit."""
    words = {number["word"] for number in numbers if not re.search(_SIGN, number[0])}
    return [
        f'signs = {{ {credit} = "+", {_UNMARKED_DEBIT} }}'
        if {credit, None} <= words and debit not in words
        else f'signs = {{ {credit} = "+", {debit} = "-" }}'
        for credit, debit in _WORDS
        if words.intersection((credit, debit))
    ]


def _decimal_and_thousands(values: Sequence[str]) -> list[str]:
    """The decimal mark is the last one with other than three digits behind it."""
    decimals = {mark for value in values for mark in re.findall(r"([.,])(?=\d{1,2}(?!\d)[^\d]*$)", value)}
    grouped = {mark for value in values for mark in re.findall(r"\d([.,'\u2019\s])(?=\d{3}(?!\d))", value)}
    blank_or_other = [" " if mark.isspace() else mark for mark in sorted(grouped - decimals, reverse=True)]
    thousands = f'thousands = "{next(iter(blank_or_other), "")}"'
    if decimals == {","}:
        return ['decimal = ","', thousands]
    return [thousands] if blank_or_other and decimals else []


def _time_lines(times: dict[str, list[str]]) -> list[str]:
    if not times:
        return ['created_at = { column = "CHANGE", format = "CHANGE" }   # no column of times was found']
    column, formats = next(iter(times.items()))
    formats = formats[:1] if formats[0] == ISO else formats  # which reads what patterns of its form read, too
    remark = f"   # or {' or '.join(formats[1:])}: the sample does not decide" if len(formats) > 1 else ""
    return [f'created_at = {{ column = {_quoted(column)}, format = "{formats[0]}", timezone = "UTC" }}{remark}']


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    return f'"{escaped}"'
