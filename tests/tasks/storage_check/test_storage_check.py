"""The store is tried: what it really does, which of that the settings rely on, and nothing is left behind."""

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from config import Settings
from ledger.errors import ConflictError
from storage.layout import CANARIES
from storage.store import ObjectStore
from storage.versions import VersionedStore
from tasks.storage_check.check import check_storage
from tasks.storage_check.findings import PromiseState, StorageReport
from tests.stores import Store

KEPT = "a locked version cannot be deleted"
SHORT = "a retention cannot be shortened"
BYPASS = "this login cannot bypass a retention"
HELD = "a version under a legal hold cannot be deleted"
FORMER = "a replaced or deleted object keeps its former version"
CONDITION = "a conditional put (If-None-Match: *) replaces nothing"
CHECKSUM = "a put with a wrong x-amz-checksum-sha256 is refused"
PARTS = "an upload in parts is whole, and an unfinished one can be removed"
DEEP = "an object can go into the deep storage class"
BACK = "a deep object can be restored"
RULES = "no lifecycle rule moves or expires what must stay"
ALWAYS = {
    "an object is read as it was written",
    "a list shows what was just written and deleted",
    "an object whose versions are deleted is gone",
    "Treasury does not replace an object",
    "PostgreSQL's clock is this machine's",
}


class KilledError(BaseException):
    """Stands for the end of a process."""


def at(store: Store, settings: Settings, bucket: str, **changes: object) -> Settings:
    """Settings with a part of a bucket of the store."""
    return store.settings(settings, bucket, uuid.uuid4().hex).model_copy(update=changes)


def verdicts(report: StorageReport) -> dict[str, PromiseState]:
    """What holds, by promise; what always must is looked at here."""
    found = {one.promise: one.verdict for one in report.findings}
    assert {found.pop(name) for name in ALWAYS} == {PromiseState.HOLDS}
    return found


def canaries(settings: Settings) -> set[str]:
    """What is left of them, in any version."""
    return VersionedStore(settings).everything(CANARIES)


def test_a_bucket_with_object_lock_keeps_what_it_promises(settings: Settings, seaweed_store: Store) -> None:
    own = at(seaweed_store, settings, seaweed_store.locking)
    report = check_storage(own)
    found = verdicts(report)
    holding = {KEPT, SHORT, HELD, FORMER, CONDITION, CHECKSUM, PARTS, RULES, "the store's clock is PostgreSQL's"}
    assert {name for name, verdict in found.items() if verdict is PromiseState.HOLDS} == holding
    assert found[BYPASS] is PromiseState.BROKEN  # the login of the tests may do everything
    assert found[DEEP] is PromiseState.UNTRIED
    assert report.wrong == []
    assert [one.key.rpartition("/")[2] for one in report.left] == ["retention"]
    assert {key.rpartition("/")[2] for key in canaries(own)} == {"retention"}


@pytest.mark.heavy("the test of the other mode watches the same tries")
def test_compliance_cannot_be_bypassed_and_what_a_lock_kept_is_removed_later(
    settings: Settings, seaweed_store: Store
) -> None:
    own = at(seaweed_store, settings, seaweed_store.locking, write_once="compliance")
    first = check_storage(own)
    assert verdicts(first)[BYPASS] is PromiseState.HOLDS
    assert first.wrong == []
    (left,) = first.left
    while VersionedStore(own).versions(left.key)[0].why_kept(datetime.now(UTC)):
        pass
    second = check_storage(own)
    assert second.removed == 1
    assert left.key not in canaries(own)


def test_a_required_lock_that_the_bucket_lacks_is_wrong(settings: Settings, seaweed_store: Store) -> None:
    own = at(seaweed_store, settings, seaweed_store.plain, write_once="governance")
    report = check_storage(own)
    found = verdicts(report)
    assert {found[name] for name in (KEPT, SHORT, BYPASS, HELD, FORMER)} == {PromiseState.ABSENT}
    assert {one.promise for one in report.wrong} == {KEPT, SHORT, HELD}
    assert canaries(own) == set()


@pytest.mark.heavy("a bucket with locks is tested beside it")
def test_versions_without_locks_are_told_apart(settings: Settings, seaweed_store: Store) -> None:
    own = at(seaweed_store, settings, seaweed_store.versioned)
    report = check_storage(own)
    found = verdicts(report)
    assert (found[FORMER], found[KEPT], report.wrong) == (PromiseState.HOLDS, PromiseState.ABSENT, [])
    assert canaries(own) == set()


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("server", "back"), [("moto", "restored"), ("seaweed", "objects in DEEP_ARCHIVE are readable at once")]
)
def test_the_deep_storage_class_and_the_way_back_are_tried(
    settings: Settings, moto_store: Store, seaweed_store: Store, server: str, back: str
) -> None:
    store = moto_store if server == "moto" else seaweed_store
    own = at(store, settings, store.plain, deep_storage_class="DEEP_ARCHIVE")
    report = check_storage(own)
    found = {one.promise: (one.verdict, one.found) for one in report.findings}
    assert found[DEEP] == (PromiseState.HOLDS, "DEEP_ARCHIVE, with the same bytes by the store's checksum")
    assert found[BACK] == (PromiseState.HOLDS, back)
    assert report.wrong == []
    assert canaries(own) == set()


