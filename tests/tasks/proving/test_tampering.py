"""Whatever a stranger changes in the bucket is found by `verify_archive`, from the bucket alone."""

import os
import random
from pathlib import Path

import pytest

from config import Settings
from ledger.transparency.events import Held
from ledger.transparency.policies import LogPolicy
from sql.connection import connect
from sql.log import record_event
from storage.marker import KEY as MARKER
from tasks.archiving.ownership import check_ownership
from tasks.archiving.to_cold import archive_month
from tasks.proving.findings import VerificationReport
from tasks.proving.verification import VerificationScope, verify_archive
from tasks.transparency.publish import publish_log
from tasks.transparency.report import policy_text
from tasks.transparency.rotation import rotate_keys
from tests.tasks.archiving.ledger import COLD, Ledger
from tests.tasks.proving.tampering import CHANGES, Bucket, Change, kind_of, read_objects

NEXT = COLD.plus(1)
LAST = COLD.plus(2)
IS_THOROUGH = os.environ.get("TREASURY_TEST_THOROUGH") == "1"
SEEDS = range(100 if IS_THOROUGH else 6)  # of each of twelve changes


def hold(settings: Settings, name: str) -> None:
    with connect(settings.database_dsn, "tests") as connection:
        owner = check_ownership(connection, settings)
        record_event(connection, owner, Held(table="transactions", month=str(COLD), hold=name))


@pytest.fixture
def ledger(settings: Settings, tmp_path: Path) -> Ledger:
    """An empty ledger whose archive is a folder."""
    folder = tmp_path / "archive"
    folder.mkdir()
    return Ledger(settings.model_copy(update={"archive_url": f"file://{folder}"}), folder)


@pytest.fixture
def bucket(ledger: Ledger) -> Bucket:
    """An archive of three months whose log was published five times, under two generations of keys."""
    past: list[dict[str, bytes]] = []

    def publish() -> None:
        publish_log(ledger.settings)
        past.append(read_objects(ledger.store))

    ledger.warm(COLD, NEXT, LAST)
    for month in (COLD, NEXT):
        archive_month(ledger.settings, ledger.table, month)
        publish()
    hold(ledger.settings, "one")
    rotate_keys(ledger.settings)
    past.append(read_objects(ledger.store))
    archive_month(ledger.settings, ledger.table, LAST)
    publish()
    hold(ledger.settings, "two")
    publish()
    return Bucket(ledger.store, tuple(past[:-1]))


def verify(ledger: Ledger, policy: LogPolicy, *, deep: bool = False, with_database: bool = False) -> VerificationReport:
    if with_database:
        with connect(ledger.settings.database_dsn, "tests") as connection:
            return verify_archive(ledger.settings, VerificationScope(deep=deep), connection, policy)
    return verify_archive(ledger.settings, VerificationScope(deep=deep), None, policy)


@pytest.mark.timeout(7200)
def test_every_change_of_the_bucket_is_found(ledger: Ledger, bucket: Bucket) -> None:
    policy = LogPolicy.parse(policy_text(ledger.settings).encode())
    assert verify(ledger, policy, deep=True).findings == []
    whole = bucket.objects()
    missed, kinds, made = [], set(), 0
    for change in CHANGES:
        for seed in SEEDS:
            chance = random.Random(f"{change.__name__} {seed}")  # noqa: S311  # the same changes in every run
            done, report = _changed(ledger, bucket, policy, change, chance)
            bucket.restore(whole)
            if done is None:
                continue
            made += 1
            kinds |= {kind_of(key) for key in whole if key in done}
            if report is not None and not report.findings:
                missed.append(f"{change.__name__} {seed}: {done}")
    assert missed == []
    assert made > len(CHANGES) * len(SEEDS) * 0.8
    assert {"checkpoint", "log/tile/0", "log/tile/entries", "index", "parquet", "json", "tree"} <= kinds
    assert verify(ledger, policy).findings == []


def _changed(
    ledger: Ledger, bucket: Bucket, policy: LogPolicy, change: Change, chance: random.Random
) -> tuple[str | None, VerificationReport | None]:
    """What was changed, and what the verification found; None where it refused to go on, by name."""
    done = change(bucket, chance)
    if done is None:
        return None, None
    return done, verify(ledger, policy)


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
