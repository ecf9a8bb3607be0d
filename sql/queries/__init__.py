"""Named queries. A .sql file holds blocks that start with ``-- name: <name>``; `load` reads one file into a mapping."""

import re
from functools import cache
from importlib import resources
from types import MappingProxyType

_NAME = re.compile(r"^-- name: *([a-z][a-z0-9_]*) *$", re.MULTILINE)


@cache
def load(file: str, package: str = __package__) -> MappingProxyType[str, str]:
    """The queries of ``<file>.sql`` in ``package`` by name. Raises ValueError when two queries have one name."""
    text = resources.files(package).joinpath(f"{file}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    names, bodies = parts[0::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"{file}.sql names a query twice")
    return MappingProxyType({name: body.strip() for name, body in zip(names, bodies, strict=True)})
