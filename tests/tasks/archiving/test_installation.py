"""One writer of an archive: a copy of the database is told so, and nothing of the original's is lost."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from ledger.archive_objects import EVERY_PART
from ledger.errors import ConfigError, ConflictError, OwnershipError, TransientError
from sql.connection import connect
from sql.restored import Request
from storage.manifest import Manifest
from storage.marker import KEY, is_same_location, read_marker
from storage.store import ObjectStore, StoredFile
from tasks.archiving import to_cold as archive
from tasks.archiving.installation import continue_installation, report_installation, separate_installation
from tasks.archiving.orphans import remove_orphans
from tasks.archiving.outcome import MoveResult
from tasks.archiving.ownership import check_ownership
from tasks.archiving.to_cold import Step, archive_month
from tasks.health import CHECKS, HealthState, run_checks
from tasks.restoring.back_to_warm import return_month
from tests.tasks.archiving.copies import Copier
from tests.tasks.archiving.ledger import COLD, Ledger
from tests.tasks.archiving.test_killed import KILLED_AT_A_STEP, SIGKILLED

NEXT = COLD.plus(1)
KILLED_IN_A_CHECK = """
import os, signal, sys
from config import load_settings
from sql.connection import connect
from tasks.archiving.ownership import check_ownership

def die(step):
    if step == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)

settings = load_settings()
with connect(settings.database_dsn, "tests") as connection:
    check_ownership(connection, settings, on_step=die)
"""
KILLED_AT_THE_FLIP = """
import os, signal, sys
from config import load_settings
from ledger.months import Month
from tasks.archiving import to_cold

to_cold._flip = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
settings = load_settings()
to_cold.archive_month(settings, settings.table("transactions"), Month.parse(sys.argv[1]))
"""


def check(ledger: Ledger) -> None:
    with connect(ledger.settings.database_dsn, "tests") as connection:
        check_ownership(connection, ledger.settings)


def bucket(ledger: Ledger) -> dict[str, bytes]:
    """Every object but the marker, with its bytes."""
    store = ObjectStore(ledger.settings)
    return {key: store.read_bytes(key) for key in ledger.objects()}


def elsewhere(ledger: Ledger, name: str) -> Ledger:
    """The ledger with its archive on a prefix beside the original's, which is empty."""
    settings = ledger.settings.model_copy(update={"archive_url": f"{ledger.settings.archive_url}-{name}"})
    return Ledger(settings, ledger.store.with_name(f"{ledger.store.name}-{name}"))


def copy_objects(ledger: Ledger, to: Ledger) -> None:
    """The objects copied to another prefix, with the marker, as `rclone copy` does."""
    source, target = ObjectStore(ledger.settings), ObjectStore(to.settings)
    for key in source.keys(""):
        target.put_bytes(source.read_bytes(key), key)


def archived(ledger: Ledger) -> dict[str, Any]:
    """The original with a cold month; returns what its auditors see."""
    ledger.warm(COLD)
    archive_month(ledger.settings, ledger.table, COLD)
    return ledger.content()


def standing(ledger: Ledger) -> str:
    return str(report_installation(ledger.settings).standing.state)


def yes(*_: object) -> bool:
    return True


# --- copies


@pytest.mark.heavy("of a database and its clone the second to write is refused")
@pytest.mark.parametrize("step", [Step.UPLOADED, Step.DESCRIBED])
def test_a_copy_taken_after_an_interrupted_attempt_is_refused_and_removes_nothing(
    ledger: Ledger, copied: Copier, step: Step
) -> None:
    ledger.warm(COLD)
    before = ledger.content()
    assert ledger.run(KILLED_AT_A_STEP, str(COLD), step).returncode == SIGKILLED
    twin = copied(ledger)
    assert [one.result for one in ledger.night()] == [MoveResult.MOVED]
    objects = bucket(ledger)

    (outcome,) = twin.night()
    assert outcome.result is MoveResult.FAILED  # not busy: a run in which the copy was refused must not end well
    assert "is a copy of the one that owns installation" in outcome.reason
    assert "treasury installation separate" in outcome.reason
    assert twin.catalogue(COLD)["last_error"] == outcome.reason
    assert bucket(ledger) == objects
    assert ledger.content() == before
    ledger.check_archive()
    assert twin.content() == before  # the copy is read as ever: its own warm month
    assert twin.tier(COLD) == "warm"


