"""Flash, Partner API v4: amounts are whole cents, and posting a reference again is the status query."""

from typing import Final

from config.suppliers import FlashSettings
from suppliers.definition import StatementFormat, SupplierDefinition, simulator_of, trials_of
from suppliers.protocol import Supplier


def _client(settings: FlashSettings) -> Supplier:
    from suppliers.flash.client import Flash  # noqa: PLC0415  # see suppliers.definition

    return Flash(settings)


def _statement() -> StatementFormat:
    from suppliers.flash import statement, writer  # noqa: PLC0415  # see suppliers.definition
    from suppliers.flash.returned import returned  # noqa: PLC0415  # see suppliers.definition

    tells = frozenset({"product_code", "fee", "commission", "net", "account"})
    return StatementFormat(
        statement.FILE_NAME, statement.parse, writer.write, tells, failed="Failed", returned=returned
    )


DEFINITION: Final = SupplierDefinition(
    name="flash",
    title="Flash",
    settings=FlashSettings,
    client=_client,
    statement=_statement,
    simulator=simulator_of(__name__),
    trials=trials_of(__name__),
)
