"""Restoring: an archived month as a table of a schema of its own, its rows compared with the archive, for some days.

The archive stays as it is, and the month stays in its tier. A copy is not part of the ledger, and no view reads it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from psycopg.sql import SQL, Identifier

from config import Settings
from ledger.columns import Column
from ledger.errors import ConflictError, DataError, GoneError, NotFoundError, TreasuryError, VerificationError
from ledger.months import Month
from ledger.people import REASON_CHARACTERS, Person, check_text
from ledger.policy import Tier
from ledger.tables import TieredTable
from ledger.transparency.events import Restored
from sql.connection import Connection, connect
from sql.log import record_event
from sql.maintenance import run_ddl
from sql.relations import Parents, Relation
from sql.restored import (
    Copy,
    Request,
    add_copy,
    copies,
    copy_name,
    drop_copy,
    ensure_schema,
    extend,
    loading_name,
    make_copy_indexes,
    make_copy_table,
    mark_ready,
    name_copy,
    restore_lock,
    set_index_memory,
)
from sql.returns import lock_parts
from sql.roles import grant_copy
from storage.engine import engine
from storage.manifest import Manifest
from storage.row_copies import csv_chunks
from storage.spool import spool_folder
from tasks.archiving.catalogue import MonthState, gone_text, month_states
from tasks.archiving.ownership import check_ownership
from tasks.restoring.archived_parts import FetchedPart, fetch_part, present_names, table_fields, verify_copy

OnStep = Callable[[str], object]
COPY_DAYS = 30
MOST_DAYS = 366


@dataclass(frozen=True, slots=True)
class RestoredPart:
    """A copy that may be read: its table, its rows, when it is dropped (UTC).

    ``was_there`` before: it is kept for longer. ``without`` are the indexes that it cannot have.
    """

    table: str
    month: Month
    part: int
    relation: str
    rows: int
    expires_at: datetime
    was_there: bool
    without: tuple[str, ...] = ()


def restore_month(
    settings: Settings, table: TieredTable, month: Month, who: Request, on_step: OnStep = lambda _: None
) -> list[RestoredPart]:
    """Copy every archived part of a month into the schema of restored months; returns the copies.

    Safe to run again after any interruption. What a run that was killed left is dropped first, and a copy that is there
    is kept for longer. Raises NotFoundError for an unknown month, DataError for one that is not archived, and
    VerificationError where the archive is not what the log says. Raises ConfigError for a schema or a name that
    somebody else has, and ConflictError while another run restores the month.
    """
    check_text("reason", who.reason, REASON_CHARACTERS)
    Person(who.actor, who.account).check()
    with connect(settings.database_dsn, "restore") as connection, restore_lock(connection, table.name, month):
        states = archived_states(connection, table, month)
        return [_restore(_Copying(connection, settings, table, state, who, on_step)) for state in states]


def archived_states(connection: Connection, table: TieredTable, month: Month) -> list[MonthState]:
    """The archived parts of a month. Raises NotFoundError, GoneError and DataError for a month that has none."""
    states = [state for state in month_states(connection, table) if state.month == month]
    if not states:
        raise NotFoundError(f"{table.name} has no month {month}")
    archived = [state for state in states if state.is_archived]
    if not archived:
        if gone := gone_text(states):
            raise GoneError(f"{table.name} {month} {gone}")
        raise DataError(f"{table.name} {month} is {states[-1].tier}: its rows are in PostgreSQL already")
    return archived


@dataclass(frozen=True, slots=True)
class _Copying:
    """A part of a month in hand."""

    connection: Connection
    settings: Settings
    table: TieredTable
    state: MonthState
    who: Request
    on_step: OnStep

    @property
    def name(self) -> str:
        """The name of the copy."""
        return copy_name(self.table, self.state.month, self.state.catalogue.part)

    def __str__(self) -> str:
        return f"{self.table.name} {self.state.month}, part {self.state.catalogue.part}"


def _restore(work: _Copying) -> RestoredPart:
    part = work.state.catalogue.part
    for copy in copies(work.connection, work.table.name, work.state.month, part):
        if copy.is_ready and copy.is_there:
            until = extend(work.connection, copy.restore_id, work.who.ttl)
            return _described(work, copy.relation, copy.row_count, until, was_there=True)
        run_ddl(work.connection, work.settings, lambda copy=copy: drop_copy(work.connection, copy))  # type: ignore[misc]  # mypy cannot infer a lambda's default
        work.on_step("swept")
    with spool_folder(work.settings.spool, "restore") as spool:
        fetched = fetch_part(work.connection, work.settings, work.table, work.state, spool)
        manifest, file = fetched.manifest, fetched.file
        work.on_step("fetched")
        columns = present_names(table_fields(work.connection, work.table), manifest.layout.columns)
        relation, restore_id, without = _load(work, manifest, columns, file)
        work.on_step("loaded")
        try:
            verify_copy(work.settings, str(work), manifest, columns, relation, file, spool)
            work.on_step("verified")
            return _show(work, fetched, relation, restore_id, without)
        except (VerificationError, ConflictError):
            (copy,) = [copy for copy in copies(work.connection) if copy.restore_id == restore_id]
            run_ddl(work.connection, work.settings, lambda: drop_copy(work.connection, copy))
            raise


def _load(
    work: _Copying, manifest: Manifest, columns: Sequence[Column], file: Path
) -> tuple[Relation, int, tuple[str, ...]]:
    """The table with all rows and its indexes, in one transaction; not readable for others yet."""
    connection, settings = work.connection, work.settings
    run_ddl(connection, settings, lambda: ensure_schema(connection, settings.restored_schema))
    hot = Parents.of(connection, work.table).hot
    with connection.transaction(), engine(settings) as duck:
        set_index_memory(connection)
        part = work.state.catalogue.part
        loading = loading_name(work.table, work.state.month, part, connection.info.backend_pid)
        relation = make_copy_table(connection, settings.restored_schema, loading, columns)
        restore_id = add_copy(connection, work.table, work.state.month, part, relation, manifest.rows, work.who)
        names = SQL(", ").join(Identifier(column.name) for column in columns)
        copy_in = SQL("COPY {} ({}) FROM STDIN (FORMAT csv, FREEZE)").format(relation.identifier, names)
        with connection.cursor() as cursor:
            with cursor.copy(copy_in) as copy:
                for chunk in csv_chunks(duck, file, manifest.layout.columns):
                    copy.write(chunk)
            if cursor.rowcount != manifest.rows:
                raise VerificationError(f"{work}: {manifest.rows} rows were sent, PostgreSQL stored {cursor.rowcount}")
        without = make_copy_indexes(connection, hot, relation)
    connection.execute(SQL("ANALYZE {}").format(relation.identifier))
    return relation, restore_id, tuple(without)


def _show(
    work: _Copying, fetched: FetchedPart, relation: Relation, restore_id: int, without: tuple[str, ...]
) -> RestoredPart:
    """One transaction gives the copy its name and its readers, and records the event of the log."""
    manifest = fetched.manifest
    owner = check_ownership(work.connection, work.settings)

    def show() -> tuple[Relation, datetime]:
        _require_archived(work, fetched)
        comment = f"Treasury: copy of the archived {work}, root {manifest.tree.root}"
        named = name_copy(work.connection, relation, work.name, comment)
        until = mark_ready(work.connection, restore_id, named.name, work.who.ttl)
        grant_copy(work.connection, named)
        details = {"relation": f"{named.schema}.{named.name}", "rows": manifest.rows, "until": f"{until:%Y-%m-%d}"}
        body = Restored(
            table=work.table.name, month=str(work.state.month), part=work.state.catalogue.part, details=details
        )
        record_event(work.connection, owner, body)
        return named, until

    named, until = run_ddl(work.connection, work.settings, show)
    work.on_step("shown")
    return _described(work, named, manifest.rows, until, was_there=False, without=without)


def _require_archived(work: _Copying, fetched: FetchedPart) -> None:
    """Raise ConflictError unless the part is archived as it was when it was fetched: it may be deleted, or in its table
    again. It stays so until the end of the transaction.
    """
    number, wanted = work.state.catalogue.part, fetched.archived.manifest.sha256
    parts = lock_parts(work.connection, work.table.name, work.state.month)
    present = {part.part: (part.manifest_sha256 or b"").hex() for part in parts if Tier(part.tier).is_archived}
    if present.get(number) != wanted:
        raise ConflictError(f"{work} changed in the catalogue while it was restored: run it again")


def _described(
    work: _Copying, relation: Relation, rows: int, until: datetime, *, was_there: bool, without: tuple[str, ...] = ()
) -> RestoredPart:
    named = (work.table.name, work.state.month, work.state.catalogue.part, f"{relation.schema}.{relation.name}")
    return RestoredPart(*named, rows, until, was_there, without)


def list_copies(settings: Settings) -> list[Copy]:
    """The copies that are there, also those that a killed run left half-made."""
    with connect(settings.database_dsn, "restore") as connection:
        return copies(connection)


def drop_copies(
    settings: Settings, *, only_expired: bool, table: str | None = None, month: Month | None = None
) -> list[Copy]:
    """Drop copies whose time is over and what killed runs left, or every copy of a month; returns those dropped.

    A copy that cannot be dropped stops no other: the first error is raised at the end. Safe to run again.
    """
    dropped, problems = [], []
    with connect(settings.database_dsn, "restore") as connection:
        for copy in copies(connection, table, month):
            if only_expired and copy.is_ready and not copy.has_expired and copy.is_there:
                continue
            try:
                with restore_lock(connection, copy.table_name, Month.of(copy.month)):
                    run_ddl(connection, settings, lambda copy=copy: drop_copy(connection, copy))  # type: ignore[misc]  # mypy cannot infer a lambda's default
                dropped.append(copy)
            except TreasuryError as error:
                problems.append(error)
    if problems:
        raise problems[0]
    return dropped
