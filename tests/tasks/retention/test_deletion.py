"""A month past its policy is deleted after two approvals, wholly, and its certificate says so."""

import re
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from psycopg.types.json import Jsonb

from config.retention import RetentionSettings
from ledger.errors import ConfigError, NotFoundError, RefusalError
from sql.connection import connect
from sql.deletion_requests import RequestState, get_request
from storage.store import ObjectStore
from tasks.archiving.calendar import utc_today
from tasks.archiving.to_cold import archive_month
from tasks.retention.approvals import approve, due_requests, refuse, request_deletion, revoke, waiting_request
from tasks.retention.deletion import DeletionResult, delete_months
from tasks.retention.deletion_plan import plan_deletion
from tasks.second_person import WaitingKind, list_waiting
from tests.tasks.archiving.ledger import ROWS, Ledger, make_row
from tests.tasks.retention.aged import (
    OLD,
    OLDER,
    YOUNG,
    age,
    approved,
    certificate,
    delete,
    hold,
    objects_of,
    release,
    request,
    wrong,
)


@pytest.mark.sampled(1)
def test_an_approved_month_is_deleted_with_a_certificate_and_nothing_of_it_is_left(aged: Ledger) -> None:
    before = aged.catalogue(OLD)
    asked = approved(aged)
    outcomes = delete(aged)
    assert [(one.month, one.result, one.rows) for one in outcomes] == [
        (OLDER, DeletionResult.DELETED, ROWS),
        (OLD, DeletionResult.DELETED, ROWS),
    ]
    assert aged.whole() == {}
    assert objects_of(aged, OLD) == objects_of(aged, OLDER) == set()
    said = certificate(aged, outcomes[1].certificate)
    assert (said["table"], said["month"], said["controller"]) == ("transactions", str(OLD), "Acme Payments (Pty) Ltd")
    (part,) = said["parts"]
    assert (part["rows"], part["sums"], part["root"]) == (ROWS, before["sums"], bytes(before["digest"]).hex())
    assert part["log_entry"] is not None
    assert {one["key"] for one in said["objects"]} == {
        before["object_key"],
        before["manifest_key"],
        before["tree"]["key"],
        before["lookup"]["key"],
    }
    assert {one["result"] for one in said["objects"]} == {"absent"}
    assert all(len(one["versions"]) == 1 and one["proved_at"] for one in said["objects"])
    assert said["request"]["plan_sha256"] == asked.plan_sha256.hex()
    assert [one["actor"] for one in said["request"]["approved"]] == ["ben", "carol"]
    assert said["rule"]["due_on"] == "2024-03-01"
    assert said["rule"]["legal_minimum_months"] == 84
    assert said["holds"]["on_whole_month"] == said["holds"]["on_rows"] == []
    assert wrong(aged) == []


@pytest.mark.heavy("a certificate is made beside it")
def test_the_page_of_a_certificate_asks_nobody_and_names_what_it_is_about(old: Ledger) -> None:
    approved(old)
    number = delete(old)[0].certificate
    page = (old.store / f"_treasury/certificates/{number}.html").read_text()
    assert number in page
    assert "approved by" in page
    assert "@media print" in page
    assert "<script" not in page
    assert "http" not in page.replace(old.settings.archive_location, "")


def test_nothing_is_deleted_without_every_approval(old: Ledger) -> None:
    asked = request(old)
    assert delete(old) == []
    with pytest.raises(RefusalError, match="has 0 of 2 approvals: nothing is deleted under it"):
        delete_months(old.settings, asked.request_id)
    approve(old.settings, asked.request_id, "ben", "looked at")
    assert delete(old) == []
    with pytest.raises(RefusalError, match=f"request {asked.request_id}: ben has approved it under ben"):
        approve(old.settings, asked.request_id, "Ben ", "once more", account="other")
    with pytest.raises(RefusalError, match="has 1 of 2 approvals"):
        delete_months(old.settings, asked.request_id)
    assert len(old.content()) == 2


def test_a_second_approval_by_the_same_person_does_not_count_however_it_came_into_the_table(old: Ledger) -> None:
    asked = request(old)
    approve(old.settings, asked.request_id, "ben", "looked at")
    with pytest.raises(RefusalError, match=f"request {asked.request_id}: ben has approved it under ben"):
        approve(old.settings, asked.request_id, "\uff22en\ufe0f", "looked at, too")
    old.sql(
        "INSERT INTO deletion_decisions (request_id, action, actor, account, reason, decided_at)"
        " VALUES (%s, 'approved', 'BEN', 'other', 'by hand', now())",
        asked.request_id,
    )
    assert delete(old) == []
    with pytest.raises(RefusalError, match="has 1 of 2 approvals: nothing is deleted under it"):
        delete_months(old.settings, asked.request_id)
    approve(old.settings, asked.request_id, "carol", "looked at")
    assert {one.result for one in delete(old)} == {DeletionResult.DELETED}


