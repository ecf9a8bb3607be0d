"""`--json` of the commands that show something or have a result: one option, one writer, a form for each kind of value.

A list is a JSON array of objects, a single thing is an object. An answer is the only thing on standard output.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import typer

from ledger.months import Month

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON, for programs")]


def write_json(content: Any) -> None:
    """Print an answer for programs.

    Money, which is a Decimal, becomes text without an exponent, and an instant RFC 3339 in UTC. Bytes, which are hashes
    here, become hex, and a dataclass the object of its fields. Raises TypeError for a value that has no form here.
    """
    typer.echo(json.dumps(content, default=_plain, indent=1, ensure_ascii=False))


def record(source: Any, *left_out: str, **further: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, without those that are ``left_out``; ``further`` ones come last."""
    kept = {field.name: getattr(source, field.name) for field in fields(source) if field.name not in left_out}
    return kept | further


# An instant is a date too, so it comes first; a month is a dataclass.
_FORMS: Mapping[type, Callable[[Any], str]] = {
    datetime: lambda moment: moment.astimezone(UTC).isoformat(),
    date: date.isoformat,
    Month: str,
    Decimal: "{:f}".format,
    UUID: str,
    bytes: bytes.hex,
}


def _plain(value: Any) -> Any:
    for kind, form in _FORMS.items():
        if isinstance(value, kind):
            return form(value)
    if is_dataclass(value):
        return record(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON here")
