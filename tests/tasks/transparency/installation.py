"""An installation under test: a database that owns its archive, events to record, and its log seen from outside."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from config import Settings
from ledger.installation import Owner
from ledger.transparency.events import Body, Event, Held
from ledger.transparency.notes import open_checkpoint, require_keys
from ledger.transparency.replay import check_numbers, replay_entries
from ledger.transparency.verifier_keys import VerifierKey
from sql.connection import connect
from sql.log import LogRow, read_entries, read_log, record_event
from storage.marker import KEY as MARKER
from storage.store import ObjectStore
from tasks.archiving.ownership import check_ownership
from tasks.transparency.archived_log import ArchivedLog, LogContent


class Installation:
    """One test's database and archive."""

    def __init__(self, settings: Settings, owner: Owner) -> None:
        self.settings = settings
        self.owner = owner
        self.store = ObjectStore(settings)

    @classmethod
    @contextmanager
    def begun(cls, settings: Settings) -> "Iterator[Installation]":
        """A database that has taken its archive."""
        with connect(settings.database_dsn, "tests") as connection:
            owner = check_ownership(connection, settings)
        yield cls(settings, owner)

    @property
    def origin(self) -> str:
        """The origin of the log."""
        return f"treasury/{self.owner.installation_id}"

    def record(self, *holds: str, body: Body | None = None) -> None:
        """Record events: a hold for each name, or one body."""
        bodies: list[Body] = [body] if body else [Held(table="transactions", month="2024-03", hold=h) for h in holds]
        with connect(self.settings.database_dsn, "tests") as connection:
            for one in bodies:
                record_event(connection, self.owner, one)

    @property
    def row(self) -> LogRow:
        """The row of `log_state`."""
        with connect(self.settings.database_dsn, "tests") as connection:
            row = read_log(connection, self.owner.installation_id)
        assert row is not None
        return row

    @property
    def planned(self) -> list[bytes]:
        """The entries that have a place in PostgreSQL."""
        with connect(self.settings.database_dsn, "tests") as connection:
            return read_entries(connection, self.owner.installation_id)

    def objects(self) -> dict[str, bytes]:
        """Every object of the archive but the marker."""
        keys = [key for key in self.store.keys("") if key != MARKER]
        return {key: self.store.read_bytes(key) for key in keys}

    def log(self, folder: str = "log") -> LogContent:
        """The log in the archive: verified from its bundles, both signatures there, its numbers without a gap."""
        keys = [VerifierKey.parse(text) for text in self.row.keys]
        archive = ArchivedLog(self.store, folder)
        log = archive.verify(keys, self.origin)
        assert log is not None
        _, note = open_checkpoint(log.note, keys, self.origin)
        require_keys(note, keys)
        check_numbers([Event.from_bytes(entry) for entry in log.entries])
        assert tuple(replay_entries(log.entries).keys) == self.row.keys
        return log

    def kinds(self, folder: str = "log") -> list[str]:
        """What the log's entries are, in order."""
        return [kind_of(entry) for entry in self.log(folder).entries]

    def sql(self, query: str, *parameters: Any) -> list[Any]:
        """Run a statement as the database's superuser; returns its rows, if it has any."""
        with psycopg.connect(self.settings.database_dsn, autocommit=True) as connection:
            cursor = connection.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []


def kind_of(entry: bytes) -> str:
    """The kind of an event; of a hold its name."""
    body = Event.from_bytes(entry).body
    return body.hold if isinstance(body, Held) else body.event
