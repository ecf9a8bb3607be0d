"""The answers about archived months: which there are, what is in them, and where the log says so."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

from msgspec import Meta, Struct
from psycopg.rows import TupleRow

from api.connections.database import AsyncConnection, Database
from api.routing.problems import NOT_FOUND, HttpError
from ledger.months import Month
from ledger.policy import Tier
from ledger.retention import due_on
from ledger.tables import TieredTable
from sql.holds import open_holds_of
from sql.old_months import MonthEnd, month_ends_of
from sql.queries import load

MOST_MONTHS = 120
_QUERIES = load("verified")
_MONTH_ENDS, _HOLDS = load("old_months"), load("holds")
_MonthName = Annotated[str, Meta(examples=["2024-11"])]
_Hash = Annotated[str, Meta(description="SHA-256, in hex", pattern="^[0-9a-f]{64}$")]


class DeletionState(StrEnum):
    """How far the deletion of a month is. ``waiting``: for approvals; ``grace``: approved, and revocable."""

    DUE = "due"
    WAITING = "waiting"
    GRACE = "grace"
    APPROVED = "approved"


class ArchivedObject(Struct, kw_only=True):
    """An object of the archive. ``key`` is its place below the archive's URL; a manifest's size is null."""

    key: str
    size_bytes: int | None
    sha256: _Hash


class ArchivedPart(Struct, kw_only=True):
    """An archived month of a table, or a later part of it. ``rows`` and ``sums`` are of all clients, as in the log.

    ``verified_at`` is when its objects were last read again. ``log_entry`` is the number of its event in the public
    log, null before it is published. ``root`` is that of the Merkle tree of the rows, which has ``leaves`` leaves.

    ``lookup`` is null for months that were archived before lookups; they are read whole.

    ``storage_class`` is that of a deep month, null for the default one. ``held_by`` are the open legal holds on it.
    ``deletion_due_on`` is the day that the policy lets it be deleted; ``deletion`` says how far that is, null before.
    """

    table: str
    month: _MonthName
    part: int
    tier: Tier
    rows: int
    sums: Annotated[dict[str, dict[str, str]], Meta(description="Decimal texts, by currency and money column")]
    archived_at: datetime | None
    verified_at: datetime | None
    log_entry: int | None
    root: _Hash
    leaves: int
    manifest: ArchivedObject
    file: ArchivedObject
    tree: ArchivedObject
    lookup: ArchivedObject | None
    storage_class: str | None
    held_by: list[str]
    deletion_due_on: date
    deletion: DeletionState | None


class ArchivedMonths(Struct, kw_only=True):
    """Archived months, newest first; all parts of a month of every table are on one page.

    ``next_before`` gets the next page; it is null on the last page.
    """

    items: list[ArchivedPart]
    next_before: str | None


class MonthOfTable(Struct, kw_only=True):
    """A month of a table. ``provable_from`` is the day, UTC, from which on the policy archives it, null once it is
    archived. ``parts`` are its archived parts; a month with rows that came late has several. ``certificate`` is the
    number of the newest certificate of a deletion of its rows; with it, ``parts`` are what holds have kept.
    """

    table: str
    month: _MonthName
    tier: Tier
    provable_from: date | None
    certificate: str | None
    parts: list[ArchivedPart]


async def list_months(
    database: Database,
    registry: Mapping[str, TieredTable],
    *,
    table: str | None,
    first: Month | None,
    last: Month | None,
    before: Month | None,
    limit: int,
) -> ArchivedMonths:
    """The newest ``limit`` archived months from ``first`` to ``last`` that lie before ``before``."""
    where = {"table": table, "month": None, "first": first, "last": last, "before": before}
    days = {name: value.first_day if isinstance(value, Month) else value for name, value in where.items()}
    rows = await _read(database, "archived", days | {"limit": limit + 1})
    months = sorted({row[1] for row in rows}, reverse=True)
    shown = months[:limit]
    more = shown[-1] if len(months) > limit else None
    ends = await _ends(database, table, None)
    return ArchivedMonths(items=[_part(row, registry, ends) for row in rows if row[1] in shown], next_before=more)


async def month_of(database: Database, table: TieredTable, month: Month) -> MonthOfTable:
    """A month of a table, whatever its tier. Raises a 404 problem for one that no tier has."""
    where: dict[str, Any] = {"table": table.name, "month": month.first_day}
    known = await _read(database, "month_tier", where)
    if not known:
        raise HttpError(NOT_FOUND, f"{table.name} has no month {month}.")
    tier = Tier(known[0][0])
    rows = await _read(database, "archived", where | {"first": None, "last": None, "before": None, "limit": 1})
    ends = await _ends(database, table.name, month.first_day)
    waits = tier.is_in_postgres and not rows
    return MonthOfTable(
        table=table.name,
        month=str(month),
        tier=tier,
        provable_from=_provable_from(table, month, known[0][2]) if waits else None,
        certificate=known[0][1],
        parts=[_part(row, {table.name: table}, ends) for row in rows],
    )


def _provable_from(table: TieredTable, month: Month, work_until: date | None) -> date:
    """The first day on which a month in PostgreSQL is archived: by its policy, and after the work on it."""
    by_policy = table.policy.archived_from(month)
    return by_policy if work_until is None else max(by_policy, work_until + timedelta(days=1))


async def log_folder(database: Database) -> str:
    """The folder of the public log in the archive. Raises a 404 problem before its first publication."""
    rows = await _read(database, "log_folder", {})
    if not rows:
        raise HttpError(NOT_FOUND, "No log has been published yet.")
    return str(rows[0][0])


async def newest_checkpoint(database: Database) -> tuple[int, datetime] | None:
    """The entries of the public log at its newest checkpoint, and when that was published; None before the first."""
    rows = await _read(database, "newest_checkpoint", {})
    return (int(rows[0][0]), rows[0][1]) if rows else None


async def _read(database: Database, name: str, parameters: dict[str, Any]) -> list[TupleRow]:
    async def fetch(connection: AsyncConnection) -> list[TupleRow]:
        return await (await connection.execute(_QUERIES[name], parameters)).fetchall()

    return await database.run(fetch, f"archive_{name}")


async def _ends(database: Database, table: str | None, month: date | None) -> dict[tuple[str, str], MonthEnd]:
    async def fetch(connection: AsyncConnection) -> dict[tuple[str, Month], MonthEnd]:
        ends = await connection.execute(_MONTH_ENDS["month_ends"], {"table": table, "month": month})
        holds = await connection.execute(_HOLDS["holds"], {"hold_id": None})
        return month_ends_of(await ends.fetchall(), open_holds_of(await holds.fetchall()))

    ends = await database.run(fetch, "archive_month_ends")
    return {(name, str(of_month)): end for (name, of_month), end in ends.items()}


def _object(key: str, size_bytes: int, sha256: str) -> ArchivedObject:
    return ArchivedObject(key=key, size_bytes=size_bytes, sha256=sha256)


def _part(row: TupleRow, registry: Mapping[str, TieredTable], ends: Mapping[tuple[str, str], MonthEnd]) -> ArchivedPart:
    table, month, part, tier, rows, sums, archived_at, verified_at, log_entry, root, leaves, *objects = row
    manifest_key, manifest_sha256, *described, deep = objects
    file, tree, lookup = described[:3], described[3:6], described[6:]
    end = ends.get((table, month), MonthEnd())
    due = due_on(registry[table].policy, Month.parse(month)) if table in registry else date.max
    state = end.state or ("due" if due <= datetime.now(UTC).date() else None)
    return ArchivedPart(
        table=table,
        month=month,
        part=part,
        tier=Tier(tier),
        rows=rows,
        sums=sums,
        archived_at=archived_at,
        verified_at=verified_at,
        log_entry=log_entry,
        root=root,
        leaves=leaves,
        manifest=ArchivedObject(key=manifest_key, size_bytes=None, sha256=manifest_sha256),
        file=_object(*file),
        tree=_object(*tree),
        lookup=None if lookup[0] is None else _object(*lookup),
        storage_class=deep,
        held_by=list(end.held_by),
        deletion_due_on=due,
        deletion=None if state is None else DeletionState(state),
    )
