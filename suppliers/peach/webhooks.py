"""Peach's checkout webhooks: whether one is genuine, what it says, and what several of them say together.

They come unordered and more than once, for up to thirty days. So nothing is concluded from the order of arrival: the
payload's own timestamp decides, and a success is never taken back by a later message of failure. All of it is pure.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import parse_qsl

from ledger.errors import DataError
from suppliers.money import from_rand
from suppliers.peach import codes
from suppliers.verdicts import Verdict

SIGNATURE = "signature"
BODY_LIMIT_BYTES = 64 << 10
_MOST_FIELDS = 200
_FINAL = frozenset({Verdict.DECLINED, Verdict.INVALID})


class SignatureError(DataError):
    """The webhook is not signed with our secret: nothing in it may be believed."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A genuine webhook. ``timestamp`` is the payload's, UTC; ``payment_id`` is Peach's id, once there is one."""

    reference: str
    verdict: Verdict
    code: str
    timestamp: datetime
    amount: Decimal | None
    currency: str | None
    payment_id: str | None
    checkout_id: str | None


def sign(fields: Mapping[str, str], secret: str) -> str:
    """The signature of a payload: hex HMAC-SHA256 over each key followed by its value, in the order of the keys."""
    text = "".join(f"{key}{fields[key]}" for key in sorted(fields) if key != SIGNATURE)
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def read(body: bytes, secret: str) -> Webhook:
    """The webhook in a form-encoded body, once its signature is found right.

    Raises SignatureError when it is not, before anything else is looked at; DataError naming the field when a genuine
    one cannot be read. Safe to repeat.
    """
    fields = _fields(body)
    given = fields.get(SIGNATURE, "")
    if not hmac.compare_digest(sign(fields, secret).encode(), given.encode()):
        raise SignatureError("signature: is not that of this payload")
    code = _needed(fields, "result.code")
    amount = fields.get("amount")
    return Webhook(
        reference=_needed(fields, "merchantTransactionId"),
        verdict=codes.verdict_of(code),
        code=code,
        timestamp=_instant(_needed(fields, "timestamp")),
        amount=None if amount is None else from_rand(amount),
        currency=fields.get("currency"),
        payment_id=fields.get("id"),
        checkout_id=fields.get("checkoutId"),
    )


def settled(webhooks: Iterable[Webhook]) -> Webhook | None:
    """Of the webhooks of one payment the one that tells how it stands, whatever order and however often they came.

    A success counts for good, the earliest of them; else the newest message does. None when there are none.
    """
    known = sorted(set(webhooks), key=_order)
    successes = [one for one in known if one.verdict is Verdict.SUCCESS]
    if successes:
        return successes[0]
    return known[-1] if known else None


def supersedes(newer: Webhook, older: Webhook) -> bool:
    """Whether ``newer`` says more than ``older``: what a stored state is replaced by when messages come one by one."""
    return settled((older, newer)) == newer != older


def is_final(webhook: Webhook) -> bool:
    """Whether nothing can follow: not so for pending, uncertain and cancelled, which may still become successful."""
    return webhook.verdict is Verdict.SUCCESS or webhook.verdict in _FINAL


def _order(webhook: Webhook) -> tuple[datetime, bool, str]:
    """By the payload's time; at the same instant what is final is the later one."""
    return webhook.timestamp, is_final(webhook), webhook.code


def _fields(body: bytes) -> dict[str, str]:
    if len(body) > BODY_LIMIT_BYTES:
        raise DataError(f"webhook: must have at most {BODY_LIMIT_BYTES} bytes")
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:
        raise DataError("webhook: must be form encoded, in UTF-8") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise DataError("webhook: a field stands twice")
    return fields


def _needed(fields: Mapping[str, str], name: str) -> str:
    value = fields.get(name)
    if not value:
        raise DataError(f"webhook: {name} is missing")
    return value


def _instant(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise DataError("webhook: timestamp is no time") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
