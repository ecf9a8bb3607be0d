"""Identifiers that other systems give: users, wallets, clients, products. One rule, whoever reads them."""

from unicodedata import is_normalized

from ledger.errors import FieldError

LONGEST_NAME = 64


def check_name(field: str, text: str) -> str:
    """``text`` when it may name something in a new row. Raises FieldError.

    Printable is what Unicode calls so (`str.isprintable`): no controls, no unassigned code points and no space but
    U+0020. Nothing in it is unseen, or turns the direction of what follows. A name is refused rather than changed, so
    what was stored can always be asked for. No two names look the same on a screen for a space or an accent.
    """
    check_asked_name(field, text)
    if not is_trimmed(text):
        raise FieldError(field, "must have no space at either end")
    if not is_normalized("NFC", text):
        raise FieldError(field, "must be in Unicode's form NFC, which writes an accent and its letter as one")
    return text


def check_asked_name(field: str, text: str) -> str:
    """``text`` when a stored row may have it as a name. Rows that are older than the rule, or came by other doors, are
    found under exactly what they hold. Raises FieldError.
    """
    if not (1 <= len(text) <= LONGEST_NAME and text.isprintable()):
        raise FieldError(field, f"must have 1 to {LONGEST_NAME} printable characters")
    return text


def is_trimmed(text: str) -> bool:
    """Return whether ``text``, which is printable, begins and ends with something other than a space."""
    return text[0] != " " and text[-1] != " "
