"""Peach Payments: amounts are decimal text, a payment is looked up by our own reference, and webhooks report its
changes.
"""

from decimal import Decimal
from typing import Final

from pydantic import SecretStr

from config.suppliers import PeachSettings
from ledger.transactions import VasType
from suppliers.definition import SupplierDefinition, Webhooks, client_of, simulator_of, statement_of, trials_of
from suppliers.offers import MOBILE_NUMBER, Offer

LARGEST: Final = Decimal("99999999.99")  # of the published format


def _webhooks() -> Webhooks:
    from suppliers.peach.webhooks import read  # noqa: PLC0415  # see suppliers.definition

    return Webhooks(_secret, read)


def _secret(settings: PeachSettings) -> SecretStr | None:
    return settings.webhook_secret


DEFINITION: Final = SupplierDefinition(
    name="peach",
    title="Peach Payments",
    settings=PeachSettings,
    client=client_of(__name__),
    statement=statement_of(__name__),
    simulator=simulator_of(__name__),
    trials=trials_of(__name__),
    offers={VasType.VOUCHER_TOPUP: Offer((MOBILE_NUMBER,), LARGEST)},
    webhooks=_webhooks,
)
