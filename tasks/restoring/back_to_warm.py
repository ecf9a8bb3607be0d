"""Back to warm: an archived month becomes a partition of the warm parent again, so that somebody can work on it.

All rows of all its archived parts are loaded into a table made like the warm parent. They are compared with the archive
before anybody can read them. One transaction then attaches the table and makes the month warm. It keeps its objects as
former ones, and records the event of the public log. Until its commit the month is archived as before.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from config import Settings
from ledger.columns import Column, ColumnKind
from ledger.errors import ConfigError, ConflictError, DataError, TreasuryError, VerificationError
from ledger.installation import Owner
from ledger.months import Month
from ledger.people import REASON_CHARACTERS, Person, check_text
from ledger.policy import Tier
from ledger.tables import TieredTable
from ledger.transparency.events import Archived, LoggedObject, Returned, ReturnedPart
from sql.catalog import columns_of
from sql.clock import read_now
from sql.connection import Connection, connect, is_rolled_back
from sql.deep import find_copy
from sql.log import record_event
from sql.maintenance import keep_vacuum_out, run_ddl
from sql.partition_checks import check_attachable
from sql.partitions import attach, list_partitions, make_like, monthly_partitions
from sql.preparation import prepare_table
from sql.queries import load
from sql.relations import Parents, Relation, find_in_schema
from sql.restored import (
    Request,
    add_copy,
    copies,
    drop_copy,
    ensure_schema,
    loading_name,
    restore_lock,
    set_index_memory,
)
from sql.returns import (
    RETURN_FORMAT,
    MonthReturn,
    check_plain,
    drop_defaults,
    extend_work,
    generated_columns,
    lock_parts,
    make_constraints,
    mark_attached,
    merge,
    naming_misfits,
    newest_attempt,
    set_defaults,
    set_returned,
)
from sql.seal import row_versions
from sql.storing import alterers, check_stored
from storage.engine import engine
from storage.layout import RETURNS
from storage.manifest import Manifest
from storage.row_copies import csv_chunks
from storage.spool import spool_folder
from storage.store import ObjectStore
from tasks.archiving.catalogue import MonthState, count_rows, month_states
from tasks.archiving.month_lock import month_lock
from tasks.archiving.ownership import check_ownership
from tasks.archiving.records import put_salted_record
from tasks.restoring.archived_parts import FetchedPart, fetch_part, present_names, table_fields, verify_copy
from tasks.restoring.restore import archived_states

OnStep = Callable[[str], object]
WORK_DAYS = 7
"""Days of work on a returned month, where nobody says otherwise."""

_TIERS = load("tiers")


@dataclass(frozen=True, slots=True)
class ReturnedMonth:
    """A month that is warm again: its partition, its rows, and the last UTC day of the work on it.

    ``was_there``: it had returned before, and its days were at most made more.
    """

    table: str
    month: Month
    parts: tuple[int, ...]
    relation: str
    rows: int
    until: date
    was_there: bool


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A part in a table of its own."""

    state: MonthState
    archived: Archived
    relation: Relation
    restore_id: int


@dataclass(frozen=True, slots=True)
class _Return:
    """A month in hand."""

    connection: Connection
    settings: Settings
    table: TieredTable
    month: Month
    who: Request
    states: Sequence[MonthState]
    warm: Relation
    on_step: OnStep

    def __str__(self) -> str:
        return f"{self.table.name} {self.month}"


def return_month(
    settings: Settings, table: TieredTable, month: Month, who: Request, on_step: OnStep = lambda _: None
) -> ReturnedMonth:
    """Bring an archived month back to warm, to be worked on for ``who.ttl``; all of its archived parts become one.

    Safe to run again after any interruption: what a run that was killed left is dropped first. A month that is back
    already is kept there for at least ``who.ttl`` from now on. Raises NotFoundError for an unknown month, and GoneError
    for a deleted one. Raises DataError for one that is not archived whole or does not fit the table any more. Raises
    ConfigError for what is in the way, and VerificationError where the archive is not what the log says. Raises
    DeepTierError for a part that must be restored first. Raises ConflictError while another run has the month,
    OwnershipError, and the servers' errors.
    """
    check_text("reason", who.reason, REASON_CHARACTERS)
    Person(who.actor, who.account).check()
    with (
        connect(settings.database_dsn, "return") as connection,
        month_lock(connection, table, month),
        restore_lock(connection, table.name, month),
    ):
        prepare_table(connection, settings, table)
        warm = Parents.of(connection, table).warm
        if warm is None:
            raise ConfigError(f"table {table.name}: there is no {table.warm_parent} in the database")
        if (there := _back_already(connection, table, month, who, warm)) is not None:
            return there
        states = _returnable(connection, table, month)
        work = _Return(connection, settings, table, month, who, states, warm, on_step)
        _require_free(work)
        _sweep(work)
        return _returned(work)


