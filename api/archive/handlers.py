"""The handlers of the archive's operations."""

from collections.abc import Mapping
from functools import partial
from uuid import UUID

import msgspec
from starlette.responses import Response

from api.archive import months
from api.keys.auth import ApiKey
from api.routing import parsing
from api.routing.operations import Call
from api.routing.problems import NOT_FOUND, HttpError
from api.server.services import Services
from ledger.errors import FieldError, GoneError, NotFoundError
from ledger.months import Month
from ledger.scopes import Scope
from ledger.tables import TieredTable
from ledger.transparency.tiles import Tile
from tasks.proving.proofs import ProofFile
from tasks.transparency.archived_log import CHECKPOINT

DEFAULT_LIMIT = 12
DEFAULT_TABLE = "transactions"
MOST_PARTS = 1000
LONGEST_WALLET = 64
_CLIENT = "client_id"
_NEVER_KEPT = {"Cache-Control": "no-store"}
_FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}


async def list_months(call: Call) -> Response:
    """Answer with a page of archived months."""
    query = call.query
    page = await months.list_months(
        call.services.database,
        call.services.settings.registry,
        table=_table(call, query["table"]).name if "table" in query else None,
        first=_month("from", query),
        last=_month("to", query),
        before=_month("before", query),
        limit=parsing.integer("limit", query.get("limit", str(DEFAULT_LIMIT)), 1, months.MOST_MONTHS),
    )
    return _json(page)


async def get_month(call: Call) -> Response:
    """Answer with a month of a table and its archived parts."""
    path = call.request.path_params
    table, month = _table(call, path["table"]), parsing.month("month", path["month"])
    return _json(await months.month_of(call.services.database, table, month))


async def prove_row(call: Call) -> Response:
    """Answer with the proof file of a row."""
    table = _table(call, call.query.get("table", DEFAULT_TABLE))
    return await row_proof(call.services, call.key, table, parsing.row_id("id", call.request.path_params["id"]))


async def prove_statement(call: Call) -> Response:
    """Answer with the proof file of all rows of a wallet in a month, or in one part of it."""
    table = _table(call, call.query.get("table", DEFAULT_TABLE))
    month = parsing.month("month", parsing.required("month", call.query))
    wallet = parsing.required("wallet_id", call.query)
    return await statement_proof(call.services, call.key, table, wallet, month, part_of(call.query))


async def row_proof(services: Services, key: ApiKey, table: TieredTable, row_id: UUID) -> Response:
    """The proof file of a row that ``key`` may see. Any other is answered as one that does not exist.

    Raises a 404 problem, and what `Prover.row` does.
    """
    try:
        file = await services.proofs.prove(lambda prover: prover.row(table, row_id, partial(_is_seen, key)))
    except GoneError:
        raise
    except NotFoundError:
        raise HttpError(NOT_FOUND) from None
    return _proof(file, f"row-{row_id}")


async def statement_proof(
    services: Services, key: ApiKey, table: TieredTable, wallet: str, month: Month, part: int | None
) -> Response:
    """The proof file of all rows of a wallet in a month, or in a ``part`` of it.

    Raises a 404 problem where ``key`` may see none of them, and a 403 problem where it may not see all that the file
    shows. Raises FieldError where the part must be named, and what `Prover.statement` does.
    """
    try:
        files = await services.proofs.prove(lambda prover: prover.statement(table, wallet, month))
    except GoneError:
        raise
    except NotFoundError:
        raise HttpError(NOT_FOUND) from None
    if not any(_is_own(key, row) for file in files for row in file.rows):
        raise HttpError(NOT_FOUND)
    file = _chosen(files, part)
    if not _is_seen(key, file):  # rows of other clients, or in a proof of absence the names of other wallets
        key.require(Scope.READ_ALL)
    return _proof(file, "statement" if file.part == 1 else f"statement-part-{file.part}")


def part_of(query: Mapping[str, str]) -> int | None:
    """The part of a month that a query names; None for none. Raises FieldError."""
    return parsing.integer("part", query["part"], 1, MOST_PARTS) if "part" in query else None


async def checkpoint(call: Call) -> Response:
    """Answer with the log's signed checkpoint."""
    content = await log_object(call.services, CHECKPOINT)
    return Response(content, headers={"Cache-Control": "no-cache"}, media_type="text/plain")


async def tile(call: Call) -> Response:
    """Answer with a tile of the log, or a bundle of its entries. Both never change."""
    tile_path = Tile.parse(f"tile/{call.request.path_params['tile']}")
    if tile_path is None:
        raise HttpError(NOT_FOUND)
    content = await log_object(call.services, tile_path.path)
    return Response(content, headers=_FOR_EVER, media_type="application/octet-stream")


async def log_object(services: Services, name: str) -> bytes:
    """An object of the public log. Raises a 404 problem where there is none."""
    folder = await months.log_folder(services.database)
    content = await services.proofs.find_log_object(folder, name)
    if content is None:
        raise HttpError(NOT_FOUND)
    return content


def _chosen(files: list[ProofFile], part: int | None) -> ProofFile:
    """The file of a part, which must be named where there are several: one of them is not all rows of the month."""
    if part is None and len(files) > 1:
        numbers = ", ".join(str(file.part) for file in files)
        raise FieldError("part", f"is required: rows came late to this month, and it has the parts {numbers}")
    wanted = [file for file in files if part in (None, file.part)]
    if not wanted:
        raise HttpError(NOT_FOUND)
    return wanted[0]


def _is_seen(key: ApiKey, file: ProofFile) -> bool:
    """Return whether the key may see all that the file shows."""
    if key.sees_client is None:
        return True
    return not file.names_others and all(_is_own(key, row) for row in file.rows)


def _is_own(key: ApiKey, row: Mapping[str, str]) -> bool:
    """Return whether the key may see a row. A row without a client belongs to none."""
    return key.sees_client in (None, row.get(_CLIENT))


def _table(call: Call, name: str) -> TieredTable:
    registry = call.services.settings.registry
    return registry[parsing.choice("table", name, tuple(registry))]


def _month(name: str, query: Mapping[str, str]) -> Month | None:
    return parsing.month(name, query[name]) if name in query else None


def _proof(file: ProofFile, name: str) -> Response:
    disposition = f'attachment; filename="{file.table}-{file.month}-{name}.tlog-proof"'
    return Response(file.content, headers=_NEVER_KEPT | {"Content-Disposition": disposition}, media_type="text/plain")


def _json(body: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(body), headers=_NEVER_KEPT, media_type="application/json")
