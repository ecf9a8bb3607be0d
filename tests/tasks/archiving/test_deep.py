"""Cold to deep: the object goes into another storage class with the same bytes, and what cannot be read is named."""

import json
import uuid
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from config import Settings
from ledger.errors import ConfigError, ConflictError, DataError, DeepTierError, VerificationError
from ledger.months import Month
from ledger.transparency.events import Deepened, Event
from ledger.transparency.policies import LogPolicy
from sql.connection import connect
from sql.installation import read_installation
from sql.log import read_entries
from sql.restored import Request
from sql.verified import part_ages
from storage import storage_classes
from storage.object_locks import ObjectLocks
from storage.storage_classes import CopySums, StorageClasses
from storage.store import ObjectStore
from storage.versions import VersionedStore
from tasks.archiving.move_month import move_month
from tasks.archiving.outcome import MoveAction, MoveOutcome, MoveResult
from tasks.archiving.plan import plan_table
from tasks.archiving.tiers import tier_rows
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_deep import DeepStep, deepen
from tasks.proving.proofs import Prover
from tasks.restoring.back_to_warm import return_month
from tasks.restoring.requests import Readability, RetrievalTier, request_restore
from tasks.restoring.restore import restore_month
from tasks.retention.recovery import restore_life
from tasks.transparency.publish import publish_log
from tasks.transparency.report import policy_text
from tasks.verifying.drill import drill
from tasks.verifying.findings import VerificationReport
from tasks.verifying.reverification import DAMAGED, reverify
from tasks.verifying.verification import VerificationScope, verify_archive
from tests.stores import Store
from tests.tasks.archiving.ledger import COLD, HOT, TODAY, Ledger
from tests.tasks.retention.aged import hold

DEEP = Month(2018, 5)  # due for the deep tier on TODAY
DEEPER = Month(2018, 4)
CLASS = "DEEP_ARCHIVE"
heavy = pytest.mark.heavy("the tests of moving, reading and one kill watch the deep tier")


class KilledError(BaseException):
    """Stands for the end of a process."""


def in_bucket(ledger: Ledger, store: Store, bucket: str, folder: Path, **changes: object) -> Ledger:
    """The ledger with its archive in a bucket of another store, and two archived months that are due for deep."""
    settings = store.settings(ledger.settings, bucket, uuid.uuid4().hex)
    made = Ledger(settings.model_copy(update={"deep_storage_class": CLASS, "object_cache_mb": 0} | changes), folder)
    made.warm(DEEPER, DEEP, COLD)
    for month in (DEEPER, DEEP, COLD):
        archive_month(made.settings, made.table, month)
    publish_log(made.settings)
    return made


@pytest.fixture
def glacier(ledger: Ledger, moto_store: Store, tmp_path: Path) -> Ledger:
    """A bucket whose deep objects must be restored first."""
    return in_bucket(ledger, moto_store, moto_store.plain, tmp_path)


def deepened(ledger: Ledger, as_of: date = TODAY) -> list[MoveOutcome]:
    """What the nightly flow moves into the deep tier."""
    moves = plan_table(ledger.settings, ledger.table, as_of, TODAY, frozenset({MoveAction.TO_DEEP}))
    return [outcome for move in moves for outcome in move_month(ledger.settings, move)]


def state(ledger: Ledger, month: Month) -> tuple[str, str | None]:
    """Tier and storage class by the catalogue."""
    row = ledger.catalogue(month)
    return row["tier"], row["storage_class"]


def stored_class(ledger: Ledger, month: Month) -> str:
    """The storage class of the object with the rows, by the store."""
    return StorageClasses(ledger.settings).state(ledger.catalogue(month)["object_key"]).storage_class


def events(ledger: Ledger) -> list[Deepened]:
    """What the public log says of the deep tier."""
    with connect(ledger.settings.database_dsn, "tests") as connection:
        installation = read_installation(connection)
        assert installation is not None
        entries = read_entries(connection, installation.installation_id)
    bodies = [Event.from_bytes(entry).body for entry in entries]
    return [body for body in bodies if isinstance(body, Deepened)]


