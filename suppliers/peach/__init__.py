"""Peach Payments: amounts are decimal text, a payment is looked up by our own reference, and webhooks tell the rest."""

from typing import Final

from pydantic import SecretStr

from config.suppliers import PeachSettings
from suppliers.definition import StatementFormat, SupplierDefinition, Webhooks, simulator_of, trials_of
from suppliers.protocol import Supplier


def _client(settings: PeachSettings) -> Supplier:
    from suppliers.peach.client import Peach  # noqa: PLC0415  # see suppliers.definition

    return Peach(settings)


def _statement() -> StatementFormat:
    from suppliers.peach import statement, writer  # noqa: PLC0415  # see suppliers.definition

    tells = frozenset({"payout_reference"})
    return StatementFormat(
        statement.FILE_NAME, statement.parse, writer.write, tells, failed="FAILED", answer_name=statement.file_name
    )


def _webhooks() -> Webhooks:
    from suppliers.peach.webhooks import read  # noqa: PLC0415  # see suppliers.definition

    return Webhooks(_secret, read)


def _secret(settings: PeachSettings) -> SecretStr | None:
    return settings.webhook_secret


DEFINITION: Final = SupplierDefinition(
    name="peach",
    title="Peach Payments",
    settings=PeachSettings,
    client=_client,
    statement=_statement,
    simulator=simulator_of(__name__),
    trials=trials_of(__name__),
    webhooks=_webhooks,
)
