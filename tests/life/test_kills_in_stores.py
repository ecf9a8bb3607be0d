"""Moves into the deep tier, and archiving into a bucket with Object Lock, killed at every request and in the middle of
it: the next night completes what was begun.
"""

import random
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

import pytest

from bench.databases import on_database
from config import Settings
from ledger.archive_objects import EVERY_PART
from ledger.errors import DeepTierError
from ledger.months import Month
from ledger.transparency.events import Deepened, Event
from sql.connection import connect
from sql.installation import read_installation
from sql.log import read_entries
from storage.storage_classes import StorageClasses
from storage.store import ObjectStore
from storage.versions import KeptVersionError, VersionedStore
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_deep import deepen
from tasks.restoring.requests import RetrievalTier, request_restore
from tasks.retention.locks import check_locks
from tasks.transparency.publish import publish_log
from tasks.verifying.verification import VerificationScope, verify_archive
from tests.databases import Databases
from tests.life.places import Place
from tests.life.runs import KILLED, Work
from tests.life.scenes import ROWS, Beginning, Scene, begin, staged, unfinished_uploads, without_tier
from tests.life.strikes import Struck, telling
from tests.stores import Store
from tests.tasks.archiving.ledger import COLD, Ledger

DEEP = Month(2018, 5)
CLASS = "DEEP_ARCHIVE"
EVERY = 60
LOCKED = 30


def clear(settings: Settings) -> None:
    """Remove every version of an earlier case that no lock keeps: with versions, a plain delete leaves them."""
    versions = VersionedStore(settings)
    for key in (*ObjectStore(settings).keys(""), *versions.everything("transactions")):
        with suppress(KeptVersionError):
            versions.remove(key)


class Stage:
    """The beginning of a scene, and the places of the run that is killed in it."""

    def __init__(self, beginning: Beginning, folder: Path, work: Work) -> None:
        self.beginning, self.work = beginning, work
        clear(beginning.settings)
        with staged(beginning, folder / "unharmed") as scene:
            run = Struck(scene)
            assert run.run(work) == 0, run.error
            assert run.error == ""
            scene.wait_for_the_dead()
        self.places = telling(run.places)

    def place(self, number: int, count: int) -> Place:
        """One of so many places, by chance and always the same."""
        chosen = random.Random("kills").sample(self.places, min(count, len(self.places)))  # noqa: S311
        return chosen[number % len(chosen)]


@pytest.fixture(scope="module", params=["plain", "versioned"])
def deep(
    request: pytest.FixtureRequest,
    databases: Databases,
    server_settings: Settings,
    prepared: str,
    moto_store: Store,
    tmp_path_factory: pytest.TempPathFactory,
) -> Stage:
    """A cold month that goes deep, in a bucket without versions and in one with them."""
    folder = tmp_path_factory.mktemp("deep")
    settings = moto_store.settings(server_settings, request.param, uuid.uuid4().hex)
    own = on_database(settings, databases.take(prepared)).model_copy(
        update={"home": folder / "home", "deep_storage_class": CLASS}
    )
    ledger = Ledger(own, Path())
    ledger.warm(DEEP, rows=ROWS)
    archive_month(own, ledger.table, DEEP)
    publish_log(own)
    rows = [without_tier(row) for row in ledger.ask("SELECT * FROM transactions ORDER BY id")]
    store = ObjectStore(own)
    objects = {key: store.read_bytes(key) for key in store.keys("")}
    shutil.rmtree(own.spool, ignore_errors=True)
    name = own.database_dsn.rpartition("/")[2]
    beginning = Beginning(own, server_settings.database_dsn, name, folder / "home", objects, rows, (DEEP,))
    return Stage(beginning, folder, Work((DEEP,), deep=True))


@pytest.mark.sampled(2, rest="slow")
@pytest.mark.parametrize("number", range(EVERY))
def test_a_move_killed_anywhere_is_completed_by_the_next(deep: Stage, tmp_path: Path, number: int) -> None:
    place = deep.place(number, EVERY)
    clear(deep.beginning.settings)
    with staged(deep.beginning, tmp_path) as scene:
        run = Struck(scene, place)
        code = run.run(deep.work)
        assert code in KILLED, f"{place}: the run ended with {code} {run.error}"
        scene.wait_for_the_dead()
        _check_rows(scene)
        deepen(scene.settings, scene.ledger.table, DEEP)
        publish_log(scene.settings)
        _check_deep(scene)


def _check_rows(scene: Scene) -> None:
    """Every row is visible as it was, or the month is named with the command: never less."""
    found, said = [], ""
    try:
        found = scene.ledger.ask("SELECT * FROM transactions ORDER BY id, tier")
    except DeepTierError as error:
        said = str(error)
    is_named = "`treasury restore-request transactions 2018-05`" in said
    assert is_named or [without_tier(row) for row in found] == scene.beginning.rows


def _check_deep(scene: Scene) -> None:
    settings, row = scene.settings, scene.ledger.catalogue(DEEP)
    assert (row["tier"], row["storage_class"], row["step"]) == ("deep", CLASS, "idle")
    assert StorageClasses(settings).state(row["object_key"]).storage_class == CLASS
    assert len(VersionedStore(settings).versions(row["object_key"])) == 1
    assert scene.ledger.sql("SELECT count(*) FROM archive_copies") == [(0,)]
    assert unfinished_uploads(settings) == []
    with connect(settings.database_dsn, "tests") as connection:
        installation = read_installation(connection)
        assert installation is not None
        entries = read_entries(connection, installation.installation_id)
        assert sum(isinstance(Event.from_bytes(entry).body, Deepened) for entry in entries) == 1
        request_restore(settings, scene.ledger.table, DEEP, DEEP, 1, RetrievalTier.BULK)
        assert verify_archive(settings, VerificationScope(deep=True), connection).findings == []
    scene.check_rows()


@pytest.fixture(scope="module")
def locking(
    databases: Databases,
    server_settings: Settings,
    prepared: str,
    seaweed_store: Store,
    tmp_path_factory: pytest.TempPathFactory,
) -> Stage:
    """The first month of an installation, archived into a bucket with Object Lock."""
    folder = tmp_path_factory.mktemp("locking")
    settings = seaweed_store.settings(server_settings, seaweed_store.locking, uuid.uuid4().hex)
    name = databases.take(prepared)
    beginning = begin(settings, name, settings.archive_location, folder, COLD, is_first=True)
    return Stage(beginning, folder, Work((COLD,)))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(LOCKED))
def test_an_archiving_killed_anywhere_ends_with_locked_objects(locking: Stage, tmp_path: Path, number: int) -> None:
    place = locking.place(number, LOCKED)
    with staged(locking.beginning, tmp_path) as scene:
        run = Struck(scene, place)
        code = run.run(locking.work)
        assert code in KILLED, f"{place}: the run ended with {code} {run.error}"
        scene.wait_for_the_dead()
        scene.check_rows()
        scene.complete()
        found = check_locks(scene.settings)
        assert (found.objects, found.locked, found.differences) == (len(EVERY_PART), 0, ())
        for (key,) in scene.ledger.sql("SELECT object_key FROM archive_objects"):
            (one,) = VersionedStore(scene.settings).versions(key)
            assert (one.lock_mode, one.locked_until is not None) == ("GOVERNANCE", True)
