"""MobileMart, Fulcrum switch: amounts are decimal rand, and a reprint tells what became of a sale."""

from typing import Final

from config.suppliers import MobileMartSettings
from suppliers.definition import StatementFormat, SupplierDefinition, simulator_of, trials_of
from suppliers.protocol import Supplier


def _client(settings: MobileMartSettings) -> Supplier:
    from suppliers.mobilemart.client import MobileMart  # noqa: PLC0415  # see suppliers.definition

    return MobileMart(settings)


def _statement() -> StatementFormat:
    from suppliers.mobilemart import statement, writer  # noqa: PLC0415  # see suppliers.definition

    tells = frozenset({"vas_type", "account"})
    return StatementFormat(
        statement.FILE_NAME, statement.parse, writer.write, tells, failed="Binned", counts_lines=True
    )


DEFINITION: Final = SupplierDefinition(
    name="mobilemart",
    title="MobileMart",
    settings=MobileMartSettings,
    client=_client,
    statement=_statement,
    simulator=simulator_of(__name__),
    trials=trials_of(__name__),
)