def test_a_month_goes_deep_at_its_age_and_its_metadata_stay_readable(glacier: Ledger) -> None:
    outcomes = deepened(glacier)
    assert [(one.month, one.action, one.result) for one in outcomes] == [
        (DEEPER, MoveAction.TO_DEEP, MoveResult.MOVED),
        (DEEP, MoveAction.TO_DEEP, MoveResult.MOVED),
    ]
    assert (state(glacier, DEEP), stored_class(glacier, DEEP)) == (("deep", CLASS), CLASS)
    assert (state(glacier, COLD), stored_class(glacier, COLD)) == (("cold", None), "STANDARD")
    row = glacier.catalogue(DEEP)
    store = ObjectStore(glacier.settings)
    assert store.read_bytes(row["manifest_key"])
    assert store.read_bytes(row["tree"]["key"])
    assert [(one.month, one.storage_class) for one in events(glacier)] == [(str(DEEPER), CLASS), (str(DEEP), CLASS)]
    assert deepened(glacier) == []
    assert glacier.sql("SELECT count(*) FROM archive_copies") == [(0,)]
    assert store.keys("_treasury/canary") == []


def test_what_cannot_be_read_is_named_with_the_command_and_nothing_is_short(glacier: Ledger) -> None:
    deepened(glacier)
    command = "treasury restore-request transactions 2018-04..2018-05"
    with pytest.raises(DeepTierError, match=f"transactions 2018-04..2018-05: in a storage class.*`{command}`"):
        glacier.ask("SELECT count(*) FROM transactions")
    with pytest.raises(DeepTierError, match=r"transactions 2018-05: .*`treasury restore-request transactions 2018-05`"):
        glacier.ask("SELECT sum(amount) FROM transactions WHERE month = '2018-05'")
    assert glacier.ask("SELECT count(*) AS n FROM transactions WHERE month > '2020-01'") == [{"n": 40}]
    with pytest.raises(DeepTierError, match="restore-request transactions 2018-05"):
        restore_month(glacier.settings, glacier.table, DEEP, Request("anna", "anna", "audit", _days(3)))
    with pytest.raises(DeepTierError, match="restore-request transactions 2018-05"):
        return_month(glacier.settings, glacier.table, DEEP, Request("anna", "anna", "audit", _days(3)))
    assert state(glacier, DEEP) == ("deep", CLASS)
    with Prover(glacier.settings) as prover, pytest.raises(DeepTierError, match="restore-request transactions 2018-05"):
        prover.statement(glacier.table, "wallet-3", DEEP)


def test_the_tier_of_a_deep_month_is_deep_and_the_archive_is_both(glacier: Ledger) -> None:
    whole = "SELECT tier, count(*) AS n, sum(amount) AS amount FROM {} GROUP BY tier ORDER BY tier"
    before = glacier.ask(whole.format("transactions_archive_cold"))
    assert [row["tier"] for row in before] == ["cold"]
    deepened(glacier)
    request_restore(glacier.settings, glacier.table, DEEPER, DEEP, 3, RetrievalTier.BULK)
    after = glacier.ask(whole.format("transactions_archive_cold"))
    assert [row["tier"] for row in after] == ["cold", "deep"]
    assert {name: sum(row[name] for row in after) for name in ("n", "amount")} == {
        name: before[0][name] for name in ("n", "amount")
    }
    assert glacier.ask("SELECT DISTINCT tier FROM transactions WHERE month = '2018-05'") == [{"tier": "deep"}]
    assert glacier.ask("SELECT count(*) AS n FROM transactions WHERE tier = 'cold' AND month = '2018-05'") == [{"n": 0}]


def _days(count: int) -> Any:
    from datetime import timedelta

    return timedelta(days=count)


@pytest.mark.heavy("what cannot be read is tested beside it")
def test_a_restored_month_is_read_like_any_other(glacier: Ledger) -> None:
    before = glacier.content()
    deepened(glacier)
    asked = request_restore(glacier.settings, glacier.table, DEEPER, DEEP, 3, RetrievalTier.BULK)
    assert [(one.month, one.storage_class) for one in asked] == [(DEEPER, CLASS), (DEEP, CLASS)]
    assert {one.state for one in asked} <= {Readability.READABLE, Readability.REQUESTED}
    again = request_restore(glacier.settings, glacier.table, DEEPER, DEEP, 3, RetrievalTier.BULK)
    assert {(one.state, one.readable_until is not None) for one in again} == {(Readability.READABLE, True)}
    assert glacier.content() == before
    assert state(glacier, DEEP) == ("deep", CLASS)
    ((count,),) = glacier.sql("SELECT count(*) FROM archive_events WHERE event = 'restore requested'")
    assert count == 2


