"""The engine alone, without servers: two sides as Python rows, matched and tied out in memory."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from config import load_settings
from config.reconciliation import ReconciliationSettings
from storage.engine import engine
from suppliers.statement import STATEMENT_SCHEMA
from tasks.reconciliation.engine import auto_resolution as rules
from tasks.reconciliation.engine.matching import match, matched_rows
from tasks.reconciliation.engine.queries import MATCHING
from tasks.reconciliation.engine.tieout import Commission, TieOut, tie_outs
from tasks.reconciliation.runs.statements import open_statement
from tests.tasks.reconciliation.books import DAY, NOON

_OWN = pa.schema(
    [
        ("id", pa.string()),
        ("created_at", pa.timestamp("ms", tz="UTC")),
        ("type", pa.string()),
        ("status", pa.string()),
        ("amount", pa.decimal128(18, 2)),
        ("currency", pa.string()),
        ("reference", pa.string()),
        ("supplier_reference", pa.string()),
        ("supplier_transaction_id", pa.string()),
        ("supplier_product_id", pa.string()),
        ("vas_type", pa.string()),
        ("commission", pa.decimal128(18, 2)),
    ]
)


def own(number: int, **changes: Any) -> dict[str, Any]:
    """One row of ours."""
    return {
        "id": str(UUID(int=number)),
        "created_at": NOON + timedelta(seconds=number),
        "type": "payment",
        "status": "completed",
        "amount": Decimal("100.00"),
        "currency": "ZAR",
        "reference": f"ORD-{number}",
        "supplier_reference": None,
        "supplier_transaction_id": f"S{number}",
        "supplier_product_id": "311",
        "vas_type": "airtime",
        "commission": Decimal("3.00"),
    } | changes


def line(number: int, **changes: Any) -> dict[str, Any]:
    """One line of theirs; the same number is the same transaction."""
    return {
        "line_no": number,
        "supplier": "flash",
        "supplier_transaction_id": f"S{number}",
        "reference": f"ORD-{number}",
        "kind": "purchase",
        "status": "completed",
        "occurred_at": NOON + timedelta(seconds=number),
        "settlement_date": DAY,
        "vas_type": "airtime",
        "product_code": "311",
        "product_name": "1Voucher",
        "currency": "ZAR",
        "amount": Decimal("100.00"),
        "fee": None,
        "commission": Decimal("3.00"),
        "net": None,
        "account": None,
        "raw_status": "Success",
        "payout_reference": None,
    } | changes


Sides = tuple[Sequence[dict[str, Any]], Sequence[dict[str, Any]]]
_CASE = 100  # a case of several has numbers below
_KEYS = ("supplier_transaction_id", "reference", "supplier_reference", "payout_reference")


def apart(cases: Sequence[Sides]) -> Sides:
    """Many small cases as one: each in currencies of its own, with keys of its own, so that none meets another. What a
    case calls ``ZAR`` is ``ZAR<number>``, its row or line 3 is ``<number>03``.
    """
    rows = [_of_case(number, row) for number, (ours, _) in enumerate(cases, start=1) for row in ours]
    lines = [_of_case(number, one) for number, (_, theirs) in enumerate(cases, start=1) for one in theirs]
    return rows, lines


def _of_case(number: int, one: dict[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = {"currency": f"{one['currency']}{number}"}
    changed |= {key: f"{number}/{one[key]}" for key in _KEYS if one.get(key)}
    if "id" in one:
        return one | changed | {"id": str(UUID(int=number * _CASE + UUID(one["id"]).int))}
    return one | changed | {"line_no": number * _CASE + one["line_no"]}


class Outcome:
    """What the engine holds after matching."""

    def __init__(self, duck: duckdb.DuckDBPyConnection, ties: list[TieOut]) -> None:
        self._duck = duck
        self.ties = ties

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the engine."""
        return self._duck.execute(query).fetchall()

    @property
    def matched(self) -> str:
        """The query over all matches, as the archive gets them."""
        return matched_rows()

    @property
    def pairs(self) -> dict[int, tuple[int, str]]:
        """Line to (row, method)."""
        rows = self.ask("SELECT line_no, own_id, method FROM pair ORDER BY ALL")
        return {number: (row.int, method) for number, row, method in rows}

    @property
    def breaks(self) -> list[tuple[int | None, int | None, tuple[str, ...]]]:
        """Line, row and issues of every break."""
        rows = self.ask("SELECT line_no, own_id, issues::VARCHAR[] FROM found ORDER BY found_no")
        return [(number, row.int if row else None, tuple(issues)) for number, row, issues in rows]

    def breaks_of(self, case: int) -> list[tuple[int | None, int | None, tuple[str, ...]]]:
        """The breaks of one of the cases that `apart` put together, in its own numbers."""
        return [
            (line_no and line_no % _CASE, row and row % _CASE, issues)
            for line_no, row, issues in self.breaks
            if (line_no or row or 0) // _CASE == case
        ]

    def tie_of(self, case: int, currency: str = "ZAR") -> TieOut:
        """The tie-out of one of the cases."""
        return next(tie for tie in self.ties if tie.currency == f"{currency}{case}")

    @property
    def suggestions(self) -> set[tuple[int, int]]:
        """Line and row of every suggested match."""
        return {(number, row.int) for number, row in self.ask("SELECT line_no, own_id FROM suggestion")}

    @property
    def rules(self) -> dict[int, str | None]:
        """Line to the rule that resolves its break, for every break of a line."""
        return dict(self.ask("SELECT line_no, rule FROM found WHERE line_no IS NOT NULL"))


@contextmanager
def reconciled(
    folder: Path,
    rows: Sequence[dict[str, Any]],
    lines: Sequence[dict[str, Any]],
    rates: Mapping[str, Decimal] | None = None,
    taken: Sequence[int] = (),
    **changes: Any,
) -> Iterator[Outcome]:
    """Match ``rows`` against ``lines`` under the default rules with ``changes``, and tie them out.

    The rows ``taken`` are matched by another day's statement.
    """
    settings = load_settings(home=folder, archive_url=f"file://{folder}/archive")
    figures = ReconciliationSettings.model_validate(settings.reconciliation.model_dump() | changes)
    folder.mkdir(exist_ok=True)
    path = folder / "statement.parquet"
    columns = {field.name: pa.array([one[field.name] for one in lines], field.type) for field in STATEMENT_SCHEMA}
    pq.write_table(pa.table(columns, schema=STATEMENT_SCHEMA), path)
    with engine(settings) as duck:
        duck.register("own_given", pa.Table.from_pylist(list(rows), schema=_OWN))
        duck.execute("CREATE TABLE own_rows AS SELECT * REPLACE (id::UUID AS id) FROM own_given")
        open_statement(duck, path, "flash", DAY)
        duck.execute(MATCHING["create_carried_line"], {"lines": []})
        duck.execute(MATCHING["create_taken_own"])
        duck.execute("INSERT INTO taken_own SELECT unnest($ids)::UUID", {"ids": [str(UUID(int=one)) for one in taken]})
        match(duck, figures, rates or {}, DAY)
        rules.apply_rules(duck)
        commissions = {
            name: Commission(*sums) for name, *sums in duck.execute(MATCHING["commission_totals"]).fetchall()
        }
        yield Outcome(duck, tie_outs(duck.execute(MATCHING["totals"]).fetchall(), commissions, figures))


def at(hours: float) -> datetime:
    """An instant of the day, hours after Johannesburg's noon."""
    return NOON + timedelta(hours=hours)
