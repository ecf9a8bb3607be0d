"""The credentials of the simulators' clients: names that open nothing else, made up here and no secret."""

from decimal import Decimal

from config.suppliers import Suppliers
from suppliers.registry import definitions

FLASH_KEY, FLASH_SECRET, FLASH_ACCOUNT = "flash-simulator", "not-a-secret-of-flash", "0000-1111-2222-3333"
MOBILEMART_ID, MOBILEMART_SECRET = "mobilemart-simulator", "not-a-secret-of-mobilemart"
PEACH_ID, PEACH_SECRET, PEACH_MERCHANT = "peach-simulator", "not-a-secret-of-peach", "merchant-simulator"
PEACH_USER, PEACH_PASSWORD, PEACH_ENTITY = "peach-user", "not-a-password-of-peach", "entity-simulator"
MOBILEMART_NO_SALE = 1020  # the simulator's own choice: the real code is not published
FLASH_COMMISSION = Decimal("0.03")  # what its statements say; the contract of the client
PEACH_WEBHOOK_SECRET = "not-a-webhook-secret-of-peach"  # noqa: S105  # see above


def with_simulators(settings: Suppliers, base_url: str) -> Suppliers:
    """The settings with the simulators at ``base_url`` in the place of every supplier that is not configured."""
    known = definitions(settings)
    filled = {}
    for name in settings.simulated:
        connection = settings.connections[name]
        changes = known[name].simulator().stand_in(connection, f"{base_url}/{name}")
        filled[name] = connection.model_copy(update=dict(changes))
    return settings.model_copy(update=filled)
