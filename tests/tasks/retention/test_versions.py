"""A bucket with versions: every version of a deleted month goes, and a locked one keeps the month."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from config import Settings
from storage.store import ObjectStore
from storage.versions import KeptVersionError, VersionedStore
from tasks.retention.deletion import DeletionResult
from tests.tasks.archiving.ledger import Ledger
from tests.tasks.retention.aged import OLD, OLDER, age, approved, certificate, delete, wrong
from tests.tasks.retention.versioned_bucket import KEY, SECRET, WEED, seaweed

needs_weed = pytest.mark.skipif(WEED is None, reason="no program `weed`: TREASURY_TEST_WEED names one")


@pytest.fixture
def locking(ledger: Ledger, tmp_path: Path) -> Iterator[Ledger]:
    """Two months past their policy in a bucket with versions and Object Lock."""
    with seaweed(tmp_path / "weed") as url:
        changes: dict[str, Any] = {
            "archive_url": "s3://archive/prefix",
            "s3_endpoint_url": url,
            "s3_access_key_id": KEY,
            "s3_secret_access_key": SecretStr(SECRET),
        }
        settings = ledger.settings.model_copy(update=changes)
        ObjectStore(settings).call("create_bucket", Bucket="archive", ObjectLockEnabledForBucket=True)
        made = Ledger(settings, tmp_path)
        age(made, OLDER, OLD)
        yield made


@needs_weed
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
    assert versions.versions(key) == []
    assert wrong(locking) == []


@needs_weed
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


@needs_weed
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


def test_a_store_without_versions_has_one_of_each_object(old: Ledger, settings: Settings) -> None:
    key, store = old.catalogue(OLD)["object_key"], VersionedStore(settings)
    (one,) = store.versions(key)
    assert (one.size_bytes, one.is_marker) == (old.catalogue(OLD)["object_bytes"], False)
    store.remove(key)
    store.remove(key)
    assert store.versions(key) == []
