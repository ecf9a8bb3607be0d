"""Field mappings compiled into functions: from the fields of a record to the text of one value.

Compiled once a file, called for every line: what can be decided from the mapping is decided here and not again.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter

from ledger.errors import FieldError
from tasks.importing.mapping import FieldMapping, FileFormat, fill_template, template_columns

Fields = Sequence[str]
Getter = Callable[[Fields], str | None]
Positions = Mapping[str, int]
Change = Callable[[str], str]

_LINE_BREAKS = re.compile(r"[\r\n]+")
_TRAILING_ZEROS = re.compile(r"(-?\d+\.\d{2})0+\Z", re.ASCII)
_WHOLE = re.compile(r"(-?)(\d+)\Z", re.ASCII)
_CENT_DIGITS = 3  # 5 cents are 0.05: a digit before the point and two after it


def compile_value(name: str, mapping: FieldMapping, positions: Positions, format_: FileFormat) -> Getter:
    """A function from a record's fields to the value of ``name``: None where there is none.

    ``positions`` are the file's columns. The function raises FieldError for a value without an entry in the map, and
    for an empty one where the mapping refuses it.
    """
    return _with_empty(name, mapping, _source(name, mapping, positions, format_))


def _source(name: str, mapping: FieldMapping, positions: Positions, format_: FileFormat) -> Getter:
    if mapping.column is not None:
        getter = read_column(mapping.column, positions, format_)
        if mapping.join_lines:
            getter = _changed(getter, lambda text: _LINE_BREAKS.sub(" ", text))
        return getter if mapping.map is None else _mapped(name, mapping.map, mapping.otherwise, getter)
    if mapping.columns is not None:
        return _cases(name, mapping, [read_column(column, positions, format_) for column in mapping.columns])
    if mapping.template is not None:
        return _template(mapping.template, positions, format_)
    constant = mapping.constant
    return lambda fields: constant


def read_column(column: str, positions: Positions, format_: FileFormat) -> Getter:
    """A function from a record's fields to the text of ``column``; None for a text that means nothing there."""
    pick = itemgetter(positions[column])
    nothing = frozenset(format_.empty)
    if not format_.strip:
        return lambda fields: None if (text := pick(fields)) in nothing else text
    return lambda fields: None if (text := pick(fields).strip()) in nothing else text


def _changed(getter: Getter, change: Change) -> Getter:
    return lambda fields: None if (text := getter(fields)) is None else change(text)


def _mapped(name: str, entries: Mapping[str, str], otherwise: str | None, getter: Getter) -> Getter:
    def read(fields: Fields) -> str | None:
        text = getter(fields)
        if text is None:
            return entries.get("")  # an entry for "" says what an empty column means
        value = entries.get(text, otherwise)
        if value is None:
            raise FieldError(name, f"has no entry in the mapping for {text!r}")
        return value

    return read


def _cases(name: str, mapping: FieldMapping, getters: Sequence[Getter]) -> Getter:
    entries = {case.when: case.then for case in mapping.cases}
    otherwise = mapping.otherwise

    def read(fields: Fields) -> str | None:
        texts = tuple([getter(fields) or "" for getter in getters])
        value = entries.get(texts, otherwise)
        if value is None:
            raise FieldError(name, f"has no case in the mapping for {texts!r}")
        return value

    return read


def _template(template: str, positions: Positions, format_: FileFormat) -> Getter:
    names = template_columns(template)
    getters = [read_column(column, positions, format_) for column in names]

    def read(fields: Fields) -> str | None:
        """Nothing there when every column is empty: the fixed text alone says nothing about the row."""
        texts = [getter(fields) for getter in getters]
        if not any(texts):
            return None
        return fill_template(template, (text or "" for text in texts)).strip()

    return read


def _with_empty(name: str, mapping: FieldMapping, getter: Getter) -> Getter:
    default = mapping.default
    if default is not None:
        return lambda fields: default if (text := getter(fields)) is None else text
    if mapping.empty == "absent":
        return getter

    def read(fields: Fields) -> str | None:
        text = getter(fields)
        if text is None:
            raise FieldError(name, "is empty")
        return text

    return read


def compile_money(name: str, mapping: FieldMapping, getter: Getter) -> Getter:
    """``getter`` with its text made the decimal string that `ledger.money` reads. No value is rounded."""
    changes: list[Change] = []
    if mapping.thousands or mapping.decimal == ",":
        changes.append(_plain_marks(name, mapping.thousands, mapping.decimal))
    if mapping.sign == "absolute":
        changes.append(lambda text: text.removeprefix("-"))
    changes.append(_from_minor(name) if mapping.unit == "minor" else _without_zeros)
    for change in changes:
        getter = _changed(getter, change)
    return getter


def _plain_marks(name: str, thousands: str, decimal: str) -> Change:
    """Strict on purpose: ``1.234`` is a thousand in one country and a bit more than one in the next."""
    mark, point = re.escape(thousands), re.escape(decimal)
    grouped = rf"\d{{1,3}}(?:{mark}\d{{3}})+|" if thousands else ""
    match = re.compile(rf"-?(?:{grouped}\d+)(?:{point}\d+)?\Z", re.ASCII).match
    example = f"1{thousands}234{decimal}50"

    def change(text: str) -> str:
        if not match(text):
            raise FieldError(name, f"must be an amount written like {example}")
        return (text.replace(thousands, "") if thousands else text).replace(decimal, ".")

    return change


def _from_minor(name: str) -> Change:
    def change(text: str) -> str:
        found = _WHOLE.match(text)
        if found is None:
            raise FieldError(name, "must be a whole number of cents")
        digits = found[2].zfill(_CENT_DIGITS)
        return f"{found[1]}{digits[:-2].lstrip('0') or '0'}.{digits[-2:]}"

    return change


def _without_zeros(text: str) -> str:
    """Leave out zeros after the second decimal place: `ledger.money` takes two. 150.0050 stays, to be refused."""
    found = _TRAILING_ZEROS.match(text) if text[-1:] == "0" else None
    return found[1] if found else text
