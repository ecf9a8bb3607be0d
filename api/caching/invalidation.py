"""The cached answers that a changed row makes out of date."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from api.caching import ResponseCache
from api.caching.cache_key import Names
from api.transactions.reading import Wanted
from api.transactions.writer import AfterCommit
from ledger.tables import TieredTable


def after_commit(cache: ResponseCache) -> AfterCommit:
    """Return the function for the rows of a flush: they are new, so only pages can lack them."""

    async def forget_pages(table: TieredTable, rows: Sequence[Mapping[str, Any]]) -> None:
        await cache.invalidate({tag for row in rows for tag in _tags_of_pages(cache.names, table, row)})

    return forget_pages


def tag_of_page(names: Names, table: TieredTable, client_id: str, wanted: Wanted) -> bytes:
    """The tag of a page of ``client_id``. A page of a wallet and a user changes with the wallet's rows alone."""
    if wanted.wallet_id is not None:
        return names.wallet_tag(table.name, client_id, wanted.wallet_id)
    return names.user_tag(table.name, client_id, str(wanted.user_id))


async def forget_row(cache: ResponseCache, table: TieredTable, row_id: UUID) -> None:
    """Invalidate a row whose change may or may not have been stored. Pages that show it expire by themselves."""
    await cache.invalidate({cache.names.row_tag(table.name, str(row_id))})


async def after_change(cache: ResponseCache, table: TieredTable, row: Mapping[str, Any]) -> None:
    """Invalidate the row and the pages that show it, before its change is answered."""
    row_tag = cache.names.row_tag(table.name, str(row[table.key_column]))
    await cache.invalidate({row_tag, *_tags_of_pages(cache.names, table, row)})


def _tags_of_pages(names: Names, table: TieredTable, row: Mapping[str, Any]) -> tuple[bytes, bytes]:
    client_id = row["client_id"]
    return (
        names.wallet_tag(table.name, client_id, row["wallet_id"]),
        names.user_tag(table.name, client_id, row["user_id"]),
    )