@pytest.mark.sampled(1)
@pytest.mark.parametrize("first", ["original", "clone"])
def test_of_a_database_and_its_clone_the_second_to_write_is_refused(ledger: Ledger, copied: Copier, first: str) -> None:
    ledger.warm(COLD, NEXT)
    assert ledger.run(KILLED_AT_A_STEP, str(COLD), Step.UPLOADED).returncode == SIGKILLED
    clone = copied(ledger, "clone")
    one, other = (ledger, clone) if first == "original" else (clone, ledger)
    archive_month(one.settings, one.table, COLD)
    objects, before = bucket(one), one.content()
    with pytest.raises(OwnershipError, match="another copy of this database wrote to the archive as installation"):
        archive_month(other.settings, other.table, NEXT)
    with pytest.raises(OwnershipError, match="another copy"):
        archive_month(other.settings, other.table, COLD)
    assert bucket(one) == objects
    assert one.content() == before == other.content()
    assert standing(other) == "overtaken"
    assert standing(one) == "owner"


@pytest.mark.heavy("a clone is refused as the second to write")
def test_a_clone_taken_in_the_instant_of_the_flip_removes_nothing_of_the_months(ledger: Ledger, copied: Copier) -> None:
    """The one instant in which a clone knows the newest token: it keeps what it cannot know to be its own."""
    ledger.warm(COLD)
    assert ledger.run(KILLED_AT_THE_FLIP, str(COLD)).returncode == SIGKILLED
    clone = copied(ledger, "clone")
    left = bucket(ledger)
    assert len(left) == len(EVERY_PART)
    archive_month(clone.settings, clone.table, COLD)
    assert left.items() <= bucket(clone).items()
    states = dict(clone.sql("SELECT state, count(*) FROM archive_uploads GROUP BY 1"))
    assert states == {"kept": len(EVERY_PART), "current": len(EVERY_PART)}
    reasons = clone.sql("SELECT detail ->> 'reason' FROM archive_events WHERE event = 'kept'")
    assert reasons == [("its attempt was about to become the month when it was interrupted",)] * len(EVERY_PART)
    assert f"{len(EVERY_PART)} objects were kept" in health(clone).line
    assert report_installation(clone.settings).kept == len(EVERY_PART)


@pytest.mark.heavy("leftovers are tested in test_killed.py")
def test_objects_of_a_flip_that_got_no_lock_are_removed_like_any_leftover(ledger: Ledger) -> None:
    ledger.warm(COLD)
    hurried = Ledger(ledger.settings.model_copy(update={"lock_attempts": 1, "lock_timeout_ms": 10}), ledger.store)

    def stand_in_the_way(step: Step) -> None:
        if step is Step.DESCRIBED:
            blocker.execute("LOCK TABLE transactions_archive_warm IN ACCESS SHARE MODE")

    with (
        connect(ledger.settings.database_dsn, "tests") as blocker,
        blocker.transaction(),
        pytest.raises(TransientError, match="no lock"),
    ):
        archive_month(hurried.settings, ledger.table, COLD, stand_in_the_way)
    archive_month(ledger.settings, ledger.table, COLD)
    ledger.check_archive()


