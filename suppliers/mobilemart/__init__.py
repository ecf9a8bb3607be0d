"""MobileMart, Fulcrum switch: amounts are decimal rand, and a reprint tells what became of a sale."""

from collections.abc import Sequence
from typing import Final

from config.suppliers import MobileMartSettings
from suppliers.definition import Simulator, StatementFormat, SupplierDefinition
from suppliers.protocol import Supplier
from suppliers.trials import Trial


def _client(settings: MobileMartSettings) -> Supplier:
    from suppliers.mobilemart.client import MobileMart  # noqa: PLC0415  # see suppliers.definition

    return MobileMart(settings)


def _statement() -> StatementFormat:
    from suppliers.mobilemart import statement, writer  # noqa: PLC0415  # see suppliers.definition

    tells = frozenset({"vas_type", "account"})
    return StatementFormat(
        statement.FILE_NAME, statement.parse, writer.write, tells, failed="Binned", counts_lines=True
    )


def _simulator() -> Simulator:
    from suppliers.mobilemart import simulator  # noqa: PLC0415  # see suppliers.definition

    return Simulator(simulator.create_app, simulator.stand_in)


def _trials() -> Sequence[Trial]:
    from suppliers.mobilemart.trials import TRIALS  # noqa: PLC0415  # see suppliers.definition

    return TRIALS


DEFINITION: Final = SupplierDefinition(
    name="mobilemart",
    title="MobileMart",
    settings=MobileMartSettings,
    client=_client,
    statement=_statement,
    simulator=_simulator,
    trials=_trials,
)
