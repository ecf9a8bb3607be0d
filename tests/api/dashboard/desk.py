"""Books with breaks, an API on them, and the people of finance at its dashboard, each with a client and a key."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from config import Settings
from ledger.scopes import Scope
from sql.connection import connect
from sql.preparation import prepare_table
from tasks.admin.keys import create_key
from tests.api.conftest import serving, unlimited
from tests.api.dashboard.person import Person
from tests.tasks.reconciliation.books import Books

RECONCILIATION = "/dashboard/reconciliation"
PERIODS = f"{RECONCILIATION}/periods"
QUEUE = "/dashboard/queue"
FINANCE = (Scope.RECONCILIATION_READ, Scope.RECONCILIATION_RESOLVE)


def break_page(number: int) -> str:
    """The address of a break's page."""
    return f"{RECONCILIATION}/breaks/{number}"


def opened_books(settings: Settings, folder: Path) -> Books:
    """Books in a database whose ledger tables are there."""
    with connect(settings.database_dsn, "tests") as connection:
        for table in settings.registry.values():
            prepare_table(connection, settings, table)
    return Books(unlimited(settings), folder)


def with_breaks(books: Books) -> Books:
    """One small and one large line without a row, a row without a line, and a pair that differs in its amount."""
    books.both()
    books.line(amount=Decimal("250.00"))
    books.line(amount=Decimal("1000.01"))
    books.own(amount=Decimal("60.00"))
    books.line(books.own(amount=Decimal("100.00")), amount=Decimal("129.00"))
    books.run()
    return books


class Desk:
    """An API on books. `sit_down` brings somebody to its dashboard."""

    def __init__(self, books: Books, url: str, stack: ExitStack) -> None:
        self.books = books
        self.url = url
        self._stack = stack

    def sit_down(self, client: str, scopes: Any = FINANCE) -> Person:
        """Somebody who has signed in with a key of a client."""
        person = Person(self.url, create_key(self.books.settings, client, list(scopes)))
        self._stack.enter_context(person.client)
        assert person.sign_in().status_code == 303
        return person

    def number_of(self, difference: str) -> int:
        """The number of the break with that money in question."""
        (found,) = self.books.sql("SELECT break_id FROM recon_breaks WHERE difference = %s", Decimal(difference))
        return int(found["break_id"])

    def state_of(self, number: int) -> str:
        """The state of a break in PostgreSQL."""
        (found,) = self.books.sql("SELECT state FROM recon_breaks WHERE break_id = %s", number)
        return str(found["state"])


@contextmanager
def served(books: Books) -> Iterator[Desk]:
    """The API on books, for as long as the block lasts."""
    with ExitStack() as stack:
        yield Desk(books, stack.enter_context(serving(books.settings)), stack)
