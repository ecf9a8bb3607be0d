"""Whatever a stranger changes in the bucket is found by `verify_archive`, from the bucket alone."""

import random
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from config import Settings
from config.retention import RetentionSettings
from ledger.transparency.policies import LogPolicy
from sql.connection import connect
from sql.restored import Request
from storage.marker import KEY as MARKER
from tasks.archiving.to_cold import archive_month
from tasks.restoring.back_to_warm import return_month
from tasks.transparency.publish import publish_log
from tasks.transparency.report import policy_text
from tasks.transparency.rotation import rotate_keys
from tasks.verifying.findings import VerificationReport
from tasks.verifying.verification import VerificationScope, verify_archive
from tests.tasks.archiving.ledger import COLD, Ledger
from tests.tasks.retention.aged import OLD, OLDER, approved, delete, hold
from tests.tasks.transparency.time_stamping import Authority, stamping
from tests.tasks.verifying.tampering import CHANGES, Bucket, kind_of, read_objects

KINDS = {
    "checkpoint",
    "index",
    "log/tile/0",
    "log/tile/entries",
    "timestamps",
    "rows",
    "manifests json",
    "trees tree",
    "trees lookup",  # the filters of a month's columns, too
    "trees proofs",
    "holds json",
    "deletions json",
    "certificates json",
    "certificates html",
    "returns json",
}
NEXT = COLD.plus(1)
LAST = COLD.plus(2)


@pytest.fixture
def ledger(settings: Settings, tmp_path: Path) -> Ledger:
    """An empty ledger whose archive is a folder, and whose deletions have no grace period."""
    folder = tmp_path / "archive"
    folder.mkdir()
    rules = RetentionSettings(grace_days=0)
    return Ledger(settings.model_copy(update={"archive_url": f"file://{folder}", "retention": rules}), folder)


@pytest.fixture
def bucket(ledger: Ledger, tmp_path: Path) -> Bucket:
    """An archive with every kind of object, stamped, its log published many times under two generations of keys.

    `OLD` is deleted, `OLDER` keeps the rows of a wallet, `COLD` was back in warm and is archived again.
    """
    past: list[dict[str, bytes]] = []
    file = tmp_path / "authority.pem"
    with stamping(Authority()) as authority:
        file.write_bytes(authority.pem)
        changes = {"tsa_url": authority.url, "tsa_certificates": file, "tsa_timeout_s": 5.0}
        ledger.settings = ledger.settings.model_copy(update=changes)
        for step in _past(ledger):
            step()
            publish_log(ledger.settings)
            past.append(read_objects(ledger.store))
    return Bucket(ledger.store, tuple(past[:-1]))


def _past(ledger: Ledger) -> list[Callable[[], object]]:
    """What people did to the ledger, in order."""
    settings, table = ledger.settings, ledger.table
    ledger.warm(OLDER, OLD, COLD, NEXT, LAST)
    who = Request("anna", "os anna", "a correction", timedelta(days=7))
    return [
        *(partial(archive_month, settings, table, month) for month in (OLDER, OLD, COLD)),
        partial(hold, ledger, OLDER, "wallet-3"),
        partial(return_month, settings, table, COLD, who),
        partial(archive_month, settings, table, COLD),
        partial(rotate_keys, settings),
        partial(archive_month, settings, table, NEXT),
        partial(approved, ledger),
        partial(delete, ledger),
        partial(archive_month, settings, table, LAST),
        partial(hold, ledger, LAST),
    ]


def verify(ledger: Ledger, policy: LogPolicy, *, deep: bool = False, with_database: bool = False) -> VerificationReport:
    if with_database:
        with connect(ledger.settings.database_dsn, "tests") as connection:
            return verify_archive(ledger.settings, VerificationScope(deep=deep), connection, policy)
    return verify_archive(ledger.settings, VerificationScope(deep=deep), None, policy)


def test_a_change_of_the_bucket_is_found_whatever_it_is(ledger: Ledger, bucket: Bucket) -> None:
    assert _check_changes(ledger, bucket, seeds=3) > 30


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_thousand_changes_of_the_bucket_are_found(
    ledger: Ledger, bucket: Bucket, record_property: Callable[[str, object], None]
) -> None:
    """Over every kind of object, and over those of rows that were kept and of a month that was back in warm."""
    made = _check_changes(ledger, bucket, seeds=100)
    record_property("mutations", made)
    assert made >= 1000


def _check_changes(ledger: Ledger, bucket: Bucket, seeds: int) -> int:
    """Make each change with so many seeds, one at a time: all are found. Returns how many were made."""
    policy = LogPolicy.parse(policy_text(ledger.settings).encode())
    assert verify(ledger, policy, deep=True).findings == []
    whole, missed, touched = bucket.objects(), [], set()
    assert {kind_of(key) for key in bucket.tampered()} == KINDS
    made = 0
    for change in CHANGES:
        for seed in range(seeds):
            done = change(bucket, random.Random(f"{change.__name__} {seed}"))  # noqa: S311  # the same in every run
            if done is None:
                continue
            made += 1
            touched |= {key for key in whole if key in done}
            if not _is_found(verify(ledger, policy), done):
                missed.append(f"{change.__name__} {seed}: {done}")
            bucket.restore(whole)
    assert missed == []
    assert verify(ledger, policy).findings == []
    if seeds > 50:
        assert {kind_of(key) for key in touched} == KINDS
        assert touched & _former(ledger)
        assert touched & {key for key in whole if f"month={OLDER}/" in key}
    return made


def _is_found(report: VerificationReport, done: str) -> bool:
    """Whether the report says so: a record that is not in the log is nothing wrong, and a note names it."""
    named = [note.partition("such as ")[2].partition(". ")[0] for note in report.notes if " not in the log, " in note]
    return bool(report.findings) or any(key in done for key in named)


def _former(ledger: Ledger) -> set[str]:
    return {key for (key,) in ledger.sql("SELECT object_key FROM former_objects")}


@pytest.mark.heavy("changes of the bucket are tested beside it")
def test_a_changed_marker_is_found_where_the_database_is_there(ledger: Ledger, bucket: Bucket) -> None:
    """When and for which S3 server the marker was written is nowhere else, and decides nothing: it is not looked at."""
    policy = LogPolicy.parse(policy_text(ledger.settings).encode())
    content = bucket.objects()[MARKER]
    assert verify(ledger, policy, with_database=True).findings == []
    free = content.index(b'"written_at"')
    chance = random.Random("marker")  # noqa: S311  # the same changes in every run
    for _ in range(40):
        place = chance.choice([place for place in range(len(content)) if place < free])
        changed = bytearray(content)
        changed[place] ^= 1 << chance.randrange(8)
        if b'"endpoint":null' not in changed:
            continue
        bucket.write(MARKER, bytes(changed))
        assert verify(ledger, policy, with_database=True).findings, (place, bytes(changed))
    bucket.write(MARKER, None)
    assert [one.place for one in verify(ledger, policy).findings] == [MARKER]
