"""The pages Find: a search over every tier, one found row with its proofs, and the search's result as a file."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from functools import partial
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response, StreamingResponse

from api.archive.handlers import part_of, row_proof, statement_proof
from api.archive.months import MonthOfTable, month_of, newest_checkpoint
from api.connections.database import OutOfTimeError
from api.dashboard.download_desk import MOST_ROWS, Download, DownloadFormat
from api.dashboard.found_rows import Found, known_months, search, tiers_of
from api.dashboard.page import HTTP_STATUS, Page, PageCall
from api.dashboard.readable_tables import ANY_OTHER, TABLE_NAMES, readable, require, unread
from api.dashboard.search import LONGEST_VALUE, By, RowSearch
from api.dashboard.shown_rows import filled, shown, words
from api.routing import parsing
from api.routing.problems import GONE, INVALID, NOT_FOUND, NOT_YET, UNAVAILABLE, HttpError
from api.transactions.reading import LocatedRow
from ledger.errors import FieldError, NotYetError
from ledger.months import Month
from ledger.policy import Tier
from ledger.scopes import Scope
from ledger.tables import TieredTable
from ledger.totals import Zone

FIND = "/dashboard/find"
ROWS_OF_A_PAGE = 50
_ROW = FIND + "/{table}/{id}"
_EVERY_TABLE = "all"
_CURSOR = "cursor"
_COUNT, _YES = "count", "yes"
_FIELDS = ("by", "value", "table", "from", "to", "zone")
BY_NAMES = {By.REFERENCE: "Reference", By.ID: "Id", By.WALLET: "Wallet", By.USER: "User"}
ZONE_NAMES = {Zone.UTC: "UTC", Zone.JOHANNESBURG: "Johannesburg (UTC+2)"}


def pages() -> tuple[Page, ...]:
    """The search, its files, a row, and the proofs of a row."""
    fields = frozenset(_FIELDS)
    read = partial(Page, scope=Scope.TRANSACTIONS_READ, or_scopes=ANY_OTHER)
    prove = Scope.ARCHIVE_READ
    return (
        read(FIND, "Find", show_search, "find.html", label="Find", query=fields | {_CURSOR, _COUNT}),
        read(f"{FIND}/download/{{form}}", "Download", download, query=fields),
        read(_ROW, "Row", show_row, "row.html"),
        Page(f"{_ROW}/proof", "Proof of a row", prove_row, scope=prove),
        Page(f"{_ROW}/wallet-month", "Proof of a wallet's month", prove_month, scope=prove, query=frozenset({"part"})),
    )


async def show_search(call: PageCall) -> Mapping[str, Any]:
    """The form, and what it finds. What is wrong with it is said beside the field, and nothing is searched."""
    entered = _entered(call)
    if not call.query:
        return _shown(call, entered)
    try:
        wanted = _search(call)
        is_counted = parsing.choice(_COUNT, call.query.get(_COUNT, ""), ("", _YES)) == _YES
        answer = await search(call.services, wanted, call.query.get(_CURSOR), ROWS_OF_A_PAGE)
        total = await call.services.downloads.count(wanted) if is_counted else None
    except FieldError as error:
        if error.field not in entered:
            raise
        return _shown(call, entered) | {"errors": {error.field: error.rule}, HTTP_STATUS: INVALID.status}
    except NotYetError as error:
        return _shown(call, entered) | {"refusal": str(error), HTTP_STATUS: NOT_YET.status}
    except OutOfTimeError:
        slow = "The search took too long, so nothing is shown. Choose fewer days" + (
            ": no index has the reference, so every row of the newer months between the days is read for it."
            if entered["by"] == By.REFERENCE
            else "."
        )
        return _shown(call, entered) | {"refusal": slow, HTTP_STATUS: UNAVAILABLE.status}
    page = _shown(call, entered)
    older = "" if answer.cursor is None else urlencode(page["asked"] | {_CURSOR: answer.cursor})
    shown_rows = _rows(answer)
    whole = len(shown_rows) if not older and page["is_first"] else total
    return (
        page | {"found": answer, "rows": shown_rows, "wanted": wanted, "older": older, "total": whole} | _way_on(page)
    )


def _way_on(page: Mapping[str, Any]) -> dict[str, str]:
    """The searches that a page without a total, or without rows, offers: the number of all rows, and the id."""
    asked: dict[str, str] = page["asked"]
    as_id = ""
    with suppress(FieldError):
        if asked["by"] != By.ID:
            as_id = str(parsing.row_id("value", asked["value"].strip().lower()))
    return {
        "counting": urlencode({**asked, _COUNT: _YES}),
        "as_id": as_id and urlencode({**asked, "by": By.ID.value, "value": as_id}),
    }


async def download(call: PageCall) -> Response:
    """The rows of a search as a file."""
    form = parsing.member("form", call.request.path_params["form"], DownloadFormat)
    made = await call.services.downloads.make(_search(call), form)
    return StreamingResponse(made.parts(), headers=_headers(made, form), media_type=_MEDIA_TYPES[form])


async def show_row(call: PageCall) -> Mapping[str, Any]:
    """Every field of a row, where it is, and what proves it."""
    table, located = await _located(call)
    row, month = located.row, Month.of(located.row[table.time_column])
    archived = located.tier == Tier.COLD  # the reader's word for the whole archive
    known = await known_months(call.services.database, (table,))
    state = await _month(call, table, month)
    may_prove = Scope.ARCHIVE_READ in call.key.scopes
    return {
        "title": f"{TABLE_NAMES[table.name].removesuffix('s')} {row[table.key_column]}",
        "table": table,
        "table_name": TABLE_NAMES[table.name],
        "row": {**dict.fromkeys(row), **filled(row)},
        "month": str(month),
        "tier": tiers_of(known).get((table.name, month, archived), located.tier),
        "archived": archived,
        "state": state,
        "parts": [] if state is None else state.parts,
        "may_prove": may_prove,
        "checkpoint": await newest_checkpoint(call.services.database) if may_prove and archived else None,
        "money": table.money_columns,
        "instants": (table.time_column, "updated_at", "processed_at"),
        "named": ("type", "status", "supplier", "vas_type"),
        "words": words,
    }


async def prove_row(call: PageCall) -> Response:
    """The proof file of a row."""
    return await row_proof(call.services, call.key, _any_table(call), _row_id(call))


async def prove_month(call: PageCall) -> Response:
    """The proof file of all rows of the row's wallet in the row's month, or in one part of it."""
    table = _any_table(call)
    located = await _find(call, table)
    group = table.group_column
    wallet = None if group is None else located.row.get(group)
    if wallet is None:
        raise HttpError(NOT_FOUND, "The row has no wallet, so there is no proof of its wallet's month.")
    month = Month.of(located.row[table.time_column])
    return await statement_proof(call.services, call.key, table, str(wallet), month, part_of(call.query))


async def _located(call: PageCall) -> tuple[TieredTable, LocatedRow]:
    """The row of the address. Raises problems 404 and, for a deleted month, 410."""
    table = _table(call)
    return table, await _find(call, table)


async def _find(call: PageCall, table: TieredTable) -> LocatedRow:
    row_id = _row_id(call)
    located = await call.services.reader.find(table, row_id, call.key.sees_client)
    if located is None:
        if deleted := await call.services.reader.deleted_month(table, row_id):
            raise HttpError(
                GONE, f"The month of this id was deleted: {deleted}. `treasury certificate show` prints it."
            )
        raise HttpError(NOT_FOUND)
    return located


async def _month(call: PageCall, table: TieredTable, month: Month) -> MonthOfTable | None:
    """What the catalogue says of a month; None for one that it does not know."""
    try:
        return await month_of(call.services.database, table, month)
    except HttpError as error:
        if error.kind is NOT_FOUND:
            return None
        raise


def _table(call: PageCall) -> TieredTable:
    """The table of the address. Raises a 403 problem where the key may not read it."""
    table = _any_table(call)
    require(call.key, table.name)
    return table


def _any_table(call: PageCall) -> TieredTable:
    """The table of the address: a proof needs the scope of the archive alone, as its operation does."""
    name = parsing.choice("table", call.request.path_params["table"], tuple(TABLE_NAMES))
    return call.services.settings.table(name)


def _row_id(call: PageCall) -> Any:
    return parsing.row_id("id", call.request.path_params["id"])


def _entered(call: PageCall) -> dict[str, str]:
    """What is in the fields of the form."""
    chosen = {"by": By.REFERENCE.value, "table": _EVERY_TABLE, "zone": Zone.UTC.value}
    return (
        {"value": "", "from": "", "to": ""}
        | chosen
        | {name: call.query[name] for name in _FIELDS if name in call.query}
    )


def _search(call: PageCall) -> RowSearch:
    """The search that the form asks for. Raises FieldError, and a 403 problem for a table that the key may not read."""
    entered = _entered(call)
    chosen = parsing.choice("table", entered["table"], (_EVERY_TABLE, *TABLE_NAMES))
    require(call.key, chosen)
    names = readable(call.key) if chosen == _EVERY_TABLE else (chosen,)
    by = parsing.member("by", entered["by"], By)
    value = entered["value"]
    return RowSearch(
        tables=tuple(call.services.settings.table(name) for name in names),
        by=by,
        value=value.strip().lower() if by is By.ID else value,
        first=_day("from", entered),
        last=_day("to", entered),
        zone=parsing.member("zone", entered["zone"], Zone),
        client_id=call.key.sees_client,
    )


def _day(name: str, entered: Mapping[str, str]) -> date | None:
    return parsing.day(name, entered[name]) if entered[name] else None


def _shown(call: PageCall, entered: Mapping[str, str]) -> dict[str, Any]:
    """The values of the page: its form, and nothing found."""
    own = {name: TABLE_NAMES[name] for name in readable(call.key)}
    tables = own if len(own) == 1 else {_EVERY_TABLE: "All", **own}
    return {
        "entered": entered,
        "errors": {},
        "refusal": "",
        "found": None,
        "by_names": {by.value: name for by, name in BY_NAMES.items()},
        "tables": tables,
        "zones": {zone.value: name for zone, name in ZONE_NAMES.items()},
        "longest": LONGEST_VALUE,
        "sees_all": call.key.sees_client is None,
        "most_rows": MOST_ROWS,
        "table_names": TABLE_NAMES,
        "asked": {name: value for name, value in entered.items() if value},
        "is_first": _CURSOR not in call.query,
        "older": "",
        "unread": unread(call.key),
        "words": words,
    }


def _rows(answer: Found) -> list[dict[str, Any]]:
    """The rows as the table of the page shows them."""
    return [
        {**{name: shown(name, value) for name, value in row.row.items()}, "table": row.table.name, "tier": row.tier,
         "place": f"{FIND}/{row.table.name}/{row.row[row.table.key_column]}", "time": row.place[0]}
        for row in answer.rows
    ]  # fmt: skip


_MEDIA_TYPES = {DownloadFormat.CSV: "text/csv; charset=utf-8", DownloadFormat.PARQUET: "application/vnd.apache.parquet"}


def _headers(made: Download, form: DownloadFormat) -> dict[str, str]:
    name = f"found-first-{made.rows}-rows" if made.cut else f"found-{made.rows}-rows"
    return {
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="{name}.{form}"',
        "Content-Length": str(made.size_bytes),
    }