def test_the_embedded_store_and_what_it_does_not_offer(settings: Settings) -> None:
    report = check_storage(settings.model_copy(update={"deep_storage_class": "DEEP_ARCHIVE"}))
    found = verdicts(report)
    assert {found[name] for name in (KEPT, SHORT, BYPASS, HELD, FORMER)} == {PromiseState.ABSENT}
    assert found[PARTS] in (PromiseState.HOLDS, PromiseState.BROKEN)
    (wrong,) = report.wrong
    assert (wrong.promise, "neither a SHA-256 nor an MD5" in wrong.found or "ETag" in wrong.found) == (DEEP, True)
    assert canaries(settings) == set()


_DEEP = [{"Days": 365, "StorageClass": "GLACIER"}]


@pytest.mark.parametrize(("filter_", "action", "found"), [
    ({}, {"Transitions": _DEEP}, "the rule 'r' moves _treasury/ to GLACIER; the rule 'r' moves log/ to GLACIER"),
    ({"Prefix": "OWN/log/ti"}, {"Transitions": _DEEP}, "the rule 'r' moves log/ to GLACIER"),
    ({"And": {"Prefix": "OWN/_tr", "ObjectSizeGreaterThan": 9}}, {"Transitions": _DEEP},
     "the rule 'r' moves _treasury/ to GLACIER"),
    ({"Prefix": "OWN/transactions/"}, {"Expiration": {"Days": 9}}, "the rule 'r' expires transactions/"),
    ({"Prefix": ""}, {"Expiration": {"Days": 3650}}, "the rule 'r' expires the whole archive"),
    ({"Prefix": "OWN/transactions/month="}, {"Transitions": _DEEP}, ""),
    ({"Prefix": "OWN/_treasury/canary/"}, {"Expiration": {"Days": 1}}, ""),
    ({"Prefix": "another/"}, {"Expiration": {"Days": 1}}, ""),
    ({"Tag": {"Key": "a", "Value": "b"}}, {"Transitions": _DEEP}, ""),
    ({}, {"Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}]}, ""),
    ({}, {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}, ""),
    ({}, {"NoncurrentVersionExpiration": {"NoncurrentDays": 1}}, ""),
])  # fmt: skip
def test_a_lifecycle_rule_that_reaches_what_must_stay_is_named(
    settings: Settings, moto_store: Store, filter_: dict[str, Any], action: dict[str, Any], found: str
) -> None:
    own = at(moto_store, settings, "ruled")
    store, prefix = ObjectStore(own), own.archive_location.rpartition("/")[2]
    store.call("create_bucket", Bucket="ruled")
    rule = {"ID": "r", "Status": "Enabled", "Filter": filter_} | action
    configuration = json.loads(json.dumps({"Rules": [rule]}).replace("OWN", prefix))
    store.call("put_bucket_lifecycle_configuration", Bucket="ruled", LifecycleConfiguration=configuration)
    report = check_storage(own)
    (finding,) = (one for one in report.findings if one.promise == RULES)
    assert (finding.verdict is PromiseState.HOLDS, finding.found) == (not found, found or "1 rule")
    assert [one.promise for one in report.wrong] == ([RULES] if found else [])
    configuration["Rules"][0]["Status"] = "Disabled"
    store.call("put_bucket_lifecycle_configuration", Bucket="ruled", LifecycleConfiguration=configuration)
    assert check_storage(own).wrong == []


def test_a_folder_is_tried_for_what_it_can_do(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    own = settings.model_copy(update={"archive_url": f"file://{tmp_path / 'archive'}"})
    report = check_storage(own)
    found = verdicts(report)
    assert {found[name] for name in (KEPT, HELD, FORMER)} == {PromiseState.ABSENT}
    assert report.wrong == []
    assert [one for one in (tmp_path / "archive").rglob("*") if one.is_file()] == []
    required = check_storage(own.model_copy(update={"write_once": "compliance"}))
    assert {one.promise for one in required.wrong} == {KEPT, HELD}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("number", range(12))
def test_a_check_that_is_killed_at_any_try_is_cleaned_up_by_the_next(
    settings: Settings, seaweed_store: Store, number: int
) -> None:
    own = at(seaweed_store, settings, seaweed_store.versioned)
    seen: list[str] = []

    def die(promise: str) -> None:
        seen.append(promise)
        if len(seen) > number:
            raise KilledError

    with pytest.raises(KilledError):
        check_storage(own, die)
    assert canaries(own) != set()
    report = check_storage(own)
    assert report.removed > 0
    assert canaries(own) == set()


@pytest.mark.heavy("a check that was killed is tested beside it")
def test_two_checks_do_not_remove_each_others_canaries(settings: Settings) -> None:
    def again(_: str) -> None:
        with pytest.raises(ConflictError, match="another storage check is running"):
            check_storage(settings)

    assert check_storage(settings, again).wrong == []
