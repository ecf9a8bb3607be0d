"""PostgreSQL array literals. psycopg's own dumper looks at each element's type; a flush has thousands of one type."""

from collections.abc import Iterable
from typing import Any


def text_array(values: Iterable[Any]) -> str:
    """The literal of a one-dimensional array: ``str()`` of each value in quotes, NULL for None.

    What PostgreSQL's array_in undoes (PostgreSQL documentation, 8.15.6): within quotes only a backslash and a quote
    have a meaning. Cast it to the type of the column: ``%s::text::uuid[]``.
    """
    return "{" + ",".join(["NULL" if value is None else _quoted(str(value)) for value in values]) + "}"


def bytea_array(values: Iterable[bytes]) -> str:
    r"""The literal of a ``bytea[]``: each value in the hex format, whose backslash array_in wants doubled."""
    return "{" + ",".join([f'"\\\\x{value.hex()}"' for value in values]) + "}"


def _quoted(text: str) -> str:
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if '"' in text:
        text = text.replace('"', '\\"')
    return f'"{text}"'
