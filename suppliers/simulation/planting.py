"""Differences put into a supplier's statement on purpose, and the truth about them: which reference has which.

Pure and seeded: the same sales, classes, day and seed give the same file. The supplier's own writer makes it, so what
is tried is the way from the file on. A difference that its statement cannot show is refused by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ledger.errors import DataError
from ledger.statements import BreakClass
from suppliers.definition import StatementFormat
from suppliers.statement_text import day_start_ms

# More than any default tolerance, and more than any rule resolves by itself.
AMOUNT_OFF: Final = Decimal("0.12")  # and so little that the commission on it is within a cent: one issue, not two
COMMISSION_OFF: Final = Decimal("1.5000")
TIME_OFF_MS: Final = 420_000  # Flash writes whole minutes: more than 300 s are left of it, whichever way it falls
LATE_BY_MS: Final = 1_800_000  # after midnight
_OTHER_PRODUCT = "9"  # appended to the code
_STRANGER, _COPY = "X", "D"  # put before an identifier: nobody has it then
# A statement must have one of these columns, or the difference cannot be seen.
_SHOWN_BY: Final[Mapping[BreakClass, frozenset[str]]] = MappingProxyType(
    {
        BreakClass.PRODUCT: frozenset({"product_code", "vas_type"}),
        BreakClass.COMMISSION: frozenset({"commission"}),
        BreakClass.CLOSED_PERIOD_CHANGED: frozenset(),  # a change of internal rows: no statement shows it
    }
)


@dataclass(frozen=True, slots=True)
class Planted:
    """A statement as a file, and what was planted in it: for each reference its difference."""

    name: str
    content: bytes
    truth: Mapping[str, BreakClass]


def differences_of(form: StatementFormat) -> tuple[BreakClass, ...]:
    """The differences that statements of this form can show."""
    return tuple(
        break_class
        for break_class in BreakClass
        if break_class not in _SHOWN_BY or _SHOWN_BY[break_class] & form.further_columns
    )


def check_wanted(supplier: str, form: StatementFormat, wanted: Mapping[BreakClass, int]) -> None:
    """Raise DataError, with the supplier and the difference, for one that its statements cannot show."""
    for break_class in wanted:
        if break_class not in differences_of(form):
            columns = " or ".join(sorted(_SHOWN_BY[break_class])) or "changes of internal rows"
            raise DataError(f"{supplier}: {break_class} cannot be planted: its statements do not show {columns}")


def plant(
    supplier: str,
    form: StatementFormat,
    day: date,
    sales: pa.Table,
    wanted: Mapping[BreakClass, int],
    *,
    earlier: pa.Table | None = None,
    seed: int = 1,
) -> Planted:
    """The statement of ``day`` with as many differences of each class as are ``wanted``, each on a sale of its own.

    ``sales`` are what the supplier sold that day and ``earlier`` what it sold before and reports only now, for
    ``late_posting``, both as canonical tables. Only completed purchases are touched, whose reference appears once.
    Raises DataError for a difference that the statement cannot show, and for fewer sales than are wanted.
    """
    check_wanted(supplier, form, wanted)
    chance = np.random.default_rng([seed, day.toordinal()])
    before = sales.slice(0, 0) if earlier is None else earlier
    late = before.take(_chosen(supplier, before, chance, wanted.get(BreakClass.LATE_POSTING, 0), "of earlier days"))
    counts = {
        break_class: wanted.get(break_class, 0)
        for break_class in BreakClass
        if break_class is not BreakClass.LATE_POSTING
    }
    places = _chosen(supplier, sales, chance, sum(counts.values()), f"of {day}")
    ends = np.cumsum(list(counts.values()))[:-1]
    groups = dict(zip(counts, np.split(places, ends), strict=True))
    changed = sales
    for break_class, change in _CHANGES.items():
        changed = change(changed, _mask(sales.num_rows, groups[break_class]), form, day)
    strangers = _renamed(sales.take(groups[BreakClass.MISSING_HERE]), _STRANGER, reference=True)
    copies = _renamed(sales.take(groups[BreakClass.DUPLICATE]), _COPY, reference=False)
    kept = changed.filter(pc.invert(_mask(sales.num_rows, groups[BreakClass.MISSING_THERE])))
    whole = pa.concat_tables([kept, strangers, copies, _posted_late(late, day)])
    name, content = form.write(whole.sort_by([("occurred_at", "ascending"), ("line_no", "ascending")]), day)
    truth = {
        reference: break_class for break_class in _CHANGES for reference in _references(changed, groups[break_class])
    }
    truth |= dict.fromkeys(_references(sales, groups[BreakClass.MISSING_THERE]), BreakClass.MISSING_THERE)
    truth |= dict.fromkeys(strangers["reference"].to_pylist(), BreakClass.MISSING_HERE)
    truth |= dict.fromkeys(copies["reference"].to_pylist(), BreakClass.DUPLICATE)
    truth |= dict.fromkeys(late["reference"].to_pylist(), BreakClass.LATE_POSTING)
    return Planted(name, content, truth)


def _chosen(supplier: str, table: pa.Table, chance: np.random.Generator, count: int, which: str) -> Any:
    """The places of ``count`` sales, by chance. Raises DataError when there are fewer."""
    if count == 0:
        return np.empty(0, np.int64)
    places = _plain_sales(table)
    if len(places) < count:
        raise DataError(f"{supplier}: {count} differences need {count} sales {which}, there are {len(places)}")
    return chance.permutation(places)[:count]


def _plain_sales(table: pa.Table) -> Any:
    """The places of completed purchases whose reference appears once."""
    reference = table["reference"].combine_chunks()
    counts = pc.value_counts(reference)
    once = counts.field("values").filter(pc.equal(counts.field("counts"), 1))
    plain = pc.and_(pc.equal(table["kind"], "purchase"), pc.equal(table["status"], "completed"))
    return np.flatnonzero(pc.and_(plain, pc.is_in(table["reference"], once.drop_null())).to_numpy())


def _mask(rows: int, places: Any) -> pa.Array:
    mask = np.zeros(rows, bool)
    mask[places] = True
    return pa.array(mask)


def _references(table: pa.Table, places: Any) -> list[str]:
    references: list[str] = table["reference"].take(places).to_pylist()
    return references


def _with(table: pa.Table, **columns: Any) -> pa.Table:
    for name, values in columns.items():
        place = table.schema.get_field_index(name)
        field = table.schema.field(place)
        table = table.set_column(place, field, values.cast(field.type))
    return table


def _where(mask: pa.Array, changed: Any, kept: Any) -> Any:
    return pc.if_else(mask, changed, kept)


def _added(table: pa.Table, mask: pa.Array, name: str, amount: Decimal) -> Any:
    """A column of money with ``amount`` added under the mask; NULL stays NULL."""
    values = table[name]
    more = pc.add(values, pa.scalar(amount).cast(values.type)).cast(values.type)
    return _where(mask, more, values)


def _dearer(table: pa.Table, mask: pa.Array, _: StatementFormat, __: date) -> pa.Table:
    """Another amount; net follows it, so that the line adds up."""
    return _with(table, amount=_added(table, mask, "amount", AMOUNT_OFF), net=_added(table, mask, "net", AMOUNT_OFF))


def _refused(table: pa.Table, mask: pa.Array, form: StatementFormat, _: date) -> pa.Table:
    """Not sold, in the supplier's word; and nothing settles what was not."""
    return _with(
        table,
        status=_where(mask, "failed", table["status"]),
        raw_status=_where(mask, form.failed, table["raw_status"]),
        payout_reference=_where(mask, pa.scalar(None, pa.string()), table["payout_reference"]),
    )


