"""The rules about statements that raise alerts."""

from config import Settings
from ledger.alerts import AlertRule, Severity

QUARANTINED = "statement-quarantined"
LATE = "statement-late"
LATE_AFTER_HOURS = 24
# No alert: a small supplier may have sold nothing. Said of the file and of a run that had it.
NO_LINES = "has no lines: if anything was sold, ask the supplier for another, which takes its place"


def statement_rules(_: Settings) -> list[AlertRule]:
    """A file that was refused whole, and a day whose statement has not come."""
    return [
        AlertRule(QUARANTINED, "A supplier's statement was refused whole", Severity.CRITICAL, "any broken rule"),
        AlertRule(
            LATE, "A supplier's day has no statement", Severity.WARNING, f"{LATE_AFTER_HOURS} hours after the day's end"
        ),
    ]
