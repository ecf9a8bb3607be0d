"""Write once: objects are locked until their deletion date, and held in the store as long as a hold is open."""

import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ledger.archive_objects import EVERY_PART, KEPT_PART
from ledger.errors import ConfigError, RefusalError, VerificationError
from ledger.months import Month
from ledger.retention import due_on
from sql.connection import connect
from storage.object_locks import LockMode, ObjectLocks
from storage.store import ObjectStore
from storage.versions import ObjectVersion, VersionedStore
from tasks.archiving.orphans import remove_orphans
from tasks.archiving.to_cold import Step, archive_month
from tasks.retention.approvals import request_deletion
from tasks.retention.deletion import DeletionResult
from tasks.retention.deletion_plan import plan_deletion
from tasks.retention.holds import place_hold, release_hold
from tasks.retention.locks import DIFFERING, UNHELD, check_locks, compare_locks
from tasks.transparency.publish import publish_log
from tests.stores import Store
from tests.tasks.archiving.ledger import Ledger
from tests.tasks.retention.aged import (
    OLD,
    OLDER,
    YOUNG,
    KilledError,
    age,
    approved,
    certificate,
    delete,
    hold,
    release,
    wrong,
)

heavy = pytest.mark.heavy("the tests of one mode, of what somebody changed and of held rows watch the locks")


def in_bucket(ledger: Ledger, store: Store, bucket: str, folder: Path, **changes: object) -> Ledger:
    """The ledger with its archive in a bucket of another store."""
    settings = store.settings(ledger.settings, bucket, uuid.uuid4().hex)
    return Ledger(settings.model_copy(update=changes), folder)


def with_retention(ledger: Ledger, months: int) -> Ledger:
    """The ledger under another policy."""
    policy = {"hot_months": 3, "warm_months": 12, "cold_months": 84, "retention_months": months}
    settings = ledger.settings.model_copy(update={"tables": {"transactions": {"policy": policy}}})
    settings.__dict__.pop("registry", None)  # what the copy has computed before
    return Ledger(settings, ledger.store)


@pytest.fixture
def locking(ledger: Ledger, seaweed_store: Store, tmp_path: Path) -> Ledger:
    """An empty ledger whose archive is a bucket with Object Lock."""
    return in_bucket(ledger, seaweed_store, seaweed_store.locking, tmp_path)


def versions(ledger: Ledger, month: Month) -> dict[str, ObjectVersion]:
    """The one version of each object of a month."""
    of_month = "SELECT object_key FROM archive_objects WHERE table_name = %s AND month = %s"
    keys = [key for (key,) in ledger.sql(of_month, ledger.table.name, month.first_day)]
    found = {key: VersionedStore(ledger.settings).versions(key) for key in keys}
    assert [len(one) for one in found.values()] == [1] * len(keys)
    return {key: one[0] for key, one in found.items()}


def locks_of(ledger: Ledger, month: Month) -> set[tuple[str, datetime | None, bool]]:
    """Mode, end and legal hold of the objects of a month."""
    return {(one.lock_mode, one.locked_until, one.legal_hold) for one in versions(ledger, month).values()}


def end(ledger: Ledger, month: Month) -> datetime:
    """The deletion date of a month by its policy."""
    return datetime.combine(due_on(ledger.table.policy, month), datetime.min.time(), UTC)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("setting", "mode"), [("offered", "GOVERNANCE"), ("governance", "GOVERNANCE"), ("compliance", "COMPLIANCE")]
)
def test_each_object_of_a_cold_month_is_locked_until_the_months_deletion_date(
    locking: Ledger, setting: str, mode: str
) -> None:
    made = Ledger(locking.settings.model_copy(update={"write_once": setting}), locking.store)
    age(made, YOUNG)
    assert locks_of(made, YOUNG) == {(mode, end(made, YOUNG), False)}
    with pytest.raises(RefusalError, match=f"locked \\({mode}\\) until 2034-04-01"):
        VersionedStore(made.settings).remove(made.catalogue(YOUNG)["object_key"])
    assert wrong(made) == []


