"""MobileMart's answers, as far as they are read; PINs, tokens and serial numbers are skipped by the decoder."""

from decimal import Decimal

import msgspec


class TokenAnswer(msgspec.Struct):
    """The answer of `POST /connect/token`."""

    access_token: str
    expires_in: int | float


class ProductLine(msgspec.Struct, rename="camel"):
    """One product; amounts in rand."""

    merchant_product_id: int | str
    product_name: str = ""
    fixed_amount: Decimal | None = None
    minimum_amount: Decimal | None = None
    maximum_amount: Decimal | None = None
    active: bool = True


class Prevend(msgspec.Struct, rename="camel"):
    """The answer to a prevend: the number that the purchase then names."""

    prevend_transaction_id: int | str | None = None


class SaleAnswer(msgspec.Struct, rename="camel"):
    """The answer to a purchase, a reprint or a reversal; the amount is in rand."""

    transaction_id: int | str | None = None
    fulcrum_transaction_id: int | str | None = None
    request_id: str | None = None
    amount: Decimal | None = None
    status: str | None = None

    @property
    def identifier(self) -> str | None:
        """The sale's own number, under whichever name it came."""
        number = self.fulcrum_transaction_id if self.transaction_id is None else self.transaction_id
        return None if number is None else str(number)


class ProblemDetails(msgspec.Struct, rename="camel"):
    """problem+json. Its texts are not read: they may repeat what was sent."""

    fulcrum_error_code: int | str | None = None

    @property
    def code(self) -> int | None:
        """The code as a number, None when there is none."""
        text = str(self.fulcrum_error_code)
        return int(text) if text.isascii() and text.isdigit() else None


TOKEN = msgspec.json.Decoder(TokenAnswer)
PRODUCTS = msgspec.json.Decoder(list[ProductLine])
PREVEND = msgspec.json.Decoder(Prevend)
SALE = msgspec.json.Decoder(SaleAnswer)
PROBLEM = msgspec.json.Decoder(ProblemDetails)
