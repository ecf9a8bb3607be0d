"""The two ledger tables on pages: their names for people, and the scope that each needs, as its operations need it."""

from api.keys.auth import ApiKey
from ledger.scopes import Scope
from ledger.tables import TRANSACTIONS, VAS_TRANSACTIONS

TABLE_NAMES = {TRANSACTIONS.name: "Transactions", VAS_TRANSACTIONS.name: "VAS transactions"}
SCOPES = {TRANSACTIONS.name: Scope.TRANSACTIONS_READ, VAS_TRANSACTIONS.name: Scope.VAS_READ}
ANY_OTHER = frozenset({Scope.VAS_READ})
"""Each opens a page in the place of `Scope.TRANSACTIONS_READ`: the page then shows what the key may read."""


def readable(key: ApiKey) -> tuple[str, ...]:
    """The tables that the key may read, in the order of `TABLE_NAMES`."""
    return tuple(name for name, scope in SCOPES.items() if scope in key.scopes)


def unread(key: ApiKey) -> dict[str, Scope]:
    """The names for people of the other tables, each with the scope that the key lacks."""
    return {TABLE_NAMES[name]: scope for name, scope in SCOPES.items() if scope not in key.scopes}


def require(key: ApiKey, name: str) -> None:
    """Raise a 403 problem where the key may not read a table; any other name is for the caller to refuse."""
    if name in SCOPES:
        key.require(SCOPES[name])