def test_rows_of_no_month_stop_no_deletion(old: Ledger) -> None:
    old.sql("CREATE TABLE heap PARTITION OF transactions_partitioned DEFAULT")
    times = ("-infinity", "1969-12-31T23:59:59Z", "1066-10-14T12:00:00Z")
    rows = [make_row(old.table, OLDER, 900 + number) | {"created_at": at} for number, at in enumerate(times)]
    with connect(old.settings.database_dsn, "tests") as connection:
        old.insert(connection, old.table, rows)
    approved(old)
    assert {one.result for one in delete(old)} == {DeletionResult.DELETED}


def test_a_removal_that_is_not_recorded_of_the_upload_fails_and_is_done_again(old: Ledger) -> None:
    approved(old)
    old.sql("CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    old.sql("CREATE TRIGGER lost BEFORE UPDATE ON archive_uploads FOR EACH ROW EXECUTE FUNCTION nothing()")
    outcomes = delete(old)
    assert {one.result for one in outcomes} == {DeletionResult.FAILED}
    assert outcomes[0].reason.startswith("archive_uploads: 1 row was sent")
    old.sql("DROP TRIGGER lost ON archive_uploads")
    assert {one.result for one in delete(old)} == {DeletionResult.DELETED}


def test_a_plan_that_somebody_changed_in_the_table_is_neither_approved_nor_carried_out(old: Ledger) -> None:
    asked = request_deletion(old.settings, [old.table], "anna", "past", as_of=OLDER.plus(121).first_day)
    approve(old.settings, asked.request_id, "ben", "looked at")
    more = [month.to_record() for month in plan_deletion(old.settings, [old.table]).months]
    old.sql("ALTER TABLE deletion_requests DISABLE TRIGGER deletion_requests_kept")
    old.sql("UPDATE deletion_requests SET plan = %s, as_of = now()::date", Jsonb(more))
    with pytest.raises(RefusalError, match="the plan in deletion_requests is not the one of its SHA-256"):
        approve(old.settings, asked.request_id, "carol", "looked at")
    old.sql(
        "INSERT INTO deletion_decisions (request_id, action, actor, account, reason, decided_at)"
        " VALUES (%s, 'approved', 'carol', 'carol', 'by hand', now())",
        asked.request_id,
    )
    outcomes = delete(old)
    assert [one.result for one in outcomes] == [DeletionResult.KEPT, DeletionResult.KEPT]
    assert "somebody changed the row" in outcomes[0].reason
    assert len(old.content()) == 2


@pytest.mark.parametrize(
    ("before", "name", "wanted"),
    [
        (RetentionSettings(grace_days=0, approvals=1), "approvals 1", 2),
        (RetentionSettings(grace_days=0), "grace_days 0", 3),
    ],
)
def test_a_request_of_weaker_rules_than_those_of_today_is_not_carried_out(
    old: Ledger, before: RetentionSettings, name: str, wanted: int
) -> None:
    asked = request_deletion(old.settings.model_copy(update={"retention": before}), [old.table], "anna", "past")
    for person in ("ben", "carol")[: before.approvals]:
        approve(old.settings, asked.request_id, person, "looked at")
    rules = RetentionSettings(grace_days=3 if wanted == 3 else 0)
    outcomes = delete_months(old.settings.model_copy(update={"retention": rules}))
    assert {one.result for one in outcomes} == {DeletionResult.KEPT}
    assert f"was made with {name}, and the settings ask for {wanted}: revoke it" in outcomes[0].reason
    assert len(old.content()) == 2


@pytest.mark.heavy("two approvals are tested beside it")
def test_one_approval_is_enough_where_the_settings_say_so(old: Ledger) -> None:
    rules = RetentionSettings(grace_days=0, approvals=1)
    settings = old.settings.model_copy(update={"retention": rules})
    asked = request_deletion(settings, [old.table], "anna", "past the policy")
    approve(settings, asked.request_id, "ben", "looked at")
    assert [one.result for one in delete_months(settings)] == [DeletionResult.DELETED, DeletionResult.DELETED]


def test_an_approved_request_waits_for_its_grace_period_and_can_be_revoked(old: Ledger) -> None:
    rules = RetentionSettings(grace_days=14)
    ledger = Ledger(old.settings.model_copy(update={"retention": rules}), old.store)
    asked = approved(ledger)
    now = datetime.now(UTC)
    assert asked.state(now) is RequestState.GRACE
    assert asked.state(now + timedelta(days=15)) is RequestState.DUE
    assert delete(ledger) == []
    with pytest.raises(RefusalError, match="is in its grace period until"):
        delete_months(ledger.settings, asked.request_id)
    revoke(ledger.settings, asked.request_id, "dora", "the auditors want to look once more")
    with pytest.raises(RefusalError, match="is revoked: nothing is deleted under it"):
        delete_months(ledger.settings, asked.request_id)
    with pytest.raises(RefusalError, match="is revoked: it cannot be approved"):
        approve(ledger.settings, asked.request_id, "eve", "late")
    assert request(ledger).request_id == asked.request_id + 1


@pytest.mark.parametrize("wrong_by_days", [15, -15])
def test_nothing_is_deleted_while_the_stores_clock_is_another(
    old: Ledger, monkeypatch: pytest.MonkeyPatch, wrong_by_days: int
) -> None:
    approved(old)
    with monkeypatch.context() as patched:  # what both PostgreSQL and this machine say
        clock = SimpleNamespace(time=lambda: time.time() + wrong_by_days * 86_400)
        patched.setattr("storage.clock.time", clock)
        outcomes = delete(old)
    assert [(one.result, one.transient) for one in outcomes] == [(DeletionResult.FAILED, True)] * 2
    where = "behind" if wrong_by_days > 0 else "ahead of"
    said = rf"the clock of the object store is 129(5999|6000)\.\d s {where} this machine's"
    assert re.match(said, outcomes[0].reason)
    assert len(old.content()) == 2
    assert {one.result for one in delete(old)} == {DeletionResult.DELETED}


def test_an_approval_that_is_dated_before_its_request_makes_the_grace_period_no_shorter(old: Ledger) -> None:
    rules = RetentionSettings(grace_days=14)
    ledger = Ledger(old.settings.model_copy(update={"retention": rules}), old.store)
    asked = request(ledger)
    for person in ("ben", "carol"):
        ledger.sql(
            "INSERT INTO deletion_decisions (request_id, action, actor, account, reason, decided_at)"
            " VALUES (%s, 'approved', %s, %s, 'while the clock was wrong', now() - interval '1 year')",
            *(asked.request_id, person, person),
        )
    assert delete(ledger) == []
    with pytest.raises(RefusalError, match="is in its grace period until"):
        delete_months(ledger.settings, asked.request_id)


@pytest.mark.heavy("a revoked request is tested beside it")
def test_a_refused_request_is_not_carried_out(old: Ledger) -> None:
    asked = request(old)
    refuse(old.settings, asked.request_id, "ben", "not before the audit")
    assert delete(old) == []
    with pytest.raises(RefusalError, match="is refused"):
        approve(old.settings, asked.request_id, "carol", "all the same")


def test_a_plan_that_changed_since_the_request_is_not_approved(old: Ledger) -> None:
    asked = request(old)
    hold(old, OLD)
    with pytest.raises(RefusalError, match=rf"the plan changed since it was made: transactions {OLD}: held by HOLD-1"):
        approve(old.settings, asked.request_id, "ben", "looked at")


def test_a_month_that_changed_after_its_approval_is_left_and_the_others_are_deleted(old: Ledger) -> None:
    approved(old)
    hold(old, OLDER)
    outcomes = delete(old)
    assert [(one.month, one.result) for one in outcomes] == [
        (OLDER, DeletionResult.KEPT),
        (OLD, DeletionResult.DELETED),
    ]
    assert "held by HOLD-1 (matter matter 2026/17)" in outcomes[0].reason
    assert list(old.content()) == [str(OLDER)]
    assert wrong(old) == []


def test_rows_in_a_partition_of_others_keep_their_month(old: Ledger) -> None:
    approved(old)
    old.sql("CREATE TABLE stray PARTITION OF transactions_partitioned DEFAULT")
    with connect(old.settings.database_dsn, "tests") as connection:
        old.insert(connection, old.table, [make_row(old.table, OLD, ROWS + 7)])
    outcomes = {one.month: one for one in delete(old)}
    assert outcomes[OLD].result is DeletionResult.KEPT
    assert "PostgreSQL has rows of it in stray" in outcomes[OLD].reason
    assert outcomes[OLDER].result is DeletionResult.DELETED
    (kept,) = plan_deletion(old.settings, [old.table]).kept
    assert kept.reason.startswith("PostgreSQL has rows of it in stray")


def test_a_hold_keeps_its_month_until_two_people_have_released_it(old: Ledger) -> None:
    placed = hold(old, OLD)
    plan = plan_deletion(old.settings, [old.table])
    assert [month.month for month in plan.months] == [OLDER]
    assert [(one.month, one.reason) for one in plan.kept] == [(OLD, "held by HOLD-1 (matter matter 2026/17)")]
    release(old, placed.hold.number)
    assert [month.month for month in plan_deletion(old.settings, [old.table]).months] == [OLDER, OLD]


@pytest.mark.heavy("the plan of ten years is tested in test_policy.py")
def test_a_month_within_its_policy_is_not_planned(old: Ledger) -> None:
    age(old, YOUNG)
    assert [month.month for month in plan_deletion(old.settings, [old.table]).months] == [OLDER, OLD]
    past = plan_deletion(old.settings, [old.table], OLDER.plus(121).first_day)
    assert [month.month for month in past.months] == [OLDER]
    assert plan_deletion(old.settings, [old.table], OLDER.plus(120).first_day).months == ()
    with pytest.raises(ConfigError, match="has not come yet: nothing is deleted before its time"):
        plan_deletion(old.settings, [old.table], utc_today() + timedelta(days=1))


@pytest.mark.heavy("the plan of ten years is tested in test_policy.py")
def test_a_month_that_is_still_in_postgresql_is_kept(ledger: Ledger) -> None:
    ledger.warm(OLD)
    plan = plan_deletion(ledger.settings, [ledger.table])
    assert [one.reason for one in plan.kept] == ["part 1 is warm: it must be archived first"]
    with pytest.raises(RefusalError, match="there is nothing to request"):
        request(ledger)
    archive_month(ledger.settings, ledger.table, OLD)
    assert len(plan_deletion(ledger.settings, [ledger.table]).months) == 1


@pytest.mark.heavy("a plan that changed is refused beside it")
def test_a_request_that_does_not_exist_is_refused_by_name(old: Ledger) -> None:
    with pytest.raises(NotFoundError, match="deletion request 7 does not exist"):
        approve(old.settings, 7, "ben", "looked at")
    with pytest.raises(NotFoundError, match="deletion request 7 does not exist"):
        delete_months(old.settings, 7)


@pytest.mark.heavy("a plan that changed is refused beside it")
def test_a_second_request_for_the_same_months_is_refused(old: Ledger) -> None:
    asked = request(old)
    with pytest.raises(RefusalError, match=f"request {asked.request_id} asks for it already"):
        request(old)


def test_an_open_request_counts_however_many_came_after_it(old: Ledger) -> None:
    asked = request(old)
    approve(old.settings, asked.request_id, "ben", "looked at")
    later = "number, as_of, plan, plan_sha256, approvals, grace_days, actor, account, reason, requested_at"
    old.sql(f"INSERT INTO deletion_requests SELECT {later} FROM deletion_requests, generate_series(2, 1501) AS number")
    old.sql(
        "INSERT INTO deletion_decisions (request_id, action, actor, account, reason, decided_at) SELECT request_id, "
        "'refused', 'ben', 'ben', 'asked for twice', now() FROM deletion_requests WHERE request_id > 1"
    )
    with pytest.raises(RefusalError, match=f"request {asked.request_id} asks for it already"):
        request(old)
    waiting = waiting_request(old.settings)
    assert waiting is not None and waiting.request_id == asked.request_id  # noqa: PT018  # one fact for mypy too
    assert [entry.number for entry in list_waiting(old.settings, {WaitingKind.DELETION})] == [str(asked.request_id)]
    approve(old.settings, asked.request_id, "carol", "looked at, too")
    assert due_requests(old.settings) == [asked.request_id]
    assert [outcome.result for outcome in delete(old)] == [DeletionResult.DELETED] * 2


@pytest.mark.heavy("an approved month is deleted beside it")
def test_a_request_is_done_when_its_months_are_deleted(old: Ledger) -> None:
    asked = approved(old)
    delete(old)
    with connect(old.settings.database_dsn, "tests") as connection:
        assert get_request(connection, asked.request_id).state(datetime.now(UTC)) is RequestState.DONE
    assert delete(old) == []


@pytest.mark.heavy("a month that changed is tested beside it")
def test_an_object_that_somebody_put_beside_the_month_stops_the_deletion(old: Ledger) -> None:
    approved(old)
    ObjectStore(old.settings).put_bytes(b"rows", f"transactions/month={OLD}/theirs.parquet")
    outcomes = delete(old)
    assert [one.result for one in outcomes] == [DeletionResult.DELETED, DeletionResult.KEPT]
    assert f"transactions/month={OLD}/theirs.parquet" in outcomes[1].reason
    assert list(old.content()) == [str(OLD)]


def test_a_folder_with_an_objects_name_in_the_cache_does_not_stop_a_deletion(old: Ledger) -> None:
    name = bytes(old.catalogue(OLDER)["object_sha256"]).hex()
    (old.settings.object_cache_folder / name / "deeper").mkdir(parents=True)
    approved(old)
    assert {one.result for one in delete(old)} == {DeletionResult.DELETED}
    assert not (old.settings.object_cache_folder / name).exists()
