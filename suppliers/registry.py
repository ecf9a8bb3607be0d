"""Which suppliers there are, and opening the clients of those that are enabled."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from types import MappingProxyType

from config.suppliers import Suppliers
from ledger.errors import ConfigError
from ledger.transactions import Supplier as Name
from suppliers.flash.client import Flash
from suppliers.mobilemart.client import MobileMart
from suppliers.peach.client import Peach
from suppliers.protocol import Supplier

FACTORIES: Mapping[str, Callable[[Suppliers], Supplier]] = MappingProxyType(
    {
        Name.FLASH.value: lambda settings: Flash(settings.flash),
        Name.MOBILEMART.value: lambda settings: MobileMart(settings.mobilemart),
        Name.PEACH.value: lambda settings: Peach(settings.peach),
    }
)


def enabled_names(settings: Suppliers) -> list[str]:
    """The names of the suppliers that are enabled."""
    return list(settings.connections)


@asynccontextmanager
async def open_suppliers(settings: Suppliers, *names: str) -> AsyncIterator[dict[str, Supplier]]:
    """The clients of the named suppliers, or of every enabled one, for the length of the block.

    Raises ConfigError for a name that is not enabled, and when a supplier has no address or no credentials.
    """
    enabled = settings.connections
    for name in names:
        if name not in enabled:
            raise ConfigError(f"unknown or disabled supplier {name!r}; enabled: {', '.join(enabled) or 'none'}")
    async with AsyncExitStack() as stack:
        opened: dict[str, Supplier] = {}
        for name in names or enabled:
            opened[name] = FACTORIES[name](settings)
            stack.push_async_callback(opened[name].aclose)
        yield opened