def _back_already(
    connection: Connection, table: TieredTable, month: Month, who: Request, warm: Relation
) -> ReturnedMonth | None:
    """The month that returned before, with more days if it needs them; None for any other."""
    until = read_now(connection).date() + who.ttl
    extended = extend_work(connection, table.name, month, until)
    if extended is None:
        return None
    relation = monthly_partitions(connection, warm).get(month)
    if relation is None:
        raise DataError(f"{table.name} {month}: the catalogue says warm, but {warm} has no partition of it")
    rows = count_rows(connection, relation)
    return ReturnedMonth(table.name, month, (extended[1],), str(relation), rows, extended[0], was_there=True)


def _returnable(connection: Connection, table: TieredTable, month: Month) -> list[MonthState]:
    """The archived parts of a month that has no rows anywhere else."""
    archived = archived_states(connection, table, month)
    states = [state for state in month_states(connection, table) if state.month == month]
    for state in states:
        part = state.catalogue.part
        if state.tier.is_in_postgres:
            raise DataError(
                f"{table.name} {month}: part {part} is {state.tier}: its partition takes late rows. Archive it first, "
                "then all parts of the month go back together"
            )
        if state.catalogue.step != "idle":
            raise ConflictError(
                f"{table.name} {month}: part {part} is {state.tier}, and step {state.catalogue.step} has not ended: "
                "run the flow that began it again first"
            )
        if (copy := find_copy(connection, state.catalogue.object_key or "")) is not None:
            raise ConflictError(
                f"{table.name} {month}: part {part} is on its way into the storage class {copy.storage_class}: the "
                "nightly run completes that, then it can go back"
            )
    return archived


def _require_free(work: _Return) -> None:
    """Raise ConfigError or DataError for what others have put in the way: before anything is fetched."""
    parents = Parents.of(work.connection, work.table)
    for parent in parents.found:
        for partition in list_partitions(work.connection, parent):
            if partition.month == work.month:
                raise DataError(
                    f"{work} is archived, and {parent} has a partition {partition.relation} of it that the "
                    "catalogue does not know. Detach it, or open the month for late rows with it"
                )
    if names := alterers(work.connection, work.warm):
        raise ConfigError(
            f"{work}: {'; '.join(names)} can change or drop rows on their way into {work.warm}, and would not run for "
            "rows that come back. Drop it, or disable it, and create it again afterwards"
        )
    name = work.table.partition(work.month)
    there = find_in_schema(work.connection, work.warm.schema, name)
    if there is not None:
        raise DataError(f"{work}: a relation called {there} is in the way: it is not a partition of ours. Rename it")


def _sweep(work: _Return) -> None:
    """Drop what a run that was killed has left."""
    for copy in copies(work.connection, work.table.name, work.month):
        if copy.purpose == "return":
            run_ddl(work.connection, work.settings, lambda copy=copy: drop_copy(work.connection, copy))  # type: ignore[misc]  # mypy cannot infer a lambda's default
            work.on_step("swept")


def _returned(work: _Return) -> ReturnedMonth:
    try:
        with spool_folder(work.settings.spool, "return") as spool:
            loaded = _loaded(work, spool)
            versions = _merge(work, loaded)
        work.on_step("merged")
        return _attach(work, loaded, versions)
    except (TreasuryError, psycopg.Error) as error:
        if is_rolled_back(work.connection, error):
            _sweep(work)
        raise


def _loaded(work: _Return, spool: Path) -> list[_Loaded]:
    """Every part in a table of its own, each compared with the archive. All are fetched before any is loaded."""
    fetched = [(state, _fetch(work, state, spool)) for state in work.states]
    work.on_step("fetched")
    columns = [_columns(work, fetched_part.manifest) for _, fetched_part in fetched]
    loaded = []
    for (state, fetched_part), of_part in zip(fetched, columns, strict=True):
        made = _load(work, state, fetched_part, of_part)
        loaded.append(made)
        work.on_step("loaded")
        named = f"{work}, part {state.catalogue.part}"
        verify_copy(
            work.settings,
            named,
            fetched_part.manifest,
            of_part,
            made.relation,
            fetched_part.file,
            fetched_part.file.parent,
        )
    work.on_step("verified")
    return loaded


def _fetch(work: _Return, state: MonthState, spool: Path) -> FetchedPart:
    folder = spool / str(state.catalogue.part)
    folder.mkdir()
    return fetch_part(work.connection, work.settings, work.table, state, folder)


