"""Flash, Partner API v4: amounts are whole cents, and posting a reference again is the status query."""

from collections.abc import Sequence
from typing import Final

from config.suppliers import FlashSettings
from suppliers.definition import Simulator, StatementFormat, SupplierDefinition
from suppliers.protocol import Supplier
from suppliers.trials import Trial


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


def _simulator() -> Simulator:
    from suppliers.flash import simulator  # noqa: PLC0415  # see suppliers.definition

    return Simulator(simulator.create_app, simulator.stand_in)


def _trials() -> Sequence[Trial]:
    from suppliers.flash.trials import TRIALS  # noqa: PLC0415  # see suppliers.definition

    return TRIALS


DEFINITION: Final = SupplierDefinition(
    name="flash",
    title="Flash",
    settings=FlashSettings,
    client=_client,
    statement=_statement,
    simulator=_simulator,
    trials=_trials,
)