@heavy
def test_nothing_is_locked_where_the_settings_say_so_or_the_date_is_over(locking: Ledger) -> None:
    off = Ledger(locking.settings.model_copy(update={"write_once": "off"}), locking.store)
    age(off, YOUNG)
    assert locks_of(off, YOUNG) == {("", None, False)}
    age(locking, OLD)
    assert locks_of(locking, OLD) == {("", None, False)}
    found = check_locks(locking.settings)
    assert (found.objects, found.locked, found.differences) == (2 * len(EVERY_PART), len(EVERY_PART), ())
    assert locks_of(locking, YOUNG) == {("GOVERNANCE", end(locking, YOUNG), False)}
    assert check_locks(locking.settings).locked == 0


@heavy
def test_a_required_lock_that_the_bucket_does_not_offer_keeps_the_month_warm(
    ledger: Ledger, seaweed_store: Store, tmp_path: Path
) -> None:
    made = in_bucket(ledger, seaweed_store, seaweed_store.plain, tmp_path, write_once="governance")
    made.warm(YOUNG)
    with pytest.raises(ConfigError, match=r"TREASURY_WRITE_ONCE is governance, and s3://plain/.* has no Object Lock"):
        archive_month(made.settings, made.table, YOUNG)
    assert made.tier(YOUNG) == "warm"
    with pytest.raises(ConfigError, match="has no Object Lock"):
        check_locks(made.settings)
    made.settings = made.settings.model_copy(update={"write_once": "offered"})
    archive_month(made.settings, made.table, YOUNG)
    assert made.sql("SELECT count(*) FROM archive_locks") == [(0,)]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("wallet", [None, "wallet-3"])
def test_a_hold_is_on_each_object_in_the_store_and_leaves_with_its_release(locking: Ledger, wallet: str | None) -> None:
    age(locking, YOUNG, OLD)
    placed = hold(locking, YOUNG, wallet)
    assert {held for _, _, held in locks_of(locking, YOUNG)} == {True}
    assert {held for _, _, held in locks_of(locking, OLD)} == {False}
    second = hold(locking, YOUNG, actor="dora")
    release(locking, placed.hold.number)
    assert {held for _, _, held in locks_of(locking, YOUNG)} == {True}
    release(locking, second.hold.number)
    assert locks_of(locking, YOUNG) == {("GOVERNANCE", end(locking, YOUNG), False)}
    assert check_locks(locking.settings).differences == ()


@heavy
def test_a_month_that_is_archived_under_a_hold_is_held_in_the_store(locking: Ledger) -> None:
    locking.warm(YOUNG)
    hold(locking, YOUNG)
    archive_month(locking.settings, locking.table, YOUNG)
    assert locks_of(locking, YOUNG) == {("GOVERNANCE", end(locking, YOUNG), True)}


def test_what_somebody_changed_in_the_store_is_reported_and_asked_for_again(locking: Ledger) -> None:
    age(locking, YOUNG)
    hold(locking, YOUNG)
    locks, store = ObjectLocks(locking.settings), ObjectStore(locking.settings)
    (first, one), (second, two), (third, three), _ = sorted(versions(locking, YOUNG).items())
    locks.hold(first, one.version, on=False)
    bucket, path = store.place(second)
    sooner = {"Mode": "GOVERNANCE", "RetainUntilDate": datetime.now(UTC) + timedelta(days=1)}
    named = {"Bucket": bucket, "Key": path, "VersionId": two.version}
    store.call("put_object_retention", **named, Retention=sooner, BypassGovernanceRetention=True)
    store.replace_bytes(b"somebody was here", third)
    with pytest.raises(VerificationError) as raised:
        check_locks(locking.settings)
    text = str(raised.value)
    assert f"{first}, version {one.version}: the store's legal hold was taken off" in text
    assert f"{second}, version {two.version}: its retention until 2034-04-01 ends on" in text
    assert f"{third}: has 2 versions, and one was written" in text
    assert locking.sql("SELECT state FROM alerts WHERE rule = %s", DIFFERING) == [("open",)]
    assert VersionedStore(locking.settings).versions(first)[0].legal_hold
    assert VersionedStore(locking.settings).versions(second)[0].locked_until == end(locking, YOUNG)
    assert three.legal_hold


