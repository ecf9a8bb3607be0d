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


def compile_value(
    name: str, mapping: FieldMapping, positions: Positions, format_: FileFormat, taken: Getter | None = None
) -> Getter:
    """A function from a record's fields to the value of ``name``: None where there is none.

    ``positions`` are the file's columns. ``taken`` gives what ``sign_of`` and ``column_of`` say of a money field. White
    space around a text that becomes the value stays where the file does not say ``strip``: the rules of the ledger
    judge it. The function raises FieldError for a value without an entry in the map, and for an empty one where the
    mapping refuses it.
    """
    if taken is None:
        return with_empty(name, mapping, _source(name, mapping, positions, format_))
    return with_empty(
        name, mapping, taken if mapping.map is None else _mapped(name, mapping.map, mapping.otherwise, taken)
    )


def _source(name: str, mapping: FieldMapping, positions: Positions, format_: FileFormat) -> Getter:
    if mapping.column is not None:
        getter = (read_text if mapping.map is None else read_column)(mapping.column, positions, format_)
        if mapping.join_lines:
            getter = changed(getter, lambda text: _LINE_BREAKS.sub(" ", text.strip("\r\n")))
        return getter if mapping.map is None else _mapped(name, mapping.map, mapping.otherwise, getter)
    if mapping.columns is not None:
        return _cases(name, mapping, [read_column(column, positions, format_) for column in mapping.columns])
    if mapping.template is not None:
        return _template(mapping.template, positions, format_)
    constant = mapping.constant
    return lambda fields: constant


def read_column(column: str, positions: Positions, format_: FileFormat) -> Getter:
    """A function from a record's fields to the text of ``column`` without white space around it. It is for keys,
    numbers, times, and what is looked up in a map. None for a text that means nothing there.
    """
    pick = itemgetter(positions[column])
    nothing = frozenset(format_.empty)
    return lambda fields: None if (text := pick(fields).strip()) in nothing else text


def read_text(column: str, positions: Positions, format_: FileFormat) -> Getter:
    """As `read_column`, for a text that is stored: as the file has it, unless the file says ``strip``."""
    if format_.strip:
        return read_column(column, positions, format_)
    pick = itemgetter(positions[column])
    nothing = frozenset(format_.empty)
    return lambda fields: None if (text := pick(fields)).strip() in nothing else text


def changed(getter: Getter, change: Change) -> Getter:
    """``getter`` with ``change`` made to every text that it gives."""
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
    getters = [read_text(column, positions, format_) for column in names]

    def read(fields: Fields) -> str | None:
        """Nothing there when every column is empty: the fixed text alone says nothing about the row. White space that
        only the fixed text has around the whole is left out.
        """
        texts = [getter(fields) or "" for getter in getters]
        if not any(texts):
            return None
        filled = fill_template(template, texts)
        return filled if any(text != text.strip() for text in texts) else filled.strip()

    return read


def with_empty(name: str, mapping: FieldMapping, getter: Getter) -> Getter:
    """``getter`` with what the mapping says of an empty column: absent, a default, or a FieldError."""
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
