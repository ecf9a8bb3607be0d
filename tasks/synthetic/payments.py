"""Made-up payments of a South African wallet, as Arrow tables: seeded, vectorised, the same bytes for the same seed.

No I/O. Every month of every table has random numbers of its own, so a month does not depend on which others are made.
The distributions are plausible, not measured. Nothing here belongs to anybody: mobile numbers begin with 27 000, which
South Africa's numbering plan does not give out.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ledger.business_days import OFFSET
from ledger.identifiers import unix_ms
from ledger.months import Month
from ledger.tables import TRANSACTIONS, VAS_TRANSACTIONS, TieredTable

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Generator = np.random.Generator

SLAB_ROWS = 50_000  # rows made at a time: the memory does not grow with the month

_HOUR_MS = 3_600_000
_HOUR_WEIGHTS = (2, 1, 1, 1, 3, 9, 22, 38, 47, 52, 56, 60, 64, 60, 57, 58, 62, 68, 66, 54, 40, 26, 13, 5)
_WEEKDAY_WEIGHTS = (1.0, 0.97, 0.98, 1.02, 1.25, 1.2, 0.8)  # from Monday
_PAYDAY_WEIGHT = 1.4  # from the 25th to the 2nd
_PAYDAY_FROM, _PAYDAY_TO = 25, 2

_ZIPF_EXPONENT = 1.05
_CLIENTS = ("mobile-app", "ussd", "web", "merchant-portal", "partner-bank")
_CLIENT_SHARES = (0.55, 0.2, 0.1, 0.1, 0.05)
_CURRENCIES = ("ZAR", "USD", "EUR", "GBP", "BWP", "NAD")
_CURRENCY_SHARES = (0.968, 0.009, 0.007, 0.006, 0.005, 0.005)
_STATUSES = ("completed", "failed", "cancelled", "reversed", "pending")
_STATUS_SHARES = (0.95, 0.033, 0.012, 0.005, 0.0)  # rows end before today: what is still under way is asked for
_PENDING = 4
_TYPES = ("send", "receive", "deposit", "withdraw", "transfer", "payment", "refund", "fee")
_TYPE_SHARES = (0.2, 0.18, 0.12, 0.11, 0.08, 0.27, 0.01, 0.03)
_TYPE_MEDIAN_CENTS = (25_000, 25_000, 60_000, 45_000, 120_000, 14_500, 12_000, 650)
_TYPE_SPREAD = (1.0, 1.0, 0.9, 0.8, 1.2, 0.9, 0.8, 0.4)  # standard deviation of the logarithm
_TYPE_FEE_BASIS_POINTS = (80, 0, 0, 150, 50, 0, 0, 0)
_WITH_COUNTERPARTY = (True, True, False, False, True, False, False, False)
_DESCRIPTIONS = (
    ("Sent to a friend", "Money for home", "Rent share", "Stokvel contribution"),
    ("Received from a friend", "Family support", "Stokvel payout", "Rent share"),
    ("Cash deposit at a till", "Salary", "Bank transfer in", "Card top-up"),
    ("Cash at a till", "ATM withdrawal", "Cash send", "Agent withdrawal"),
    ("To own account", "To savings", "Bank transfer out", "Between wallets"),
    ("Groceries", "Taxi fare", "School fees", "Online purchase"),
    ("Purchase refunded", "Order cancelled", "Duplicate payment", "Goods returned"),
    ("Monthly fee", "Transaction fee", "Card fee", "Statement fee"),
)
_CITIES = ("Johannesburg", "Cape Town", "Durban", "Pretoria", "Gqeberha", "Bloemfontein", "Polokwane", "Mbombela")
_CHANNELS = ("app", "ussd", "web", "pos", "agent")

_VAS_TYPES = ("airtime", "data", "electricity", "bill_payment", "cash_out", "voucher_topup")
_VAS_SHARES = (0.42, 0.24, 0.2, 0.06, 0.04, 0.04)
_VAS_MEDIAN_CENTS = (2_500, 4_900, 15_000, 48_000, 40_000, 10_000)
_VAS_SPREAD = (0.8, 0.9, 0.7, 0.9, 0.8, 0.7)
_VAS_TRANSACTION_TYPES = ("payment", "payment", "payment", "payment", "withdraw", "payment")
_VAS_HAS_MOBILE = (True, True, False, False, False, False)
_ROUND_TO_CENTS = (100, 100, 1, 1, 1_000, 500)
_SUPPLIERS = ("flash", "mobilemart", "peach")
_FLASH_SHARE = (0.55, 0.45, 0.4, 0.6, 1.0, 0.6)  # of each VAS type; most of the rest is the second supplier's
_COMMISSION_BASIS_POINTS = ((350, 400, 120, 60, 90, 200), (320, 420, 110, 70, 0, 0), (0, 0, 0, 0, 0, 150))
_PRODUCTS_EACH = 4


@dataclass(frozen=True)
class World:
    """The shared world of one seed's months: the wallets and how busy each is."""

    seed: int
    wallets: int

    @cached_property
    def activity(self) -> Floats:
        """The cumulated share of each rank of wallet: Zipf's law, so that few wallets make most of the rows."""
        weights = np.arange(1, self.wallets + 1, dtype=np.float64) ** -_ZIPF_EXPONENT
        return np.cumsum(weights / weights.sum())

    @cached_property
    def wallet_of_rank(self) -> Integers:
        """Which wallet has a rank: busy ones are spread over all the numbers."""
        return np.random.default_rng([self.seed, 0]).permutation(self.wallets)

    @cached_property
    def wallet_ids(self) -> pa.StringArray:
        """The wallets' ids by their number."""
        return _numbered("wlt_", np.arange(self.wallets), 8)

    @cached_property
    def user_ids(self) -> pa.StringArray:
        """The ids of the wallets' users: one in eight users has two wallets."""
        numbers = np.arange(self.wallets)
        return _numbered("usr_", np.where(numbers % 8 == 7, numbers - 1, numbers), 8)


