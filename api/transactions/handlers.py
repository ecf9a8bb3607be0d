"""The handlers of the transaction operations. Each serves any table that has an address."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from starlette.responses import Response

from api.caching import CacheKey, Entry, Fresh
from api.caching.invalidation import after_change, forget_row, tag_of_page
from api.routing import conditional, parsing, problems
from api.routing.messages import message
from api.routing.operations import Call
from api.routing.problems import BAD_REQUEST, CONFLICT, GONE, NOT_FOUND, UNAVAILABLE, HttpError
from api.transactions import vending
from api.transactions.archived import Row
from api.transactions.feed import NO_TIME, place_of
from api.transactions.messages import StatusChange
from api.transactions.new_rows import new_row, new_rows, stamp
from api.transactions.reading import Wanted
from api.transactions.writer import Stored, Write
from ledger.card_numbers import Refusal, refuse_key
from ledger.errors import DataError, FieldError, TransientError, TreasuryError
from ledger.names import check_asked_name
from ledger.tables import TieredTable
from ledger.transactions import Status, TransactionType
from suppliers.protocol import WEBHOOK_LIMIT_BYTES

DEFAULT_LIMIT = 50
_JSON = "application/json"
Answer = Callable[[Sequence[Row]], bytes]  # to a request whose rows are stored


async def create(call: Call, table: TieredTable) -> Response:
    """Store one transaction; answer when it is durable."""
    write_key, body = await _read_write(call)
    row = new_row(call.services, call.key.client_id, table, parsing.decode_object(body))
    stored = await _submit(call, table, write_key, body, [row], 201, _answer_of_one)
    return _written(call, stored)


def _answer_of_one(rows: Sequence[Row]) -> bytes:
    return render(rows[0])


async def create_vas(call: Call, table: TieredTable) -> Response:
    """As `create`; a row with ``vend`` is bought for once it is durable."""
    write_key, body = await _read_write(call)
    order, desk = parsing.decode_object(body), call.services.vend_desk
    vended = desk.check(order)
    fields = {name: value for name, value in order.items() if name != vending.FIELD}
    row = new_row(call.services, call.key.client_id, table, fields)

    if vended:
        row["supplier_reference"] = desk.reference(row["supplier"], row[table.key_column])
        desk.check_order(row)

    def answer(rows: Sequence[Row]) -> bytes:
        if vended:  # the reference follows from the id
            rows[0]["supplier_reference"] = desk.reference(rows[0]["supplier"], rows[0][table.key_column])
        return render(rows[0])

    stored = await _submit(call, table, write_key, body, [row], 201, answer)
    if vended and not stored.replayed:
        desk.begin(table, stored.rows[0])
    return _written(call, stored)


async def read_vas_failure(call: Call) -> Response:
    """Answer with the reason why a purchase failed."""
    vend_failure = await call.services.vend_desk.failure(_path_id(call), call.key.sees_client)
    if vend_failure is None:
        raise HttpError(NOT_FOUND)
    return _json(msgspec.json.encode(vend_failure))


async def webhook(call: Call, supplier: str) -> Response:
    """Take a supplier's webhook."""
    body = await parsing.read_body(call.request, WEBHOOK_LIMIT_BYTES, call.services.bodies)
    try:
        call.services.vend_desk.hear(supplier, body)
    except DataError as error:
        raise HttpError(BAD_REQUEST, str(error)) from None
    return _json(msgspec.json.encode({"status": "taken"}))


async def create_batch(call: Call, table: TieredTable) -> Response:
    """Store the good rows of a batch in one transaction; report the result of each item."""
    write_key, body = await _read_write(call)
    items = _items(call, parsing.decode_object(body))
    rows, refused = new_rows(call.services, call.key.client_id, table, items, body)

    def answer(rows: Sequence[Row]) -> bytes:
        ids = (row[table.key_column] for row in rows)
        results = [
            {"index": index, "status": 422, "problem": problems.document(refused[index])}
            if index in refused
            else {"index": index, "status": 201, "id": next(ids)}
            for index in range(len(items))
        ]
        return msgspec.json.encode({"stored": len(rows), "rejected": len(refused), "results": results})

    stored = await _submit(call, table, write_key, body, rows, 200, answer)
    return _written(call, stored)


