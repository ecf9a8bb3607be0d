"""The supplier part of the demo: purchases through the API, and the day reconciled with each supplier statement.

The simulators plant differences in their statements. The demo fails unless reconciliation finds each of them under its
class, and nothing else.
"""

import csv
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from cli import terminal
from config import Settings
from ledger.business_days import OFFSET, ZONE, day_of, day_start
from ledger.errors import DataError
from ledger.statements import BreakClass
from suppliers.registry import definition_of
from suppliers.simulation.planting import differences_of
from tasks.importing.mapping_text import column, constant, mapping_text
from tasks.importing.run import ImportRequest, import_file
from tasks.reconciliation.casework.lists import BreakFilter, BreakRecord, list_breaks
from tasks.reconciliation.runs.report import matched
from tasks.reconciliation.runs.request import RunRequest
from tasks.reconciliation.runs.run import RunResult, reconcile_day
from tasks.reconciliation.runs.statements import statement_of
from tasks.reconciliation.vocabulary import BreakState
from tasks.statements.intake import IntakeResult, take_in

_PATH = "/api/v1/vas-transactions"
_SOLD_WITHIN_S = 60.0
_POLL_S = 0.2
_MOBILE = "0831234567"
_STILL = (BreakState.OPEN, BreakState.PROPOSED, BreakState.RESOLVED)
_MAPPING = mapping_text(
    "evening",
    "vas_transactions",
    ["reference"],
    {
        "client_id": constant("demo"),
        "user_id": constant("user-00001"),
        "wallet_id": constant("wallet-00001"),
        "type": constant("payment"),
        "status": constant("completed"),
        "currency": constant("ZAR"),
        "supplier": column("supplier"),
        "vas_type": column("vas_type"),
        "supplier_product_id": column("product"),
        "supplier_transaction_id": column("transaction_id"),
        "reference": column("reference"),
        "amount": column("amount"),
        "commission": column("commission"),
        "created_at": column("sold_at", format="%Y-%m-%d %H:%M:%S", timezone=ZONE),
    },
)


@dataclass(frozen=True, slots=True)
class _Shop:
    """The purchases from one supplier, and the number of planted differences per class."""

    supplier: str
    orders: int
    vas_type: str
    product: str
    amount: str
    commission: str
    planted: int


_SHOPS = (
    _Shop("flash", 24, "airtime", "101", "50.00", "1.50", 2),
    _Shop("mobilemart", 12, "data", "2001", "85.00", "0.00", 1),
    _Shop("peach", 12, "voucher_topup", "PAYSHAP", "120.50", "0.00", 1),
)


def sell(api_url: str, key: str) -> None:
    """Order through the API, and wait until all orders are completed. Raises DataError if one is not."""
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=api_url, headers=headers, timeout=30) as client:
        run = time.time_ns()
        rows = [_order(client, shop, f"demo-{run}-{number}") for shop in _SHOPS for number in range(shop.orders)]
        ends_s = time.monotonic() + _SOLD_WITHIN_S
        for row in rows:
            _wait(client, row, ends_s)
    terminal.console.print(
        f"{len(rows)} orders were stored, bought from {len(_SHOPS)} supplier simulators and completed"
    )


def _order(client: httpx.Client, shop: _Shop, key: str) -> str:
    body = {
        "user_id": "user-00001",
        "wallet_id": "wallet-00001",
        "type": "payment",
        "amount": shop.amount,
        "currency": "ZAR",
        "supplier": shop.supplier,
        "vas_type": shop.vas_type,
        "supplier_product_id": shop.product,
        "mobile_number": _MOBILE,
        "vend": True,
    }
    answer = client.post(_PATH, json=body, headers={"Idempotency-Key": f"{key}-{shop.supplier}"})
    if answer.is_error:
        raise DataError(f"the API answered {answer.status_code}: {answer.text}")
    return str(answer.headers["location"])


def _wait(client: httpx.Client, address: str, ends_s: float) -> None:
    while (status := client.get(address).raise_for_status().json()["status"]) != "completed":
        if status == "failed" or time.monotonic() > ends_s:
            raise DataError(f"{address}: the status is {status}, not completed")
        time.sleep(_POLL_S)


def close_day(settings: Settings, folder: Path) -> None:
    """Take in each supplier's statement of today, with planted differences, reconcile the day, and show both.

    Raises DataError unless the breaks are exactly the planted differences.
    """
    day = day_of(datetime.now(UTC))
    folder.mkdir(parents=True, exist_ok=True)
    _sell_last_evening(settings, day, folder)
    for shop in _SHOPS:
        truth = _fetch(settings, shop, day, folder / shop.supplier)
        (taken,) = take_in(settings, shop.supplier, day, url=str(folder / shop.supplier), actor="demo", replace=True)
        if taken.result is IntakeResult.QUARANTINED:
            raise DataError(f"{taken.name} was quarantined: {taken.error}")
        statement = statement_of(settings, shop.supplier, day)
        result = reconcile_day(settings, RunRequest(shop.supplier, day, statement, actor="demo"))
        still = BreakFilter(shop.supplier, _STILL, first=day, last=day)
        _show(shop.supplier, day, truth, found_in(list_breaks(settings, still, limit=1000)), result)
    terminal.console.print(
        "Reconciliation found exactly the planted differences. Reports and matches are in the archive. All runs and"
        " resolutions are in the audit chain (`treasury verify`)."
    )