@pytest.mark.heavy("nothing is removed beside a manifest that cannot be read")
def test_an_orphan_that_another_manifest_names_is_kept(ledger: Ledger) -> None:
    """Even if all else failed: an object that anybody's manifest in the month's folder names is not removed."""
    ledger.warm(COLD)
    assert ledger.run(KILLED_AT_A_STEP, str(COLD), Step.DESCRIBED).returncode == SIGKILLED
    store = ObjectStore(ledger.settings)
    (manifest_key,) = [key for key in ledger.objects() if key.endswith(".manifest.json")]
    manifest = Manifest.from_bytes(store.read_bytes(manifest_key), manifest_key)
    others = manifest.model_copy(update={"installation": UUID(int=7)}).to_bytes()
    folder = manifest_key.rpartition("/")[0]
    store.put_bytes(others, f"{folder}/{StoredFile.of(others).sha256.hex()[:32]}-00000000-1-0123abcd.manifest.json")
    archive_month(ledger.settings, ledger.table, COLD)
    states = dict(ledger.sql("SELECT object_key, state FROM archive_uploads"))
    assert states[manifest.files[0].key] == "kept"
    assert states[manifest_key] == "removed"
    assert store.exists(manifest.files[0].key)
    assert not store.exists(manifest_key)


@pytest.mark.heavy("orphans of whole months are tested beside it")
def test_nothing_is_removed_from_a_month_with_a_manifest_that_cannot_be_read(ledger: Ledger) -> None:
    ledger.warm(COLD)
    assert ledger.run(KILLED_AT_A_STEP, str(COLD), Step.UPLOADED).returncode == SIGKILLED
    (left,) = ledger.objects()
    ObjectStore(ledger.settings).put_bytes(b"{}", f"_treasury/manifests/transactions/{COLD}/strange.manifest.json")
    archive_month(ledger.settings, ledger.table, COLD)
    assert left in ledger.objects()
    (reason,) = ledger.sql("SELECT detail ->> 'reason' FROM archive_events WHERE event = 'kept'")
    assert "strange.manifest.json cannot be read" in reason[0]


@pytest.mark.heavy("objects of another installation are tested beside it")
def test_uploads_of_another_installation_or_incarnation_are_never_removed(ledger: Ledger) -> None:
    ledger.warm(COLD)
    assert ledger.run(KILLED_AT_A_STEP, str(COLD), Step.UPLOADED).returncode == SIGKILLED
    (left,) = ledger.objects()
    for change in ("incarnation = 7", "installation_id = gen_random_uuid()", "installation_id = NULL"):
        ledger.sql(f"UPDATE archive_uploads SET {change} WHERE object_key = %s", left)
        if ledger.tier(COLD) == "warm":
            archive_month(ledger.settings, ledger.table, COLD)
        with connect(ledger.settings.database_dsn, "tests") as connection:
            assert remove_orphans(connection, ledger.settings, ledger.table) == 0
        assert left in ledger.objects()


@pytest.mark.heavy("uploads of others are never removed or overwritten")
def test_no_two_attempts_anywhere_have_one_key(ledger: Ledger) -> None:
    """Of the same rows, the same attempt and the same installation: chance alone tells two exact clones apart."""
    keys: set[str] = set()
    for _ in range(2):
        ledger.warm(COLD) if not keys else None
        assert ledger.run(KILLED_AT_A_STEP, str(COLD), Step.UPLOADED).returncode == SIGKILLED
        ledger.sql("UPDATE archive_months SET attempt = 0")
        keys |= ledger.objects()
    short = ledger.sql("SELECT left(installation_id::text, 8) FROM installation")[0][0]
    shape = rf"transactions/month={COLD}/[0-9a-f]{{32}}-{short}-1-[0-9a-f]{{8}}\.parquet"
    assert len(keys) == 2
    assert all(re.fullmatch(shape, key) for key in keys)


def test_keys_and_manifest_name_the_installation(ledger: Ledger) -> None:
    archived(ledger)
    key = ledger.catalogue(COLD)["manifest_key"]
    manifest = Manifest.from_bytes(ObjectStore(ledger.settings).read_bytes(key), key)
    assert ledger.sql("SELECT installation_id FROM installation") == [(manifest.installation,)]
    assert all(f"-{manifest.installation.hex[:8]}-1-" in name for name in (key, manifest.files[0].key))
    uploads = ledger.sql("SELECT DISTINCT installation_id, incarnation FROM archive_uploads")
    assert uploads == [(manifest.installation, 1)]


# --- commands