def _other_product(table: pa.Table, mask: pa.Array, form: StatementFormat, _: date) -> pa.Table:
    if "product_code" in form.further_columns:
        code = table["product_code"]
        return _with(table, product_code=_where(mask, pc.binary_join_element_wise(code, _OTHER_PRODUCT, ""), code))
    kind = table["vas_type"]
    other = pc.if_else(pc.equal(kind, "airtime"), "data", "airtime")
    return _with(table, vas_type=_where(mask, other, kind))


def _other_time(table: pa.Table, mask: pa.Array, _: StatementFormat, day: date) -> pa.Table:
    """Later, or earlier where later would be the next day."""
    at_ms = table["occurred_at"].cast(pa.int64())
    last_ms = day_start_ms(day + timedelta(days=1)) - TIME_OFF_MS
    other = pc.if_else(pc.less(at_ms, last_ms), pc.add(at_ms, TIME_OFF_MS), pc.subtract(at_ms, TIME_OFF_MS))
    return _with(table, occurred_at=_where(mask, other, at_ms))


def _other_commission(table: pa.Table, mask: pa.Array, _: StatementFormat, __: date) -> pa.Table:
    """Another commission; net follows it, so that the line adds up."""
    return _with(
        table,
        commission=_added(table, mask, "commission", COMMISSION_OFF),
        net=_added(table, mask, "net", -COMMISSION_OFF),
    )


_Change = Callable[[pa.Table, pa.Array, StatementFormat, date], pa.Table]
_CHANGES: Final[Mapping[BreakClass, _Change]] = MappingProxyType(
    {
        BreakClass.AMOUNT: _dearer,
        BreakClass.STATUS: _refused,
        BreakClass.PRODUCT: _other_product,
        BreakClass.TIME: _other_time,
        BreakClass.COMMISSION: _other_commission,
    }
)


def _renamed(table: pa.Table, mark: str, *, reference: bool) -> pa.Table:
    """The lines under identifiers that nobody has; under their own ``reference`` unless that is renamed, too."""
    names = ["supplier_transaction_id", "payout_reference", *(["reference"] if reference else [])]
    return _with(table, **{name: pc.binary_join_element_wise(mark, table[name], "") for name in names})


def _posted_late(table: pa.Table, day: date) -> pa.Table:
    """Lines of earlier sales as ``day``'s statement has them: half an hour after its midnight."""
    rows = table.num_rows
    return _with(
        table,
        occurred_at=pa.repeat(day_start_ms(day) + LATE_BY_MS, rows),
        settlement_date=pa.repeat(pa.scalar(day, pa.date32()), rows),
    )
