"""PostgreSQL array literals. psycopg's own dumper looks at each element's type; a flush has thousands of one type."""

from collections.abc import Sequence
from functools import partial
from operator import is_
from typing import Any


def text_array(values: Sequence[Any]) -> str:
    """The literal of a one-dimensional array: ``str()`` of each value in quotes, NULL for None.

    What PostgreSQL's array_in undoes (PostgreSQL documentation, 8.15.6): within quotes only a backslash and a quote
    have a meaning. Cast it to the type of the column: ``%s::text::uuid[]``.
    """
    if _is_constant(values):
        return f"{{{','.join([_item(values[0])] * len(values))}}}"
    items = ",".join(["NULL" if value is None else f'"{value!s}"' for value in values])
    if "\\" in items or items.count('"') != 2 * (len(values) - values.count(None)):
        items = ",".join([_item(value) for value in values])
    return f"{{{items}}}"


def bytea_array(values: Sequence[bytes]) -> str:
    r"""The literal of a ``bytea[]``: each value in the hex format, whose backslash array_in wants doubled."""
    return "{" + ",".join([f'"\\\\x{value.hex()}"' for value in values]) + "}"


def _is_constant(values: Sequence[Any]) -> bool:
    """Return whether there is one value only, as in many columns of a batch: it is written once."""
    return len(values) > 1 and values[0] is values[-1] and all(map(partial(is_, values[0]), values))


def _item(value: Any) -> str:
    if value is None:
        return "NULL"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
