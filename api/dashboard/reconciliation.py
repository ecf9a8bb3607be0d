"""The page *Reconciliation*: days by suppliers, match rates over time, what waits, and the list of breaks."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial, reduce
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from api.abuse.rate_limits import RatePolicy
from api.dashboard import charts, formats
from api.dashboard import reconciliation_words as words
from api.dashboard.charts import Chart, Series
from api.dashboard.error_pages import HOME
from api.dashboard.forms import Form, refused
from api.dashboard.page import HTTP_STATUS, Page, PageCall
from api.reconciliation import handlers
from api.reconciliation.work import in_thread
from api.routing import parsing
from ledger.business_days import day_of
from ledger.errors import FieldError
from ledger.money import add_exactly
from ledger.scopes import Scope
from ledger.statements import BreakClass
from tasks.reconciliation.casework import lists
from tasks.reconciliation.casework.lists import BreakFilter, BreakRecord
from tasks.reconciliation.overview import Overview, SupplierDay, WaitingBreaks, WaitingFilter, read_overview
from tasks.reconciliation.vocabulary import BreakState
from tasks.statements.lateness import expected_suppliers, late_from

PATH = f"{HOME}/reconciliation"
USUAL_DAYS, MOST_DAYS = 31, 62  # a cell is 300 bytes, and a page is to stay below 100 KB
PAGE = 25
ALL, WAITING, YES = "all", "waiting", "yes"
_FILTER = ("supplier", "from", "to", "class", "state", "escalated")
_ONE_DAY = timedelta(days=1)


def pages() -> tuple[Page, ...]:
    """The page of this module."""
    page = Page(
        PATH,
        "Reconciliation",
        show,
        "reconciliation.html",
        scope=Scope.RECONCILIATION_READ,
        label="Reconciliation",
        policy=RatePolicy.OPERATIONS,
        query=frozenset({*_FILTER, "after"}),
    )
    return (page,)


@dataclass(frozen=True, slots=True)
class AskedBreaks:
    """What the form asks for. Days are of Johannesburg; without days the breaks of all days are listed."""

    supplier: str | None
    first: date
    last: date
    listed: BreakFilter
    after: int | None = None

    @property
    def waiting(self) -> WaitingFilter:
        """The breaks that are summed: those of the days that were entered, or of all days."""
        return WaitingFilter(self.supplier, self.listed.first, self.listed.last)

    @classmethod
    def read(cls, query: Mapping[str, str], suppliers: Collection[str], today: date) -> "AskedBreaks":
        """Raises FieldError naming the field that cannot be read."""
        supplier = parsing.choice("supplier", query["supplier"], suppliers) if "supplier" in query else None
        days = {name: parsing.day(name, query[name]) for name in ("from", "to") if name in query}
        first, last = _span(days, today)
        listed = BreakFilter(
            supplier=supplier,
            states=_states(query.get("state", WAITING)),
            break_class=parsing.member("class", query["class"], BreakClass) if "class" in query else None,
            first=days.get("from"),
            last=days.get("to"),
            escalated=parsing.choice("escalated", query["escalated"], (YES,)) == YES if "escalated" in query else None,
        )
        after = parsing.integer("after", query["after"], 1, handlers.MOST_ID) if "after" in query else None
        return cls(supplier, first, last, listed, after)


def _span(days: Mapping[str, date], today: date) -> tuple[date, date]:
    """The first and the last day of the grid. Raises FieldError."""
    usual = (USUAL_DAYS - 1) * _ONE_DAY
    try:
        last = days.get("to") or (min(today, days["from"] + usual) if "from" in days else today)
        first = days.get("from") or last - usual
    except OverflowError:
        raise FieldError(*_OUTSIDE) from None
    if first > last or (last - first).days >= MOST_DAYS:
        raise FieldError(*_OUTSIDE)
    return first, last


_OUTSIDE = ("to", f"must be the first day or later, and make no more than {MOST_DAYS} days")


def _states(name: str) -> tuple[BreakState, ...] | None:
    known = {ALL: None, WAITING: (BreakState.OPEN, BreakState.PROPOSED)}
    return known[name] if name in known else (parsing.member("state", name, BreakState),)


async def show(call: PageCall) -> Mapping[str, Any]:
    """Everything that the page shows. A form that cannot be read is shown with the reason, and the usual days."""
    settings, now = call.services.settings, datetime.now(UTC)
    query, today = {name: value for name, value in call.query.items() if value}, day_of(now)
    form = Form(query)
    try:
        asked = AskedBreaks.read(query, settings.suppliers.names, today)
    except FieldError as error:
        form, asked = refused(query, error, frozenset(_FILTER)), AskedBreaks.read({}, settings.suppliers.names, today)
    suppliers = [asked.supplier] if asked.supplier else list(settings.suppliers.names)
    overview, records = await asyncio.gather(
        in_thread(call.services, read_overview, suppliers, asked.first, asked.last, today, asked.waiting),
        in_thread(call.services, lists.list_breaks, asked.listed, after=asked.after, limit=PAGE + 1, by_gravity=True),
    )
    awaited = frozenset(expected_suppliers(settings))
    return {
        HTTP_STATUS: form.status,
        "form": form,
        "asked": asked,
        "suppliers": suppliers,
        "every_supplier": settings.suppliers.names,
        "classes": [(str(break_class), words.of_class(break_class)) for break_class in BreakClass],
        "states": [(WAITING, "wait for a decision"), *words.STATES.items(), (ALL, "all")],
        "grid": grid(overview.days, awaited, now),
        "is_empty": not any(
            day.run_id or day.line_count is not None or day.refused or day.breaks for day in overview.days
        ),
        "charts": rates(overview, suppliers),
        "waiting": waiting_rows(overview.waiting, asked),
        "escalate_above": settings.reconciliation.escalate_above,
        "escalate_issues": settings.reconciliation.escalate_issues,
        "breaks": [BreakRow.of(record, today) for record in records[:PAGE]],
        "next_page": _next_page(query, records),
        "is_filtered": bool(set(query) - {"after"}),
    }


def _next_page(query: Mapping[str, str], records: Sequence[BreakRecord]) -> str:
    """The address of the next page of breaks; empty on the last one."""
    if len(records) <= PAGE:
        return ""
    return f"{PATH}?{urlencode({**query, 'after': records[PAGE - 1].break_id})}#breaks"


@dataclass(frozen=True, slots=True)
class SupplierDayCell:
    """A day of a supplier in the grid: its sign and word, what else there is to say, and the way to its breaks."""

    sign: str
    word: str
    notes: tuple[str, ...]
    breaks: str
    link: str


def grid(
    days: Sequence[SupplierDay], awaited: Collection[str], now: datetime
) -> list[tuple[date, list[SupplierDayCell]]]:
    """The rows of the grid. ``awaited`` are the suppliers whose statements are expected."""
    grouped = groupby(days, key=lambda supplier_day: supplier_day.day)
    return [
        (day, [cell(supplier_day, supplier_day.supplier in awaited, now) for supplier_day in cells])
        for day, cells in grouped
    ]


def cell(supplier_day: SupplierDay, is_awaited: bool, now: datetime) -> SupplierDayCell:
    """What the grid says of a day."""
    sign, word = _state(supplier_day, is_awaited, now)
    run = [] if supplier_day.run_id is None else [f"run {supplier_day.run_id}"]
    has_lines = supplier_day.line_count is not None and not supplier_day.declared  # a declared day has an empty one
    lines = [_lines(supplier_day.line_count or 0)] if has_lines else []
    notes = [
        *([", ".join((*run, *lines))] if run or lines else []),
        *(["no statement, as declared"] if supplier_day.declared else []),
        *(["another statement came since"] if supplier_day.is_outdated else []),
        *(["run before the day was over"] if supplier_day.is_early else []),
        *(["closed"] if supplier_day.closed else []),
    ]
    shown = ""
    if supplier_day.waiting:
        shown = f"{supplier_day.waiting} of {_breaks(supplier_day.breaks)} open"
    elif supplier_day.breaks:
        shown = f"{_breaks(supplier_day.breaks)}, none open"
    day = supplier_day.day.isoformat()
    query = urlencode({"supplier": supplier_day.supplier, "from": day, "to": day, "state": ALL})
    return SupplierDayCell(sign, word, tuple(notes), shown, f"{PATH}?{query}#breaks" if supplier_day.breaks else "")


def _state(supplier_day: SupplierDay, is_awaited: bool, now: datetime) -> tuple[str, str]:
    if supplier_day.verdict is not None:
        return words.VERDICTS[supplier_day.verdict]
    if supplier_day.line_count is not None:
        return "warning", "not reconciled"
    if supplier_day.refused:
        return "bad", "statement refused"
    if supplier_day.day >= day_of(now):
        return "none", "not over"
    if not is_awaited:
        return "none", "no statement"
    return ("bad", "statement late") if now >= late_from(supplier_day.day) else ("none", "no statement yet")


def _lines(count: int) -> str:
    return f"{formats.number(count)} {'line' if count == 1 else 'lines'}"


def _breaks(count: int) -> str:
    return f"{count} {'break' if count == 1 else 'breaks'}"


def rates(overview: Overview, suppliers: Sequence[str]) -> list[Chart]:
    """The share of lines and rows that were matched, by day; at most `charts.MOST_LINES` suppliers to a chart."""
    shares = {(supplier_day.supplier, supplier_day.day): supplier_day.matched_share for supplier_day in overview.days}
    if not any(share is not None for share in shares.values()):
        return []
    days = sorted({supplier_day.day for supplier_day in overview.days})
    times = [datetime.combine(day, time(), UTC) for day in days]
    line = partial(charts.line, times=times, form=formats.percent, unit="share of lines and rows", by_day=True)
    having = [name for name in suppliers if any(shares[name, day] is not None for day in days)]
    batches = [having[start : start + charts.MOST_LINES] for start in range(0, len(having), charts.MOST_LINES)]
    return [
        line(
            f"rates-{number}",
            "Matched",
            series=[Series(name, [shares[name, day] for day in days]) for name in batch],
        )
        for number, batch in enumerate(batches)
    ]


def waiting_rows(waiting: Sequence[WaitingBreaks], asked: AskedBreaks) -> list["WaitingRow"]:
    """The rows of the table by supplier and class, and totals: of a supplier, and where there are several, of all."""
    order = [str(break_class) for break_class in BreakClass]
    lines = sorted(waiting, key=lambda line: (line.supplier, order.index(line.break_class), line.currency))
    rows = []
    for supplier, some in groupby(lines, key=lambda line: line.supplier):
        own = list(some)
        rows += [WaitingRow(supplier, words.of_class(line.break_class), line, _link(asked, line)) for line in own]
        if len(own) > 1:
            rows += _totals(supplier, own)
    if len({line.supplier for line in lines}) > 1:
        rows += _totals("All suppliers", lines)
    return rows


def _link(asked: AskedBreaks, waiting: WaitingBreaks) -> str:
    """The address of the breaks of a row."""
    days = {"from": asked.listed.first, "to": asked.listed.last}
    query = {"class": waiting.break_class, "supplier": waiting.supplier}
    return f"{PATH}?{urlencode(query | {name: str(day) for name, day in days.items() if day})}#breaks"


def _totals(name: str, lines: Sequence[WaitingBreaks]) -> list["WaitingRow"]:
    """The sums of lines, one for each currency: money of two currencies is never added."""
    rows = []
    for currency in sorted({line.currency for line in lines}):
        own = [line for line in lines if line.currency == currency]
        counts = {field: sum(getattr(line, field) for line in own) for field in _COUNTS}
        money = {
            field: reduce(add_exactly, (getattr(line, field) for line in own)) for field in ("difference", "variance")
        }
        total = replace(own[0], oldest=min(line.oldest for line in own), **counts, **money)
        rows.append(WaitingRow(name, "everything", total, ""))
    return rows


_COUNTS = ("count", "escalated", "proposed", "to_1_day", "to_7_days", "to_30_days", "older")


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """A supplier, class and currency of waiting breaks, in words. Without ``link`` it is a total."""

    supplier: str
    name: str
    of: WaitingBreaks
    link: str


@dataclass(frozen=True, slots=True)
class BreakRow:
    """A break of the list, in words."""

    record: BreakRecord
    name: str
    issues: str
    sign: str
    state: str
    age_days: int
    note: str

    @classmethod
    def of(cls, record: BreakRecord, today: date) -> "BreakRow":
        """The row of a record."""
        return cls(
            record,
            words.of_class(record.class_),
            ", ".join(words.of_class(issue) for issue in record.issues[1:]),
            words.STATE_SIGNS[record.state],
            words.STATES[record.state],
            record.age_days(today),
            words.sentence(record.note),
        )
