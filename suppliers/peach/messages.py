"""Peach's answers, as far as they are read. Card and account details are skipped by the decoder."""

from decimal import Decimal

import msgspec


class TokenAnswer(msgspec.Struct):
    """The answer of `POST /api/oauth/token`."""

    access_token: str
    expires_in: int | float | str


class ResultCode(msgspec.Struct):
    """The code of an answer. Its description is not read: it may repeat what was sent."""

    code: str


class Payment(msgspec.Struct, rename="camel"):
    """One payment or refund. The amount may be a text or a number; it is decoded exactly, never through a float."""

    result: ResultCode | None = None
    id: str | None = None
    merchant_transaction_id: str | None = None
    payment_type: str | None = None
    amount: Decimal | None = None
    timestamp: str | None = None


class PeachAnswer(Payment, rename="camel"):
    """A payment, or the list that a look-up by our reference gives."""

    payments: list[Payment] | None = None


class Checkout(msgspec.Struct, rename="camel"):
    """The answer of `POST /v2/checkout`."""

    checkout_id: str


TOKEN = msgspec.json.Decoder(TokenAnswer)
ANSWER = msgspec.json.Decoder(PeachAnswer)
CHECKOUT = msgspec.json.Decoder(Checkout)
