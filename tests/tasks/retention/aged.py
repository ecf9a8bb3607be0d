"""Months of ten years ago, and what people do about them: hold, request, approve."""

import json
from datetime import timedelta
from typing import Any

from config import Settings
from ledger.holds import HoldScope, Subject
from ledger.months import Month
from sql.clock import read_now
from sql.connection import connect
from sql.deletion_requests import DeletionRequest
from sql.holds import HoldRecord
from storage.store import ObjectStore
from tasks.archiving.calendar import utc_today
from tasks.archiving.to_cold import archive_month
from tasks.retention.approvals import approve, request_deletion
from tasks.retention.deletion import DeletionOutcome, OnStep, delete_months
from tasks.retention.holds import place_hold, release_hold
from tasks.transparency.publish import publish_log
from tasks.verifying.findings import VerificationReport
from tasks.verifying.verification import VerificationScope, verify_archive
from tests.tasks.archiving.ledger import Ledger

OLDER = Month(2014, 1)
OLD = Month(2014, 2)
YOUNG = Month(2024, 3)
REVIEW = utc_today() + timedelta(days=90)


class KilledError(Exception):
    """Stands for the end of a process."""


def age(ledger: Ledger, *months: Month) -> None:
    """Fill months and archive them, published."""
    ledger.warm(*months)
    for month in months:
        archive_month(ledger.settings, ledger.table, month)
    publish_log(ledger.settings)


def two_old_months(settings: Settings) -> None:
    """Make two archived months of ten years ago, published."""
    age(Ledger(settings, settings.home), OLDER, OLD)


def hold(ledger: Ledger, month: Month, wallet: str | None = None, actor: str = "anna") -> HoldRecord:
    """Place a hold on a month, or on the rows of a wallet in it."""
    subject = None if wallet is None else Subject.WALLET
    scope = HoldScope(month, month, ledger.table.name, subject, wallet)
    return place_hold(ledger.settings, scope, "matter 2026/17", "asked for by the court", actor, REVIEW)


def release(ledger: Ledger, number: int) -> None:
    """Release a hold, by two people who have not placed it."""
    release_hold(ledger.settings, number, "ben", "the matter is closed")
    release_hold(ledger.settings, number, "carol", "checked")


def request(ledger: Ledger) -> DeletionRequest:
    """Ask for the deletion of all that is past its policy."""
    return request_deletion(ledger.settings, [ledger.table], "anna", "past the policy")


def approved(ledger: Ledger) -> DeletionRequest:
    """A request that two people have approved."""
    asked = request(ledger)
    approve(ledger.settings, asked.request_id, "ben", "looked at")
    return approve(ledger.settings, asked.request_id, "carol", "looked at, too")


def delete(ledger: Ledger, on_step: OnStep = lambda _: None) -> list[DeletionOutcome]:
    """Delete what is approved."""
    return delete_months(ledger.settings, on_step=on_step)


def objects_of(ledger: Ledger, month: Month) -> set[str]:
    """The objects that have rows of a month, or hashes of them."""
    return {key for key in ledger.objects() if f"/month={month}/" in key or f"/{month}/" in key}


def certificate(ledger: Ledger, number: str) -> dict[str, Any]:
    """A certificate, from the archive."""
    content = ObjectStore(ledger.settings).read_bytes(f"_treasury/certificates/{number}.json")
    found: dict[str, Any] = json.loads(content)
    return found


DEEP = VerificationScope(deep=True)


def verified(ledger: Ledger, scope: VerificationScope = DEEP) -> VerificationReport:
    """What a verification of the whole archive comes to, with the database."""
    with connect(ledger.settings.database_dsn, "tests") as connection:
        return verify_archive(ledger.settings, scope, connection)


def wrong(ledger: Ledger) -> list[tuple[str, str]]:
    """All that a verification finds to be wrong."""
    return [(one.place, one.text) for one in verified(ledger).findings]


def now(ledger: Ledger) -> Any:
    """PostgreSQL's time."""
    with connect(ledger.settings.database_dsn, "tests") as connection:
        return read_now(connection)
