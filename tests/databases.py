"""Databases to test on: copies of templates, made ahead while the test before runs, and dropped behind its back.

Making and dropping one is mostly waiting for checkpoints of a server whose other core has nothing to do.
"""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from bench.databases import on_database
from config import Settings
from tasks.admin.setup import prepare_database

_MAKING = 0x7472_6561_7E57  # the advisory lock: of all workers one makes a template
# A process keeps connections for its next question, and no database can be renamed under one.
_DISCONNECT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"


def make_template(server: Settings, name: str, source: str | None, fill: Callable[[Settings], object]) -> str:
    """The template ``name``: a copy of ``source``, or an empty database, that ``fill`` was run on. Made once a server.

    A template that could not be finished is made anew by the next who asks.
    """
    draft = f"{name}_draft"
    copied = SQL(" TEMPLATE {}").format(Identifier(source)) if source else SQL("")
    with psycopg.connect(server.database_dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, %s))", (name, _MAKING))
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
            connection.execute(_dropping(draft))
            connection.execute(SQL("CREATE DATABASE {}{}").format(Identifier(draft), copied))
            fill(on_database(server, draft))
            connection.execute(_DISCONNECT, (draft,))
            connection.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(Identifier(draft), Identifier(name)))
    return name


class Databases:
    """The databases of one process's tests, on one server.

    ``copied_as_files`` is for a server whose files are in memory: there it is quicker than through the log, on a disk
    it may be slower by far.
    """

    def __init__(self, server: str, copied_as_files: bool) -> None:
        self._server = server
        self._strategy = SQL(" STRATEGY FILE_COPY" if copied_as_files else "")
        self._thread = ThreadPoolExecutor(1, "databases")
        self._ahead: dict[str, Future[str]] = {}
        self._dropped: list[Future[None]] = []
        self._connection: psycopg.Connection[Any] | None = None

    def take(self, template: str) -> str:
        """The name of a fresh copy of ``template``; the next one is begun."""
        made = self._ahead.pop(template, None) or self._thread.submit(self._make, template)
        self._ahead[template] = self._thread.submit(self._make, template)
        return made.result()

    def give_back(self, name: str) -> None:
        """Drop ``name``, soon. Whoever is still connected loses it."""
        self._dropped.append(self._thread.submit(self._drop, name))

    def close(self) -> None:
        """Drop what was made ahead. Raises what kept any database of the run from being dropped."""
        for made in self._ahead.values():
            self.give_back(made.result())
        self._thread.shutdown()
        for dropped in self._dropped:
            dropped.result()
        if self._connection is not None:
            self._connection.close()

    def _make(self, template: str) -> str:
        name = f"test_{uuid.uuid4().hex}"
        copy = SQL("CREATE DATABASE {} TEMPLATE {}{}")
        self._execute(copy.format(Identifier(name), Identifier(template), self._strategy))
        self._execute(looking_into_both_schemas(name))
        return name

    def _drop(self, name: str) -> None:
        self._execute(_dropping(name))

    def _execute(self, statement: Composed) -> None:
        """Run ``statement`` on the one connection of the thread: a new one would cost half of what a copy does."""
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._server, autocommit=True)
        self._connection.execute(statement)


@contextmanager
def encoded_database(server: Settings, settings: Settings, encoding: str) -> Iterator[Settings]:
    """Settings with a database of another encoding, which is set up."""
    name = f"encoded_{uuid.uuid4().hex}"
    with psycopg.connect(server.database_dsn, autocommit=True) as admin:
        admin.execute(
            f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0"
            " LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
        )
        own = {"home": settings.home, "archive_url": f"{settings.archive_url}/{name}"}
        encoded = on_database(server, name).model_copy(update=own)
        try:
            assert prepare_database(encoded) == []
            yield encoded
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def copy_over(server: Settings, template: str, name: str) -> None:
    """Put a copy of ``template`` in the place of the database ``name``."""
    with psycopg.connect(server.database_dsn, autocommit=True) as connection:
        connection.execute(_dropping(name))
        connection.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(template)))
        connection.execute(looking_into_both_schemas(name))


def looking_into_both_schemas(name: str) -> Composed:
    """The statement with which a person's session finds ledger tables and the project's own. Its own are pinned."""
    return SQL("ALTER DATABASE {} SET search_path = public, treasury").format(Identifier(name))


def drop_like(server: str, prefix: str) -> None:
    """Drop every database whose name begins with ``prefix``."""
    with psycopg.connect(server, autocommit=True) as connection:
        found = connection.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (prefix,))
        for (name,) in found.fetchall():
            connection.execute(_dropping(name))


def _dropping(name: str) -> Composed:
    return SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name))