@dataclass(frozen=True)
class MonthPlan:
    """One month of one table. ``before`` cuts a month that is not over. Every row has a terminal status but the
    ``unfinished`` ones at the start, which are pending."""

    table: TieredTable
    month: Month
    rows: int
    before: datetime
    unfinished: int = 0


def month_tables(world: World, plan: MonthPlan) -> Iterator[pa.Table]:
    """The rows of a month in the order of their time, as tables of at most `SLAB_ROWS` rows."""
    make = _MAKERS[plan.table.name]
    table_number = list(_MAKERS).index(plan.table.name) + 1
    instants = _instants(np.random.default_rng([world.seed, table_number, plan.month.index]), plan)
    for number, start in enumerate(range(0, len(instants), SLAB_ROWS)):
        rng = np.random.default_rng([world.seed, table_number, plan.month.index, number + 1])
        yield make(world, plan, rng, instants[start : start + SLAB_ROWS], start)


def planned_rows(plan: MonthPlan) -> int:
    """Return how many rows the month will have: its share of ``plan.rows`` where the month is cut."""
    weights, hours = _hour_weights(plan)
    return round(plan.rows * float(weights[:hours].sum() / weights.sum()))


def _hour_weights(plan: MonthPlan) -> tuple[Floats, int]:
    """The activity of each hour of the month, and how many hours there are before the cut."""
    lower = plan.month.lower
    length = (plan.month.upper - lower) // timedelta(hours=1)
    local = [lower + timedelta(hours=hour) + OFFSET for hour in range(length)]
    weights = [
        _HOUR_WEIGHTS[moment.hour]
        * _WEEKDAY_WEIGHTS[moment.weekday()]
        * (_PAYDAY_WEIGHT if moment.day >= _PAYDAY_FROM or moment.day <= _PAYDAY_TO else 1.0)
        for moment in local
    ]
    hours = min(length, max(0, (plan.before - lower) // timedelta(hours=1)))
    return np.array(weights, dtype=np.float64), hours


def _instants(rng: Generator, plan: MonthPlan) -> Integers:
    """Milliseconds since 1970 of the month's rows, sorted."""
    weights, hours = _hour_weights(plan)
    if hours == 0:
        return np.empty(0, dtype=np.int64)
    share = weights[:hours] / weights[:hours].sum()
    counts = rng.multinomial(planned_rows(plan), share)
    hour_of_row = np.repeat(np.arange(hours, dtype=np.int64), counts)
    instants = unix_ms(plan.month.lower) + hour_of_row * _HOUR_MS + rng.integers(0, _HOUR_MS, len(hour_of_row))
    return np.sort(instants)


def _transactions(world: World, plan: MonthPlan, rng: Generator, instants: Integers, start: int) -> pa.Table:
    count = len(instants)
    kinds = _pick(rng, _TYPE_SHARES, count)
    cents = _amounts(rng, _TYPE_MEDIAN_CENTS, _TYPE_SPREAD, kinds)
    others = np.where(_of(_WITH_COUNTERPARTY, kinds), _wallets(world, rng, count), -1)
    return pa.table(
        _shared(world, plan, rng, instants, start)
        | {
            "counterparty_wallet_id": world.wallet_ids.take(pa.array(others, mask=others < 0)),
            "type": _text(_TYPES, kinds),
            "amount": _money(cents),
            "fee": _money(_share(cents, _of(_TYPE_FEE_BASIS_POINTS, kinds))),
            "description": _text(sum(_DESCRIPTIONS, ()), kinds * 4 + rng.integers(0, 4, count)),
        }
    )


def _vas_transactions(world: World, plan: MonthPlan, rng: Generator, instants: Integers, start: int) -> pa.Table:
    count = len(instants)
    kinds = _pick(rng, _VAS_SHARES, count)
    suppliers = _suppliers(rng, kinds)
    step = _of(_ROUND_TO_CENTS, kinds)
    cents = np.maximum(step, _amounts(rng, _VAS_MEDIAN_CENTS, _VAS_SPREAD, kinds) // step * step)
    shared = _shared(world, plan, rng, instants, start)
    products = (suppliers * len(_VAS_TYPES) + kinds) * _PRODUCTS_EACH + rng.integers(0, _PRODUCTS_EACH, count)
    settled = pc.is_in(shared["status"], pa.array(["completed", "reversed"]))
    number = rng.integers(700_000_000, 1_000_000_000, count)
    return pa.table(
        shared
        | {
            "type": _text(_VAS_TRANSACTION_TYPES, kinds),
            "amount": _money(cents),
            "fee": _money(np.zeros(count, dtype=np.int64)),
            "description": _text([f"{kind.replace('_', ' ').capitalize()}" for kind in _VAS_TYPES], kinds),
            "supplier": _text(_SUPPLIERS, suppliers),
            "vas_type": _text(_VAS_TYPES, kinds),
            "supplier_product_id": _text(_products(), products),
            "supplier_reference": _joined("ORD-", shared["reference"]),
            "supplier_transaction_id": pc.if_else(
                pa.array(suppliers == 0),
                pa.array(number).cast(pa.string()),
                _hexadecimal(_random_bytes(rng, count, 16)),
            ),
            "commission": _money(_share(cents, _commission(suppliers, kinds))),
            "mobile_number": _mobile_numbers(rng, _of(_VAS_HAS_MOBILE, kinds)),
            "processed_at": pc.if_else(settled, shared["updated_at"], pa.scalar(None, shared["updated_at"].type)),
        }
    )


_MAKERS: dict[str, Callable[[World, MonthPlan, Generator, Integers, int], pa.Table]] = {
    TRANSACTIONS.name: _transactions,
    VAS_TRANSACTIONS.name: _vas_transactions,
}


def _shared(world: World, plan: MonthPlan, rng: Generator, instants: Integers, start: int) -> dict[str, pa.Array]:
    """The columns that both tables fill in the same way."""
    count = len(instants)
    wallets = pa.array(_wallets(world, rng, count))
    statuses = _pick(rng, _STATUS_SHARES, count)
    places = np.arange(start, start + count)
    statuses[places < plan.unfinished] = _PENDING
    took_ms = np.where(statuses == _PENDING, 0, rng.exponential(2_500, count).astype(np.int64))
    prefix = f"{'V' if plan.table.name == VAS_TRANSACTIONS.name else 'P'}{plan.month.year:04d}{plan.month.month:02d}-"
    return {
        "id": _uuids(instants, _random_bytes(rng, count, 10)),
        "client_id": _text(_CLIENTS, _pick(rng, _CLIENT_SHARES, count)),
        "user_id": world.user_ids.take(wallets),
        "wallet_id": world.wallet_ids.take(wallets),
        "status": _text(_STATUSES, statuses),
        "currency": _text(_CURRENCIES, _pick(rng, _CURRENCY_SHARES, count)),
        "reference": _numbered(prefix, places, 9),
        "metadata": _text(_metadata(), rng.integers(0, len(_metadata()), count)),
        "created_at": _timestamps(instants),
        "updated_at": _timestamps(instants + took_ms),
    }


def _wallets(world: World, rng: Generator, count: int) -> Integers:
    ranks = np.searchsorted(world.activity, rng.random(count))
    return world.wallet_of_rank[np.minimum(ranks, world.wallets - 1)]


def _suppliers(rng: Generator, kinds: Integers) -> Integers:
    """0 is flash; the rest is mobilemart's, and peach's for vouchers."""
    second = np.where(kinds == _VAS_TYPES.index("voucher_topup"), 2, 1)
    return np.where(rng.random(len(kinds)) < _of(_FLASH_SHARE, kinds), 0, second)


def _commission(suppliers: Integers, kinds: Integers) -> Integers:
    return np.array(_COMMISSION_BASIS_POINTS, dtype=np.int64)[suppliers, kinds]


def _mobile_numbers(rng: Generator, wanted: npt.NDArray[Any]) -> pa.Array:
    numbers = _numbered("27000", rng.integers(0, 1_000_000, len(wanted)), 6)
    return pc.if_else(pa.array(wanted), numbers, pa.scalar(None, pa.string()))


def _products() -> list[str]:
    return [
        f"{supplier[:2].upper()}-{kind[:4].upper()}-{number:02d}"
        for supplier in _SUPPLIERS
        for kind in _VAS_TYPES
        for number in range(1, _PRODUCTS_EACH + 1)
    ]


def _metadata() -> list[str]:
    return [
        f'{{"channel":"{channel}","city":"{city}","session":"{session:03d}"}}'
        for channel in _CHANNELS
        for city in _CITIES
        for session in range(25)
    ]


def _pick(rng: Generator, shares: Sequence[float], count: int) -> Integers:
    bounds = np.cumsum(shares)
    return np.searchsorted(bounds / bounds[-1], rng.random(count), side="right").astype(np.int64)


def _of(values: Sequence[Any], which: Integers) -> npt.NDArray[Any]:
    return np.array(values)[which]


def _amounts(rng: Generator, medians: Sequence[int], spreads: Sequence[float], kinds: Integers) -> Integers:
    """Whole cents, log-normal by kind. The float is a random number that is rounded once; money begins after it."""
    drawn = _of(medians, kinds) * np.exp(rng.standard_normal(len(kinds)) * _of(spreads, kinds))
    cents: Integers = np.clip(np.rint(drawn), 1, 50_000_000).astype(np.int64)
    return cents


def _share(cents: Integers, basis_points: npt.NDArray[Any]) -> Integers:
    """``basis_points`` of ``cents``, half a cent rounded up."""
    share: Integers = (cents * basis_points + 5_000) // 10_000
    return share


def _text(values: Sequence[str], which: Integers) -> pa.Array:
    return pa.array(values).take(pa.array(which))


def _joined(prefix: str, texts: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(pa.scalar(prefix), texts, "")


def _numbered(prefix: str, numbers: npt.NDArray[Any], digits: int) -> pa.StringArray:
    return _joined(prefix, pc.utf8_lpad(pa.array(numbers).cast(pa.string()), digits, "0"))


def _timestamps(milliseconds: Integers) -> pa.Array:
    return pa.array(milliseconds).cast(pa.timestamp("ms", "UTC"))


def _money(cents: Integers) -> pa.Array:
    """Cents as DECIMAL(18,2): 128 bits little-endian, low half first."""
    halves = np.empty((len(cents), 2), dtype="<i8")
    halves[:, 0] = cents
    halves[:, 1] = cents >> 63
    return pa.Array.from_buffers(pa.decimal128(18, 2), len(cents), [None, pa.py_buffer(halves)])


def _random_bytes(rng: Generator, count: int, width: int) -> npt.NDArray[np.uint8]:
    return np.frombuffer(rng.bytes(count * width), dtype=np.uint8).reshape(count, width)


def _uuids(instants: Integers, tail: npt.NDArray[np.uint8]) -> pa.StringArray:
    """UUIDv7 texts, laid out as in `ledger.identifiers`: 48 bits of milliseconds, version, variant, random bits."""
    octets = np.empty((len(instants), 16), dtype=np.uint8)
    octets[:, :6] = instants.astype(">i8").view(np.uint8).reshape(-1, 8)[:, 2:]
    octets[:, 6:] = tail
    octets[:, 6] = octets[:, 6] & 0x0F | 0x70
    octets[:, 8] = octets[:, 8] & 0x3F | 0x80
    digits = _hexadecimal_digits(octets)
    text = np.full((len(instants), 36), ord("-"), dtype=np.uint8)
    for target, source in ((0, 0), (9, 8), (14, 12), (19, 16), (24, 20)):
        width = {0: 8, 24: 12}.get(target, 4)
        text[:, target : target + width] = digits[:, source : source + width]
    return _fixed_width(text)


def _hexadecimal(octets: npt.NDArray[np.uint8]) -> pa.StringArray:
    return _fixed_width(_hexadecimal_digits(octets))


def _hexadecimal_digits(octets: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    pairs = np.frombuffer("".join(f"{value:02x}" for value in range(256)).encode(), dtype=np.uint8).reshape(256, 2)
    return pairs[octets].reshape(len(octets), -1)


def _fixed_width(text: npt.NDArray[np.uint8]) -> pa.StringArray:
    """A string array over a matrix of ASCII characters, a row a string."""
    count, width = text.shape
    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(width)
    data = pa.py_buffer(np.ascontiguousarray(text))
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), data)
