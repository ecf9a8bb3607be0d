"""The real ledger that the model is compared with: a database, an archive in a folder, and what can be done to both."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pyarrow.parquet as pq
from psycopg.sql import SQL, Identifier

from bench.databases import on_database
from config import Settings
from ledger.months import Month
from sql.connection import connect
from tasks.archiving.installation import continue_installation, report_installation, separate_installation
from tasks.archiving.rollover import roll_table
from tests.databases import Databases, looking_into_both_schemas
from tests.life.model import HOT_MONTHS, WARM_MONTHS, PartKey, Row
from tests.tasks.archiving.ledger import Ledger, make_row

_POLICY = {"hot_months": HOT_MONTHS, "warm_months": WARM_MONTHS}
_COLUMNS = ("id", "wallet_id", "status", "amount", "currency", "created_at")
_OWN_OID = "(SELECT oid FROM pg_database WHERE datname = current_database())::bigint"
_LIVING = """
    SELECT tier, id, wallet_id, status, amount, currency, created_at FROM (
        SELECT 'hot' AS tier, * FROM transactions_partitioned
        UNION ALL SELECT 'warm' AS tier, * FROM transactions_archive_warm
    ) AS living
"""

Seen = list[tuple[UUID, Month, str, Row]]


class World:
    """One example's database and archive. ``close`` drops what was made."""

    def __init__(self, server: Settings, databases: Databases, template: str, folder: Path) -> None:
        self._server, self._databases, self._folder = server, databases, folder
        own = {"home": folder / "home", "archive_url": f"file://{folder / 'archive'}"}
        own |= {"tables": {"transactions": {"policy": _POLICY}}, "partitions_ahead": 1}
        self.settings = on_database(server.model_copy(update=own), databases.take(template))
        self._backup: str | None = None
        self._connection: psycopg.Connection[Any] | None = None
        self._numbers = 0
        self._archived: dict[str, list[tuple[UUID, Month, Row]]] = {}

    @property
    def ledger(self) -> Ledger:
        """The ledger as it is now."""
        return Ledger(self.settings, self.archive)

    @property
    def archive(self) -> Path:
        """The folder of the archive."""
        return Path(self.settings.archive_location.removeprefix("file://"))

    @property
    def name(self) -> str:
        """The name of the database."""
        return self.settings.database_dsn.rpartition("/")[2]

    # What is there

    def sql(self, query: str, *parameters: object) -> list[Any]:
        """Run a statement as the application does, on a connection that lasts."""
        if self._connection is None:
            self._connection = psycopg.connect(self.settings.database_dsn, autocommit=True)
        cursor = self._connection.execute(query, parameters)
        return cursor.fetchall() if cursor.description else []

    def rows(self) -> Seen:
        """Every row, from both parents and from the files that the catalogue names: read without the project."""
        living = [(key, Month.of(at), tier, Row(*rest)) for tier, key, *rest, at in self.sql(_LIVING)]
        cold = "SELECT tier, object_key FROM treasury.archive_months WHERE tier IN ('cold', 'deep')"
        archived = [(key, month, tier, row) for tier, name in self.sql(cold) for key, month, row in self._read(name)]
        return living + archived

    def _read(self, name: str) -> list[tuple[UUID, Month, Row]]:
        """The rows of an object, which never change."""
        if name not in self._archived:
            found = pq.read_table(self.archive / name, columns=list(_COLUMNS)).to_pylist()
            self._archived[name] = [(UUID(str(one["id"])), Month.of(one["created_at"]), _row(one)) for one in found]
        return self._archived[name]

    def tiers(self) -> dict[PartKey, str]:
        """The tier of each part by the catalogue."""
        found = self.sql("SELECT month, part, tier FROM treasury.archive_months WHERE table_name = 'transactions'")
        return {(Month.of(month), part): tier for month, part, tier in found}

    def counted(self) -> dict[PartKey, tuple[int, dict[str, Decimal]]]:
        """Rows and sums of each archived part by the catalogue."""
        query = "SELECT month, part, row_count, sums FROM treasury.archive_months WHERE tier IN ('cold', 'deep')"
        return {
            (Month.of(month), part): (count, {currency: Decimal(one["amount"]) for currency, one in sums.items()})
            for month, part, count, sums in self.sql(query)
        }

    def prints(self) -> dict[PartKey, bytes]:
        """What the objects of each archived part are now: a hash of their bytes."""
        query = "SELECT month, part, array_agg(object_key ORDER BY place) FROM treasury.archive_objects GROUP BY 1, 2"
        return {
            (Month.of(month), part): sha256(b"".join((self.archive / key).read_bytes() for key in keys)).digest()
            for month, part, keys in self.sql(query)
        }

    def not_written(self) -> set[str]:
        """Objects of data that no upload of this database names: it was set back since."""
        folders = (self.archive / name for name in ("transactions", "_treasury/manifests", "_treasury/trees"))
        there = {str(one.relative_to(self.archive)) for folder in folders for one in folder.rglob("*") if one.is_file()}
        return there - {key for (key,) in self.sql("SELECT object_key FROM treasury.archive_uploads")}

    def strays(self) -> set[str]:
        """Objects of data that neither an entry of the log nor an upload of this database names."""
        entries = self.sql(
            "SELECT convert_from(entry, 'UTF8') FROM treasury.log_events JOIN treasury.installation"
            " USING (installation_id) WHERE entry_index IS NOT NULL AND replaced_at IS NULL"
        )
        text = "\n".join(entry for (entry,) in entries)
        return {key for key in self.not_written() if key not in text}

    # What is done

    def roll(self, as_of: date) -> None:
        """Make the partitions of a day."""
        roll_table(self.settings, self.ledger.table, as_of, today=as_of)

    def new_rows(self, month: Month, count: int, status: str) -> dict[UUID, dict[str, Any]]:
        """Rows that nobody has made before."""
        made = [make_row(self.ledger.table, month, self._numbers + number) for number in range(count)]
        self._numbers += count
        return {one["id"]: one | {"status": status} for one in made}

    def insert(self, rows: dict[UUID, dict[str, Any]]) -> None:
        """Write rows through the hot parent, as the application does."""
        self.sql("SELECT 1")
        assert self._connection is not None
        with self._connection.transaction():
            self.ledger.insert(self._connection, self.ledger.table, list(rows.values()))

    def set_status(self, tier: str, key: UUID, status: str) -> int:
        """Change a status where the row is; returns how many rows were changed."""
        parent = {"hot": "transactions_partitioned", "warm": "transactions_archive_warm"}[tier]
        found = self.sql(f"UPDATE {parent} SET status = %s WHERE id = %s RETURNING id", status, key)
        return len(found)

    def insert_again(self, key: UUID) -> None:
        """Write a row of a warm month once more, into the same month."""
        warm = "transactions_archive_warm"
        self.sql(f"INSERT INTO {warm} SELECT * FROM {warm} WHERE id = %s", key)

    def end_work(self, month: Month) -> None:
        """The days of a returned month are over."""
        self.sql("UPDATE treasury.archive_months SET work_until = NULL WHERE month = %s", month.first_day)

    def back_up(self) -> None:
        """Keep a copy of the database, in place of the one that was kept."""
        if self._backup is not None:
            self._databases.give_back(self._backup)
        self._backup = self._copy(self.name)

    def restore(self, *, in_place: bool) -> "Former":
        """Put a copy of the backup in the place of the database; returns the former one. ``in_place``: PostgreSQL does
        not notice, as when a whole server is set back.
        """
        assert self._backup is not None
        former = Former(self.settings, self._databases)
        self._become(self._copy(self._backup), in_place=in_place)
        return former

    def return_to(self, former: "Former") -> None:
        """Take the former database back, and drop the one that was put in its place."""
        self._leave()
        self._databases.give_back(self.name)
        self.settings = former.settings

    def twin(self) -> "World":
        """A copy of the database on a copy of the archive elsewhere, with a home of its own."""
        twin = World.__new__(World)
        twin.__dict__ |= self.__dict__ | {"_connection": None, "_backup": None, "_archived": {}}
        folder = self._folder / f"twin-{uuid4().hex[:8]}"
        if self.archive.exists():
            shutil.copytree(self.archive, folder / "archive")
        changes = {"home": folder / "home", "archive_url": f"file://{folder / 'archive'}"}
        twin.settings = on_database(self.settings, self._copy(self.name)).model_copy(update=changes)
        return twin

    def continue_(self) -> str:
        """`treasury installation continue`."""
        return continue_installation(self.settings, lambda *_: True)

    def separate(self) -> str:
        """`treasury installation separate`."""
        return separate_installation(self.settings, lambda *_: True)

    def state(self) -> str:
        """What the database is to its archive."""
        return str(report_installation(self.settings).standing.state)

    def close(self) -> None:
        """Drop the databases."""
        self._leave()
        for name in filter(None, (self.name, self._backup)):
            self._databases.give_back(name)

    def _become(self, name: str, *, in_place: bool) -> None:
        self._leave()
        self.settings = on_database(self.settings, name)
        if in_place:
            self.sql(f"UPDATE treasury.installation SET database_oid = {_OWN_OID}")

    def _copy(self, source: str) -> str:
        """A copy of a database under a name of its own. Nobody may be connected to the source."""
        self._leave()
        name = f"test_life_{uuid4().hex}"
        with psycopg.connect(self._server.database_dsn, autocommit=True) as connection:
            copy = SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
            connection.execute(copy.format(Identifier(name), Identifier(source)))
            connection.execute(looking_into_both_schemas(name))
        return name

    def _leave(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Former:
    """The database that another one took the place of."""

    def __init__(self, settings: Settings, databases: Databases) -> None:
        self.settings, self._databases = settings, databases

    def drop(self) -> None:
        """Soon."""
        self._databases.give_back(self.settings.database_dsn.rpartition("/")[2])


def _row(found: dict[str, Any]) -> Row:
    return Row(found["wallet_id"], found["status"], found["amount"], found["currency"])


@contextmanager
def verifying(settings: Settings) -> Iterator[Any]:
    """A connection for the verification of an archive beside its database."""
    with connect(settings.database_dsn, "tests") as connection:
        yield connection


def row_of(made: dict[str, Any]) -> Row:
    """The model's row of one that was made."""
    return _row(made)
