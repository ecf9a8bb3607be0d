"""A bucket with versions: every version of a deleted month goes, and a locked one keeps the month."""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from config import Settings
from storage.store import ObjectStore
from storage.versions import KeptVersionError, VersionedStore
from tasks.retention.deletion import DeletionResult
from tests.stores import Store
from tests.tasks.archiving.ledger import Ledger
from tests.tasks.retention.aged import OLD, OLDER, age, approved, certificate, delete, wrong


@pytest.fixture
def locking(ledger: Ledger, seaweed_store: Store, tmp_path: Path) -> Ledger:
    """Two months past their policy in a bucket with versions and Object Lock."""
    settings = seaweed_store.settings(ledger.settings, seaweed_store.locking, uuid.uuid4().hex)
    made = Ledger(settings, tmp_path)
    age(made, OLDER, OLD)
    return made


def test_every_version_is_deleted_and_listed_on_the_certificate(locking: Ledger) -> None:
    store, key = ObjectStore(locking.settings), locking.catalogue(OLD)["object_key"]
    content = store.read_bytes(key)
    store.replace_bytes(b"somebody was here", key)
    store.remove(key)
    store.replace_bytes(content, key)
    versions = VersionedStore(locking.settings)
    assert [one.is_marker for one in versions.versions(key)].count(True) == 1
    approved(locking)
    outcomes = delete(locking)
    assert [one.result for one in outcomes] == [DeletionResult.DELETED, DeletionResult.DELETED], outcomes
    (said,) = [one for one in certificate(locking, outcomes[1].certificate)["objects"] if one["key"] == key]
    assert len(said["versions"]) == 4
    assert all(one["version"] for one in said["versions"])
    assert said["method"] == "every version deleted by its id; then absent by key and in the list of versions"
    assert versions.versions(key) == []
    assert wrong(locking) == []


@pytest.mark.heavy("versions are tested beside it")
def test_a_locked_version_keeps_its_month_and_is_named_with_the_end_of_its_lock(locking: Ledger) -> None:
    store, key = ObjectStore(locking.settings), locking.catalogue(OLD)["object_key"]
    until = datetime.now(UTC) + timedelta(days=30)
    lock(store, key, until)
    approved(locking)
    outcomes = delete(locking)
    assert [one.result for one in outcomes] == [DeletionResult.DELETED, DeletionResult.FAILED]
    (version,) = VersionedStore(locking.settings).versions(key)
    assert f"version {version.version} of {key}: it is locked (COMPLIANCE) until {until:%Y-%m-%d}" in outcomes[1].reason
    assert locking.content().keys() == {str(OLD)}
    assert wrong(locking) == []


@pytest.mark.heavy("the kept version of the test before it is found by the same look")
def test_a_lock_that_comes_after_the_last_look_leaves_the_month_without_a_certificate(locking: Ledger) -> None:
    store, key = ObjectStore(locking.settings), locking.catalogue(OLD)["tree"]["key"]
    until = datetime.now(UTC) + timedelta(days=30)

    def lock_late(step: str) -> None:
        if step == "published" and locking.tier(OLD) == "deleted":
            lock(store, key, until)

    approved(locking)
    outcomes = delete(locking, lock_late)
    assert [one.result for one in outcomes] == [DeletionResult.DELETED, DeletionResult.FAILED]
    assert f"{key}: the store keeps version" in outcomes[1].reason
    assert locking.sql("SELECT state, count(certificate_content) FROM deletions GROUP BY 1 ORDER BY 1") == [
        ("begun", 0),
        ("done", 1),
    ]
    assert locking.content() == {}
    with pytest.raises(KeptVersionError, match="locked"):
        VersionedStore(locking.settings).remove(key)
    assert [one.result for one in delete(locking)] == [DeletionResult.FAILED]


def lock(store: ObjectStore, key: str, until: datetime) -> None:
    bucket, name = store.place(key)
    retention = {"Mode": "COMPLIANCE", "RetainUntilDate": until}
    store.call("put_object_retention", Bucket=bucket, Key=name, Retention=retention)


@pytest.mark.heavy("test_deletion.py deletes in such a store")
def test_a_store_without_versions_has_one_of_each_object(old: Ledger, settings: Settings) -> None:
    key, store = old.catalogue(OLD)["object_key"], VersionedStore(settings)
    (one,) = store.versions(key)
    assert (one.size_bytes, one.is_marker) == (old.catalogue(OLD)["object_bytes"], False)
    store.remove(key)
    store.remove(key)
    assert store.versions(key) == []
