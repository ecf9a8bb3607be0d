"""The table of months and tiers: what is where, how much of it, what it sums to, and since when."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from config import Settings
from ledger.months import Month
from ledger.policy import Tier
from ledger.proof import groups_of, sums_per_currency
from ledger.tables import TieredTable
from sql.connection import Connection, connect
from sql.obstacles import hidden_relations
from sql.proof import groups_query
from sql.relations import Parents
from tasks.archiving.catalogue import MonthState, month_states, relation_bytes


@dataclass(frozen=True, slots=True)
class TierRow:
    """One month of one table. ``bytes`` are of the tier it is in; ``postgres_bytes`` what it took before it left.

    ``rows`` is None for a month of which a policy hides rows from this login; ``note`` says so.
    """

    table: str
    month: Month
    tier: Tier
    rows: int | None
    bytes: int
    postgres_bytes: int
    sums: dict[str, dict[str, str]]
    digest: str | None
    moved_at: datetime | None
    note: str

    def as_json(self) -> dict[str, Any]:
        """The row in JSON's types; money stays decimal text, instants are ISO 8601 in UTC."""
        return {
            "table": self.table,
            "month": str(self.month),
            "tier": str(self.tier),
            "rows": self.rows,
            "bytes": self.bytes,
            "postgres_bytes": self.postgres_bytes,
            "sums": self.sums,
            "digest": self.digest,
            "moved_at": self.moved_at.isoformat() if self.moved_at else None,
            "note": self.note,
        }


def tier_rows(settings: Settings, tables: list[TieredTable]) -> list[TierRow]:
    """Every month of the tables, oldest first. Hot and warm months are counted and summed exactly, now; archived ones
    are given as proved when they left. A month that this login does not see whole is not counted; the others are.
    Reading only; safe to run at any time.
    """
    with connect(settings.database_dsn, "tiers") as connection:
        return [
            row
            for table in tables
            if Parents.of(connection, table).warm
            for row in _rows(connection, table, month_states(connection, table))
        ]


def _rows(connection: Connection, table: TieredTable, states: list[MonthState]) -> Iterator[TierRow]:
    hidden = hidden_relations(connection, [state.partition.relation for state in states if state.partition])
    for state in states:
        reason = hidden.get(state.partition.relation) if state.partition else None
        yield _row(connection, table, state) if reason is None else _hidden_row(connection, table, state, reason)


def _hidden_row(connection: Connection, table: TieredTable, state: MonthState, reason: str) -> TierRow:
    size = relation_bytes(connection, state.partition.relation) if state.partition else 0
    return TierRow(table.name, state.month, state.tier, None, size, size, {}, None, state.catalogue.warm_at, reason)


def _row(connection: Connection, table: TieredTable, state: MonthState) -> TierRow:
    known = state.catalogue
    digest = known.digest.hex() if known.digest is not None and state.tier not in (Tier.HOT, Tier.WARM) else None
    if state.partition is None:
        rows, size, sums = known.row_count or 0, known.object_bytes or 0, _ordered(table, known.sums or {})
        before = known.postgres_bytes or 0
    else:
        groups = groups_of(connection.execute(groups_query(table, state.partition.relation)).fetchall())
        rows, sums = sum(group.rows for group in groups), sums_per_currency(table, groups)
        size = before = relation_bytes(connection, state.partition.relation)
    moved_at = known.cold_at or known.warm_at
    return TierRow(
        table.name, state.month, state.tier, rows, size, before, sums, digest, moved_at, known.last_error or ""
    )


def _ordered(table: TieredTable, sums: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """The sums with the money columns in the table's order again: jsonb keeps none."""
    return {
        currency: {name: columns[name] for name in table.money_columns if name in columns}
        for currency, columns in sums.items()
    }