def _columns(work: _Return, manifest: Manifest) -> list[Column]:
    """The archived columns under their present names. Raises DataError for one that has no place any more."""
    fields = table_fields(work.connection, work.table)
    living = {column.field_id: column for column in fields.numbered(columns_of(work.connection, work.warm))}
    for column in manifest.layout.columns:
        now = living.get(column.field_id)
        if now is None:
            raise DataError(
                f"{work}: the column {column.name} was dropped from {work.warm} after the month was archived, and its "
                "values would have no place. Restore a copy, without --to warm"
            )
        if (now.kind, now.scale) != (column.kind, column.scale):
            raise DataError(
                f"{work}: the column {now.name} of {work.warm} is of the kind {_kind(now)} now, and its archived "
                f"values are {_kind(column)}: restore a copy, without --to warm"
            )
    return present_names(fields, manifest.layout.columns)


def _kind(column: Column) -> str:
    return f"decimal with {column.scale} places" if column.kind is ColumnKind.DECIMAL else str(column.kind)


def _load(work: _Return, state: MonthState, fetched: FetchedPart, columns: Sequence[Column]) -> _Loaded:
    """A part in a table of its own, like the warm parent, in one transaction. Nobody else may read it."""
    connection, settings, part = work.connection, work.settings, state.catalogue.part
    manifest = fetched.manifest
    run_ddl(connection, settings, lambda: ensure_schema(connection, settings.restored_schema))
    is_first = state is work.states[0]
    name = loading_name(work.table, work.month, part, connection.info.backend_pid)
    with connection.transaction(), naming_misfits(f"{work}, part {part}", work.warm):
        set_index_memory(connection)
        make_like(connection, work.table, work.warm, Identifier(settings.restored_schema, name), work.month)
        relation = find_in_schema(connection, settings.restored_schema, name)
        assert relation is not None  # noqa: S101  # it was made just now
        restore_id = add_copy(connection, work.table, work.month, part, relation, manifest.rows, work.who, "return")
        drop_defaults(connection, relation, work.warm)
        _copy_in(work, relation, fetched, columns)
        set_defaults(connection, relation, work.warm)
        if is_first:
            make_constraints(connection, relation, work.warm)
    return _Loaded(state, fetched.archived, relation, restore_id)


def _copy_in(work: _Return, relation: Relation, fetched: FetchedPart, columns: Sequence[Column]) -> None:
    """Send the rows of a file to PostgreSQL, which computes generated columns itself: they are compared like others."""
    computed = generated_columns(work.connection, relation)
    archived = fetched.manifest.layout.columns
    sent = [(old, new) for old, new in zip(archived, columns, strict=True) if new.name not in computed]
    names = SQL(", ").join(Identifier(new.name) for _, new in sent)
    # No FREEZE: a session that began before must not see these rows beside the archived ones.
    copy_in = SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(relation.identifier, names)
    with engine(work.settings) as duck, work.connection.cursor() as cursor:
        with cursor.copy(copy_in) as copy:
            for chunk in csv_chunks(duck, fetched.file, [old for old, _ in sent]):
                copy.write(chunk)
        check_stored(cursor, fetched.manifest.rows, str(relation))


def _merge(work: _Return, loaded: Sequence[_Loaded]) -> tuple[int, Decimal]:
    """Put the rows of later parts beside those of the first, and drop their tables; returns the versions of all."""
    connection, first = work.connection, loaded[0]
    if loaded[1:]:
        computed = generated_columns(connection, first.relation)
        columns = columns_of(connection, first.relation)
        names = [column.name for column in columns if column.name not in computed]
        with connection.transaction(), naming_misfits(str(work), work.warm):
            for part in loaded[1:]:
                merge(connection, work.table, part.relation, first.relation, names)
        _drop(work, {part.restore_id for part in loaded[1:]})
    connection.execute(SQL("VACUUM (FREEZE, ANALYZE) {}").format(first.relation.identifier))
    versions = row_versions(connection, first.relation)
    rows = sum(part.archived.rows for part in loaded)
    if versions[0] != rows:
        raise VerificationError(f"{work}: {rows} rows are archived, and {versions[0]} are in {first.relation}")
    return versions


def _drop(work: _Return, restored: Collection[int]) -> None:
    for copy in copies(work.connection, work.table.name, work.month):
        if copy.restore_id in restored:
            run_ddl(work.connection, work.settings, lambda copy=copy: drop_copy(work.connection, copy))  # type: ignore[misc]  # mypy cannot infer a lambda's default


