"""What became of one table-month in a run: the value that flows collect, show and decide on."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ledger.months import Month


class MoveAction(StrEnum):
    """The move that a month is due for."""

    TO_WARM = "hot to warm"
    TO_COLD = "warm to cold"
    TO_DEEP = "cold to deep"


class MoveResult(StrEnum):
    """How it ended."""

    MOVED = "moved"
    ALREADY = "already moved"
    PLANNED = "planned"
    HELD_BACK = "held back"
    BUSY = "busy elsewhere"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class MoveOutcome:
    """One month's move: rows and bytes (in PostgreSQL before, in the archive after), seconds, and the reason if any."""

    table: str
    month: Month
    action: MoveAction
    result: MoveResult
    rows: int = 0
    postgres_bytes: int = 0
    archive_bytes: int = 0
    duration_s: float = 0.0
    reason: str = ""
    transient: bool = False  # a failure that may be gone when tried again


def outcome_counts(outcomes: Iterable[MoveOutcome]) -> str:
    """The results with their counts, in the order of `MoveResult`: `2 moved, 1 held back`. Empty without outcomes."""
    counts = Counter(outcome.result for outcome in outcomes)
    return ", ".join(f"{counts[result]} {result}" for result in MoveResult if counts[result])
