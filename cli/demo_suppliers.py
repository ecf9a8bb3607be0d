"""The part of the demo about suppliers: airtime sold through the API, and the day closed against Flash's statement."""

import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import httpx

from cli import terminal
from config import Settings
from ledger.errors import DataError
from tasks.reconciliation.breaks import BreakFilter, list_breaks
from tasks.reconciliation.days import day_of
from tasks.reconciliation.run import RunRequest, RunResult, reconcile_day
from tasks.reconciliation.statements import statement_of
from tasks.statements import Result, take_in

ORDERS = 24
SUPPLIER = "flash"
_PATH = "/api/v1/vas-transactions"
_SOLD_WITHIN_S = 60.0
_POLL_S = 0.2
_COLUMNS = 14
_GROSS, _NET, _STATUS, _PRODUCT, _REFERENCE, _TRANSACTION = 8, 11, 12, 4, 1, 2


@dataclass(frozen=True, slots=True)
class Planted:
    """A statement with differences that we put into it, and how many of each class."""

    name: str
    text: str
    classes: Counter[str]


def sell(api_url: str, key: str) -> None:
    """Order airtime through the API, and wait until every order is sold. Raises DataError when one is not."""
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=api_url, headers=headers, timeout=30) as client:
        run = time.time_ns()
        rows = [_order(client, f"demo-airtime-{run}-{number}") for number in range(ORDERS)]
        ends_s = time.monotonic() + _SOLD_WITHIN_S
        for row in rows:
            _wait(client, row, ends_s)
    terminal.console.print(f"{ORDERS} orders were stored, bought from {SUPPLIER}'s simulator and completed")


def _order(client: httpx.Client, key: str) -> str:
    body = {
        "user_id": "user-00001",
        "wallet_id": "wallet-00001",
        "type": "payment",
        "amount": "50.00",
        "currency": "ZAR",
        "supplier": SUPPLIER,
        "vas_type": "airtime",
        "supplier_product_id": "101",
        "mobile_number": "0831234567",
        "vend": True,
    }
    answer = client.post(_PATH, json=body, headers={"Idempotency-Key": key})
    if answer.is_error:
        raise DataError(f"the API answered {answer.status_code}: {answer.text}")
    return str(answer.headers["location"])


def _wait(client: httpx.Client, address: str, ends_s: float) -> None:
    while (status := client.get(address).raise_for_status().json()["status"]) != "completed":
        if status == "failed" or time.monotonic() > ends_s:
            raise DataError(f"{address} is {status} and not sold")
        time.sleep(_POLL_S)


def close_day(settings: Settings, folder: Path) -> None:
    """Take in today's statement, with differences planted in it, reconcile the day, and show what was found."""
    day = day_of(datetime.now(UTC))
    planted = plant(*_statement(settings, day))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / planted.name).write_text(planted.text, encoding="utf-8")
    (taken,) = take_in(settings, SUPPLIER, day, url=str(folder), actor="demo", replace=True)
    if taken.result is Result.QUARANTINED:
        raise DataError(f"{taken.name} was refused: {taken.error}")
    statement = statement_of(settings, SUPPLIER, day)
    result = reconcile_day(settings, RunRequest(SUPPLIER, day, statement, actor="demo"))
    _show(settings, day, planted, result)


def _statement(settings: Settings, day: date) -> tuple[str, str]:
    """The day's file as the simulator writes it: its name and text."""
    url = f"{settings.suppliers.flash.base_url}/_statement"
    answer = httpx.get(url, params={"day": str(day)}, timeout=30).raise_for_status()
    name = answer.headers["content-disposition"].partition('filename="')[2].rstrip('"')
    return name, answer.text


def plant(name: str, text: str) -> Planted:
    """Put five differences into a statement of Flash's. Raises DataError when it has fewer than five sales."""
    head, *lines = text.splitlines()
    rows = [line.split(";", _COLUMNS - 1) for line in lines]
    good = [row for row in rows if row[_STATUS] == "Success"]
    if len(good) < 5:  # as many as are planted
        raise DataError(f"{name} has only {len(good)} sales: too few to plant differences in")
    missing, dearer, failed, other, copied = good[-5:]
    stranger = list(copied)
    stranger[_REFERENCE], stranger[_TRANSACTION] = "NOBODYS-1", f"{int(copied[_TRANSACTION]) + 1_000_000}"
    for column in (_GROSS, _NET):
        dearer[column] = f"{Decimal(dearer[column]) + 1:.4f}"
    failed[_STATUS] = "Failed"
    other[_PRODUCT] = "102"
    rows = [row for row in rows if row is not missing] + [stranger]
    classes = Counter(["missing_there", "amount", "status", "product", "missing_here"])
    return Planted(name, "\n".join([head, *(";".join(row) for row in rows)]) + "\n", classes)


def _show(settings: Settings, day: date, planted: Planted, result: RunResult) -> None:
    found = Counter(
        one.class_ for one in list_breaks(settings, BreakFilter(SUPPLIER, None, first=day, last=day), limit=1000)
    )
    names = sorted(planted.classes | found)
    rows = [(name, str(planted.classes[name]), str(found[name])) for name in names]
    terminal.table(f"{SUPPLIER} {day}: {result.verdict}", ("class", "planted", "found"), rows)
    figures = result.summary.figures
    terminal.console.print(
        f"{figures['matched_share']} of {figures['lines']} lines matched. Reports and matches are in the archive, every"
        " run and resolution is in the audit chain (`treasury verify`).\nRows that the demo made up for today were"
        " never sold: they are missing there, too."
    )
