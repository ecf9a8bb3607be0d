"""Complete rows from a client's posts: its client is the API key's, its ids and times are the server's."""

from collections.abc import Sequence
from typing import Any

from api.routing import parsing
from api.server.services import Services
from api.transactions.archived import Row
from api.transactions.statements import columns_of
from ledger.card_numbers import Refusal, may_hold_one, refuse_card_numbers
from ledger.errors import FieldError
from ledger.identifiers import new_id, new_ids
from ledger.tables import TieredTable
from ledger.transactions import field_names, new_columns, new_transaction

_INSTANT = "processed_at"


def new_row(services: Services, client_id: str, table: TieredTable, body: Any) -> Row:
    """The row that the JSON value ``body`` describes. Raises FieldError."""
    values = _values(client_id, table, body)
    row = new_transaction(table, values, services.settings.suppliers.names)
    refuse_card_numbers(values, Refusal(services.settings.api_card_numbers))
    (stamped,) = stamp(services, table, [row])
    return {name: stamped[name] for name in columns_of(table)}


def stamp(services: Services, table: TieredTable, rows: Sequence[Row]) -> list[Row]:
    """``rows`` with the time of this moment and with new ids, which ascend in their order."""
    now = services.now()
    is_single = len(rows) == 1
    ids = [new_id(now, services.random_bits)] if is_single else new_ids(now, len(rows), services.random_bits)
    times = {table.time_column: now, "updated_at": now}
    return [row | {table.key_column: row_id, **times} for row, row_id in zip(rows, ids, strict=True)]


def new_rows(
    services: Services, client_id: str, table: TieredTable, items: Sequence[Any], body: bytes
) -> tuple[list[Row], dict[int, FieldError]]:
    """The rows of those ``items`` that are good, in their order, and the errors of the others by their index.

    ``body`` is the JSON of the whole batch. When all rows are good, as nearly always, they cost a third together.
    """
    rows = _rows_together(services, client_id, table, items, body)
    if rows is not None:
        return rows, {}
    rows, refused = [], {}
    for index, item in enumerate(items):
        try:
            rows.append(new_row(services, client_id, table, item))
        except FieldError as error:
            refused[index] = error
    return rows, refused


def _rows_together(
    services: Services, client_id: str, table: TieredTable, items: Sequence[Any], body: bytes
) -> list[Row] | None:
    """The rows of all ``items``; None when `new_row` would refuse any of them. They have one time, and ids in order."""
    refusal = Refusal(services.settings.api_card_numbers)
    try:
        values = [_values(client_id, table, item) for item in items]
        columns = new_columns(table, values, services.settings.suppliers.names)
        if columns is None:
            return None
        if may_hold_one(body):
            for value in values:
                refuse_card_numbers(value, refusal)
    except FieldError:
        return None
    now, count = services.now(), len(items)
    columns[table.key_column] = [*new_ids(now, count, services.random_bits)]
    columns[table.time_column] = columns["updated_at"] = [now] * count
    names = columns_of(table)
    return [dict(zip(names, row, strict=True)) for row in zip(*(columns[name] for name in names), strict=True)]


def _values(client_id: str, table: TieredTable, body: Any) -> dict[str, Any]:
    """The fields of ``body``, with its client and with its instant read. Raises FieldError."""
    if not isinstance(body, dict):
        raise FieldError("body", "must be a JSON object")
    if "client_id" in body:
        raise FieldError("client_id", "must be absent: the API key determines it")
    values = {**body, "client_id": client_id}
    if values.get(_INSTANT) is not None and _INSTANT in field_names(table):
        values[_INSTANT] = parsing.instant(_INSTANT, values[_INSTANT])
    return values
