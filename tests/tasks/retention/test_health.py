"""Holds whose review is overdue, and deletions that do not end, are seen by the health checks."""

from datetime import UTC, datetime, timedelta

import pytest

from ledger.errors import TransientError
from ledger.holds import HoldScope
from storage.versions import VersionedStore
from tasks.health import CHECKS, CheckResult, HealthState, run_checks
from tasks.retention.approvals import approve
from tasks.retention.holds import place_hold
from tests.tasks.archiving.ledger import Ledger
from tests.tasks.retention.aged import OLD, OLDER, REVIEW, delete, hold, release, request


def measured(ledger: Ledger, name: str, after: timedelta = timedelta(0)) -> CheckResult:
    (check,) = [check for check in CHECKS if check.name == name]
    (result,) = run_checks(ledger.settings, [check], datetime.now(UTC) + after)
    return result


def test_a_hold_that_nobody_looked_at_by_its_review_date_is_named(old: Ledger) -> None:
    number = hold(old, OLD).hold.number
    until = timedelta(days=(REVIEW - datetime.now(UTC).date()).days)
    states = [measured(old, "holds", until + timedelta(days=days)).state for days in (0, 1, 30)]
    assert states == [HealthState.HEALTHY, HealthState.WARNING, HealthState.CRITICAL]
    line = measured(old, "holds", until + timedelta(days=3)).line
    assert line == "1 legal hold is open; 1 past the review date, HOLD-1 since 3 days"
    earlier = place_hold(
        old.settings, HoldScope(OLDER, OLDER), "m", "asked for", "anna", REVIEW - timedelta(days=2)
    ).hold.name
    line = measured(old, "holds", until + timedelta(days=3)).line
    assert line == f"2 legal holds are open; 2 past the review date, {earlier} since 5 days"
    release(old, number)
    release(old, number + 1)
    assert measured(old, "holds", until + timedelta(days=30)).state is HealthState.HEALTHY


def test_a_deletion_that_does_not_end_and_a_request_that_waits_are_named(
    old: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    past_policy = f"2 months are past their policies and in no open request, the oldest is transactions {OLDER}"
    assert measured(old, "deletions").line == past_policy
    request(old)
    assert measured(old, "deletions").line == "1 request is waiting for approval, the first is 1"
    assert measured(old, "deletions", timedelta(days=30)).state is HealthState.HEALTHY
    for name in ("ben", "carol"):
        approve(old.settings, 1, name, "looked at")
    assert measured(old, "deletions", timedelta(hours=31)).state is HealthState.WARNING

    def away(_store: object, _key: str) -> None:
        raise TransientError("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(VersionedStore, "remove", away)
        delete(old)
    result = measured(old, "deletions", timedelta(hours=97))
    assert result.state is HealthState.CRITICAL
    assert "2 deletions are under way, the first DEL-" in result.line
    assert "last error: the store is away" in result.line
    delete(old)
    assert measured(old, "deletions", timedelta(hours=97)).line == "no deletion is waiting"


def test_a_request_in_its_grace_period_is_named(old: Ledger) -> None:
    rules = old.settings.retention.model_copy(update={"grace_days": 14})
    slow = Ledger(old.settings.model_copy(update={"retention": rules}), old.store)
    request(slow)
    for name in ("ben", "carol"):
        approve(slow.settings, 1, name, "looked at")
    until = datetime.now(UTC).date() + timedelta(days=14)
    said = f"1 request is in the grace period until {until}, the first is 1"
    assert measured(slow, "deletions").line == said
