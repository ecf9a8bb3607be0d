"""The pages *Life of the data*: the grid of all months, and one month with its history and its proofs."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from markupsafe import Markup
from starlette.responses import Response

from api.abuse.rate_limits import RatePolicy
from api.archive import handlers as archive
from api.archive import months
from api.dashboard import life_grid
from api.dashboard.error_pages import HOME
from api.dashboard.forms import Form, refused
from api.dashboard.manual import address_of
from api.dashboard.month_story import story
from api.dashboard.page import HTTP_STATUS, Page, PageCall
from api.dashboard.readable_tables import SCOPES, readable
from api.dashboard.rendering import environment
from api.dashboard.runs_desk import RUN_SIGNS
from api.holds.work import in_thread, known
from api.routing import parsing
from api.routing.problems import NOT_FOUND, HttpError
from ledger.errors import FieldError
from ledger.holds import Hold
from ledger.masking import mask_text
from ledger.months import Month
from ledger.policy import Tier
from ledger.scopes import Scope
from ledger.storage_costs import CostOfMonth, sum_of_costs
from ledger.tables import TieredTable
from tasks.archiving.life import UNFINISHED, Life, MonthLife, unfinished_rows
from tasks.archiving.plan import PlannedMove
from tasks.retention.costs import prices_of, sum_of_costs_ahead
from tasks.retention.holds import holds
from tasks.transparency.archived_log import CHECKPOINT
from tasks.transparency.report import policy_text

LIFE = f"{HOME}/life"
ARCHIVING = ("run-archiving-operations", "archive-months")
UNFINISHED_REMEDY = "docs/operations.md#a-month-is-held-back-n-unfinished-rows"
MOST_UNFINISHED = 3
MOST_MOVES = 24  # shown of each kind; the rest is counted
_MONTH = f"{LIFE}/{{table}}/{{month}}"
_WALLET, _PART, _ROW = "wallet_id", "part", "id"


def pages() -> tuple[Page, ...]:
    """The pages of this module."""
    return (
        Page(
            LIFE,
            "Life of the data",
            show_life,
            "life.html",
            scope=Scope.ARCHIVE_READ,
            label="Life of the data",
            policy=RatePolicy.OPERATIONS,
            refreshes=True,
        ),
        Page(f"{LIFE}/checkpoint", "Checkpoint", download_checkpoint, scope=Scope.ARCHIVE_READ),
        Page(f"{LIFE}/policy", "Policy of the log", download_policy, scope=Scope.ARCHIVE_READ),
        Page(_MONTH, "Month", show_month, "month.html", scope=Scope.ARCHIVE_READ),
        Page(
            f"{_MONTH}/row",
            "Proof of a row",
            download_row,
            "month.html",
            scope=Scope.ARCHIVE_READ,
            query=frozenset({_ROW}),
        ),
        Page(
            f"{_MONTH}/statement",
            "Proof of a statement",
            download_statement,
            "month.html",
            scope=Scope.ARCHIVE_READ,
            query=frozenset({_WALLET, _PART}),
        ),
    )


async def show_life(call: PageCall) -> Mapping[str, Any]:
    """The grids, what each tier holds, what moves next, and how far the proof has come."""
    desk = call.services.life
    life, runs = await asyncio.gather(desk.life(), call.services.runs.recent())
    settings, costs = call.services.settings, await desk.costs(life)
    return {
        "life": life,
        "grids": await desk.grids(life, draw),
        "letters": life_grid.LETTERS,
        "meanings": life_grid.MEANINGS,
        "sums": {table.name: life_grid.sums(table.months) for table in life.tables},
        "total": life_grid.sums([month for table in life.tables for month in table.months]),
        "moving": _some([move for move in life.moves if move.held_at is None]),
        "held_back": _some([move for move in life.moves if move.held_at is not None]),
        "runs": runs,
        "last_run": runs.of(*ARCHIVING),
        "run_signs": RUN_SIGNS,
        "troubled": _some(_troubled(life)),
        "costs": costs,
        "tier_costs": {cost.table: _tier_costs(cost.now) for cost in costs},
        "all_costs": (all_costs := sum_of_costs([cost.now for cost in costs])),
        "all_tier_costs": _tier_costs(all_costs),
        "all_costs_ahead": sum_of_costs_ahead([cost.ahead for cost in costs]),
        "prices": prices_of(settings),
        "prices_place": address_of("docs/settings.md#prices"),
    }


def _tier_costs(cost: CostOfMonth) -> Mapping[Tier, Decimal]:
    return {tier.tier: tier.cost for tier in cost.tiers}


def draw(life: Life) -> Mapping[str, Markup]:
    """The grid of each table."""
    template = environment().get_template("life_grid.html")
    return {
        table.name: Markup(template.render(table=table, years=life_grid.years(table)))  # noqa: S704  # escaped there
        for table in life.tables
    }


async def show_month(call: PageCall) -> Mapping[str, Any]:
    """One month: where it is, what it holds, what happened to it, and the proofs that can be had."""
    table, month = _named(call)
    archived = await months.month_of(call.services.database, table, month)
    every = await call.services.life.life()
    sees_matters = Scope.ARCHIVE_HOLDS in call.key.scopes
    events = await call.services.life.events(table, month, sees_matters=sees_matters)
    life = next((other for other in _months_of(every, table) if other.month == month), None)
    held = _held(every, table, month)
    may_read = table.name in readable(call.key)
    return {
        "title": f"{table.name} {month}",
        "form": Form(),
        "table": table.name,
        "month": month,
        "found": archived,
        "life": life,
        "said": "" if life is None else life_grid.said(life),
        "tier": archived.tier if life is None else life.tier,
        "letter": life_grid.LETTERS[archived.tier if life is None else life.tier],
        "story": story(table, month, events, datetime.now(UTC).date(), held),
        "held": held,
        "most_unfinished": MOST_UNFINISHED,
        "unfinished": await _unfinished(call, table, month, held),
        "rows_need": "" if may_read else SCOPES.get(table.name, ""),
        "remedy": address_of(UNFINISHED_REMEDY) if held is not None and UNFINISHED in held.held_back else "",
        "before": _neighbour(every, table, month, -1),
        "after": _neighbour(every, table, month, 1),
        "reads_all": call.key.sees_client is None,
        "sees_matters": sees_matters,
        "holds": await _holds(call, life) if sees_matters and life is not None and life.held_by else (),
        "sentence": mask_text,
    }


def _held(life: Life, table: TieredTable, month: Month) -> PlannedMove | None:
    """The move of a month that is held back."""
    moves = (move for move in life.moves if (move.table, move.month) == (table.name, month))
    return next((move for move in moves if move.held_at is not None), None)


async def _unfinished(call: PageCall, table: TieredTable, month: Month, held: PlannedMove | None) -> Sequence[str]:
    """The ids of the first unfinished rows that the key may see, where they hold a month back."""
    if held is None or UNFINISHED not in held.held_back or table.name not in readable(call.key):
        return ()
    return await in_thread(
        call.services, unfinished_rows, table, month, held.tier, call.key.sees_client, MOST_UNFINISHED
    )


async def _holds(call: PageCall, life: MonthLife) -> list[Hold]:
    """The open holds on a month, for a key that may read them."""
    return [record.hold for record in await in_thread(call.services, holds) if record.hold.name in life.held_by]


async def download_checkpoint(call: PageCall) -> Response:
    """The signed checkpoint of the public log, as the operation `getLogCheckpoint` gives it."""
    content = await archive.log_object(call.services, CHECKPOINT)
    disposition = {"Content-Disposition": 'attachment; filename="checkpoint"'}
    return Response(content, headers=disposition, media_type="text/plain")


async def download_policy(call: PageCall) -> Response:
    """The policy that accepts the keys of the log, as `treasury log keys` prints it. Raises a 404 problem before the
    first publication.
    """
    content = await known(in_thread(call.services, policy_text))
    disposition = {"Content-Disposition": 'attachment; filename="policy"'}
    return Response(content, headers=disposition, media_type="text/plain")


async def download_row(call: PageCall) -> Mapping[str, Any] | Response:
    """The proof file of a row, as the operation `proveRow` gives it; or the month, with what is wrong in the form."""
    table, _ = _named(call)
    try:
        row_id = parsing.row_id(_ROW, parsing.required(_ROW, call.query).strip())
        return await archive.row_proof(call.services, call.key, table, row_id)
    except (FieldError, HttpError) as error:
        return await _refused(call, error, _ROW)


async def download_statement(call: PageCall) -> Mapping[str, Any] | Response:
    """The proof file of a wallet's month, as the operation `proveStatement` gives it; or the month, as for a row."""
    table, month = _named(call)
    fields = {name: value for name, value in call.query.items() if value}  # a field that was left empty
    try:
        wallet = parsing.required(_WALLET, fields)
        return await archive.statement_proof(call.services, call.key, table, wallet, month, archive.part_of(fields))
    except (FieldError, HttpError) as error:
        return await _refused(call, error, _WALLET)