@pytest.mark.heavy("a takeover stops the database that it is taken from")
def test_a_restored_dump_that_continues_leaves_the_old_database_refused(ledger: Ledger, copied: Copier) -> None:
    before = archived(ledger)
    restored = copied(ledger, "dump")
    restored.warm(NEXT)
    with pytest.raises(OwnershipError, match="treasury installation continue"):
        archive_month(restored.settings, restored.table, NEXT)
    assert continue_installation(restored.settings, yes).startswith("done: this database")
    assert continue_installation(restored.settings, yes).startswith("nothing to do")
    archive_month(restored.settings, restored.table, NEXT)
    assert before.items() <= restored.content().items()

    ledger.warm(NEXT)
    with pytest.raises(OwnershipError, match=r"another database continues installation .* as incarnation 2"):
        archive_month(ledger.settings, ledger.table, NEXT)
    assert ledger.tier(NEXT) == "warm"
    assert (standing(ledger), standing(restored)) == ("replaced", "owner")
    events = restored.sql("SELECT event, incarnation, detail ->> 'state' FROM installation_events ORDER BY event_id")
    assert events == [("made", 1, None), ("continued", 2, "copy")]
    assert ledger.content().items() >= before.items()  # and it reads on


def test_a_database_set_back_behind_its_archive_is_refused_until_it_continues(ledger: Ledger, copied: Copier) -> None:
    """Restored in place from an older backup: the ids are the same, the marker is ahead."""
    ledger.warm(COLD)
    check(ledger)
    backup = copied(ledger, "clone")
    archive_month(ledger.settings, ledger.table, COLD)
    objects = bucket(ledger)
    with pytest.raises(OwnershipError, match="was set back to an earlier state"):
        archive_month(backup.settings, backup.table, COLD)
    continue_installation(backup.settings, yes)
    archive_month(backup.settings, backup.table, COLD)
    assert objects.items() <= bucket(backup).items()


def test_separating_on_the_originals_prefix_is_refused_however_it_is_written(ledger: Ledger, copied: Copier) -> None:
    archived(ledger)
    twin = copied(ledger)
    marker, url = read_marker(ObjectStore(ledger.settings)), str(ledger.settings.archive_url)
    for same in (url, f"{url}/", f"{url}//"):
        settings = twin.settings.model_copy(update={"archive_url": same})
        with pytest.raises(OwnershipError, match="is the archive that this database was copied from"):
            separate_installation(settings, yes)
    assert read_marker(ObjectStore(ledger.settings)) == marker
    assert standing(ledger) == "owner"


@pytest.mark.heavy("a copy that has archived nothing separates, too")
def test_separating_on_a_copied_prefix_lets_both_archive_on(ledger: Ledger, copied: Copier) -> None:
    before = archived(ledger)
    twin = elsewhere(copied(ledger), "twin")
    with pytest.raises(OwnershipError, match="none of the objects that the catalogue names"):
        separate_installation(twin.settings, yes)  # an empty prefix: the cold month would be lost to it
    copy_objects(ledger, twin)
    assert "becomes an installation of its own" in separate_installation(twin.settings, yes)
    assert separate_installation(twin.settings, yes).startswith("nothing to do")
    for one in (ledger, twin):
        one.warm(NEXT)
        archive_month(one.settings, one.table, NEXT)
        assert standing(one) == "owner"
        assert one.content()[str(COLD)] == before[str(COLD)]
    ids = {one.sql("SELECT installation_id FROM installation")[0] for one in (ledger, twin)}
    assert len(ids) == 2
    shorts = {key.rpartition("/")[2].split("-")[1] for key in twin.objects() if str(NEXT) in key}
    assert shorts == {twin.sql("SELECT left(installation_id::text, 8) FROM installation")[0][0]}


