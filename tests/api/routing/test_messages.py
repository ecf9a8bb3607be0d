"""A body becomes a message, or is refused by the name of its field and the rule of its type."""

import json
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from api.reconciliation.answers import ClosePeriod, Resolve
from api.routing.messages import message, rule_of
from api.routing.routes import operations
from config import Settings
from ledger.business_days import DAY_RULE
from ledger.errors import FieldError
from tasks.reconciliation.vocabulary import Decision

CLOSING = {"supplier": "flash", "first_day": "2026-03-01", "last_day": "2026-03-31", "reason": "month end"}
RESOLVE = {"decision": "write_off", "reason": "rounding"}


def test_a_body_becomes_its_message() -> None:
    made = message(json.dumps(CLOSING | {"carry": True}).encode(), ClosePeriod)
    assert (str(made.first_day), made.carry, made.decision) == ("2026-03-01", True, "close")


@pytest.mark.parametrize(
    ("shape", "body", "field", "rule"),
    [
        (Resolve, {"decision": "write_off"}, "reason", "is required"),
        (Resolve, RESOLVE | {"reason": None}, "reason", "must have 1 to 1000 characters"),
        (Resolve, RESOLVE | {"reason": ""}, "reason", "must have 1 to 1000 characters"),
        (Resolve, RESOLVE | {"reason": "x" * 1001}, "reason", "must have 1 to 1000 characters"),
        (Resolve, RESOLVE | {"reason": 7}, "reason", "must have 1 to 1000 characters"),
        (Resolve, RESOLVE | {"decision": "guess"}, "decision", f"must be one of {', '.join(Decision)}"),
        (Resolve, RESOLVE | {"decision": ["write_off"]}, "decision", f"must be one of {', '.join(Decision)}"),
        (Resolve, RESOLVE | {"actor": "sipho"}, "actor", "is not one of decision, reason"),
        (ClosePeriod, CLOSING | {"first_day": "2026-02-30"}, "first_day", DAY_RULE),
        (ClosePeriod, CLOSING | {"first_day": "20260301"}, "first_day", DAY_RULE),
        (ClosePeriod, CLOSING | {"first_day": "2026-03-01T00:00:00Z"}, "first_day", DAY_RULE),
        (ClosePeriod, CLOSING | {"first_day": "2026-03-01\n"}, "first_day", DAY_RULE),
        (ClosePeriod, CLOSING | {"last_day": 20260331}, "last_day", DAY_RULE),
        (ClosePeriod, CLOSING | {"carry": 1}, "carry", "must be true or false"),
        (ClosePeriod, CLOSING | {"carry": None}, "carry", "must be true or false"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_its_field_and_rule(
    shape: type[msgspec.Struct], body: dict[str, Any], field: str, rule: str
) -> None:
    with pytest.raises(FieldError) as refused:
        message(json.dumps(body).encode(), shape)
    assert (refused.value.field, refused.value.rule) == (field, rule)


def test_a_refusal_does_not_repeat_the_value() -> None:
    with pytest.raises(FieldError) as refused:
        message(json.dumps(RESOLVE | {"decision": "4111111111111111"}).encode(), Resolve)
    assert "4111" not in str(refused.value)


def test_each_field_of_a_converted_body_has_a_rule_in_words(ready: Settings) -> None:
    converted = {
        "changeTransactionStatus",
        "changeVasTransactionStatus",
        "clearCache",
        "closeReconciliationPeriod",
        "resolveReconciliationBreak",
    }
    shapes = {operation.name: operation.request for operation in operations(ready) if operation.name in converted}
    assert shapes.keys() == converted
    for shape in shapes.values():
        kind = inspect.type_info(shape)
        assert isinstance(kind, inspect.StructType)
        for field in kind.fields:
            assert rule_of(field.type).startswith("must ")