async def read_one(call: Call, table: TieredTable) -> Response:
    """One transaction, wherever its month lives."""
    cache = call.services.cache
    cache_key = CacheKey.of_row(table.name, call.key.sees_client, call.request.path_params["id"])
    entry = cache.get(cache_key)
    if entry is None:
        row_id = _path_id(call)
        tag = cache.names.row_tag(table.name, str(row_id))
        entry = await cache.read(cache_key, tag, partial(_find, call, table, row_id))
    return _conditional(call, entry)


async def _find(call: Call, table: TieredTable, row_id: UUID) -> Fresh:
    located = await call.services.reader.find(table, row_id, call.key.sees_client)
    if located is None:
        if deleted := await call.services.reader.deleted_month(table, row_id):
            raise HttpError(GONE, f"The month of this id was deleted: {deleted}.")
        raise HttpError(NOT_FOUND)
    ttl_s, final = call.services.lifetimes.of_row(call.operation.name, table, located)
    return Fresh(render(located.row), ttl_s, final)


async def read_page(call: Call, table: TieredTable) -> Response:
    """A page of a wallet's or a user's transactions, newest first."""
    cache, viewer = call.services.cache, call.key.sees_client
    if viewer is None:  # pages over all clients are for auditors: rare, and always of this moment
        return _conditional(call, Entry((await _read_page(call, table)).body, final=False))
    parameters = tuple(part for pair in sorted(call.query.items()) for part in pair)
    cache_key = CacheKey(table.name, "page", viewer, parameters)
    entry = cache.get(cache_key)
    if entry is None:
        wanted = _wanted(call, _question(call, table))  # refused before anything is looked up
        tag = tag_of_page(cache.names, table, viewer, wanted)
        entry = await cache.read(cache_key, tag, partial(_read_page, call, table))
    return _conditional(call, entry)


async def read_feed(call: Call, table: TieredTable) -> Response:
    """The new rows behind a place, oldest first, up to the horizon before which none is missing."""
    most, query, services = call.services.settings.api_page_limit, call.query, call.services
    limit = parsing.integer("limit", query.get("limit", str(min(DEFAULT_LIMIT, most))), 1, most)
    if "cursor" in query and "from" in query:
        raise FieldError("from", "must be absent with cursor")
    question = msgspec.json.encode([table.name, call.key.sees_client, "feed"])
    place, field = None, "from"
    if "cursor" in query:
        (_, place), field = services.cursors.read(question, query["cursor"]), "cursor"
    elif "from" in query:
        place = place_of(parsing.bound("from", query["from"]))
    page = await services.feed.page(table, call.key.sees_client, place, limit, field)
    body = {
        "items": [_as_json(row) for row in page.rows],
        "next_cursor": services.cursors.write(question, NO_TIME, page.place),
        "more": page.more,
        "complete_until": page.until,
    }
    return _json(msgspec.json.encode(body))


def _conditional(call: Call, entry: Entry) -> Response:
    return conditional.answer(call.request.headers.get("if-none-match"), entry)


async def _read_page(call: Call, table: TieredTable) -> Fresh:
    most = call.services.settings.api_page_limit
    limit = parsing.integer("limit", call.query.get("limit", str(min(DEFAULT_LIMIT, most))), 1, most)
    question = _question(call, table)
    page = await call.services.reader.page(table, _wanted(call, question), limit)
    last = (page.rows[-1][table.time_column], page.rows[-1][table.key_column]) if page.more else None
    cursor = None if last is None else call.services.cursors.write(question, *last)
    body = {"items": [_as_json(row) for row in page.rows], "next_cursor": cursor}
    return Fresh(msgspec.json.encode(body), call.services.lifetimes.of_page(call.operation.name))


async def change_status(call: Call, table: TieredTable) -> Response:
    """Move a transaction forward."""
    row_id = _path_id(call)
    wanted = message(await call.body(), StatusChange).status
    services = call.services
    if vending.sells(table):
        located = await services.reader.find(table, row_id, call.key.client_id)
        if located is not None and vending.is_vend(located.row):
            raise HttpError(CONFLICT, "The row is a purchase. Only the answer of the supplier changes its status.")
    try:
        row = await services.statuses.change(table, row_id, call.key.client_id, wanted, services.now())
    except TransientError:
        await forget_row(services.cache, table, row_id)  # the COMMIT may have arrived all the same
        raise
    await after_change(services.cache, table, row)
    return _json(render(row))


