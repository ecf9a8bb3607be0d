"""The supplier API tests: what each supplier is asked, one check after the other, with how long every answer took.

Against the simulators by default, against a sandbox when one is configured; never against production, because every
check buys something. Nothing of it is in the ledger.
"""

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from config import Settings
from ledger.business_days import day_of
from ledger.errors import ConfigError, DataError, TreasuryError
from ledger.identifiers import new_id, truncate_ms
from suppliers.outcomes import not_sent
from suppliers.protocol import Outcome, Product, PurchaseRequest, SupplierClient
from suppliers.registry import definition_of, enabled_names, open_suppliers
from suppliers.trials import Trial
from suppliers.verdicts import PurchaseState

_DONE = frozenset({PurchaseState.COMPLETED, PurchaseState.PENDING})  # a sandbox may take its time


class TrialResult(StrEnum):
    """The result of a check."""

    PASSED = "passed"
    FAILED = "failed"
    LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True)
class TrialCheck:
    """One check of one supplier. ``detail`` holds nobody's number."""

    supplier: str
    name: str
    result: TrialResult
    latency_ms: int
    detail: str


class CheckFailedError(DataError):
    """A supplier does not behave as its client expects."""


@dataclass(slots=True)
class _Bench:
    """The checks of one supplier, as they are made."""

    supplier: SupplierClient
    simulated: bool
    checks: list[TrialCheck]

    async def check(self, name: str, work: Callable[[], Awaitable[str]]) -> bool:
        """Make one check; whatever of the project's errors it ends with is its result."""
        started = time.perf_counter()
        try:
            result, detail = TrialResult.PASSED, await work()
        except TreasuryError as error:
            result, detail = TrialResult.FAILED, f"{type(error).__name__}: {error}"
        latency_ms = round((time.perf_counter() - started) * 1000)
        self.checks.append(TrialCheck(self.supplier.name, name, result, latency_ms, detail))
        return result is TrialResult.PASSED

    def leave_out(self, name: str, why: str) -> None:
        """Say that a check was not made."""
        self.checks.append(TrialCheck(self.supplier.name, name, TrialResult.LEFT_OUT, 0, why))


async def check_suppliers(settings: Settings, names: Sequence[str] = ()) -> list[TrialCheck]:
    """Every check of the named suppliers, or of all that are enabled. Buys for small amounts; may be repeated.

    Raises ConfigError for an unknown name and for a supplier that is configured for production.
    """
    for name in names or enabled_names(settings.suppliers):
        connection = settings.suppliers.connections.get(name)
        if connection is not None and connection.environment == "production":
            raise ConfigError(f"TREASURY_SUPPLIERS: {name} is production; the tests buy and must not run there")
    checks: list[TrialCheck] = []
    async with open_suppliers(settings.suppliers, *names) as suppliers:
        for name, supplier in suppliers.items():
            simulated = settings.suppliers.connections[name].environment == "simulator"
            trials = definition_of(settings.suppliers, name).trials()
            await check_supplier(supplier, trials, checks, simulated=simulated)
    return checks


async def check_supplier(
    supplier: SupplierClient, trials: Sequence[Trial], checks: list[TrialCheck], *, simulated: bool
) -> None:
    """The checks of one supplier, added to ``checks``. Without a token or a catalogue nothing is bought."""
    bench = _Bench(supplier, simulated, checks)
    products: list[Product] = []

    async def authenticate() -> str:
        await supplier.authenticate()
        return "a token"

    async def read_catalogue() -> str:
        products.extend(await supplier.products())
        return _require(bool(products), f"{len(products)} products")

    if await bench.check("authentication", authenticate) and await bench.check("catalogue", read_catalogue):
        for trial in trials:
            if trial.simulator_only and not simulated:
                bench.leave_out(trial.name, "only the simulator gives this on demand")
            else:
                await _try(bench, _fitted(trial, products))
        await bench.check("statement", lambda: _fetch_statement(supplier))


async def _try(bench: _Bench, trial: Trial) -> None:
    """A purchase; then the same asked for again; then its reversal where there is one."""
    request = _request(bench.supplier, trial)
    outcomes: list[Outcome] = []

    async def purchase() -> str:
        outcomes.append(await _bought(bench.supplier, request))
        return _judged(trial, outcomes[0], bench.simulated)

    async def repeat() -> str:
        again = await bench.supplier.resolve(request)
        wanted = trial.settles or trial.expected
        if bench.simulated and again.state not in (wanted, PurchaseState.UNKNOWN):
            raise CheckFailedError(f"asked again it is {again.state}, not {wanted}")
        first, second = outcomes[0].supplier_transaction_id, again.supplier_transaction_id
        return _require(None in (first, second) or first == second, f"{again.state}: {again.detail}")

    async def reverse() -> str:
        back = await bench.supplier.reverse(request, outcomes[0], bench.supplier.reference_of(_new_id()))
        return _require(back.state in _DONE, f"{back.state}: {back.detail}")

    if not await bench.check(f"purchase: {trial.name}", purchase):
        return
    await bench.check(f"repeated: {trial.name}", repeat)
    if trial.reversible and outcomes[0].state is PurchaseState.COMPLETED:
        await bench.check(f"reversal: {trial.name}", reverse)


async def _bought(supplier: SupplierClient, request: PurchaseRequest) -> Outcome:
    try:
        return await supplier.purchase(request)
    except TreasuryError as error:
        return not_sent(request, error)


def _judged(trial: Trial, outcome: Outcome, simulated: bool) -> str:
    fits = outcome.state is trial.expected or (not simulated and outcome.state in _DONE)
    if trial.verdict is not None:
        fits = fits and outcome.verdict is trial.verdict
    return _require(fits, f"{outcome.state}, {outcome.verdict}: {outcome.detail}")


def _require(condition: bool, detail: str) -> str:
    if not condition:
        raise CheckFailedError(detail)
    return detail


async def _fetch_statement(supplier: SupplierClient) -> str:
    yesterday: date = day_of(datetime.now(UTC)) - timedelta(days=1)
    body = await supplier.fetch_statement(yesterday)
    return "comes as a file" if body is None else f"{len(body)} bytes for {yesterday}"


def _fitted(trial: Trial, products: Sequence[Product]) -> Trial:
    """The trial with a product that the catalogue has, and an amount that it allows: a sandbox has its own."""
    codes = {product.code for product in products}
    usable = [product for product in products if product.active and product.vas_type is trial.vas_type]
    if trial.simulator_only or trial.product_code in codes or not usable:
        return trial
    product = usable[0]
    lowest, highest = product.minimum or trial.amount, product.maximum or trial.amount
    return replace(trial, product_code=product.code, amount=max(lowest, min(highest, trial.amount)))


def _request(supplier: SupplierClient, trial: Trial) -> PurchaseRequest:
    row_id = _new_id()
    return PurchaseRequest(
        row_id=row_id,
        reference=supplier.reference_of(row_id),
        vas_type=trial.vas_type,
        product_code=trial.product_code,
        amount=Decimal(trial.amount),
        requested_at=datetime.now(UTC),
        mobile_number=trial.mobile_number,
        meter_number=trial.meter_number,
        account_number=trial.account_number,
    )


def _new_id() -> UUID:
    return new_id(truncate_ms(datetime.now(UTC)), random.SystemRandom().getrandbits)
