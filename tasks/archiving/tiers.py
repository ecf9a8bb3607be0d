"""The table of months and tiers: what is where, how much of it, what it sums to, and since when."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from psycopg.sql import SQL, Composed, Identifier

from config import Settings
from ledger.columns import Column
from ledger.fields import matched
from ledger.months import Month
from ledger.policy import Tier
from ledger.proof import sums_per_currency, totals_of
from ledger.retention import due_on
from ledger.tables import TieredTable
from sql.catalog import columns_of
from sql.clock import read_now
from sql.connection import Connection, connect
from sql.fields import read_fields
from sql.obstacles import hidden_relations
from sql.old_months import MonthEnd, month_ends
from sql.relations import Parents, Relation
from tasks.archiving.catalogue import (
    CatalogueMonth,
    MonthState,
    Stray,
    month_states,
    relation_bytes,
    stray_partitions,
)

_NO_TIME = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TierRow:
    """One month of one table, or a later part of it. ``bytes`` are of the tier it is in; ``postgres_bytes`` what it
    took before it left. ``month`` is None for a partition that is not one month.

    ``rows`` is None for a month that cannot be counted, and ``note`` says why. A policy hides rows of it from this
    login, or it is not where the catalogue says. ``storage_class`` is that of a deep month, None for the default one.
    ``held_by`` are its open holds; ``due_on`` is the day that its policy lets it be deleted. ``deletion`` is ``due``,
    ``waiting`` for approvals, in ``grace``, ``approved``, ``deleting`` or ``deleted``, None before it is due.
    """

    table: str
    month: Month | None
    part: int
    tier: Tier
    rows: int | None
    bytes: int
    postgres_bytes: int
    sums: dict[str, dict[str, str]]
    digest: str | None
    moved_at: datetime | None
    note: str
    storage_class: str | None = None
    held_by: tuple[str, ...] = ()
    due_on: date | None = None
    deletion: str | None = None
    certificate: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The row in JSON's types; money stays decimal text, instants are ISO 8601 in UTC."""
        return {
            "table": self.table,
            "month": str(self.month) if self.month else None,
            "part": self.part,
            "tier": str(self.tier),
            "rows": self.rows,
            "bytes": self.bytes,
            "postgres_bytes": self.postgres_bytes,
            "sums": self.sums,
            "digest": self.digest,
            "moved_at": self.moved_at.isoformat() if self.moved_at else None,
            "note": self.note,
            "storage_class": self.storage_class,
            "held_by": list(self.held_by),
            "due_on": self.due_on.isoformat() if self.due_on else None,
            "deletion": self.deletion,
            "certificate": self.certificate,
        }


def tier_rows(settings: Settings, tables: list[TieredTable]) -> list[TierRow]:
    """Every month of the tables, oldest first. Hot and warm months are counted and summed exactly, now; archived ones
    are given as proved when they left. A month that this login does not see whole is not counted; the others are.
    Partitions that the catalogue does not know come last. Reading only; safe to run at any time.
    """
    with connect(settings.database_dsn, "tiers") as connection:
        return [
            row
            for table in tables
            if Parents.of(connection, table).warm
            for row in _rows(connection, table, month_states(connection, table))
        ]


def _rows(connection: Connection, table: TieredTable, states: list[MonthState]) -> Iterator[TierRow]:
    strays = stray_partitions(connection, table, states)
    attached = [state.partition.relation for state in states if state.partition]
    hidden = hidden_relations(connection, [*attached, *(stray.partition.relation for stray in strays)])
    hot = Parents.of(connection, table).hot
    columns = read_fields(connection, table, hot).numbered(columns_of(connection, hot))
    ends, today = month_ends(connection, table.name), read_now(connection).date()
    for state in states:
        reason = hidden.get(state.partition.relation) if state.partition else None
        if state.is_missing:
            reason = f"{state.tier} by the catalogue, but no partition of the month is attached there"
        row = _row(connection, table, state, columns) if reason is None else _unknown(connection, table, state, reason)
        yield _with_end(row, state, table, ends.get((table.name, state.month), MonthEnd()), today)
    for stray in strays:
        yield _stray(connection, table, stray, hidden.get(stray.partition.relation))


def _with_end(row: TierRow, state: MonthState, table: TieredTable, end: MonthEnd, today: date) -> TierRow:
    """The row with how the life of its month goes on."""
    known, due = state.catalogue, due_on(table.policy, state.month)
    is_gone = state.tier is Tier.DELETED
    deletion = end.state or ("due" if due <= today and state.is_archived else None)
    if is_gone:
        deletion = "deleting" if known.step == "deleting" else "deleted"
    says_more = not is_gone and known.kept is None  # of a kept part the note says so already
    said = [row.note, known.storage_class or "", _said(end, deletion, due) if says_more else ""]
    return replace(
        row,
        note="; ".join(filter(None, said)),
        storage_class=known.storage_class,
        held_by=() if is_gone else end.held_by,
        due_on=due,
        deletion=deletion,
        certificate=known.certificate,
    )


