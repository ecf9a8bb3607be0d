"""Bodies as messages: one conversion of JSON to a struct, and one translation of its errors to field and rule."""

import re
from typing import TypeVar

import msgspec
from msgspec import inspect

from api.routing.parsing import decode_object
from ledger.business_days import DAY_RULE
from ledger.errors import FieldError

Message = TypeVar("Message", bound=msgspec.Struct)
_MISSING = re.compile(r"missing required field `(\w+)`")
_PLACE = re.compile(r"at `\$\.(\w+)")


def message(body: bytes, shape: type[Message]) -> Message:
    """The JSON object in ``body`` as a ``shape``.

    Raises a 400 problem for what is not strict JSON. Raises FieldError for an unknown field, a missing one, or a value
    that does not fit its field.
    """
    values = decode_object(body)
    for name in values:
        if name not in shape.__struct_fields__:
            raise FieldError(name, f"is not one of {', '.join(shape.__struct_fields__)}")
    try:
        return msgspec.convert(values, shape)
    except msgspec.ValidationError as error:
        raise _field_error(str(error), shape) from None


def _field_error(text: str, shape: type[msgspec.Struct]) -> FieldError:
    """The field that msgspec's ``text`` names, and the rule of its type. The text itself may quote the value."""
    missing = _MISSING.search(text)
    if missing is not None:
        return FieldError(missing[1], "is required")
    place = _PLACE.search(text)
    if place is None:
        return FieldError("body", "must be a JSON object")
    return FieldError(place[1], _rule(inspect.type_info(shape), place[1]))


def _rule(shape: inspect.Type, name: str) -> str:
    fields = shape.fields if isinstance(shape, inspect.StructType) else ()
    return rule_of(next(field.type for field in fields if field.name == name))


def rule_of(kind: inspect.Type) -> str:
    """Return what a value of ``kind`` must be, in words. Raises TypeError for a kind that no message has."""
    if isinstance(kind, inspect.Metadata):
        return rule_of(kind.type)
    if isinstance(kind, inspect.UnionType):
        return " or ".join(rule_of(member) for member in kind.types if not isinstance(member, inspect.NoneType))
    if isinstance(kind, inspect.EnumType):
        return f"must be one of {', '.join(kind.cls)}"
    if isinstance(kind, inspect.BoolType):
        return "must be true or false"
    if isinstance(kind, inspect.DateType):
        return DAY_RULE
    if isinstance(kind, inspect.StrType):
        return _text_rule(kind)
    raise TypeError(f"{kind}: no rule is written for this type")


def _text_rule(kind: inspect.StrType) -> str:
    if kind.min_length is None or kind.max_length is None:
        return "must be a text"
    return f"must have {kind.min_length} to {kind.max_length} characters"
