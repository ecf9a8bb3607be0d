"""The rule about closed periods that raises alerts."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from config import Settings
from ledger.alerts import Alert, AlertRule, Severity

CHANGED = "closed-period-changed"


def closed_rules(_: Settings) -> list[AlertRule]:
    """The internal rows of a day that two people have closed are not what they were."""
    return [
        AlertRule(
            CHANGED,
            "The internal rows of a day in a closed period have changed",
            Severity.CRITICAL,
            "the first run that finds it",
        )
    ]


def subject_of(supplier: str, day: date) -> str:
    """Return what the alert is about."""
    return f"{supplier}/{day}"


def changed_alert(supplier: str, day: date, title: str, evidence: Mapping[str, Any]) -> Alert:
    """The alert about one closed day (Africa/Johannesburg)."""
    return Alert(
        CHANGED,
        subject_of(supplier, day),
        Severity.CRITICAL,
        title,
        "Look at the break: `treasury recon breaks --class closed_period_changed` lists it, `treasury recon show` has "
        "its rows. A purchase that ended late is the truth: account it in the open day. For anything else find who "
        "writes to the table past the API and the import.",
        evidence,
    )