async def live(call: Call) -> Response:
    """The process answers."""
    return _json(msgspec.json.encode({"status": "live"}))


async def ready(call: Call) -> Response:
    """PostgreSQL answers this process."""
    try:
        await call.services.monitor.ready()
    except TreasuryError as error:
        raise HttpError(UNAVAILABLE, "PostgreSQL does not answer this process.") from error
    return _json(msgspec.json.encode({"status": "ready"}))


def render(row: Row) -> bytes:
    """A row as JSON: decimals as strings, times in UTC, metadata as the text that it is stored as."""
    return msgspec.json.encode(_as_json(row))


def _as_json(row: Row) -> dict[str, Any]:
    return {**row, "metadata": msgspec.Raw(row["metadata"])}


async def _read_write(call: Call) -> tuple[str, bytes]:
    key = parsing.idempotency_key(call.request)
    refuse_key("Idempotency-Key", key, Refusal(call.services.settings.api_card_numbers))
    return key, await call.body()


def _items(call: Call, body: Mapping[str, Any]) -> list[Any]:
    most = call.services.settings.api_batch_limit
    for name in body:
        if name != "items":
            raise FieldError(name, "is not a field of a batch; it has only items")
    items = body.get("items")
    if not isinstance(items, list) or not 1 <= len(items) <= most:
        raise FieldError("items", f"must be a list of 1 to {most} transactions")
    return items


async def _submit(
    call: Call, table: TieredTable, key: str, body: bytes, rows: list[Row], status: int, answer: Answer
) -> Stored:
    def renew(late: Sequence[Row]) -> tuple[Sequence[Row], bytes]:
        fresh = stamp(call.services, table, late)
        return fresh, answer(fresh)

    scope = call.request.scope
    fingerprint = hashlib.sha256(f"{scope['method']} {scope['path']}\n".encode() + body).digest()
    write = Write(call.key.client_id, key, fingerprint, status, answer(rows), rows, renew)
    return await call.services.writer.submit(table, write)


class _Identified(msgspec.Struct):
    id: UUID


def _written(call: Call, stored: Stored) -> Response:
    headers: dict[str, str] = {}
    if stored.status_code == 201:
        row_id = msgspec.json.decode(stored.response, type=_Identified).id
        headers["Location"] = f"{call.operation.path}/{row_id}"
    if stored.replayed:
        headers["Idempotent-Replayed"] = "true"
    return _json(stored.response, stored.status_code, headers)


def _path_id(call: Call) -> UUID:
    return parsing.row_id("id", call.request.path_params["id"])


def _question(call: Call, table: TieredTable) -> bytes:
    """Return what a cursor is bound to: everything that decides which rows are asked for, but not how many."""
    asked = sorted((name, value) for name, value in call.query.items() if name not in ("cursor", "limit"))
    return msgspec.json.encode([table.name, call.key.sees_client, asked])


def _wanted(call: Call, question: bytes) -> Wanted:
    query = call.query
    if "wallet_id" not in query and "user_id" not in query:
        raise FieldError("wallet_id", "is required unless user_id is given")
    cursor = query.get("cursor")
    created_from = parsing.bound("from", query["from"]) if "from" in query else None
    created_before = parsing.bound("to", query["to"]) if "to" in query else None
    if created_from is not None and created_before is not None and created_from >= created_before:
        raise FieldError("to", "must be later than from")
    return Wanted(
        wallet_id=_name("wallet_id", query),
        user_id=_name("user_id", query),
        status=parsing.member("status", query["status"], Status) if "status" in query else None,
        type=parsing.member("type", query["type"], TransactionType) if "type" in query else None,
        client_id=call.key.sees_client,
        created_from=created_from,
        created_before=created_before,
        before=None if cursor is None else call.services.cursors.read(question, cursor),
    )


def _name(field: str, query: Mapping[str, str]) -> str | None:
    value = query.get(field)
    return None if value is None else check_asked_name(field, value)


def _json(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, headers, _JSON)
