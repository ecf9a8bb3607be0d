"""Who the clients of the simulators are: names that open nothing else, made up here and no secret."""

from decimal import Decimal

from pydantic import SecretStr

from config.suppliers import Suppliers
from ledger.transactions import VasType

FLASH_KEY, FLASH_SECRET, FLASH_ACCOUNT = "flash-simulator", "not-a-secret-of-flash", "0000-1111-2222-3333"
MOBILEMART_ID, MOBILEMART_SECRET = "mobilemart-simulator", "not-a-secret-of-mobilemart"
PEACH_ID, PEACH_SECRET, PEACH_MERCHANT = "peach-simulator", "not-a-secret-of-peach", "merchant-simulator"
PEACH_USER, PEACH_PASSWORD, PEACH_ENTITY = "peach-user", "not-a-password-of-peach", "entity-simulator"
MOBILEMART_NO_SALE = 1020  # the simulator's own choice: the real code is not published
FLASH_COMMISSION = Decimal("0.03")  # what its statements say; the contract of who uses it
PEACH_WEBHOOK_SECRET = "not-a-webhook-secret-of-peach"  # noqa: S105  # see above


def with_simulators(settings: Suppliers, base_url: str) -> Suppliers:
    """The settings with the simulators at ``base_url`` in the place of every supplier that is not configured."""
    changes = {
        "flash": {
            "base_url": f"{base_url}/flash",
            "consumer_key": SecretStr(FLASH_KEY),
            "consumer_secret": SecretStr(FLASH_SECRET),
            "account": FLASH_ACCOUNT,
            "commission": settings.flash.commission or dict.fromkeys(VasType, FLASH_COMMISSION),
        },
        "mobilemart": {
            "base_url": f"{base_url}/mobilemart",
            "client_id": SecretStr(MOBILEMART_ID),
            "client_secret": SecretStr(MOBILEMART_SECRET),
            "reprint_absent": (MOBILEMART_NO_SALE,),
        },
        "peach": {f"{api}_url": f"{base_url}/peach" for api in ("auth", "checkout", "payments", "reconciliation")}
        | {
            "client_id": SecretStr(PEACH_ID),
            "client_secret": SecretStr(PEACH_SECRET),
            "merchant_id": PEACH_MERCHANT,
            "user_id": SecretStr(PEACH_USER),
            "password": SecretStr(PEACH_PASSWORD),
            "entity_id": PEACH_ENTITY,
            "webhook_secret": SecretStr(PEACH_WEBHOOK_SECRET),
        },
    }
    filled = {
        name: settings.connections[name].model_copy(update=changes[name])
        for name in settings.simulated
        if name in changes
    }
    return settings.model_copy(update=filled)
