"""PostgreSQL array literals. psycopg's own dumper looks at each element's type; a flush has thousands of one type."""

from collections.abc import Sequence
from typing import Any


def text_array(values: Sequence[Any]) -> str:
    """The literal of a one-dimensional array: ``str()`` of each value in quotes, NULL for None.

    What PostgreSQL's array_in undoes (PostgreSQL documentation, 8.15.6): within quotes only a backslash and a quote
    have a meaning. Cast it to the type of the column: ``%s::text::uuid[]``.
    """
    items = ",".join(["NULL" if value is None else f'"{value!s}"' for value in values])
    if "\\" in items or items.count('"') != 2 * (len(values) - values.count(None)):
        items = ",".join(["NULL" if value is None else f'"{_escaped(str(value))}"' for value in values])
    return f"{{{items}}}"


def bytea_array(values: Sequence[bytes]) -> str:
    r"""The literal of a ``bytea[]``: each value in the hex format, whose backslash array_in wants doubled."""
    return "{" + ",".join([f'"\\\\x{value.hex()}"' for value in values]) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
