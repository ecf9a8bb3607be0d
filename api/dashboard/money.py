"""The page Money and load: rows and sums of days from daily totals, which are equal to the rows to the cent."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from itertools import groupby
from shlex import quote
from typing import Any

from api.dashboard import charts, formats
from api.dashboard.charts import Chart
from api.dashboard.page import HTTP_STATUS, Page, PageCall
from api.dashboard.readable_tables import ANY_OTHER, TABLE_NAMES, readable, require
from api.dashboard.shown_rows import words
from api.routing import parsing
from api.routing.problems import INVALID, UNAVAILABLE, HttpError
from ledger.errors import FieldError, MissingRowsError
from ledger.money import add_exactly
from ledger.months import FIRST_YEAR
from ledger.scopes import Scope
from ledger.tables import VAS_TRANSACTIONS, TieredTable
from ledger.totals import Question, Total, TotalsGroup, Zone
from storage.unreadable import spans_of
from tasks.totals.answer import TotalsAnswer

MONEY = "/dashboard/money"
DAYS = 30
MOST_TOTALS = 20_000
MOST_LINES = 300  # of the table by days: more of them fill no page that people read
_MOST_BARS = 92  # of more days each bar is a month
_MOST_CHARTS = 3
_ZONE_NAMES = {Zone.UTC.value: "UTC", Zone.JOHANNESBURG.value: "Johannesburg (UTC+2)"}
_GROUPS = (TotalsGroup.TYPE, TotalsGroup.STATUS, TotalsGroup.SUPPLIER)
_YES = "yes"
_FIELDS = ("table", "from", "to", "zone")


def pages() -> tuple[Page, ...]:
    """The one page."""
    query = frozenset(_FIELDS) | {group.value for group in _GROUPS}
    page = Page(
        MONEY,
        "Money and load",
        show_totals,
        "money.html",
        scope=Scope.TRANSACTIONS_READ,
        or_scopes=ANY_OTHER,
        label="Money and load",
        query=query,
    )
    return (page,)


@dataclass(frozen=True, slots=True)
class TotalsLine:
    """A line of a table: what its rows have in common, their number, and their sums in the table's order.

    ``when`` is a day, or the first day of a month; None for all days together.
    """

    when: date | None
    groups: tuple[str | None, ...]
    currency: str | None
    rows: int
    sums: tuple[Decimal, ...]


async def show_totals(call: PageCall) -> Mapping[str, Any]:
    """The form, and the totals of its days. What is wrong with it is said beside the field, and nothing is summed."""
    entered = _entered(call)
    page = _form(call, entered)
    try:
        table, question = _asked(call, entered)
        answer = await call.services.totals.answer(table, question, MOST_TOTALS)
    except FieldError as error:
        field = "groups" if error.field == "group_by" else error.field
        rule = "make more lines than one answer has: choose fewer, or fewer days" if field == "groups" else error.rule
        return page | {"errors": {field: rule}, HTTP_STATUS: INVALID.status}
    except MissingRowsError:
        raise HttpError(UNAVAILABLE, "Rows of these days cannot be read at the moment, so nothing is summed.") from None
    return page | _summed(table, question, answer)


def _entered(call: PageCall) -> dict[str, str]:
    """What is in the fields of the form; by default the 30 days up to the last one, which is today."""
    zone = call.query.get("zone", Zone.UTC.value)
    today = call.services.now().astimezone(Zone(zone).timezone if zone in set(Zone) else Zone.UTC.timezone).date()
    given = {name: call.query[name] for name in _FIELDS if call.query.get(name)}
    first = _last_day(given, today) - timedelta(days=DAYS - 1)
    return {"table": readable(call.key)[0], "from": first.isoformat(), "to": today.isoformat(), "zone": zone} | given


def _last_day(given: Mapping[str, str], today: date) -> date:
    """The last day that is entered, or today where none is, or where no thirty days lie before it."""
    try:
        last = parsing.day("to", given.get("to", today.isoformat()))
    except FieldError:
        return today
    return last if last.year >= FIRST_YEAR else today


def _asked(call: PageCall, entered: Mapping[str, str]) -> tuple[TieredTable, Question]:
    """The table and the question of the form. Raises FieldError, and a 403 problem for a table it may not read."""
    name = parsing.choice("table", entered["table"], tuple(TABLE_NAMES))
    require(call.key, name)
    zone = parsing.member("zone", entered["zone"], Zone)
    first, last = parsing.day("from", entered["from"]), parsing.day("to", entered["to"])
    groups = {group for group in _GROUPS if _is_chosen(call, group)}
    if TotalsGroup.SUPPLIER in groups and name != VAS_TRANSACTIONS.name:
        raise FieldError("supplier", "has values in VAS transactions only: choose that table")
    question = Question(first, last, zone, frozenset({TotalsGroup.DAY, *groups}), call.key.sees_client)
    return call.services.settings.table(name), question


def _is_chosen(call: PageCall, group: TotalsGroup) -> bool:
    return group.value in call.query and parsing.choice(group.value, call.query[group.value], (_YES,)) == _YES


def _form(call: PageCall, entered: Mapping[str, str]) -> dict[str, Any]:
    """The values of the page: its form, and no totals."""
    tables = {name: TABLE_NAMES[name] for name in readable(call.key)}
    groups = _GROUPS if VAS_TRANSACTIONS.name in tables else _GROUPS[:2]
    return {
        "entered": entered,
        "errors": {},
        "tables": tables,
        "zones": _ZONE_NAMES,
        "groups": {group.value: words(group.value) for group in groups},
        "chosen": {group.value for group in _GROUPS if group.value in call.query},
        "sees_all": call.key.sees_client is None,
        "words": words,
        "answered": False,
    }


def _summed(table: TieredTable, question: Question, answer: TotalsAnswer) -> dict[str, Any]:
    """The values of a page with totals."""
    months = (question.last - question.first).days >= _MOST_BARS
    lines = _lines(answer.totals, question, months=months)
    whole = _together(lines, lambda line: (None, (), line.currency))
    whole.sort(key=lambda line: -line.rows)
    places = _places(question, months=months)
    return {
        "answered": True,
        "rows": sum(line.rows for line in whole),
        "whole": whole,
        "columns": [words(group.value) for group in question.columns],
        "sums": [words(name) for name in table.money_columns],
        "summary": _together(lines, lambda line: (None, line.groups, line.currency)) if question.columns else [],
        "lines": sorted(lines, key=_newest_first)[:MOST_LINES],
        "count": len(lines),
        "unit": "Month" if months else "Day",
        "when": "%Y-%m" if months else "%Y-%m-%d",
        "charts": _charts(table, lines, whole, places, "%Y-%m" if months else "%Y-%m-%d", "month" if months else "day"),
        "zone_name": _ZONE_NAMES[question.zone.value],
        "kept": answer.kept,
        "read": answer.read,
        "deleted": _spans(answer),
        "command": _command(table, question),
    }


def _lines(totals: Iterable[Total], question: Question, *, months: bool) -> list[TotalsLine]:
    """The totals as lines of days, or of months."""
    made = []
    for total in totals:
        assert total.day is not None  # noqa: S101  # every question of this page is by day
        when = total.day.replace(day=1) if months else total.day
        groups = tuple(getattr(total, group.value) for group in question.columns)
        made.append(TotalsLine(when, groups, total.currency, total.rows, total.sums))
    return _together(made, lambda line: (line.when, line.groups, line.currency)) if months else made


def _together(lines: Iterable[TotalsLine], key: Any) -> list[TotalsLine]:
    """The lines of one key added up, in the order of the keys. Sums of two currencies are never added."""
    made = []
    for (when, groups, currency), some in groupby(sorted(lines, key=lambda one: _order(key(one))), key=key):
        rows, sums = 0, None
        for line in some:
            rows += line.rows
            sums = line.sums if sums is None else tuple(map(add_exactly, sums, line.sums))
        made.append(TotalsLine(when, groups, currency, rows, sums or ()))
    return made


def _order(key: tuple[date | None, tuple[str | None, ...], str | None]) -> tuple[str, ...]:
    when, groups, currency = key
    return (str(when or ""), *(value or "" for value in groups), currency or "")


def _newest_first(line: TotalsLine) -> tuple[int, tuple[str, ...]]:
    day = 0 if line.when is None else -line.when.toordinal()
    return day, _order((None, line.groups, line.currency))


def _places(question: Question, *, months: bool) -> list[date]:
    """Every day of the range, or the first day of every month in it."""
    days = [question.first + timedelta(days=number) for number in range((question.last - question.first).days + 1)]
    return list(dict.fromkeys(day.replace(day=1) for day in days)) if months else days


def _charts(
    table: TieredTable,
    lines: Sequence[TotalsLine],
    whole: Sequence[TotalsLine],
    places: Sequence[date],
    when: str,
    unit: str,
) -> list[Chart]:
    """A chart of the rows, and one of the first sum for each of the currencies with the most rows."""
    if not lines:
        return []
    labels = [place.strftime(when) for place in places]
    rows = _by_place(lines, places, lambda line: Decimal(line.rows))
    made = [charts.bars("rows", f"Rows per {unit}", labels, rows, partial(formats.number, places=0))]
    for one in whole[:_MOST_CHARTS]:
        own = [line for line in lines if line.currency == one.currency]
        name, currency = words(table.money_columns[0]), one.currency or ""
        sums = _by_place(own, places, lambda line: line.sums[0])
        title = f"{name} per {unit}, {currency or 'no currency'}"
        made.append(charts.bars(f"sum-{currency or 'none'}", title, labels, sums, partial(_amount, currency)))
    return made


def _amount(currency: str, value: Decimal | float) -> str:
    """A sum, or the end of an axis, as the tables have it."""
    return formats.money(str(value), currency)


def _by_place(
    lines: Iterable[TotalsLine], places: Sequence[date], value: Callable[[TotalsLine], Decimal]
) -> list[Decimal]:
    sums: dict[date | None, Decimal] = dict.fromkeys(places, Decimal(0))
    for line in lines:
        sums[line.when] = add_exactly(sums[line.when], value(line))
    return [sums[place] for place in places]


def _spans(answer: TotalsAnswer) -> str:
    spans = spans_of(sorted(set(answer.deleted)))
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in spans)


def _command(table: TieredTable, question: Question) -> str:
    """The command that prints the same numbers."""
    groups = "".join(f" --group-by {group.value}" for group in (TotalsGroup.DAY, *question.columns))
    client = f" --client {quote(question.client_id)}" if question.client_id is not None else ""
    return (
        f"treasury totals --table {table.name} --from {question.first} --to {question.last} "
        f"--zone {question.zone.value}{groups}{client}"
    )
