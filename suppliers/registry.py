"""The registry of suppliers, and opening the clients of those that are enabled.

The project's own are listed here, once. Folders from elsewhere are a setting: `Suppliers.modules`.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module

from config.suppliers import Suppliers
from ledger.errors import ConfigError
from suppliers.definition import SupplierDefinition
from suppliers.protocol import SupplierClient

PACKAGES = ("suppliers.flash", "suppliers.mobilemart", "suppliers.peach")


def definitions(settings: Suppliers) -> Mapping[str, SupplierDefinition]:
    """Every supplier by its name, enabled or not: the project's own, then those of ``modules``."""
    declared: list[SupplierDefinition] = [
        import_module(package).DEFINITION for package in (*PACKAGES, *settings.modules)
    ]
    return {package.name: package for package in declared}


def definition_of(settings: Suppliers, name: str) -> SupplierDefinition:
    """The supplier called ``name``. Raises ConfigError that lists the known ones."""
    settings.require(name)
    return definitions(settings)[name]


def enabled_names(settings: Suppliers) -> list[str]:
    """The names of the suppliers that are enabled."""
    return list(settings.connections)


@asynccontextmanager
async def open_suppliers(settings: Suppliers, *names: str) -> AsyncIterator[dict[str, SupplierClient]]:
    """The clients of the named suppliers, or of every enabled one, for the length of the block.

    Raises ConfigError for a name that is not enabled, and when a supplier has no address or no credentials.
    """
    enabled = settings.connections
    for name in names:
        if name not in enabled:
            raise ConfigError(f"unknown or disabled supplier {name!r}; enabled: {', '.join(enabled) or 'none'}")
    async with AsyncExitStack() as stack:
        opened: dict[str, SupplierClient] = {}
        for name in names or enabled:
            opened[name] = definition_of(settings, name).client(enabled[name])
            stack.push_async_callback(opened[name].aclose)
        yield opened
