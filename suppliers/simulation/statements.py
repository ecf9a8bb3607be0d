"""A simulator's statements: what its book holds of a day, with the differences that were asked for planted in them."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import Any

import pyarrow as pa

from config.suppliers import SimulatorSettings
from ledger.statements import BreakClass
from suppliers.definition import StatementFormat
from suppliers.money import CURRENCY, from_cents
from suppliers.simulation.book import Book, Sale
from suppliers.simulation.planting import Planted, check_wanted, plant
from suppliers.statement import STATEMENT_SCHEMA

Line = Callable[[Sale], Mapping[str, Any] | None]


class Statements:
    """The statements of one supplier.

    ``line`` gives what a sale's line has beyond what the book itself has, its ``raw_status`` above all. It gives None
    for a sale that the statement leaves out. Raises DataError at once for planted differences that cannot be shown.
    """

    def __init__(self, name: str, form: StatementFormat, book: Book, line: Line, settings: SimulatorSettings) -> None:
        self.name = name
        self._form = form
        self._book = book
        self._line = line
        self._lock = Lock()
        self._wanted: Mapping[BreakClass, int] = {}
        self._seed = settings.seed
        self.plan(settings.planted.get(name, {}), settings.seed)

    def plan(self, wanted: Mapping[BreakClass, int], seed: int) -> None:
        """What the statements are to have wrong from now on."""
        check_wanted(self.name, self._form, wanted)
        with self._lock:
            self._wanted, self._seed = dict(wanted), seed

    def of_day(self, day: dt.date) -> Planted:
        """The day's statement and the truth about it, the same however often it is asked for while nothing is sold.

        Late lines are of the day before, whose own statement is left as it was. Raises DataError when the day has
        fewer sales than differences are wanted.
        """
        with self._lock:
            wanted, seed = self._wanted, self._seed
        earlier = self.lines(self._book.of_day(self.name, day - dt.timedelta(days=1)), day)
        sales = self.lines(self._book.of_day(self.name, day), day)
        return plant(self.name, self._form, day, sales, wanted, earlier=earlier, seed=seed)

    def between(self, start: dt.datetime, end: dt.datetime) -> Planted:
        """Any other stretch of time, both ends with an offset: as it was, nothing planted."""
        sales = self.lines(self._book.between(self.name, start, end), start.date())
        return plant(self.name, self._form, start.date(), sales, {})

    def lines(self, sales: Iterable[Sale], day: dt.date) -> pa.Table:
        """The sales as a canonical table of ``day``."""
        sold = [(sale, fields) for sale in sales if (fields := self._line(sale)) is not None]
        rows = [{**_line(sale, number, day), **fields} for number, (sale, fields) in enumerate(sold, 1)]
        return pa.Table.from_pylist(rows, schema=STATEMENT_SCHEMA)


def _line(sale: Sale, number: int, day: dt.date) -> dict[str, Any]:
    return {
        "line_no": number,
        "supplier": sale.supplier,
        "supplier_transaction_id": sale.transaction_id,
        "reference": sale.reference,
        "kind": sale.kind,
        "status": sale.state,
        "occurred_at": sale.moment,
        "settlement_date": day,
        "vas_type": sale.vas_type,
        "product_code": sale.product,
        "currency": CURRENCY,
        "amount": from_cents(sale.amount_cents),
        "account": sale.consumer,
        "raw_status": "",
    }
