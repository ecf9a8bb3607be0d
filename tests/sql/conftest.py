"""Connections to a database of the test's own, and the same database with both tables prepared."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest

from config import Settings
from ledger.tables import BUILT_IN
from sql.connection import Connection, connect
from sql.partitions import ensure_partition
from sql.preparation import prepare_table
from tests.sql.ledger_rows import FEBRUARY

Connector = Callable[[], Connection]


@pytest.fixture
def connection(dsn: str) -> Iterator[Connection]:
    """A connection as the project makes them."""
    with connect(dsn, "tests") as connection:
        yield connection


@pytest.fixture
def another(dsn: str) -> Iterator[Connector]:
    """Opens further connections: plain psycopg, autocommit, PostgreSQL's own errors. No statement waits for ever."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(
            psycopg.connect(dsn, autocommit=True, options="-c statement_timeout=20s -c timezone=UTC")
        )


@pytest.fixture
def prepared(settings: Settings, connection: Connection) -> Settings:
    """Settings of a database whose tables are prepared, with a hot partition for February and March 2026."""
    for table in BUILT_IN:
        prepare_table(connection, settings, table)
        for distance in (0, 1):
            ensure_partition(connection, settings, table, FEBRUARY.plus(distance))
    return settings
