"""What happened to a month, and what its policy has ahead of it, as a timeline in words. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from api.dashboard import formats
from ledger.masking import cut, mask_text
from ledger.months import Month
from ledger.retention import due_on
from ledger.tables import TieredTable
from tasks.archiving.life import MonthEvent
from tasks.archiving.outcome import MoveAction
from tasks.archiving.plan import PlannedMove

_LONGEST = 200
_ELSEWHERE = frozenset({"run", "object_key", "manifest_key", "digest"})  # what the page has beside the story
# What an event of `archive_events` says to people; one that is not here is shown by its own name.
WORDS: Mapping[str, str] = {
    "warmed": "moved from hot to warm",
    "claimed": "the move to the archive began",
    "sealed": "sealed: takes no more writes",
    "unsealed": "takes writes again",
    "uploaded": "the file was put into the archive",
    "verified": "the stored file was read back and is equal to the rows",
    "archived": "archived: PostgreSQL has the rows no more",
    "deepened": "moved into the deep tier",
    "opened": "opened for rows that came late",
    "returned": "went back to warm",
    "kept": "an object stays in the archive, for another database may need it",
    "held": "a legal hold was placed",
    "released": "a legal hold was released",
    "deletion requested": "its deletion was requested",
    "deletion approved": "its deletion was approved",
    "deletion refused": "its deletion was refused",
    "deletion revoked": "the request to delete it was revoked",
    "deletion begun": "its deletion began: the rows left every view",
    "deleted": "deleted: every object was removed, and a certificate says so",
    "restore requested": "the object store was asked to make it readable",
}


@dataclass(frozen=True, slots=True)
class Chapter:
    """A moment in the life of a month. ``is_ahead``: it is what the policy says, and has not happened yet."""

    at: datetime
    said: str
    detail: str
    is_ahead: bool = False


def story(
    table: TieredTable, month: Month, events: Sequence[MonthEvent], today: date, held: PlannedMove | None = None
) -> list[Chapter]:
    """The month from its first instant to the day of its deletion, oldest first. ``held``: a move that is held back; it
    is ahead although its day may have come.
    """
    policy = table.policy
    known = [Chapter(month.lower, "the month began", "")]
    known += [Chapter(event.happened_at, WORDS.get(event.event, event.event), _detail(event)) for event in events]
    if month.upper.date() <= today:
        known.append(Chapter(month.upper, "the month ended", ""))
    plans = (
        (month.upper.date(), "the month ends", None),
        (month.plus(policy.hot_months + 1).first_day, "leaves hot for warm by the policy", MoveAction.TO_WARM),
        (policy.archived_from(month), "leaves warm for cold by the policy", MoveAction.TO_COLD),
        (month.plus(policy.cold_months + 1).first_day, "leaves cold for deep by the policy", MoveAction.TO_DEEP),
        (due_on(policy, month), "may be deleted by the policy, with approvals and without holds", None),
    )
    at, why = (None, "") if held is None else (held.held_at, f"held back: {held.held_back}")
    ahead = [
        Chapter(_start(day), said, why if move and move is at else "", is_ahead=True)
        for day, said, move in plans
        if day > today or (move and move is at)
    ]
    return sorted(known, key=lambda chapter: chapter.at) + ahead


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _detail(event: MonthEvent) -> str:
    """What else the event recorded, in one line: sizes for people, everything else as it is, masked and cut."""
    said = []
    for name, value in event.detail.items():
        if name in _ELSEWHERE or value is None:
            continue
        shown = formats.size(value) if name.endswith("_bytes") and isinstance(value, int) else mask_text(str(value))
        said.append(f"{name.removesuffix('_bytes').replace('_', ' ')} {shown}")
    return cut(", ".join(said), _LONGEST)
