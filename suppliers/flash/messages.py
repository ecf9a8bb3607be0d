"""Flash's answers, as far as they are read. Fields that are not named here (PINs and tokens among them) are skipped by
the decoder and exist nowhere in this process."""

import msgspec


class TokenAnswer(msgspec.Struct):
    """The answer of `POST /token`."""

    access_token: str
    expires_in: int | float | str


class ProductLine(msgspec.Struct, rename="camel"):
    """One product of the catalogue; amounts in cents."""

    product_code: int | str
    product_name: str = ""
    minimum_amount: int | None = None
    maximum_amount: int | None = None
    fixed_amount: int | None = None
    status: str | bool | int | None = None
    product_group: str | None = None
    product_type: str | None = None
    allow_reversal: bool | str | None = None


class Catalogue(msgspec.Struct, rename="camel"):
    """The answer of `GET /accounts/{account}/products`."""

    response_code: int | str
    products: list[ProductLine] = []


class Purchase(msgspec.Struct, rename="camel"):
    """The answer to a purchase or reversal; the amount is in cents."""

    response_code: int | str
    reference: str | None = None
    transaction_id: int | str | None = None
    amount: int | None = None


TOKEN = msgspec.json.Decoder(TokenAnswer, strict=True)
CATALOGUE = msgspec.json.Decoder(Catalogue, strict=True)
PURCHASE = msgspec.json.Decoder(Purchase, strict=True)