@heavy
def test_a_legal_hold_that_nobody_placed_here_is_reported_and_left(locking: Ledger) -> None:
    age(locking, YOUNG)
    key, one = next(iter(versions(locking, YOUNG).items()))
    ObjectLocks(locking.settings).hold(key, one.version, on=True)
    with pytest.raises(VerificationError, match="has a legal hold that no hold of Treasury asks for"):
        check_locks(locking.settings)
    placed = hold(locking, YOUNG)
    release(locking, placed.hold.number)
    assert VersionedStore(locking.settings).versions(key)[0].legal_hold


@heavy
def test_a_hold_stands_although_the_store_does_not_take_it(locking: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    age(locking, YOUNG)
    with monkeypatch.context() as patch:
        patch.setattr(ObjectLocks, "hold", _refuse)
        placed = hold(locking, YOUNG)
    assert placed.is_open
    assert locking.sql("SELECT state, title FROM alerts WHERE rule = %s", UNHELD) == [
        ("open", f"{placed.hold.name}: the bucket refuses it")
    ]
    assert check_locks(locking.settings).held == len(EVERY_PART)
    assert {held for _, _, held in locks_of(locking, YOUNG)} == {True}
    assert locking.sql("SELECT state FROM alerts WHERE rule = %s", UNHELD) == [("resolved",)]


def _refuse(*_: object, **__: object) -> None:
    raise ConfigError("the bucket refuses it")


def test_a_shorter_policy_does_not_shorten_what_a_lock_promised(locking: Ledger) -> None:
    longer = with_retention(locking, 240)
    age(longer, OLD)
    assert {until for _, until, _ in locks_of(longer, OLD)} == {datetime(2034, 3, 1, tzinfo=UTC)}
    (kept,) = plan_deletion(locking.settings, [locking.table]).kept
    assert (kept.month, "asked to keep its objects until 2034-03-01" in kept.reason) == (OLD, True)
    with pytest.raises(RefusalError, match=r"nothing new is past its policy.*until 2034-03-01"):
        request_deletion(locking.settings, [locking.table], "anna", "past the policy")
    with pytest.raises(VerificationError, match="retention_months 120 is less than the promise of the locks"):
        check_locks(locking.settings)
    assert {until for _, until, _ in locks_of(locking, OLD)} == {datetime(2034, 3, 1, tzinfo=UTC)}
    assert check_locks(longer.settings).differences == ()


@heavy
def test_a_mode_is_never_weakened(locking: Ledger) -> None:
    strict = Ledger(locking.settings.model_copy(update={"write_once": "compliance"}), locking.store)
    age(strict, YOUNG)
    longer = with_retention(locking, 132)
    assert compare_locks(longer.settings).locked == len(EVERY_PART)
    assert locks_of(longer, YOUNG) == {("COMPLIANCE", end(longer, YOUNG), False)}


@pytest.mark.heavy("a hold in the store is tested beside it")
def test_rows_that_stay_are_held_in_the_store_when_the_rest_of_their_month_is_deleted(locking: Ledger) -> None:
    age(locking, OLDER)
    placed = hold(locking, OLDER, "wallet-3")
    before = {one.version for one in versions(locking, OLDER).values()}
    approved(locking)
    (outcome,) = delete(locking)
    assert outcome.result is DeletionResult.DELETED, outcome
    said = certificate(locking, outcome.certificate)
    assert {version["version"] for one in said["objects"] for version in one["versions"]} == before
    assert {version["legal_hold"] for one in said["objects"] for version in one["versions"]} == {True}
    keys = [key for (key,) in locking.sql("SELECT object_key FROM archive_uploads WHERE state = 'current'")]
    assert len(keys) == len(KEPT_PART)
    held = [one for key in keys for one in VersionedStore(locking.settings).versions(key)]
    assert [one.legal_hold for one in held] == [True] * len(KEPT_PART)
    assert wrong(locking) == []
    release(locking, placed.hold.number)
    approved(locking)
    assert [one.result for one in delete(locking)] == [DeletionResult.DELETED]
    assert VersionedStore(locking.settings).keys("transactions/month=2014-01") == set()


def test_a_version_is_on_the_certificate_once_although_the_run_was_killed_between_its_hold_and_its_deletion(
    locking: Ledger,
) -> None:
    def die(done: str) -> None:
        if done.startswith("released"):
            raise KilledError

    age(locking, OLDER)
    hold(locking, OLDER, "wallet-3")
    before = {key: version.version for key, version in versions(locking, OLDER).items()}
    approved(locking)
    with pytest.raises(KilledError):
        delete(locking, die)
    (outcome,) = delete(locking)
    content = certificate(locking, outcome.certificate)
    listed = {removed["key"]: removed["versions"] for removed in content["objects"]}
    assert {key: [version["version"] for version in noted] for key, noted in listed.items()} == {
        key: [version] for key, version in before.items()
    }
    assert {version["legal_hold"] for noted in listed.values() for version in noted} == {True}


def test_a_copy_of_held_rows_that_the_bucket_has_locked_stops_nothing_while_they_are_held(locking: Ledger) -> None:
    def die(done: str) -> None:
        if done == "kept":
            raise KilledError

    age(locking, OLDER)
    placed = hold(locking, OLDER, "wallet-3")
    approved(locking)
    with pytest.raises(KilledError):
        delete(locking, die)
    copies = [key for (key,) in locking.sql("SELECT object_key FROM archive_uploads WHERE state = 'keeping'")]
    assert len(copies) == len(KEPT_PART)
    _retain(locking, copies, datetime.now(UTC) + timedelta(days=1))  # as a default retention of the bucket does
    assert [one.result for one in delete(locking)] == [DeletionResult.DELETED]
    assert wrong(locking) == []
    release(locking, placed.hold.number)
    approved(locking)
    (outcome,) = delete(locking)
    assert (outcome.result, "locked (GOVERNANCE) until" in outcome.reason) == (DeletionResult.FAILED, True)
    _retain(locking, copies, datetime.now(UTC) + timedelta(seconds=2))
    time.sleep(3)
    assert [one.result for one in delete(locking)] == [DeletionResult.DELETED]
    assert VersionedStore(locking.settings).keys("transactions/month=2014-01") == set()


def _retain(ledger: Ledger, keys: list[str], until: datetime) -> None:
    store = ObjectStore(ledger.settings)
    for key in keys:
        bucket, path = store.place(key)
        (version,) = VersionedStore(ledger.settings).versions(key)
        named = {"Bucket": bucket, "Key": path, "VersionId": version.version}
        retention = {"Mode": "GOVERNANCE", "RetainUntilDate": until}
        store.call("put_object_retention", **named, Retention=retention, BypassGovernanceRetention=True)


@heavy
def test_the_certificate_has_mode_and_end_of_each_versions_lock(locking: Ledger) -> None:
    age(locking, OLD)
    store, soon = ObjectStore(locking.settings), datetime.now(UTC) + timedelta(seconds=4)
    there = versions(locking, OLD)
    for key, one in there.items():
        ObjectLocks(locking.settings).retain(key, one.version, LockMode.GOVERNANCE, soon)
        assert store.exists(key)
    approved(locking)
    (outcome,) = delete(locking)
    assert outcome.result is DeletionResult.FAILED
    assert f"is locked (GOVERNANCE) until {soon:%Y-%m-%d %H:%M:%S}" in outcome.reason
    assert locking.content().keys() == {str(OLD)}
    while datetime.now(UTC) < soon + timedelta(seconds=1):
        pass
    (outcome,) = delete(locking)
    assert outcome.result is DeletionResult.DELETED
    objects = certificate(locking, outcome.certificate)["objects"]
    shown = [version for one in objects for version in one["versions"]]
    facts = [(one["version"], one["size_bytes"], one["storage_class"]) for one in shown]
    assert dict(zip((one["key"] for one in objects), facts, strict=True)) == {
        key: (one.version, one.size_bytes, "STANDARD") for key, one in there.items()
    }
    assert all(one.version for one in there.values())
    assert {version["lock_mode"] for version in shown} == {"GOVERNANCE"}
    assert {version["locked_until"][:19] for version in shown} == {f"{soon:%Y-%m-%dT%H:%M:%S}"}


@pytest.mark.sampled(1, heavy=2)
@pytest.mark.parametrize("step", list(Step))
def test_an_archiving_that_is_killed_at_any_step_ends_with_locked_objects(locking: Ledger, step: Step) -> None:
    locking.warm(YOUNG)

    def die(done: Step) -> None:
        if done is step:
            raise KilledError

    with pytest.raises(KilledError):
        archive_month(locking.settings, locking.table, YOUNG, die)
    if locking.tier(YOUNG) == "warm":
        archive_month(locking.settings, locking.table, YOUNG)
    with connect(locking.settings.database_dsn, "tests") as connection:
        remove_orphans(connection, locking.settings, locking.table)
    assert locks_of(locking, YOUNG) == {("GOVERNANCE", end(locking, YOUNG), False)}
    assert check_locks(locking.settings).differences == ()
    publish_log(locking.settings)
    assert wrong(locking) == []
    left = VersionedStore(locking.settings).keys(f"transactions/month={YOUNG}")
    assert len(left) == (2 if step is Step.LOCKED else 1)  # what was locked a moment before stays until its date


@heavy
def test_a_version_behind_a_delete_marker_is_deleted_with_its_month(locking: Ledger) -> None:
    """An earlier attempt's object, which a plain delete has hidden and not removed."""
    locking.warm(OLD)

    def die(done: Step) -> None:
        if done is Step.UPLOADED:
            raise KilledError

    with pytest.raises(KilledError):
        archive_month(locking.settings, locking.table, OLD, die)
    ((former,),) = locking.sql("SELECT object_key FROM archive_uploads")
    ObjectStore(locking.settings).remove(former)
    locking.sql("UPDATE archive_uploads SET state = 'removed'")
    archive_month(locking.settings, locking.table, OLD)
    approved(locking)
    (outcome,) = delete(locking)
    assert outcome.result is DeletionResult.DELETED, outcome
    said = certificate(locking, outcome.certificate)["objects"]
    assert [one["kind"] for one in said if one["key"] == former] == ["leftover"]
    assert VersionedStore(locking.settings).versions(former) == []


@heavy
def test_a_hidden_version_that_this_database_did_not_write_stops_the_deletion(locking: Ledger) -> None:
    age(locking, OLD)
    store, key = ObjectStore(locking.settings), f"transactions/month={OLD}/copy.parquet"
    store.put_bytes(store.read_bytes(locking.catalogue(OLD)["object_key"]), key)
    store.remove(key)
    assert not store.exists(key)
    approved(locking)
    (outcome,) = delete(locking)
    assert (outcome.result, key in outcome.reason) == (DeletionResult.KEPT, True)
    VersionedStore(locking.settings).remove(key)
    assert [one.result for one in delete(locking)] == [DeletionResult.DELETED]


@heavy
def test_holds_are_placed_on_the_whole_scope(locking: Ledger) -> None:
    from ledger.holds import HoldScope
    from tests.tasks.retention.aged import REVIEW

    age(locking, OLDER, OLD, YOUNG)
    placed = place_hold(locking.settings, HoldScope(OLDER, OLD), "matter", "asked for", "anna", REVIEW)
    held = {month: {one for _, _, one in locks_of(locking, month)} for month in (OLDER, OLD, YOUNG)}
    assert held == {OLDER: {True}, OLD: {True}, YOUNG: {False}}
    release_hold(locking.settings, placed.hold.number, "ben", "done")
    assert {one for _, _, one in locks_of(locking, OLD)} == {True}
