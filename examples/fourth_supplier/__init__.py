"""A fourth supplier in one folder: Voucherly, made up for this example. Explained in docs/reconciliation.md.

Nothing outside of the folder names it: the setting `TREASURY_SUPPLIERS__MODULES` names the folder.
"""

from typing import Final

from ledger.transactions import VasType
from suppliers.definition import SupplierDefinition, client_of, simulator_of, statement_of, trials_of
from suppliers.offers import Offer

from .settings import VoucherlySettings

DEFINITION: Final = SupplierDefinition(
    name="voucherly",
    title="Voucherly",
    settings=VoucherlySettings,
    client=client_of(__name__),
    statement=statement_of(__name__),
    simulator=simulator_of(__name__),
    trials=trials_of(__name__),
    offers={VasType.VOUCHER_TOPUP: Offer()},
)