def _sell_last_evening(settings: Settings, day: date, folder: Path) -> None:
    """Purchases of yesterday evening, in the suppliers' books and in the ledger, for lines that arrive a day late."""
    at = day_start(day) - timedelta(hours=3)
    sales = [_evening_sale(shop, number, at) for shop in _SHOPS for number in range(shop.planted)]
    for shop in _SHOPS:
        of_shop = [{**sale, "supplier": shop.supplier} for sale in sales if sale["supplier"] == shop.supplier]
        _ask(settings, shop, "POST", "_book", json=[_in_book(sale) for sale in of_shop])
    file, mapping = folder / "evening.csv", folder / "evening.toml"
    with file.open("w", newline="", encoding="utf-8") as target:
        writer = csv.DictWriter(target, list(sales[0]))
        writer.writeheader()
        writer.writerows(sales)
    mapping.write_text(_MAPPING, encoding="utf-8")
    report = import_file(settings, ImportRequest(file, mapping), lambda *_: None, datetime.now(UTC))
    if report.loaded < report.read:
        missing = report.read - report.loaded
        raise DataError(f"{missing} purchases of last evening were not loaded: {report.rejects} says why")


def _evening_sale(shop: _Shop, number: int, at: datetime) -> dict[str, str]:
    run = f"{time.time_ns():x}{number:02x}"
    return {
        "supplier": shop.supplier,
        "vas_type": shop.vas_type,
        "product": shop.product,
        "transaction_id": run.ljust(32, "0"),
        "reference": f"EVENING-{run}",
        "amount": shop.amount,
        "commission": shop.commission,
        "sold_at": f"{at + OFFSET + timedelta(seconds=number):%Y-%m-%d %H:%M:%S}",
        "happened_at": (at + timedelta(seconds=number)).isoformat(),
    }


def _in_book(sale: Mapping[str, str]) -> dict[str, Any]:
    same = ("transaction_id", "reference", "vas_type", "product", "happened_at")
    cents = int(Decimal(sale["amount"]) * 100)
    return {name: sale[name] for name in same} | {"kind": "purchase", "state": "completed", "amount_cents": cents}


def _fetch(settings: Settings, shop: _Shop, day: date, folder: Path) -> Mapping[str, str]:
    """Fetch the day's file from the simulator, with planted differences. Returns reference to class of each."""
    form = definition_of(settings.suppliers, shop.supplier).statement()
    _ask(settings, shop, "POST", "_planted", json=dict.fromkeys(differences_of(form), shop.planted))
    answer = _ask(settings, shop, "GET", f"_statement?day={day}")
    truth: Mapping[str, str] = _ask(settings, shop, "GET", f"_truth?day={day}").json()
    folder.mkdir(exist_ok=True)
    name = answer.headers["content-disposition"].partition('filename="')[2].rstrip('"')
    (folder / name).write_bytes(answer.content)
    return truth


def _ask(settings: Settings, shop: _Shop, method: str, place: str, **options: Any) -> httpx.Response:
    address = settings.suppliers.everyone[shop.supplier].address
    return httpx.request(method, f"{address}/{place}", timeout=30, **options).raise_for_status()


def found_in(breaks: Iterable[BreakRecord]) -> dict[str, str]:
    """Reference to class of each break. Several issues of one reference are joined by "and", which is not a class."""
    classes: dict[str, str] = {}
    for record in breaks:
        own, line = record.own or {}, record.line or {}
        reference = str(line.get("reference") or own.get("supplier_reference") or own.get("reference"))
        issues = [*([classes[reference]] if reference in classes else []), *record.issues]
        classes[reference] = " and ".join(issues)
    return classes


def _show(supplier: str, day: date, truth: Mapping[str, str], reported: Mapping[str, str], result: RunResult) -> None:
    planted_of, found_of = Counter(truth.values()), Counter(reported.values())
    names = [*BreakClass, *sorted(found_of.keys() - set(BreakClass))]
    counts = [(str(name), planted_of[name], found_of[name]) for name in names]
    rows = [(name, str(planted), str(seen)) for name, planted, seen in counts if planted or seen]
    terminal.table(f"{supplier} {day}", ("class", "planted", "found"), rows)
    terminal.console.print(
        f"{matched(result.summary.figures)}; the verdict is {result.verdict}, because of the planted differences"
    )
    if dict(reported) != dict(truth):
        wrong = sorted(name for name in truth.keys() | reported.keys() if truth.get(name) != reported.get(name))
        details = "; ".join(f"{name}: planted {truth.get(name)}, found {reported.get(name)}" for name in wrong)
        raise DataError(f"{supplier} {day}: the breaks are not the planted differences: {details}")
