"""The page Money and load: rows and sums of days from daily totals, which are equal to the rows to the cent."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from shlex import quote
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from api.dashboard import charts, formats
from api.dashboard.charts import Chart
from api.dashboard.money_lines import (
    TotalsLine,
    by_currency,
    by_day,
    csv_of,
    lines_of,
    newest_first,
    sums_of,
    with_both,
)
from api.dashboard.page import HTTP_STATUS, Page, PageCall
from api.dashboard.readable_tables import ANY_OTHER, TABLE_NAMES, readable, require
from api.dashboard.shown_rows import words
from api.routing import parsing
from api.routing.problems import INVALID, UNAVAILABLE, HttpError
from ledger.currencies import CURRENCIES, ENDED_CURRENCIES
from ledger.errors import FieldError, MissingRowsError
from ledger.money import add_exactly
from ledger.months import FIRST_YEAR
from ledger.names import LONGEST_NAME, check_asked_name
from ledger.scopes import Scope
from ledger.tables import TRANSACTIONS, VAS_TRANSACTIONS, TieredTable
from ledger.totals import Question, Total, TotalsGroup, Zone
from ledger.transactions import Status, TransactionType
from storage.unreadable import spans_of
from tasks.totals.answer import TotalsAnswer

MONEY = "/dashboard/money"
DOWNLOAD = f"{MONEY}/download/{{form}}"
DAYS = 30
MOST_TOTALS = 20_000
MOST_LINES = 100  # of the table by days: more of them fill no page that people read
_MOST_BARS = 92  # of more days each bar is a month
_MOST_CHARTS = 3
_ZONE_NAMES = {Zone.UTC.value: "UTC", Zone.JOHANNESBURG.value: "Johannesburg (UTC+2)"}
_GROUPS = (TotalsGroup.CLIENT, TotalsGroup.TYPE, TotalsGroup.STATUS, TotalsGroup.SUPPLIER)
_GROUP_NAMES = {group: words(group.value.removesuffix("_id")) for group in _GROUPS}
_EVERY_TABLE = "all"
_YES = "yes"
_CSV = "csv"
_START = "start"
_ONLY_CLIENT, _ONLY_TYPE, _ONLY_STATUS, _ONLY_CURRENCY = "only_client", "only_type", "only_status", "only_currency"
_CHOSEN = {_ONLY_TYPE: TotalsGroup.TYPE, _ONLY_STATUS: TotalsGroup.STATUS}
_FIELDS = ("table", "from", "to", "zone", _ONLY_CLIENT, _ONLY_TYPE, _ONLY_STATUS, _ONLY_CURRENCY)


def pages() -> tuple[Page, ...]:
    """The page, and its answer as a file."""
    query = frozenset(_FIELDS) | {group.value for group in _GROUPS}
    read = partial(Page, scope=Scope.TRANSACTIONS_READ, or_scopes=ANY_OTHER)
    return (
        read(MONEY, "Money and load", show_totals, "money.html", label="Money and load", query=query | {_START}),
        read(DOWNLOAD, "Download", download, query=query),
    )


@dataclass(frozen=True, slots=True)
class AskedTotals:
    """What the form asks for. ``question`` groups by what is shown, ``columns``, and by what is filtered by.

    ``only`` are the values that lines must have, by the name of their column.
    """

    tables: tuple[TieredTable, ...]
    question: Question
    columns: tuple[TotalsGroup, ...]
    only: Mapping[str, str]

    @property
    def months(self) -> bool:
        """Whether lines are of months: of so many days nobody reads one by one."""
        return (self.question.last - self.question.first).days >= _MOST_BARS

    @property
    def when(self) -> str:
        """How the day or month of a line is written."""
        return "%Y-%m" if self.months else "%Y-%m-%d"

    def has(self, total: Total) -> bool:
        """Whether a total has the values that are filtered by."""
        return all(getattr(total, name) == value for name, value in self.only.items())


@dataclass(frozen=True, slots=True)
class TotalsFound:
    """The answer for each table, and its lines by the name of the table."""

    answers: Sequence[TotalsAnswer]
    by_table: Mapping[str, Sequence[TotalsLine]]

    @property
    def lines(self) -> list[TotalsLine]:
        """The lines of all tables added up, newest first."""
        return newest_first(by_day(line for lines in self.by_table.values() for line in lines))


async def show_totals(call: PageCall) -> Mapping[str, Any]:
    """The form, and the totals of its days. What is wrong with it is said beside the field, and nothing is summed."""
    entered = _entered(call)
    page = _form(call, entered)
    try:
        asked = _asked(call, entered)
        start = parsing.integer(_START, call.query.get(_START, "0"), 0, 2 * MOST_TOTALS)
        totals = await _totals_of(call, asked)
    except FieldError as error:
        if error.field == _START:
            raise
        field = "groups" if error.field == "group_by" else error.field
        rule = "make more lines than one answer has: choose fewer, or fewer days" if field == "groups" else error.rule
        return page | {"errors": {field: rule}, HTTP_STATUS: INVALID.status}
    notes = [] if call.key.sees_client else [note for answer in totals.answers for note in answer.notes]
    return page | _summed(asked, totals) | _listed(call, totals.lines, start) | {"notes": notes}


async def download(call: PageCall) -> Response:
    """Every line of the answer as CSV."""
    parsing.choice("form", call.request.path_params["form"], (_CSV,))
    asked = _asked(call, _entered(call))
    totals = await _totals_of(call, asked)
    heads = ["month" if asked.months else "day", *(group.value for group in asked.columns), "currency", "rows"]
    name = f"totals-{asked.question.first}-to-{asked.question.last}.csv"
    return Response(
        csv_of(totals.lines, [*heads, *sums_of(asked.tables)], asked.when),
        headers={"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{name}"'},
        media_type="text/csv; charset=utf-8",
    )


async def _totals_of(call: PageCall, asked: AskedTotals) -> TotalsFound:
    totals = call.services.totals
    try:
        answers = await asyncio.gather(*(totals.answer(table, asked.question, MOST_TOTALS) for table in asked.tables))
    except MissingRowsError:
        raise HttpError(UNAVAILABLE, "Rows of these days cannot be read at the moment, so nothing is summed.") from None
    if any(answer.different for answer in answers):
        raise HttpError(
            UNAVAILABLE, "Rows of these days are stored twice, with different values, so nothing is summed."
        )
    names = sums_of(asked.tables)
    by_table = {
        TABLE_NAMES[table.name]: lines_of(
            table, filter(asked.has, answer.totals), asked.columns, names, months=asked.months
        )
        for table, answer in zip(asked.tables, answers, strict=True)
    }
    return TotalsFound(answers, by_table)


def _entered(call: PageCall) -> dict[str, str]:
    """What is in the fields of the form; by default the 30 days up to the last one, which is today."""
    zone = call.query.get("zone", Zone.UTC.value)
    today = call.services.now().astimezone(Zone(zone).timezone if zone in set(Zone) else Zone.UTC.timezone).date()
    fields = {name: call.query[name] for name in _FIELDS if call.query.get(name)}
    first = _last_day(fields, today) - timedelta(days=DAYS - 1)
    tables = readable(call.key)
    usual = {
        "table": tables[0] if len(tables) == 1 else _EVERY_TABLE,
        "from": first.isoformat(),
        "to": today.isoformat(),
        "zone": zone,
    }
    return dict.fromkeys(_FIELDS, "") | usual | fields


def _last_day(fields: Mapping[str, str], today: date) -> date:
    """The last day that is entered, or today where none is, or where no thirty days lie before it."""
    try:
        last = parsing.day("to", fields.get("to", today.isoformat()))
    except FieldError:
        return today
    return last if last.year >= FIRST_YEAR else today


def _asked(call: PageCall, entered: Mapping[str, str]) -> AskedTotals:
    """What the form asks for. Raises FieldError, and a 403 problem for what the key may not read."""
    chosen = parsing.choice("table", entered["table"], (*TABLE_NAMES, _EVERY_TABLE))
    require(call.key, chosen)
    names = readable(call.key) if chosen == _EVERY_TABLE else (chosen,)
    zone = parsing.member("zone", entered["zone"], Zone)
    first, last = parsing.day("from", entered["from"]), parsing.day("to", entered["to"])
    columns = tuple(group for group in _GROUPS if _is_chosen(call, group))
    if TotalsGroup.SUPPLIER in columns and names != (VAS_TRANSACTIONS.name,):
        raise FieldError("supplier", "has values in VAS transactions only: choose that table")
    only = _only(entered)
    filtered = {group for name, group in _CHOSEN.items() if entered[name]}
    groups = frozenset({TotalsGroup.DAY, *columns, *filtered})
    question = Question(first, last, zone, groups, _client(call, entered[_ONLY_CLIENT]))
    return AskedTotals(tuple(map(call.services.settings.table, names)), question, columns, only)


def _only(entered: Mapping[str, str]) -> dict[str, str]:
    """The values of columns that lines must have. Raises FieldError."""
    only = {}
    if text := entered[_ONLY_TYPE]:
        only["type"] = parsing.choice(_ONLY_TYPE, text, tuple(TransactionType))
    if text := entered[_ONLY_STATUS]:
        only["status"] = parsing.choice(_ONLY_STATUS, text, tuple(Status))
    if text := entered[_ONLY_CURRENCY]:
        only["currency"] = _currency(text.strip().upper())
    return only


def _currency(code: str) -> str:
    """A currency that rows have or had. Raises FieldError."""
    if code not in CURRENCIES and code not in ENDED_CURRENCIES:
        raise FieldError(_ONLY_CURRENCY, "must be an ISO 4217 currency code, like ZAR")
    return code


def _client(call: PageCall, wanted: str) -> str | None:
    """The client whose rows count, None for all. Raises a 403 problem where the key may not choose it."""
    if not wanted:
        return call.key.sees_client
    call.key.require(Scope.READ_ALL)
    return check_asked_name(_ONLY_CLIENT, wanted)


def _is_chosen(call: PageCall, group: TotalsGroup) -> bool:
    return group.value in call.query and parsing.choice(group.value, call.query[group.value], (_YES,)) == _YES


def _form(call: PageCall, entered: Mapping[str, str]) -> dict[str, Any]:
    """The values of the page: its form, and no totals."""
    tables = {name: TABLE_NAMES[name] for name in readable(call.key)}
    sees_all = call.key.sees_client is None
    left_out = {
        *(() if VAS_TRANSACTIONS.name in tables else (TotalsGroup.SUPPLIER,)),
        *(() if sees_all else (TotalsGroup.CLIENT,)),
    }
    return {
        "entered": entered,
        "errors": {},
        "tables": tables if len(tables) == 1 else {**tables, _EVERY_TABLE: "Both"},
        "zones": _ZONE_NAMES,
        "types": {"": "All", **{member.value: words(member.value) for member in TransactionType}},
        "statuses": {"": "All", **{member.value: words(member.value) for member in Status}},
        "groups": {group.value: _GROUP_NAMES[group] for group in _GROUPS if group not in left_out},
        "chosen": {group.value for group in _GROUPS if group.value in call.query},
        "longest": LONGEST_NAME,
        "sees_all": sees_all,
        "words": words,
        "answered": False,
    }


def _summed(asked: AskedTotals, totals: TotalsFound) -> dict[str, Any]:
    """The values of a page with totals."""
    question, lines = asked.question, totals.lines
    whole = by_currency(lines)
    return {
        "answered": True,
        "rows": sum(line.rows for line in whole),
        "whole": whole,
        "columns": [_GROUP_NAMES[group] for group in asked.columns],
        "is_client": [group is TotalsGroup.CLIENT for group in asked.columns],
        "sums": [words(name) for name in sums_of(asked.tables)],
        "summary": with_both(totals.by_table) if asked.columns or len(asked.tables) > 1 else [],
        "is_both": len(asked.tables) > 1,
        "unit": "Month" if asked.months else "Day",
        "when": asked.when,
        "charts": _charts(asked, lines, whole),
        "undrawn": [line.currency or "no currency" for line in whole[_MOST_CHARTS:]],
        "zone_name": _ZONE_NAMES[question.zone.value],
        "client": question.client_id,
        "only": {name: value if name == "currency" else words(value) for name, value in asked.only.items()},
        "kept": sum(answer.kept for answer in totals.answers),
        "read": sum(answer.read for answer in totals.answers),
        "deleted": _spans(totals.answers),
        "commands": [_command(table, question) for table in asked.tables],
    }


def _listed(call: PageCall, lines: Sequence[TotalsLine], start: int) -> dict[str, Any]:
    """The lines from ``start`` on that fit the page, and the ways to the others and to the file."""
    query = {name: value for name, value in call.query.items() if value and name != _START}
    following = start + MOST_LINES
    return {
        "lines": lines[start:following],
        "start": start,
        "count": len(lines),
        "next": f"{MONEY}?{urlencode({**query, _START: following})}#days" if following < len(lines) else "",
        "newest": f"{MONEY}?{urlencode(query)}#days" if start else "",
        "file": f"{DOWNLOAD.format(form=_CSV)}?{urlencode(query)}",
    }


def _places(question: Question, *, months: bool) -> list[date]:
    """Every day of the range, or the first day of every month in it."""
    days = [question.first + timedelta(days=number) for number in range((question.last - question.first).days + 1)]
    return list(dict.fromkeys(day.replace(day=1) for day in days)) if months else days


def _charts(asked: AskedTotals, lines: Sequence[TotalsLine], whole: Sequence[TotalsLine]) -> list[Chart]:
    """A chart of the rows, and one of the first sum for each of the currencies with the most rows."""
    if not lines:
        return []
    places, unit = _places(asked.question, months=asked.months), "month" if asked.months else "day"
    labels = [place.strftime(asked.when) for place in places]
    rows = _by_place(lines, places, lambda line: Decimal(line.rows))
    made = [charts.bars("rows", f"Rows per {unit}", labels, rows, partial(formats.number, places=0))]
    for total in whole[:_MOST_CHARTS]:
        own = [line for line in lines if line.currency == total.currency]
        name, currency = words(TRANSACTIONS.money_columns[0]), total.currency or ""
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


def _spans(answers: Iterable[TotalsAnswer]) -> str:
    spans = spans_of(sorted({month for answer in answers for month in answer.deleted}))
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in spans)


def _command(table: TieredTable, question: Question) -> str:
    """The command that prints the same numbers."""
    groups = "".join(f" --group-by {group.value}" for group in (TotalsGroup.DAY, *question.columns))
    client = f" --client {quote(question.client_id)}" if question.client_id is not None else ""
    return (
        f"treasury totals --table {table.name} --from {question.first} --to {question.last} "
        f"--zone {question.zone.value}{groups}{client}"
    )
