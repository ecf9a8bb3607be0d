"""The parts of months as costs and forecasts are computed of them, the same for commands, flows and the dashboard."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby

from ledger.forecast import KnownPart
from ledger.holds import Hold, holds_on
from ledger.months import Month
from ledger.policy import Tier
from sql.archive_objects import ObjectAmount
from tasks.archiving.catalogue import MonthState

RowsAndBytes = tuple[int | None, int]


def known_parts(
    states: Sequence[MonthState], partitions: Mapping[int, RowsAndBytes], amounts: Sequence[ObjectAmount]
) -> list[KnownPart]:
    """The parts of months that are not deleted, and of a month without any, the deleted ones.

    ``states`` are in the order of the catalogue. ``partitions`` are rows and bytes of partitions, by OID. ``amounts``
    are the objects of the table; the former ones of a month are with the first of its parts.
    """
    own = {(amount.month, amount.part): amount for amount in amounts if not amount.is_former}
    former = [amount for amount in amounts if amount.is_former]
    known = list[KnownPart]()
    for month, group in groupby(states, key=lambda state: state.month):
        every = list(group)
        living = [state for state in every if state.tier is not Tier.DELETED] or every
        parts = [_known(state, partitions, own.get((month, state.catalogue.part))) for state in living]
        before = [amount for amount in former if amount.month == month]
        parts[0] = replace(
            parts[0],
            former_bytes=sum(amount.other_bytes for amount in before),
            objects=parts[0].objects + sum(amount.objects for amount in before),
        )
        known += parts
    return known


def kept_parts(
    parts: Sequence[KnownPart], table: str, holds: Sequence[Hold], locked_until: Mapping[Month, datetime]
) -> list[KnownPart]:
    """The parts of a table's months, each with what keeps its month: holds, and locks of the store."""
    held = {month: bool(holds_on(holds, table, month)[0]) for month in {part.month for part in parts}}
    days = {month: until.date() for month, until in locked_until.items()}
    return [replace(part, held=held[part.month], locked_until=days.get(part.month)) for part in parts]


def _known(state: MonthState, partitions: Mapping[int, RowsAndBytes], amount: ObjectAmount | None) -> KnownPart:
    known = state.catalogue
    if state.tier.is_in_postgres:
        oid = 0 if state.partition is None else state.partition.relation.oid
        rows, size = partitions.get(oid, (None, None))
        return KnownPart(state.month, state.tier, rows, size, None)
    return KnownPart(
        state.month,
        state.tier,
        known.row_count,
        known.postgres_bytes or None,  # 0 for rows that a deletion kept: nobody knows their share of the month
        known.object_bytes,
        other_bytes=0 if amount is None else amount.other_bytes,
        objects=0 if amount is None else amount.objects,
    )
