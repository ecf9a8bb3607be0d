"""Who sees the references of the rows in a break: keys with `read:all`. Pure.

A statement covers the rows of every client, and a break does not record whose row it has. So without `read:all` every
reference is left out, also that of a row of the key's own client.
"""

from collections.abc import Collection, Mapping
from typing import Any

from ledger.scopes import Scope

# Written by the client, or made from what it wrote; a statement repeats it in its line.
REFERENCES = ("reference", "supplier_reference")


def sees_references(scopes: Collection[str]) -> bool:
    """Whether a key with these scopes sees the references of rows."""
    return Scope.READ_ALL in scopes


def without_references(side: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """One side of a break without its references; None stays None."""
    return None if side is None else {name: value for name, value in side.items() if name not in REFERENCES}


def left_out(rows: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
    """The references that `without_references` leaves out, such as `own.reference`; ``rows`` by side."""
    return [
        f"{name}.{reference}"
        for name, side in rows.items()
        for reference in REFERENCES
        if (side or {}).get(reference) is not None
    ]