def _said(end: MonthEnd, deletion: str | None, due: date) -> str:
    """Holds and the deletion that is ahead, in words."""
    held = f"held by {', '.join(end.held_by)}" if end.held_by else ""
    ahead = {
        "due": f"due for deletion since {due}",
        "waiting": f"request {end.request_id} to delete it waits for approvals",
        "grace": f"in its grace period until {end.due_at:%Y-%m-%d %H:%M} UTC, request {end.request_id}"
        if end.due_at
        else "",
        "approved": f"its deletion is approved and due, request {end.request_id}",
    }
    return "; ".join(filter(None, [held, ahead.get(deletion or "", "")]))


def _unknown(connection: Connection, table: TieredTable, state: MonthState, reason: str) -> TierRow:
    size = relation_bytes(connection, state.partition.relation) if state.partition else 0
    part, moved_at = state.catalogue.part, state.catalogue.warm_at
    return TierRow(table.name, state.month, part, state.tier, None, size, size, {}, None, moved_at, reason)


def _stray(connection: Connection, table: TieredTable, stray: Stray, reason: str | None) -> TierRow:
    relation, month = stray.partition.relation, stray.partition.month
    size = relation_bytes(connection, relation)
    rows, sums = (None, {}) if reason is not None else _counted(connection, table, relation)
    note = reason or f"{stray}: not in the catalogue of months"
    return TierRow(table.name, month, 1, stray.tier, rows, size, size, sums, None, None, note)


def _counted(connection: Connection, table: TieredTable, relation: Relation) -> tuple[int, dict[str, dict[str, str]]]:
    """Rows and sums of a relation, now."""
    records = connection.execute(_sums_query(table, relation)).fetchall()
    totals = totals_of((currency, "", "", rows, _NO_TIME, _NO_TIME, *sums) for currency, rows, *sums in records)
    return sum(total.rows for total in totals), sums_per_currency(table, totals)


def _sums_query(table: TieredTable, relation: Relation) -> Composed:
    """(currency, rows, sums of the money columns) of a relation. No times: a partition that others made may have one
    that is infinite, and Python has no such instant.
    """
    currency = Identifier(table.currency_column) if table.currency_column else SQL("''::text")
    sums = (SQL("sum({})").format(Identifier(column)) for column in table.money_columns)
    selected = SQL(", ").join([currency, SQL("count(*)"), *sums])
    return SQL("SELECT {} FROM {} GROUP BY 1").format(selected, relation.identifier)


def _row(connection: Connection, table: TieredTable, state: MonthState, columns: Sequence[Column]) -> TierRow:
    known = state.catalogue
    digest = known.digest.hex() if known.digest is not None and not state.tier.is_in_postgres else None
    if state.partition is None:
        rows, size, sums = known.row_count or 0, known.object_bytes or 0, _ordered(table, known, columns)
        before = known.postgres_bytes or 0
    else:
        rows, sums = _counted(connection, table, state.partition.relation)
        size = before = relation_bytes(connection, state.partition.relation)
    moved_at = known.deleted_at or known.deep_at or known.cold_at or known.warm_at
    if state.tier is Tier.DELETED:
        size = 0
    note = known.last_error or "; ".join(filter(None, ("" if known.part == 1 else f"part {known.part}", _end(known))))
    return TierRow(table.name, state.month, known.part, state.tier, rows, size, before, sums, digest, moved_at, note)


def _end(known: CatalogueMonth) -> str:
    """Return what became of a part whose deletion has begun, or why a part is there that one would not expect."""
    if known.work_until is not None:
        return f"went back to warm, in work until {known.work_until}"
    if known.step == "deleting":
        return f"is being deleted under {known.certificate}"
    if known.certificate is not None:
        return f"deleted with certificate {known.certificate}"
    return "" if known.kept is None else f"kept by {', '.join(known.kept['holds'])}"


def _ordered(table: TieredTable, known: CatalogueMonth, columns: Sequence[Column]) -> dict[str, dict[str, str]]:
    """The sums of an archived month under the present names of the columns, in the table's order: jsonb keeps none.

    A money column that the table does not have any more keeps its name, behind the others.
    """
    names = dict(matched(columns, known.archived_columns))
    return {
        currency: _in_order(table, {names.get(name, name): value for name, value in sums.items()})
        for currency, sums in (known.sums or {}).items()
    }


def _in_order(table: TieredTable, sums: dict[str, str]) -> dict[str, str]:
    first = {name: sums[name] for name in table.money_columns if name in sums}
    return first | sums
