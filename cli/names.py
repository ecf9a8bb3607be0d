"""The suppliers as arguments and options of commands: which there are, and a check before anything is started."""

from typing import Annotated

import typer

from config import load_settings
from config.suppliers import OWN_SUPPLIERS

KNOWN = f"{', '.join(OWN_SUPPLIERS)}, or one of TREASURY_SUPPLIERS__MODULES"


def check_supplier(name: str | None) -> str | None:
    """The name as it was given. Raises ConfigError that lists the known suppliers when it is none of them."""
    if name is not None:
        load_settings().suppliers.demand(name)
    return name


SupplierName = Annotated[str, typer.Argument(help=KNOWN, callback=check_supplier)]
OneSupplier = Annotated[str | None, typer.Option(help=f"Only this supplier: {KNOWN}", callback=check_supplier)]
