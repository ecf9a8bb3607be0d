"""A fourth supplier in one folder: Voucherly, made up for this example. Explained in docs/reconciliation.md.

Nothing outside of the folder names it: the setting `TREASURY_SUPPLIERS__MODULES` names the folder.
"""

from collections.abc import Sequence
from typing import Final

from suppliers.definition import Simulator, StatementFormat, SupplierDefinition
from suppliers.protocol import Supplier
from suppliers.trials import Trial

from .settings import VoucherlySettings


def _client(settings: VoucherlySettings) -> Supplier:
    from .client import Voucherly  # noqa: PLC0415  # the command line answers --help without any client

    return Voucherly(settings)


def _statement() -> StatementFormat:
    from . import statement  # noqa: PLC0415  # of use to intake only

    tells = frozenset({"product_code", "commission", "net"})
    return StatementFormat(statement.FILE_NAME, statement.parse, statement.write, tells, failed="refused")


def _simulator() -> Simulator:
    from . import simulator  # noqa: PLC0415  # of use to simulators only

    return Simulator(simulator.create_app, simulator.stand_in)


def _trials() -> Sequence[Trial]:
    from .simulator import TRIALS  # noqa: PLC0415  # of use to the supplier tests only

    return TRIALS


DEFINITION: Final = SupplierDefinition(
    name="voucherly",
    title="Voucherly",
    settings=VoucherlySettings,
    client=_client,
    statement=_statement,
    simulator=_simulator,
    trials=_trials,
)