def test_a_copy_whose_months_all_went_back_to_warm_separates_on_a_copied_prefix(ledger: Ledger, copied: Copier) -> None:
    archived(ledger)
    who = Request("anna", "anna", "a correction", timedelta(days=7))
    return_month(ledger.settings, ledger.table, COLD, who)
    twin = elsewhere(copied(ledger), "twin")
    with pytest.raises(OwnershipError, match="none of the objects that the catalogue names"):
        separate_installation(twin.settings, yes)
    copy_objects(ledger, twin)
    assert "becomes an installation of its own" in separate_installation(twin.settings, yes)
    assert [standing(one) for one in (ledger, twin)] == ["owner", "owner"]


def test_a_copy_that_has_archived_nothing_separates_on_an_empty_prefix(ledger: Ledger, copied: Copier) -> None:
    check(ledger)
    twin = copied(ledger)
    twin.warm(COLD)
    with pytest.raises(OwnershipError, match="was copied from"):
        separate_installation(twin.settings, yes)
    apart = elsewhere(twin, "apart")
    separate_installation(apart.settings, yes)
    archive_month(apart.settings, apart.table, COLD)
    apart.check_archive()
    assert standing(ledger) == "owner"


@pytest.mark.heavy("a clone is tested beside it")
def test_a_database_copied_before_it_ever_archived_is_an_installation_of_its_own(
    ledger: Ledger, copied: Copier
) -> None:
    ledger.warm(COLD)
    twin = copied(ledger)
    archive_month(ledger.settings, ledger.table, COLD)
    with pytest.raises(OwnershipError, match=r"belongs to installation .* this database is installation"):
        archive_month(twin.settings, twin.table, COLD)
    apart = elsewhere(twin, "apart")
    archive_month(apart.settings, apart.table, COLD)
    apart.check_archive()
    ledger.check_archive()


@pytest.mark.heavy("another bucket is tested beside it")
def test_an_archive_that_moved_asks_once_and_goes_on(ledger: Ledger) -> None:
    before = archived(ledger)
    moved = elsewhere(ledger, "moved")
    copy_objects(ledger, moved)
    moved.warm(NEXT)
    with pytest.raises(OwnershipError, match=r"was made at .* and is read at"):
        archive_month(moved.settings, moved.table, NEXT)
    continue_installation(moved.settings, yes)
    archive_month(moved.settings, moved.table, NEXT)
    assert before.items() <= moved.content().items()


@pytest.mark.heavy("another bucket is tested beside it")
def test_without_consent_nothing_is_changed(ledger: Ledger, copied: Copier) -> None:
    archived(ledger)
    twin = copied(ledger)
    apart = elsewhere(twin, "apart")
    copy_objects(ledger, apart)
    before = twin.sql("SELECT * FROM installation")
    asked: list[str] = []

    def no(told: str, number: UUID) -> bool:
        asked.append(f"{told} {number}")
        return False

    for command, settings in ((continue_installation, twin.settings), (separate_installation, apart.settings)):
        with pytest.raises(ConfigError, match="nothing was changed"):
            command(settings, no)
    assert twin.sql("SELECT * FROM installation") == before
    assert len(asked) == 2
    assert "every other copy of it is refused" in asked[0]


# --- the marker


def health(ledger: Ledger) -> Any:
    (result,) = run_checks(ledger.settings, [one for one in CHECKS if one.name == "archive_owner"])
    return result


@pytest.mark.heavy("a marker that cannot be read is tested beside it")
def test_a_marker_that_is_gone_is_made_again_where_the_objects_are(ledger: Ledger) -> None:
    archived(ledger)
    store = ObjectStore(ledger.settings)
    store.remove(KEY)
    assert standing(ledger) == "free"
    ledger.warm(NEXT)
    archive_month(ledger.settings, ledger.table, NEXT)
    assert standing(ledger) == "owner"


def test_another_bucket_is_not_taken_for_the_archive(ledger: Ledger) -> None:
    archived(ledger)
    wrong = elsewhere(ledger, "wrong")
    wrong.warm(NEXT)
    for attempt in (
        lambda: archive_month(wrong.settings, wrong.table, NEXT),
        lambda: continue_installation(wrong.settings, yes),
    ):
        with pytest.raises(OwnershipError, match=r"neither .* nor any of the objects that the catalogue names"):
            attempt()
    assert wrong.objects() == set()
    assert health(wrong).state is HealthState.CRITICAL


