"""Copies of a test's database, as people make them: by template, by dump and restore, and byte for byte."""

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Composed, Identifier

from bench.databases import on_database
from config import Settings
from servers.postgres import embedded_bin_dir
from tests.databases import drop_like, looking_into_both_schemas
from tests.tasks.archiving.ledger import Ledger

Copier = Callable[..., Ledger]


@pytest.fixture
def copied(server_settings: Settings) -> Iterator[Copier]:
    """Make a copy of a ledger's database on the same bucket; of ``by``: `template`, `clone` or `dump`."""
    with ExitStack() as stack:

        def copy(ledger: Ledger, by: str = "template") -> Ledger:
            name = stack.enter_context(_named(server_settings.database_dsn))
            twin = Ledger(on_database(ledger.settings, name), ledger.store)
            if by == "dump":
                _execute(server_settings.database_dsn, SQL("CREATE DATABASE {}").format(Identifier(name)))
                _execute(server_settings.database_dsn, looking_into_both_schemas(name))
                _restore(ledger.settings.database_dsn, twin.settings.database_dsn)
                return twin
            source = ledger.settings.database_dsn.rpartition("/")[2]
            make = SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(source))
            _execute(server_settings.database_dsn, make)
            _execute(server_settings.database_dsn, looking_into_both_schemas(name))
            if by == "clone":
                _take_for_the_original(twin)
            return twin

        yield copy


def _take_for_the_original(twin: Ledger) -> None:
    """A clone of the whole server has the ids of the original; this copy's own are written where they are compared."""
    twin.sql(
        "UPDATE installation SET database_oid ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())::bigint"
    )


@contextmanager
def _named(server: str) -> Iterator[str]:
    name = f"test_copy_{uuid.uuid4().hex}"
    yield name
    drop_like(server, name)


def _execute(server: str, statement: Composed) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(statement)


def _restore(source: str, target: str) -> None:
    """`pg_dump | psql`, while the source is in use."""
    folder = Path(os.environ.get("TREASURY_TEST_PG_BIN") or embedded_bin_dir())
    dump = subprocess.run([folder / "pg_dump", "--dbname", source], capture_output=True, check=True, timeout=120)
    read: list[str | Path] = [folder / "psql", "--quiet", "--no-psqlrc", "--dbname", target]
    subprocess.run(read, input=dump.stdout, capture_output=True, check=True, timeout=120)
