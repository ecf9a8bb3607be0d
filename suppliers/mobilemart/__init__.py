"""MobileMart, Fulcrum switch: amounts are decimal rand, and a reprint shows the outcome of a sale."""

from typing import Final

from config.suppliers import MobileMartSettings
from ledger.transactions import VasType
from suppliers.definition import SupplierDefinition, client_of, simulator_of, statement_of, trials_of
from suppliers.offers import ACCOUNT_NUMBER, METER_NUMBER, MOBILE_NUMBER, Offer

DEFINITION: Final = SupplierDefinition(
    name="mobilemart",
    title="MobileMart",
    settings=MobileMartSettings,
    client=client_of(__name__),
    statement=statement_of(__name__),
    simulator=simulator_of(__name__),
    trials=trials_of(__name__),
    offers={
        VasType.AIRTIME: Offer((MOBILE_NUMBER,)),
        VasType.DATA: Offer((MOBILE_NUMBER,)),
        VasType.VOUCHER_TOPUP: Offer(),
        VasType.ELECTRICITY: Offer((METER_NUMBER,)),
        VasType.BILL_PAYMENT: Offer((ACCOUNT_NUMBER,)),
    },
)