def _attach(work: _Return, loaded: Sequence[_Loaded], versions: tuple[int, Decimal]) -> ReturnedMonth:
    """Store the record of the request, then make the month warm in one transaction."""
    connection, settings = work.connection, work.settings
    owner, store = check_ownership(connection, settings), ObjectStore(settings)
    now = read_now(connection)
    until = now.date() + work.who.ttl
    record = _record(work, loaded, until, now.isoformat())
    stored = put_salted_record(settings, owner, RETURNS, f"{work.table.name}-{work.month}", record)
    work.on_step("recorded")
    made = MonthReturn(work.table.name, work.month, versions[0], work.who, now, until, stored.key)
    try:
        partition = run_ddl(connection, settings, lambda: _flip(work, loaded, versions, made, owner, stored))
    except (TreasuryError, psycopg.Error) as error:
        if is_rolled_back(connection, error):
            store.remove(stored.key)  # it is the record of what did not happen
        raise
    work.on_step("returned")
    parts = tuple(part.archived.part for part in loaded)
    return ReturnedMonth(work.table.name, work.month, parts, str(partition), versions[0], until, was_there=False)


def _record(work: _Return, loaded: Sequence[_Loaded], until: date, at: str) -> dict[str, Any]:
    """Who sent the month back and why."""
    return {
        "format": RETURN_FORMAT,
        "table": work.table.name,
        "month": str(work.month),
        "parts": [msgspec.to_builtins(_logged(part)) for part in loaded],
        "actor": work.who.actor,
        "account": work.who.account,
        "reason": work.who.reason,
        "until": until.isoformat(),
        "at": at,
    }


def _logged(part: _Loaded) -> ReturnedPart:
    archived = part.archived
    return ReturnedPart(part=archived.part, manifest_sha256=archived.manifest.sha256, rows=archived.rows)


def _flip(
    work: _Return,
    loaded: Sequence[_Loaded],
    versions: tuple[int, Decimal],
    made: MonthReturn,
    owner: Owner,
    stored: LoggedObject,
) -> Relation:
    """The one transaction, under the locks that archiving takes: no statement sees the month twice or not at all.

    Everything that was looked at before is looked at again. The parent, which everybody reads, is locked last.
    """
    connection, relation = work.connection, loaded[0].relation
    keep_vacuum_out(connection, relation.identifier)
    connection.execute(SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(relation.identifier))
    check_plain(connection, relation)
    if row_versions(connection, relation) != versions:
        raise VerificationError(f"{work}: rows of {relation} changed after they were compared: run it again")
    connection.execute(SQL("LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE").format(work.warm.identifier))
    _require_free(work)
    _require_unchanged(work, loaded)
    check_attachable(connection, relation, work.warm)
    with naming_misfits(str(work), work.warm):
        partition = attach(connection, work.table, work.warm, relation, work.month)
    _enter(work, loaded, made)
    body = Returned(
        table=work.table.name,
        month=str(work.month),
        parts=tuple(map(_logged, loaded)),
        rows=versions[0],
        until=made.until,
        record=stored,
    )
    record_event(connection, owner, body)
    return partition


def _require_unchanged(work: _Return, loaded: Sequence[_Loaded]) -> None:
    """Raise ConflictError unless the catalogue has the month as it was when the work began."""
    wanted = [(part.archived.part, part.archived.manifest.sha256) for part in loaded]
    parts = [part for part in lock_parts(work.connection, work.table.name, work.month) if part.tier != Tier.DELETED]
    present = [(part.part, (part.manifest_sha256 or b"").hex()) for part in parts]
    is_archived = all(Tier(part.tier).is_archived and part.step == "idle" for part in parts)
    if present != wanted or not is_archived:
        raise ConflictError(f"{work} changed in the catalogue meanwhile: run it again")


def _enter(work: _Return, loaded: Sequence[_Loaded], made: MonthReturn) -> None:
    """The catalogue: one warm part, and the former objects of the month."""
    parts = [part.archived.part for part in loaded]
    known = lock_parts(work.connection, work.table.name, work.month)
    attempt = newest_attempt(work.connection, work.table.name, work.month)
    gone = max((part.part for part in known if part.part not in parts), default=0)
    number = parts[0] if parts[0] > gone else known[-1].part + 1  # what is in PostgreSQL is the newest part
    objects = sum(1 + len(part.archived.objects) for part in loaded)  # the manifest is beside the others
    set_returned(work.connection, made, parts, number, attempt, objects)
    mark_attached(work.connection, loaded[0].restore_id)
    detail = {"parts": parts, "actor": work.who.actor, "reason": work.who.reason, "until": made.until.isoformat()}
    event = {"table": work.table.name, "month": work.month.first_day, "event": "returned", "detail": Jsonb(detail)}
    check_stored(work.connection.execute(_TIERS["add_event"], event), 1, "archive_events")
