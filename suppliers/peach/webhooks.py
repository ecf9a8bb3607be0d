"""Peach's checkout webhooks: whether one is genuine, and what it says. Pure.

They come unordered and more than once, for up to thirty days. So nothing is concluded from one but that it is time to
ask: what Peach answers then is what counts (`tasks.vending.purchase.Vending.look_again`).
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import parse_qsl

from ledger.errors import DataError
from ledger.instants import INSTANT_RULE, parse_instant
from suppliers.money import from_rand
from suppliers.peach import codes
from suppliers.protocol import WEBHOOK_LIMIT_BYTES, SignatureError, Webhook

SIGNATURE = "signature"
_MOST_FIELDS = 200


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
    signature = fields.get(SIGNATURE, "")
    if not hmac.compare_digest(sign(fields, secret).encode(), signature.encode()):
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


def _fields(body: bytes) -> dict[str, str]:
    if len(body) > WEBHOOK_LIMIT_BYTES:
        raise DataError(f"webhook: must have at most {WEBHOOK_LIMIT_BYTES} bytes")
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
        raise DataError("webhook: a field appears twice")
    return fields


def _needed(fields: Mapping[str, str], name: str) -> str:
    value = fields.get(name)
    if not value:
        raise DataError(f"webhook: {name} is missing")
    return value


def _instant(text: str) -> datetime:
    try:
        return parse_instant(text)
    except ValueError:
        raise DataError(f"webhook: timestamp {INSTANT_RULE}") from None