def test_an_archive_without_a_marker_whose_objects_nobody_here_wrote_is_not_taken(
    ledger: Ledger, copied: Copier
) -> None:
    ledger.warm(COLD)
    stranger = copied(ledger)
    archive_month(ledger.settings, ledger.table, COLD)
    ObjectStore(ledger.settings).remove(KEY)
    with pytest.raises(OwnershipError, match=f"holds {len(EVERY_PART)} objects that this database did not write"):
        archive_month(stranger.settings, stranger.table, COLD)
    check(ledger)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("content", [b"", b"{", b"null", b'{"format":"treasury-installation-v2"}', b"\xff"])
def test_a_marker_that_cannot_be_read_stops_writing_and_nothing_else(ledger: Ledger, content: bytes) -> None:
    before = archived(ledger)
    ObjectStore(ledger.settings).replace_bytes(content, KEY)
    with pytest.raises(OwnershipError, match=f"{KEY} cannot be read as a marker"):
        check(ledger)
    assert ledger.content() == before
    assert (health(ledger).state, standing(ledger)) == (HealthState.CRITICAL, "unreadable")
    continue_installation(ledger.settings, yes)
    check(ledger)


def test_a_marker_cut_short_or_written_otherwise_is_refused(ledger: Ledger) -> None:
    check(ledger)
    store = ObjectStore(ledger.settings)
    content = store.read_bytes(KEY)
    for other in (content[:-1], content + b"\n", json.dumps(json.loads(content)).encode()):
        store.replace_bytes(other, KEY)
        with pytest.raises(OwnershipError, match="cannot be read as a marker"):
            check(ledger)
    store.replace_bytes(content, KEY)
    check(ledger)


def test_a_marker_of_another_installation_is_named_with_both_ids(ledger: Ledger) -> None:
    before = archived(ledger)
    store = ObjectStore(ledger.settings)
    marker = read_marker(store)
    assert marker is not None
    foreign = UUID("01234567-89ab-4def-8123-456789abcdef")
    store.replace_bytes(marker.model_copy(update={"installation": foreign}).to_bytes(), KEY)
    said = f"belongs to installation {foreign} .*this database is installation {marker.installation}"
    for attempt in (
        lambda: check(ledger),
        lambda: continue_installation(ledger.settings, yes),
    ):
        with pytest.raises(OwnershipError, match=said):
            attempt()
    assert health(ledger).state is HealthState.CRITICAL
    assert ledger.content() == before


def test_health_is_well_for_the_owner_and_names_a_copy(ledger: Ledger, copied: Copier) -> None:
    assert health(ledger).state is HealthState.HEALTHY
    archived(ledger)
    assert health(ledger).state is HealthState.HEALTHY
    found = health(copied(ledger))
    assert found.state is HealthState.CRITICAL
    assert "is a copy of the one that owns installation" in found.line
    assert "treasury installation continue" in found.to_do


# --- interrupted, and at once


@pytest.mark.heavy("the first check of all is killed at each step, too")
def test_a_check_killed_at_any_step_is_healed_by_the_next(ledger: Ledger) -> None:
    check(ledger)
    for step in ("intended", "written", "intended", "intended", "written", "written"):
        assert ledger.run(KILLED_IN_A_CHECK, step).returncode == SIGKILLED
        assert standing(ledger) == "owner"
    check(ledger)
    assert standing(ledger) == "owner"


@pytest.mark.heavy("a command that was killed is tested beside it")
def test_the_first_check_of_all_killed_at_any_step_is_healed_by_the_next(ledger: Ledger) -> None:
    for step in ("intended", "written"):
        assert ledger.run(KILLED_IN_A_CHECK, step).returncode == SIGKILLED
    check(ledger)
    assert standing(ledger) == "owner"