@pytest.mark.parametrize(
    ("first", "last", "kind", "text"),
    [
        (DEEP, DEEPER, ConfigError, "2018-04 is before 2018-05"),
        (HOT, HOT, DataError, "2026-10 is hot: its rows are in PostgreSQL already"),
        (Month(1999, 1), Month(1999, 1), ConfigError, "transactions has no month 1999-01"),
    ],
)
@heavy
def test_a_request_for_months_that_are_not_archived_is_refused(
    glacier: Ledger, first: Month, last: Month, kind: type[Exception], text: str
) -> None:
    glacier.fill(HOT)
    plan_table(glacier.settings, glacier.table, TODAY, TODAY)
    with pytest.raises(kind, match=text):
        request_restore(glacier.settings, glacier.table, first, last, 3, RetrievalTier.BULK)


@heavy
def test_a_request_in_vain_names_what_the_store_lacks(glacier: Ledger) -> None:
    deepened(glacier)
    with pytest.raises(ConfigError, match=r"expedited: .* is in DEEP_ARCHIVE, which has standard and bulk only"):
        request_restore(glacier.settings, glacier.table, DEEP, DEEP, 3, RetrievalTier.EXPEDITED)
    (one,) = request_restore(glacier.settings, glacier.table, COLD, COLD, 3, RetrievalTier.BULK)
    assert (one.state, one.readable_until) == (Readability.READABLE, None)


@pytest.mark.heavy("what cannot be read is tested beside it")
def test_deep_months_are_looked_at_each_night_and_read_once_they_are_restored(glacier: Ledger) -> None:
    deepened(glacier)
    publish_log(glacier.settings)
    with connect(glacier.settings.database_dsn, "tests") as connection:
        report = verify_archive(glacier.settings, VerificationScope(deep=True), connection)
    assert (report.findings, report.counts["months"], report.counts["months looked at"]) == ([], 1, 2)
    assert len([note for note in report.notes if "looked at, not read: transactions 2018-0" in note]) == 2
    assert reverify(glacier.settings).parts == 1
    request_restore(glacier.settings, glacier.table, DEEP, DEEP, 3, RetrievalTier.BULK)
    glacier.sql("UPDATE archive_months SET verified_at = '2020-01-01'")
    assert reverify(glacier.settings).parts == 1
    key = glacier.catalogue(DEEP)["object_key"]
    assert glacier.sql("SELECT deep FROM archive_verified WHERE object_key = %s", key) == [(True,)]
    assert drill(glacier.settings) is not None


@heavy
def test_a_former_part_in_a_class_of_its_own_is_read_while_it_can_be(glacier: Ledger) -> None:
    deepened(glacier)
    key = glacier.catalogue(DEEP)["object_key"]
    request_restore(glacier.settings, glacier.table, DEEP, DEEP, 3, RetrievalTier.BULK)
    return_month(glacier.settings, glacier.table, DEEP, Request("anna", "os anna", "why", timedelta(days=1)))
    publish_log(glacier.settings)
    with connect(glacier.settings.database_dsn, "tests") as connection:
        assert key not in {age.former_key for age in part_ages(connection)}
        assert key in {age.former_key for age in part_ages(connection, classed=True)}
    glacier.sql("UPDATE month_returns SET returned_at = '2020-01-01'")
    reverify(glacier.settings)
    assert glacier.sql("SELECT deep FROM archive_verified WHERE object_key = %s", key) == [(False,)]


