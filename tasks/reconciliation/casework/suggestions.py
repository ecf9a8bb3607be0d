"""Suggested matches as people decide about them: which of the internal rows a run would give to a line, and all their
breaks.

A run only suggests where it would have to guess. Confirmed, the match is known to every later run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ledger.business_days import ZONE, day_of
from ledger.errors import RefusalError
from sql.connection import Connection
from sql.queries import load
from sql.storing import check_stored

PAYOUT = "payout"
_QUERIES = load("reconciliation_breaks")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class SuggestedRow:
    """An internal row in a match; ``break_id`` is that of its own break, where it has one."""

    own_id: UUID
    own_created_at: datetime
    break_id: int | None


@dataclass(frozen=True, slots=True)
class Match:
    """The line of the break ``line_break`` and the internal rows that belong to it. ``method``: confirmed or payout."""

    line_break: int
    method: str
    rows: tuple[SuggestedRow, ...]

    @property
    def breaks(self) -> list[int]:
        """The breaks of both sides, in the order of their numbers."""
        return sorted({self.line_break, *(row.break_id for row in self.rows if row.break_id is not None)})


def suggested(connection: Connection, break_id: int) -> Match:
    """Return what the newest run suggests for the line or the row of a break.

    Raises RefusalError when it suggests nothing, or more than one thing, or what has a match by now.
    """
    lines = [row[0] for row in connection.execute(_QUERIES["suggested_lines"], {"break_id": break_id})]
    if len(lines) > 1:
        shown = ", ".join(map(str, lines[:_SHOWN]))
        raise RefusalError(f"break {break_id}: may belong to the breaks {shown}; decide about the right one of those")
    line_break = lines[0] if lines else break_id
    own_rows = connection.execute(_QUERIES["suggested_rows"], {"break_id": line_break, "zone": ZONE}).fetchall()
    if not own_rows:
        raise RefusalError(f"break {break_id}: no match is suggested for it that could be confirmed")
    taken = next((row[0] for row in own_rows if row[4]), None)
    if taken is not None:
        raise RefusalError(f"break {break_id}: the internal row {taken} has a match by now; run its day again")
    is_payout = own_rows[0][2] == PAYOUT
    if is_payout and len({day_of(row[1]) for row in own_rows}) > 1:
        raise RefusalError(f"break {break_id}: more than one day adds up to this payout; neither can be confirmed")
    rows = tuple(SuggestedRow(own_id, created_at, own_break) for own_id, created_at, _, own_break, _ in own_rows)
    return Match(line_break, PAYOUT if is_payout else "confirmed", rows)


def proposed(connection: Connection, break_id: int) -> Match | None:
    """The match that was proposed for a break of either side and still is; None when there is none."""
    own_rows = connection.execute(_QUERIES["proposed_rows"], {"break_id": break_id}).fetchall()
    if not own_rows:
        return None
    rows = tuple(SuggestedRow(own_id, created_at, own_break) for _, own_id, created_at, own_break, _ in own_rows)
    return Match(own_rows[0][0], own_rows[0][4], rows)


def confirm(connection: Connection, match: Match, resolution_id: int) -> None:
    """Write down which rows a resolution of the line's break says belong to it; in the open transaction."""
    with connection.cursor() as cursor:
        cursor.executemany(_QUERIES["insert_confirmation"], list(_records(match, resolution_id)))
        check_stored(cursor, len(match.rows), "recon_confirmations")


def _records(match: Match, resolution_id: int) -> Iterator[dict[str, object]]:
    for row in match.rows:
        yield {
            "resolution_id": resolution_id,
            "break_id": match.line_break,
            "own_id": row.own_id,
            "own_created_at": row.own_created_at,
            "own_break_id": row.break_id,
            "method": match.method,
        }
