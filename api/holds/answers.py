"""The bodies and answers of the operations on legal holds, and how answers are made from records."""

from collections.abc import Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from ledger.holds import Subject
from sql.holds import HoldDecision, HoldRecord

Reason = Annotated[str, Meta(min_length=1, max_length=1000)]
MonthName = Annotated[str, Meta(min_length=7, max_length=7, description="A UTC month, YYYY-MM")]


class HoldReleaseDecision(StrEnum):
    """The decision about a release: release, or reject the proposal."""

    RELEASE = "release"
    REJECT = "reject"


class HoldDecisionRecord(Struct, kw_only=True):
    """A person's decision about the release of a hold."""

    action: str
    actor: str
    account: str
    reason: str
    decided_at: datetime


class HoldLack(Struct, kw_only=True):
    """A month of which rows were deleted before the hold was placed: it keeps what is left."""

    table: str
    month: str
    certificate: str


class Hold(Struct, kw_only=True):
    """A legal hold. ``table`` is null for every ledger table; ``subject`` and ``value`` are null for whole months."""

    hold: str
    matter: str
    table: str | None
    first_month: str
    last_month: str
    subject: Subject | None
    value: str | None
    reason: str
    actor: str
    account: str
    placed_at: datetime
    review_on: date
    lacks: list[HoldLack]
    state: Annotated[str, Meta(description="`open`, `release proposed` or `released`")]
    decisions: list[HoldDecisionRecord]


class HoldList(Struct, kw_only=True):
    """Every legal hold, the oldest first."""

    items: list[Hold]


class NewHold(Struct, kw_only=True, forbid_unknown_fields=True):
    """The scope of a new hold, its matter, reason and day of review. One month without ``last_month``."""

    matter: Annotated[str, Meta(min_length=1, max_length=128)]
    reason: Reason
    first_month: MonthName
    review_on: date
    last_month: MonthName | None = None
    table: Annotated[str, Meta(min_length=1, max_length=40)] | None = None
    subject: Subject | None = None
    value: Annotated[str, Meta(min_length=1, max_length=64)] | None = None


class HoldRelease(Struct, kw_only=True, forbid_unknown_fields=True):
    """A decision about the release of a hold, and its reason."""

    reason: Reason
    decision: HoldReleaseDecision = HoldReleaseDecision.RELEASE


def hold(record: HoldRecord, decisions: Sequence[HoldDecision] | None = None) -> Hold:
    """The answer about a hold; without ``decisions`` the newest one."""
    known = decisions if decisions is not None else [record.decision] if record.decision else []
    placed, scope = record.hold, record.hold.scope
    return Hold(
        hold=placed.name,
        matter=placed.matter,
        table=scope.table,
        first_month=str(scope.first),
        last_month=str(scope.last),
        subject=scope.subject,
        value=scope.value,
        reason=placed.reason,
        actor=placed.actor,
        account=placed.account,
        placed_at=placed.placed_at,
        review_on=placed.review_on,
        lacks=[HoldLack(**lack.to_record()) for lack in placed.lacks],
        state=record.state,
        decisions=[
            HoldDecisionRecord(
                action=each.action,
                actor=each.actor,
                account=each.account,
                reason=each.reason,
                decided_at=each.decided_at,
            )
            for each in known
        ],
    )