@pytest.mark.parametrize("is_alone", [True, False])
def test_a_rule_that_moves_the_whole_bucket_ends_no_verification(glacier: Ledger, is_alone: bool) -> None:
    """Every object that may not be moved is named, and what else is wrong as well."""
    policy = LogPolicy.parse(policy_text(glacier.settings).encode())
    hold_id = hold(glacier, COLD).hold.name
    publish_log(glacier.settings)
    store, row = ObjectStore(glacier.settings), glacier.catalogue(DEEP)
    store.remove(glacier.catalogue(COLD)["object_key"])
    record = next(key for key in store.keys("_treasury/holds") if hold_id in key)
    moved = {row["manifest_key"], row["tree"]["key"], record, "_treasury/installation.json"}
    moved |= {key for key in store.keys("log") if key.startswith("log/tile/0/")}
    for key in (*moved, row["object_key"]):
        _move(store, key)

    def verified() -> VerificationReport:
        if is_alone:
            return verify_archive(glacier.settings, VerificationScope(), None, policy)
        with connect(glacier.settings.database_dsn, "tests") as connection:
            return verify_archive(glacier.settings, VerificationScope(), connection)

    found = {one.place: one.text for one in verified().findings}
    assert found.pop(glacier.catalogue(COLD)["object_key"]) == "is missing"
    assert found.keys() == moved
    assert all("a lifecycle rule of the bucket, or somebody, moved it" in text for text in found.values())
    if not is_alone:
        with pytest.raises(VerificationError, match=r"log/tile/0/.*: must be restored before it is read"):
            reverify(glacier.settings)
        assert glacier.sql("SELECT state FROM alerts WHERE rule = %s", DAMAGED) == [("open",)]
    _move(store, "log/checkpoint")
    named = {one.place for one in verified().findings}
    assert "log/checkpoint" in named
    assert glacier.catalogue(COLD)["object_key"] in named  # by the signed indexes


def _move(store: ObjectStore, key: str) -> None:
    """What a lifecycle rule does: the same bytes in another class."""
    content, (bucket, path) = store.read_bytes(key), store.place(key)
    store.call("put_object", Bucket=bucket, Key=path, Body=content, StorageClass=CLASS)


@heavy
def test_a_deep_object_that_somebody_replaced_is_found_without_reading_it(glacier: Ledger) -> None:
    deepened(glacier)
    publish_log(glacier.settings)
    store, key = ObjectStore(glacier.settings), glacier.catalogue(DEEP)["object_key"]
    bucket, path = store.place(key)
    size = glacier.catalogue(DEEP)["object_bytes"]
    store.call("put_object", Bucket=bucket, Key=path, Body=b"x" * size, StorageClass=CLASS)
    with pytest.raises(VerificationError, match=f"{key}: its ETag is .*somebody has replaced or copied it"):
        reverify(glacier.settings)
    assert glacier.sql("SELECT state FROM alerts WHERE rule = %s", DAMAGED) == [("open",)]


@heavy
def test_an_object_that_is_not_the_archived_one_does_not_go_deep(glacier: Ledger) -> None:
    store, key = ObjectStore(glacier.settings), glacier.catalogue(DEEP)["object_key"]
    store.replace_bytes(b"x" * glacier.catalogue(DEEP)["object_bytes"], key)
    outcomes = deepened(glacier)
    assert [(one.month, one.result) for one in outcomes] == [(DEEPER, MoveResult.MOVED), (DEEP, MoveResult.FAILED)]
    assert "VerificationError" in outcomes[1].reason
    assert (state(glacier, DEEP), stored_class(glacier, DEEP)) == (("cold", None), "STANDARD")
    assert [row.note for row in tier_rows(glacier.settings, [glacier.table]) if row.month == DEEP] == [
        outcomes[1].reason
    ]


@pytest.mark.sampled(1, heavy=3)
@pytest.mark.parametrize("bucket", ["plain", "versioned"])
@pytest.mark.parametrize("step", list(DeepStep))
def test_a_move_that_is_killed_at_any_step_is_completed_by_the_next_night(
    ledger: Ledger, moto_store: Store, tmp_path: Path, bucket: str, step: DeepStep
) -> None:
    made = in_bucket(ledger, moto_store, bucket, tmp_path)
    before = made.content()

    def die(done: DeepStep) -> None:
        if done is step:
            raise KilledError

    with pytest.raises(KilledError):
        deepen(made.settings, made.table, DEEP, on_step=die)
    if step is DeepStep.READ:
        assert made.content() == before
    else:  # in the deep class, whatever the catalogue says: named, and not short
        with pytest.raises(DeepTierError, match="restore-request transactions 2018-05"):
            made.content()
    deepened(made)
    publish_log(made.settings)
    assert (state(made, DEEP), stored_class(made, DEEP)) == (("deep", CLASS), CLASS)
    assert len(VersionedStore(made.settings).versions(made.catalogue(DEEP)["object_key"])) == 1
    assert [one.month for one in events(made)].count(str(DEEP)) == 1
    assert made.sql("SELECT count(*) FROM archive_copies") == [(0,)]
    request_restore(made.settings, made.table, DEEPER, DEEP, 3, RetrievalTier.BULK)
    assert made.content() == before
    with connect(made.settings.database_dsn, "tests") as connection:
        assert verify_archive(made.settings, VerificationScope(deep=True), connection).findings == []


