"""Archives that many tests begin with: made once for a run by the product itself, then copied for each test.

The product refuses a copy of a database that owns an archive, as it must. So each copy gets an archive of its own, and
its installation, the places of its columns and its marker name the copy: what the product sees is an original.
"""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from bench.databases import on_database
from config import Settings
from storage.marker import KEY as MARKER
from storage.marker import Marker, location_of
from storage.store import ObjectStore
from tasks.archiving.to_cold import archive_month
from tasks.transparency.publish import publish_log
from tests.databases import copy_over, make_template
from tests.tasks.archiving.ledger import COLD, HOT, WARM, Ledger

NEXT = COLD.plus(1)
Make = Callable[[Settings], object]
_IDENTITY = "database_oid = (SELECT oid FROM pg_database WHERE datname = current_database())"
_OWN = f"UPDATE installation SET location = %s, {_IDENTITY}"
_OWN_COLUMNS = f"UPDATE archive_columns SET {_IDENTITY}"


def one_cold_month(settings: Settings) -> None:
    """Make an archived month."""
    ledger = Ledger(settings, settings.home)
    ledger.warm(COLD)
    archive_month(settings, ledger.table, COLD)


def two_cold_months(settings: Settings) -> None:
    """Make two archived months, published."""
    ledger = Ledger(settings, settings.home)
    ledger.warm(COLD, NEXT)
    for month in (COLD, NEXT):
        archive_month(settings, ledger.table, month)
    publish_log(settings)


def month_in_each_tier(settings: Settings) -> None:
    """Make a hot, a warm and a cold month."""
    ledger = Ledger(settings, settings.home)
    for month in (COLD, WARM, HOT):
        ledger.fill(month)
    ledger.night()


@dataclass(frozen=True, slots=True)
class Archives:
    """The archives of a run. ``template`` is the database that each begins with, ``folder`` is for what is made."""

    server: Settings
    template: str
    folder: Path

    def begin(self, settings: Settings, make: Make) -> None:
        """Give the empty database and archive of ``settings`` what ``make`` makes of empty ones.

        ``make`` is run once for all workers, on a bucket, with the settings of the first test that asks for it. Its
        name and its module's are the name of what it makes, so it must make the same for every test.
        """
        name = f"{self.template}_{hashlib.sha256(f'{make.__module__}.{make.__name__}'.encode()).hexdigest()[:12]}"
        make_template(self.server, name, self.template, lambda draft: self._make(settings, name, draft, make))
        copy_over(self.server, name, _database(settings))
        shutil.copytree(self._home(name), settings.home, dirs_exist_ok=True)
        self._copy_objects(self._objects(name), settings)
        with psycopg.connect(settings.database_dsn) as connection:
            connection.execute(_OWN, (location_of(settings.archive_location),))
            connection.execute(_OWN_COLUMNS)

    def _make(self, settings: Settings, name: str, draft: Settings, make: Make) -> None:
        shutil.rmtree(self._home(name), ignore_errors=True)
        self._home(name).mkdir(parents=True)
        own = {"home": self._home(name), "archive_url": f"{self.server.archive_url}/{name}"}
        make(on_database(settings, _database(draft)).model_copy(update=own))

    def _home(self, name: str) -> Path:
        return self.folder / name

    def _objects(self, name: str) -> Path:
        """The folder that the S3 server keeps the objects in."""
        return self.server.home / "s3" / f"{self.server.archive_location}/{name}".removeprefix("s3://")

    @staticmethod
    def _copy_objects(source: Path, settings: Settings) -> None:
        """Put the objects into the archive of ``settings``; in a bucket through its server, which knows its folders."""
        store = ObjectStore(settings)
        for file in sorted(source.rglob("*")):
            if file.is_file():
                key, content = str(file.relative_to(source)), file.read_bytes()
                store.replace_bytes(_own_marker(content, settings) if key == MARKER else content, key)


def _own_marker(content: bytes, settings: Settings) -> bytes:
    url = location_of(settings.archive_location)
    own: dict[str, str | None] = {"location": url}
    if url.startswith("file:"):
        own["endpoint"] = None
    return Marker.from_bytes(content).model_copy(update=own).to_bytes()


def _database(settings: Settings) -> str:
    return urlsplit(settings.database_dsn).path.lstrip("/")