async def _refused(call: PageCall, error: FieldError | HttpError, field: str) -> Mapping[str, Any]:
    """The month after a form that was refused. The reason is beside the field that it names, by default ``field``."""
    if isinstance(error, FieldError):
        form = refused(call.query, error, frozenset({_ROW, _WALLET, _PART}))
    elif error.kind is NOT_FOUND:
        absent = "Nothing like this is in the archive, or this key may not see it."
        form = Form(call.query, absent, field, NOT_FOUND.status)
    else:
        raise error
    return {**await show_month(call), "form": form, HTTP_STATUS: form.status}


def _named(call: PageCall) -> tuple[TieredTable, Month]:
    """The table and month of the address. Raises a 404 problem for an unknown table, FieldError for no month."""
    path, registry = call.request.path_params, call.services.settings.registry
    if path["table"] not in registry:
        raise HttpError(NOT_FOUND, "There is no ledger table of this name.")
    return registry[path["table"]], parsing.month("month", path["month"])


def _months_of(life: Life, table: TieredTable) -> Sequence[MonthLife]:
    return next((listed.months for listed in life.tables if listed.name == table.name), ())


def _neighbour(life: Life, table: TieredTable, month: Month, distance: int) -> Month | None:
    """The nearest month of the table before or after one, if it is there."""
    known = [other.month for other in _months_of(life, table)]
    wanted = [other for other in known if (other > month if distance > 0 else other < month)]
    return (min(wanted) if distance > 0 else max(wanted)) if wanted else None


def _troubled(life: Life) -> list[MonthLife]:
    """The months that failed or are missing: what a person must look at."""
    bad = life_grid.Mark.BAD
    return [month for table in life.tables for month in table.months if bad in life_grid.marks_of(month)]


def _some(of_all: Sequence[PlannedMove] | Sequence[MonthLife]) -> Mapping[str, Any]:
    """The first of many, and how many more there are."""
    return {"shown": of_all[:MOST_MOVES], "more": max(len(of_all) - MOST_MOVES, 0)}
