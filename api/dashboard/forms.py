"""A form that a page shows: empty, or again after a refusal with what was entered and the reason. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from api.routing import problems
from ledger.errors import ConflictError, FieldError, TransientError

# What a person can put right, or send again: the form is shown again. Everything else is a page of its own.
REFUSALS = (FieldError, ConflictError, TransientError)
Refusal = FieldError | ConflictError | TransientError


@dataclass(frozen=True, slots=True)
class Form:
    """``values`` are what the fields hold. ``said`` is why it was refused: beside the field ``field``, or above the
    button where it concerns none of them. ``status`` is the HTTP status of the page.
    """

    values: Mapping[str, str] = field(default_factory=dict)
    said: str = ""
    field: str = ""
    status: int = 200

    def value(self, name: str, default: str = "") -> str:
        """What a field holds."""
        return self.values.get(name, default)

    def error(self, name: str) -> str:
        """Why a field was refused; empty where it was not."""
        return self.said if name == self.field else ""


def refused(values: Mapping[str, str], error: Refusal, fields: frozenset[str]) -> Form:
    """The form after ``error``. ``fields`` are the fields that the page shows an error beside."""
    status = problems.kind_of(error).status
    if isinstance(error, FieldError) and error.field in fields:
        return Form(values, f"This {error.rule}.", error.field, status)
    return Form(values, problems.document(error)["detail"], "", status)