@heavy
def test_a_copy_in_parts_has_the_sums_that_were_read(glacier: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    store, bucket = ObjectStore(glacier.settings), "plain"
    content = bytes(range(256)) * (24 << 10)  # 6 MiB: S3 takes parts of 5 MiB at least
    key = f"transactions/month={DEEP}/large.parquet"
    store.put_bytes(content, key)
    file = glacier.settings.spool.parent / "large"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    sums = CopySums.of(file, 5 << 20)
    assert (sums.etag[-2:], sums.checksum[-2:]) == ("-2", "-2")
    classes = StorageClasses(glacier.settings)
    before = classes.state(key)
    classes.copy(key, before.version, before.etag, CLASS, 5 << 20)
    after = classes.state(key)
    assert (after.storage_class, bucket) == (CLASS, "plain")
    after.require(key, sums)
    with pytest.raises(VerificationError, match="of the copy is"):
        after.require(key, CopySums(sums.size_bytes, sums.part_bytes, "0" * 32 + "-2", "other-2"))
    assert storage_classes.COPY_PART_BYTES == 1 << 30


@pytest.mark.heavy("a month that goes deep is tested beside it")
def test_a_locked_object_is_not_copied_and_goes_deep_once_the_store_shows_it(
    ledger: Ledger, seaweed_store: Store, tmp_path: Path
) -> None:
    made = in_bucket(ledger, seaweed_store, seaweed_store.locking, tmp_path)
    (outcome, _) = deepened(made)
    assert outcome.result is MoveResult.HELD_BACK
    assert "is locked (GOVERNANCE) until" in outcome.reason
    rule = json.loads(outcome.reason[outcome.reason.index("{") : outcome.reason.rindex("}") + 1])
    ((one,),) = (rule["Rules"],)
    assert one["Filter"]["Prefix"].endswith("/transactions/month=")
    assert one["Transitions"] == [{"Days": (84 - 12) * 31, "StorageClass": CLASS}]
    assert len(VersionedStore(made.settings).versions(made.catalogue(DEEP)["object_key"])) == 1
    _transition(made, DEEP)
    outcomes = deepened(made)
    assert [(one.month, one.result) for one in outcomes] == [(DEEPER, MoveResult.HELD_BACK), (DEEP, MoveResult.MOVED)]
    assert state(made, DEEP) == ("deep", CLASS)


def _transition(ledger: Ledger, month: Month) -> None:
    """What a lifecycle rule does: the only version is in another class. This server can only copy."""
    store, key = ObjectStore(ledger.settings), ledger.catalogue(month)["object_key"]
    bucket, path = store.place(key)
    (old,) = VersionedStore(ledger.settings).versions(key)
    source = {"Bucket": bucket, "Key": path, "VersionId": old.version}
    store.call("copy_object", Bucket=bucket, Key=path, CopySource=source, StorageClass=CLASS)
    store.call("delete_object", Bucket=bucket, Key=path, VersionId=old.version, BypassGovernanceRetention=True)
    (new,) = VersionedStore(ledger.settings).versions(key)
    ObjectLocks(ledger.settings).hold(key, new.version, on=False)
    assert new.storage_class == CLASS


@heavy
def test_what_a_rule_moved_without_a_lock_is_compared_before_it_is_recorded(glacier: Ledger) -> None:
    store, key = ObjectStore(glacier.settings), glacier.catalogue(DEEP)["object_key"]
    content, (bucket, path) = store.read_bytes(key), store.place(key)
    for body, result in ((b"x" * len(content), MoveResult.FAILED), (content, MoveResult.MOVED)):
        store.call("put_object", Bucket=bucket, Key=path, Body=body, StorageClass=CLASS)
        (outcome,) = [one for one in deepened(glacier) if one.month == DEEP]
        assert outcome.result is MoveResult.FAILED
        assert "neither a SHA-256 of the store nor a lock proves it" in outcome.reason
        request_restore(glacier.settings, glacier.table, DEEP, DEEP, 1, RetrievalTier.BULK)
        (outcome,) = [one for one in deepened(glacier) if one.month == DEEP]
        assert outcome.result is result, outcome
    assert state(glacier, DEEP) == ("deep", CLASS)


@heavy
@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_in_a_folder_and_without_a_class_a_month_is_recorded_deep_and_stays_readable(
    ledger: Ledger, tmp_path: Path, place: str
) -> None:
    (tmp_path / "archive").mkdir()
    in_folder = {"archive_url": f"file://{tmp_path / 'archive'}", "deep_storage_class": CLASS}
    own = Ledger(ledger.settings.model_copy(update=in_folder if place == "folder" else {}), tmp_path)
    own.warm(DEEP)
    archive_month(own.settings, own.table, DEEP)
    assert [one.result for one in deepened(own)] == [MoveResult.MOVED]
    assert state(own, DEEP) == ("deep", None)
    assert deepen(own.settings, own.table, DEEP) is None
    assert own.content().keys() == {str(DEEP)}
    publish_log(own.settings)
    own.sql("UPDATE archive_months SET verified_at = '2020-01-01'")
    assert reverify(own.settings).parts == 1


@heavy
def test_a_store_that_does_not_prove_copies_is_refused_before_a_month_is_touched(ledger: Ledger) -> None:
    ledger.settings = ledger.settings.model_copy(update={"deep_storage_class": CLASS})
    ledger.warm(DEEP)
    archive_month(ledger.settings, ledger.table, DEEP)
    before = ledger.content()
    with pytest.raises(ConfigError, match=r"TREASURY_DEEP_STORAGE_CLASS=DEEP_ARCHIVE: .*name a class of the store"):
        deepen(ledger.settings, ledger.table, DEEP)
    assert (state(ledger, DEEP), ledger.content()) == (("cold", None), before)


@heavy
def test_a_month_that_is_not_cold_does_not_go_deep(ledger: Ledger) -> None:
    ledger.warm(DEEP)
    with pytest.raises(ConflictError, match="part 1 is warm: only a cold month goes deep"):
        deepen(ledger.settings, ledger.table, DEEP)


def test_settings_name_a_storage_class_and_ages_in_order(settings: Settings) -> None:
    from config import load_settings

    with pytest.raises(ConfigError, match="TREASURY_DEEP_STORAGE_CLASS"):
        load_settings(deep_storage_class="deep archive")
    with pytest.raises(ConfigError, match="hot_months < warm_months < cold_months < retention_months"):
        load_settings(tables={"transactions": {"policy": {"cold_months": 130}}})
    assert settings.deep_storage_class is None


@heavy
def test_a_database_that_was_set_back_learns_from_the_log_what_is_deep(glacier: Ledger) -> None:
    deepened(glacier)
    glacier.sql("UPDATE archive_months SET tier = 'cold', deep_at = NULL, storage_class = NULL, deep_etag = NULL")
    with connect(glacier.settings.database_dsn, "tests") as connection:
        installation = read_installation(connection)
        assert installation is not None
        entries = read_entries(connection, installation.installation_id)
        restore_life(connection, ObjectStore(glacier.settings), map(Event.from_bytes, entries))
    assert {month: state(glacier, month) for month in (DEEPER, DEEP, COLD)} == {
        DEEPER: ("deep", CLASS),
        DEEP: ("deep", CLASS),
        COLD: ("cold", None),
    }
    publish_log(glacier.settings)
    assert reverify(glacier.settings).parts == 1
    assert (
        glacier.catalogue(DEEP)["deep_etag"]
        == StorageClasses(glacier.settings).state(glacier.catalogue(DEEP)["object_key"]).etag
    )
