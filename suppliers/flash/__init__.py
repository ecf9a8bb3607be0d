"""Flash, Partner API v4: amounts are whole cents, and posting a reference again is the status query."""

import re
from typing import Final

from config.suppliers import FlashSettings
from ledger.transactions import VasType
from suppliers.definition import SupplierDefinition, client_of, simulator_of, statement_of, trials_of
from suppliers.offers import METER_NUMBER, MOBILE_NUMBER, Offer, OrderNeed

_PRODUCT = OrderNeed("product_code", "supplier_product_id", "a number of at most 9 digits", re.compile(r"[0-9]{1,9}"))

DEFINITION: Final = SupplierDefinition(
    name="flash",
    title="Flash",
    settings=FlashSettings,
    client=client_of(__name__),
    statement=statement_of(__name__),
    simulator=simulator_of(__name__),
    trials=trials_of(__name__),
    offers={
        VasType.AIRTIME: Offer((_PRODUCT, MOBILE_NUMBER)),
        VasType.DATA: Offer((_PRODUCT, MOBILE_NUMBER)),
        VasType.ELECTRICITY: Offer((_PRODUCT, METER_NUMBER)),
        VasType.CASH_OUT: Offer((_PRODUCT,)),
        VasType.VOUCHER_TOPUP: Offer((_PRODUCT,)),
    },
)
