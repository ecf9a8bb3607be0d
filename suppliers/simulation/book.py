"""A simulator's book: every sale that it made, so that a test can compare it with what its client believes."""

import sqlite3
import threading
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from ledger.business_days import JOHANNESBURG, bounds

_SCHEMA = """
    PRAGMA synchronous = OFF;
    CREATE TABLE IF NOT EXISTS sales (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        supplier TEXT NOT NULL, transaction_id TEXT NOT NULL, reference TEXT NOT NULL, kind TEXT NOT NULL,
        state TEXT NOT NULL, vas_type TEXT NOT NULL, product TEXT NOT NULL, amount_cents INTEGER NOT NULL,
        consumer TEXT NOT NULL, fingerprint TEXT NOT NULL, answer BLOB NOT NULL, step INTEGER NOT NULL,
        happened_at TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS sales_reference ON sales (supplier, reference);
    CREATE INDEX IF NOT EXISTS sales_transaction ON sales (supplier, transaction_id);
"""
_COLUMNS = (
    "supplier, transaction_id, reference, kind, state, vas_type, product, amount_cents, consumer, fingerprint, answer,"
    " step, happened_at"
)


@dataclass(frozen=True, slots=True)
class Sale:
    """One line of the book. ``kind``: purchase, reversal, refund. ``state``: completed, failed, pending, reversed.

    ``consumer`` is the number that was sold to, ``fingerprint`` the request's, ``answer`` what it was answered with.
    ``step`` is how far a state that changes by itself has come. ``happened_at`` is UTC, ISO 8601.
    """

    supplier: str
    transaction_id: str
    reference: str
    kind: str
    state: str
    vas_type: str
    product: str
    amount_cents: int
    consumer: str = ""
    fingerprint: str = ""
    answer: bytes = b""
    step: int = 0
    happened_at: str = ""

    @property
    def moment(self) -> datetime:
        """When it happened, on South Africa's clocks."""
        return datetime.fromisoformat(self.happened_at).astimezone(JOHANNESBURG)

    def public(self) -> dict[str, object]:
        """The line for `GET /_book`."""
        hidden = ("answer", "fingerprint", "consumer")
        return {name: value for name, value in asdict(self).items() if name not in hidden}


class Book:
    """The sales of all simulators of one process, in memory or in an SQLite file that outlives it."""

    def __init__(self, path: Path | None = None) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def clear(self) -> None:
        """Forget every sale."""
        self._execute("DELETE FROM sales", {})

    def add(self, sale: Sale) -> Sale:
        """Write a sale down, now."""
        sale = replace(sale, happened_at=sale.happened_at or datetime.now(UTC).isoformat(timespec="milliseconds"))
        places = ", ".join(f":{name.strip()}" for name in _COLUMNS.split(","))
        self._execute(f"INSERT INTO sales ({_COLUMNS}) VALUES ({places})", asdict(sale))  # noqa: S608  # own names
        return sale

    def change(self, sale: Sale, *, state: str | None = None, step: int | None = None) -> None:
        """Change the state of a sale."""
        changed = {"state": state or sale.state, "step": sale.step if step is None else step}
        self._execute(
            "UPDATE sales SET state = :state, step = :step WHERE supplier = :supplier AND transaction_id = :id",
            {**changed, "supplier": sale.supplier, "id": sale.transaction_id},
        )

    def by_reference(self, supplier: str, reference: str) -> list[Sale]:
        """The sales under a reference, in the order they were made."""
        return self._select("supplier = :supplier AND reference = :given", supplier, reference)

    def by_transaction(self, supplier: str, transaction_id: str) -> Sale | None:
        """The sale with this number."""
        return next(
            iter(self._select("supplier = :supplier AND transaction_id = :given", supplier, transaction_id)), None
        )

    def all(self, supplier: str) -> list[Sale]:
        """Every sale of a supplier."""
        return self._select("supplier = :supplier", supplier, "")

    def of_day(self, supplier: str, day: date) -> list[Sale]:
        """The sales of one South African day."""
        return self.between(supplier, *bounds(day))

    def between(self, supplier: str, start: datetime, end: datetime) -> list[Sale]:
        """The sales from ``start`` to before ``end``, both with an offset."""
        return [sale for sale in self.all(supplier) if start <= sale.moment < end]

    def next_number(self) -> int:
        """A number that no sale has had."""
        rows = self._execute("SELECT coalesce(max(number), 0) + 1 FROM sales", {})
        return int(rows[0][0])

    def _select(self, condition: str, supplier: str, value: str) -> list[Sale]:
        statement = f"SELECT {_COLUMNS} FROM sales WHERE {condition} ORDER BY number"  # noqa: S608  # own conditions
        return [Sale(*row) for row in self._execute(statement, {"supplier": supplier, "given": value})]

    def _execute(self, statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(statement, values).fetchall()
