"""Scenes to kill runs in: a database and an archive that begin the same each time, and what must be true in the end."""

import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from bench.databases import on_database
from config import Settings
from ledger.months import Month
from ledger.transparency.events import Archived, Event, LogOpened
from ledger.transparency.notes import open_checkpoint, require_keys
from ledger.transparency.replay import check_numbers
from ledger.transparency.verifier_keys import VerifierKey
from sql.connection import connect
from sql.installation import read_installation
from sql.log import count_waiting, read_log
from storage.marker import KEY as MARKER
from storage.store import ObjectStore
from tasks.archiving.outcome import MoveResult
from tasks.archiving.to_cold import Step, archive_month
from tasks.transparency.archived_log import ArchivedLog
from tasks.transparency.publish import publish_log
from tasks.verifying.verification import VerificationScope, verify_archive
from tests.databases import looking_into_both_schemas
from tests.tasks.archiving.ledger import HOT, Ledger

ROWS = 12
_OF_THE_DATABASE = "(SELECT oid FROM pg_database WHERE datname = current_database())::bigint"


class Interrupted(BaseException):
    """Ends an attempt of the scene's making where a kill would: nothing of the project catches it."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """What every case of a scene begins with: a database to copy, the home and the objects, and all rows."""

    settings: Settings
    server: str
    database: str
    home: Path
    objects: dict[str, bytes]
    rows: list[dict[str, Any]]
    due: tuple[Month, ...]


class Scene:
    """One case: a copy of the beginning, in which runs are killed."""

    def __init__(self, beginning: Beginning, settings: Settings) -> None:
        self.beginning, self.settings = beginning, settings
        self.ledger = Ledger(settings, Path())
        self.store = ObjectStore(settings)

    @property
    def name(self) -> str:
        """The name of the database."""
        return self.settings.database_dsn.rpartition("/")[2]

    def wait_for_the_dead(self) -> None:
        """Until PostgreSQL has ended the sessions of a killed run: it notices a moment after its client is gone."""
        mine = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        deadline_s = time.monotonic() + 60
        with psycopg.connect(self.settings.database_dsn, autocommit=True) as connection:
            while connection.execute(mine).fetchone() != (0,):
                assert time.monotonic() < deadline_s, "a session outlives its client"
                time.sleep(0.002)

    def check_rows(self) -> None:
        """Every row is visible, in exactly one tier, as it was."""
        found = self.ledger.ask("SELECT * FROM transactions ORDER BY id, tier")
        assert [without_tier(row) for row in found] == self.beginning.rows
        tiers = {(row["month"], row["tier"]) for row in found}
        assert len(tiers) == len({month for month, _ in tiers}), f"a month is in two tiers: {sorted(tiers)}"

    def complete(self) -> None:
        """What the next night does, and the publication of the log behind it."""
        outcomes = self.ledger.night()
        assert {outcome.result for outcome in outcomes} <= {MoveResult.MOVED}, outcomes
        publish_log(self.settings)

    def check_completed(self) -> None:
        """Every month that was due is cold, proved, in the log once, and nothing else is left anywhere."""
        self.check_rows()
        for month in self.beginning.due:
            assert self.ledger.tier(month) == "cold"
            self.ledger.check_no_partition(month)
        self._check_log()
        self._check_objects()
        self._check_deeply()
        assert self.ledger.night() == []
        assert not [path for path in self.settings.spool.glob("*") if path.is_dir()]

    def _check_log(self) -> None:
        with connect(self.settings.database_dsn, "tests") as connection:
            installation = read_installation(connection)
            assert installation is not None
            row = read_log(connection, installation.installation_id)
            assert row is not None
            assert count_waiting(connection, installation.installation_id)[0] == 0
        keys = [VerifierKey.parse(text) for text in row.keys]
        log = ArchivedLog(self.store, row.folder).verify(keys, row.origin)
        assert log is not None
        require_keys(open_checkpoint(log.note, keys, row.origin)[1], keys)
        events = [Event.from_bytes(entry) for entry in log.entries]
        check_numbers(events)
        archived = Counter(one.body.month for one in events if isinstance(one.body, Archived))
        assert archived == Counter(map(str, self.beginning.due))
        assert sum(isinstance(one.body, LogOpened) for one in events) == 1
        assert row.planned_size == row.published_size == row.indexed_size == len(events)

    def _check_objects(self) -> None:
        """The bucket has what the catalogue names, what was kept by name, and no part of anything."""
        states = dict(self.ledger.sql("SELECT object_key, state FROM archive_uploads"))
        assert set(states.values()) <= {"current", "kept", "removed"}
        wanted = {key for key, state in states.items() if state != "removed"}
        assert {key for key in self.store.keys("") if not key.startswith("log/") and key != MARKER} == wanted
        kept = [key for key, state in states.items() if state == "kept"]
        reasons = self.ledger.sql("SELECT detail ->> 'reason' FROM archive_events WHERE event = 'kept'")
        assert len(reasons) == len(kept)
        assert {reason for (reason,) in reasons} <= {
            "its attempt was about to become the month when it was interrupted"
        }
        assert unfinished_uploads(self.settings) == []

    def _check_deeply(self) -> None:
        with connect(self.settings.database_dsn, "tests") as connection:
            report = verify_archive(self.settings, VerificationScope(deep=True), connection)
        assert report.findings == []
        assert report.counts["months"] == len(self.beginning.due)


def without_tier(row: dict[str, Any]) -> dict[str, Any]:
    """A row as the application has it."""
    return {name: value for name, value in row.items() if name != "tier"}


def unfinished_uploads(settings: Settings) -> list[str]:
    """What is left of uploads that did not end: partial files of a folder, multipart uploads of a bucket."""
    if settings.archive_location.startswith("file://"):
        folder = Path(settings.archive_location.removeprefix("file://"))
        return [str(path) for path in folder.rglob(".*.partial")]
    store = ObjectStore(settings)
    bucket, _, prefix = store._root.partition("/")
    with suppress(FileNotFoundError):  # NoSuchUpload: the embedded server has never had an upload in parts
        found = store._files.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix)
        return [one["Key"] for one in found.get("Uploads", [])]
    return []


def begin(server: Settings, name: str, archive_url: str, folder: Path, *months: Month, is_first: bool) -> Beginning:
    """Make a beginning in the prepared database ``name``, with ``months`` that are due for the archive.

    ``is_first``: nothing was ever archived. Else the first month is cold and published, and an attempt to archive
    the second one was interrupted before its flip.
    """
    home = folder / "home"
    own = on_database(server, name).model_copy(update={"home": home, "archive_url": archive_url})
    ledger = Ledger(own, Path())
    for month in months:
        ledger.warm(month, rows=ROWS)
    ledger.fill(HOT, rows=2)
    if not is_first:
        archive_month(own, ledger.table, months[0])
        publish_log(own)
        _interrupt(own, months[1])
    rows = [without_tier(row) for row in ledger.ask("SELECT * FROM transactions ORDER BY id")]
    store = ObjectStore(own)
    objects = {key: store.read_bytes(key) for key in store.keys("")}
    home.mkdir(exist_ok=True)
    shutil.rmtree(own.spool, ignore_errors=True)
    return Beginning(own, server.database_dsn, name, home, objects, rows, months)


def _interrupt(settings: Settings, month: Month) -> None:
    def stop(step: Step) -> None:
        if step is Step.DESCRIBED:
            raise Interrupted

    try:
        archive_month(settings, settings.table("transactions"), month, stop)
    except Interrupted:
        return
    raise AssertionError("the attempt was not interrupted")


@contextmanager
def staged(beginning: Beginning, folder: Path, make: Callable[[Beginning, Settings], Scene] = Scene) -> Iterator[Scene]:
    """A scene at its beginning, for one case; its database is dropped at the end."""
    server, name = beginning.server, f"test_scene_{uuid.uuid4().hex}"
    settings = on_database(beginning.settings, name).model_copy(update={"home": folder / "home"})
    shutil.copytree(beginning.home, settings.home)
    with psycopg.connect(server, autocommit=True) as connection:
        copy = SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        connection.execute(copy.format(Identifier(name), Identifier(beginning.database)))
        connection.execute(looking_into_both_schemas(name))
    with psycopg.connect(settings.database_dsn, autocommit=True) as connection:
        connection.execute(f"UPDATE treasury.installation SET database_oid = {_OF_THE_DATABASE}")
    _restore(settings, beginning.objects)
    try:
        yield make(beginning, settings)
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))


def _restore(settings: Settings, objects: dict[str, bytes]) -> None:
    """Bring the archive to its beginning, and nothing else into it."""
    store = ObjectStore(settings)
    if settings.archive_location.startswith("file://"):
        shutil.rmtree(settings.archive_location.removeprefix("file://"), ignore_errors=True)
    else:
        for key in store.keys(""):
            store.remove(key)
    for key, content in objects.items():
        store.replace_bytes(content, key)
