"""Flash, Partner API v4: amounts are whole cents, and posting a reference again is the status query."""

from typing import Final

from config.suppliers import FlashSettings
from suppliers.definition import SupplierDefinition, client_of, simulator_of, statement_of, trials_of

DEFINITION: Final = SupplierDefinition(
    name="flash",
    title="Flash",
    settings=FlashSettings,
    client=client_of(__name__),
    statement=statement_of(__name__),
    simulator=simulator_of(__name__),
    trials=trials_of(__name__),
)
