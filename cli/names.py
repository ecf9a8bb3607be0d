"""A supplier's name as an argument or option of a command, checked before any server starts."""

from typing import Annotated

import typer

from config import load_settings
from config.suppliers import OWN_SUPPLIERS

KNOWN = f"{', '.join(OWN_SUPPLIERS)}, or one of TREASURY_SUPPLIERS__MODULES"


def check_supplier(name: str | None) -> str | None:
    """Return the name unchanged. Raises ConfigError with the list of known suppliers if it is not one of them."""
    if name is not None:
        load_settings().suppliers.require(name)
    return name


SupplierName = Annotated[str, typer.Argument(help=KNOWN, callback=check_supplier)]
OneSupplier = Annotated[str | None, typer.Option(help=f"Only this supplier: {KNOWN}", callback=check_supplier)]
