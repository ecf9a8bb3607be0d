"""The place of a benchmark: a home with servers of its own, or a database of its own on a server that is given."""

import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

from bench.databases import on_database
from config import Settings, load_settings
from config.settings import Ports
from ledger.months import Month
from servers.lending import Service, running
from tasks.admin.setup import prepare_database
from tasks.synthetic.generate import GenerateParameters, generate

ANY_PORTS = Ports(postgres=0, redis=0, s3=0, prefect=0, api=0, suppliers=0)


@contextmanager
def scratch(*services: Service, bin_dir: Path | None = None) -> Iterator[Settings]:
    """Settings with a fresh, prepared database and an archive of its own; all of it is gone at the end.

    ``bin_dir`` takes PostgreSQL's binaries from another folder than the embedded one.
    """
    with tempfile.TemporaryDirectory(prefix="treasury-bench-", ignore_cleanup_errors=True) as home:
        Path(home).chmod(0o755)  # under root PostgreSQL runs as another account and must get in
        base = load_settings().model_copy(update={"home": Path(home), "ports": ANY_PORTS})
        with running(base, "postgres", *services, bin_dir=bin_dir) as server, _database(server) as settings:
            prepare_database(settings)
            yield settings


@contextmanager
def _database(server: Settings) -> Iterator[Settings]:
    name = f"bench_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server.database_dsn, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        try:
            yield on_database(server, name)
        finally:
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def fill_month(settings: Settings, month: Month, rows: int) -> None:
    """Make ``rows`` realistic, finished transactions in one month that has long ended."""
    upper = month.upper
    parameters = GenerateParameters(months=1, rows_per_month=rows, until=date(upper.year, upper.month, 1))
    generate(settings, parameters, lambda _done, _total: None)
