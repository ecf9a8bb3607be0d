"""The simulators over real HTTP, for one test, and clients of them that have little patience."""

import asyncio
import random
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp

from config.suppliers import SimulatorSettings, Suppliers
from ledger.identifiers import new_id, truncate_ms
from ledger.transactions import VasType
from suppliers.protocol import PurchaseRequest, SupplierClient
from suppliers.registry import open_suppliers
from suppliers.simulation.app import create_app
from suppliers.simulation.book import Book, Sale
from suppliers.simulation.credentials import with_simulators
from suppliers.simulation.faults import Fault

T = TypeVar("T")
QUICK = {"retry_wait_s": 0.01, "calls_per_s": 1000, "breaker_failures": 1000, "absent_after_s": 0.2}
MOBILE = "0831234567"


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """An app under uvicorn with uvloop and httptools on a free port; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, loop="uvloop", http="httptools", access_log=False, log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), name="simulators under test")
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@dataclass(frozen=True)
class Simulated:
    """Running simulators: their address, their book, and settings that point at them."""

    url: str
    book: Book
    settings: Suppliers

    def with_(self, name: str, **changes: Any) -> Suppliers:
        """The settings with fields of one supplier changed."""
        return self.settings.model_copy(update={name: getattr(self.settings, name).model_copy(update=changes)})

    def purchases(self, name: str) -> list[Sale]:
        """What a supplier has really sold."""
        return [sale for sale in self.book.all(name) if sale.kind == "purchase" and sale.state == "completed"]

    def plan(self, name: str, *faults: Fault) -> None:
        """What goes wrong with the next requests."""
        httpx.post(f"{self.url}/{name}/_faults", json=[fault.value for fault in faults]).raise_for_status()

    def ask(
        self, supplier: str, work: Callable[[SupplierClient], Awaitable[T]], settings: Suppliers | None = None
    ) -> T:
        """Run ``work`` with an open client."""

        async def run() -> T:
            async with open_suppliers(settings or self.settings, supplier) as opened:
                return await work(opened[supplier])

        return asyncio.run(run())


@contextmanager
def simulators(simulator: SimulatorSettings | None = None, **changes: Any) -> Iterator[Simulated]:
    """Simulators on a free port, with a book of their own in memory."""
    simulator = simulator or SimulatorSettings(hang_s=5)
    book = Book()
    quick = {name: {**QUICK, **changes} for name in ("flash", "mobilemart", "peach")}
    settings = Suppliers.model_validate({**quick, "simulator": simulator, "vend_timeout_s": 20, "settle_after_s": 30})
    with serving(create_app(settings, book)) as url:
        yield Simulated(url, book, with_simulators(settings, url))
    book.close()


@pytest.fixture(scope="session")
def _running() -> Iterator[Simulated]:
    with simulators(SimulatorSettings(hang_s=5, recon_calls_per_s=1000)) as running:
        yield running


@pytest.fixture
def simulated(_running: Simulated) -> Simulated:
    """Simulators with an empty book, with which nothing goes wrong by itself."""
    _running.book.clear()
    for name in NAMES:
        _running.plan(name)
    return _running


SALES: dict[str, tuple[VasType, str, str]] = {
    "flash": (VasType.AIRTIME, "101", "50.00"),
    "mobilemart": (VasType.DATA, "2001", "85.00"),
    "peach": (VasType.VOUCHER_TOPUP, "PAYSHAP", "120.50"),
}
NAMES = tuple(SALES)


def request(supplier: SupplierClient, sale: tuple[VasType, str, str] | None = None, **changes: Any) -> PurchaseRequest:
    """A purchase that the supplier would carry out."""
    vas_type, product, amount = sale or SALES[supplier.name]
    now = truncate_ms(datetime.now(UTC))
    row_id = new_id(now, random.getrandbits)
    given: dict[str, Any] = {
        "row_id": row_id,
        "reference": supplier.reference_of(row_id),
        "vas_type": vas_type,
        "product_code": product,
        "amount": Decimal(amount),
        "requested_at": now,
        "mobile_number": MOBILE,
    }
    return PurchaseRequest(**given | changes)
