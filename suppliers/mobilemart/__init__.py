"""MobileMart, Fulcrum switch: amounts are decimal rand, and a reprint tells what became of a sale."""

from typing import Final

from config.suppliers import MobileMartSettings
from suppliers.definition import SupplierDefinition, client_of, simulator_of, statement_of, trials_of

DEFINITION: Final = SupplierDefinition(
    name="mobilemart",
    title="MobileMart",
    settings=MobileMartSettings,
    client=client_of(__name__),
    statement=statement_of(__name__),
    simulator=simulator_of(__name__),
    trials=trials_of(__name__),
)
