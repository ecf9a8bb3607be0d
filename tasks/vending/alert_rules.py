"""The rules about purchases that raise alerts."""

from config import Settings
from ledger.alerts import Alert, AlertRule, Severity

CONTRADICTED = "vend-contradicted"


def vend_rules(_: Settings) -> list[AlertRule]:
    """A purchase that its supplier calls sold, say, after its row was ended as failed."""
    return [
        AlertRule(
            CONTRADICTED,
            "A supplier contradicts the row of a purchase that has ended",
            Severity.CRITICAL,
            "the first time",
        )
    ]


def contradiction(supplier: str, reference: str, code: str, happened_at: str, outcome: str) -> Alert:
    """The alert. ``outcome`` is the state of the row, ``happened_at`` the supplier's time."""
    return Alert(
        CONTRADICTED,
        f"{supplier}/{reference}",
        Severity.CRITICAL,
        f"what {supplier} says of a purchase contradicts its row: {outcome}",
        "A row that has ended never changes. Ask the supplier; if the money moved, deliver or pay back by a new row. "
        "The day's reconciliation shows the same as a break of class status.",
        {"supplier": supplier, "reference": reference, "code": code, "told_at": happened_at},
    )