@pytest.mark.sampled(1)
@pytest.mark.parametrize("command", ["continue", "separate"])
def test_a_command_killed_before_it_wrote_the_marker_is_completed_by_the_next(
    ledger: Ledger, copied: Copier, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archived(ledger)
    twin = copied(ledger)
    if command == "separate":
        twin = elsewhere(twin, "twin")
        copy_objects(ledger, twin)
    run = continue_installation if command == "continue" else separate_installation
    with monkeypatch.context() as patch:
        patch.setattr("tasks.archiving.installation.put_marker", _die)
        with pytest.raises(KeyboardInterrupt):
            run(twin.settings, yes)
    with pytest.raises(OwnershipError):
        check(twin)
    assert run(twin.settings, yes).startswith("done")
    check(twin)


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def test_many_workers_of_one_database_take_turns(ledger: Ledger) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: check(ledger), range(16)))
    assert standing(ledger) == "owner"
    assert ledger.sql("SELECT count(*), min(cardinality(intended)) FROM installation") == [(1, 0)]
    assert ledger.sql("SELECT count(*) FROM installation_events") == [(1,)]


@pytest.mark.heavy("a clone that is refused is tested beside it")
def test_a_takeover_while_a_month_is_archived_stops_it_before_the_drop(
    ledger: Ledger, copied: Copier, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.warm(COLD)
    before = ledger.content()
    check(ledger)
    twins: list[Ledger] = []

    def take_over(step: Step) -> None:
        if step is Step.DESCRIBED:
            twins.append(copied(ledger, "dump"))
            continue_installation(twins[0].settings, yes)

    with pytest.raises(OwnershipError, match="another database continues installation"):
        archive_month(ledger.settings, ledger.table, COLD, take_over)
    assert ledger.tier(COLD) == "warm"
    objects = bucket(ledger)
    archive_month(twins[0].settings, twins[0].table, COLD)
    assert twins[0].content() == before == ledger.content()
    assert objects.items() <= bucket(ledger).items()  # those of the earlier incarnation stay


# --- places


def test_two_archives_of_which_one_lies_in_the_other_do_not_meet(ledger: Ledger, copied: Copier) -> None:
    ledger.warm(COLD)
    twin = copied(ledger)
    inner = {"archive_url": f"{ledger.settings.archive_url}/transactions"}
    inside = Ledger(twin.settings.model_copy(update=inner), ledger.store / "transactions")
    archive_month(inside.settings, inside.table, COLD)
    with pytest.raises(OwnershipError, match="objects that this database did not write"):
        archive_month(ledger.settings, ledger.table, COLD)  # the outer one was empty when the inner one came


def test_urls_of_one_place_are_known_as_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    same = [
        ("s3://bucket", "s3://bucket/"),
        ("s3://bucket/a", "s3://bucket//a/"),
        ("s3://Bucket/a", "s3://bucket/a"),
        ("s3://bucket/a", "s3://bucket/b/../a"),
        (f"file://{tmp_path}/real", f"file://{tmp_path}/link/"),
    ]
    other = [("s3://bucket/a", "s3://bucket/A"), ("s3://bucket/a", "s3://bucket/a/b"), ("s3://a/b", "file:///a/b")]
    assert all(is_same_location(*pair) for pair in same)
    assert not any(is_same_location(*pair) for pair in other)


def test_a_folder_reached_through_a_link_is_the_same_archive(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name in ("real", "link", "real"):
        check(Ledger(ledger.settings.model_copy(update={"archive_url": f"file://{tmp_path}/{name}"}), tmp_path))


def test_an_object_under_a_key_in_use_stops_the_upload_and_stays(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.warm(COLD)
    check(ledger)
    key = f"transactions/month={COLD}/taken.parquet"
    ObjectStore(ledger.settings).put_bytes(b"somebody's", key)
    monkeypatch.setattr(archive._Claim, "key", lambda *_: key)
    with pytest.raises(ConflictError, match="is there already with other bytes"):
        archive_month(ledger.settings, ledger.table, COLD)
    assert ObjectStore(ledger.settings).read_bytes(key) == b"somebody's"
    assert ledger.tier(COLD) == "warm"
