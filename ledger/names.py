"""Identifiers that other systems give: users, wallets, clients, products. One rule, whoever reads them."""

from ledger.errors import FieldError

LONGEST_NAME = 64


def check_name(field: str, text: str) -> str:
    """``text`` when it has 1 to 64 printable characters. Raises FieldError.

    Printable is what Unicode calls so (`str.isprintable`): no controls, no unassigned code points, no space but
    U+0020, and nothing that is not seen or turns the direction of what follows. Two names that look the same on a
    screen are then more often the same, and what was stored can always be asked for.
    """
    if not (1 <= len(text) <= LONGEST_NAME and text.isprintable()):
        raise FieldError(field, f"must have 1 to {LONGEST_NAME} printable characters")
    return text
