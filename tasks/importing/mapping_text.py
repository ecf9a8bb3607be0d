"""The text of a mapping file whose fields are constants and columns, for programs that write the file, too."""

import json
import re
from collections.abc import Iterable, Mapping

Source = Mapping[str, str]
_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")


def constant(value: str) -> Source:
    """The same value for every row."""
    return {"constant": value}


def column(name: str, **options: str) -> Source:
    """The value of one column. ``options`` are those of a field, such as ``format``."""
    return {"column": name, **options}


def mapping_text(
    name: str,
    table: str,
    key: Iterable[str],
    fields: Mapping[str, Source],
    metadata: Mapping[str, Source] | None = None,
) -> str:
    """The TOML of a mapping called ``name`` for ``table``: the source of each field and of the metadata."""
    head = (f"name = {_text(name)}", f"table = {_text(table)}", f"key = [{', '.join(map(_text, key))}]")
    lines = [*head, "", "[fields]", *map(_line, fields.items())]
    if metadata:
        lines += ["", "[metadata]", *map(_line, metadata.items())]
    return "\n".join(lines) + "\n"


def _line(field: tuple[str, Source]) -> str:
    name, source = field
    options = ", ".join(f"{option} = {_text(value)}" for option, value in source.items())
    return f"{name if _BARE.match(name) else _text(name)} = {{ {options} }}"


def _text(value: str) -> str:
    """A JSON string, which is a TOML string, except that TOML also escapes DEL and has no pairs of surrogates."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
