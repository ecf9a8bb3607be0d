"""Make proof files from the archive: of a row, of all rows of a wallet in a month, and of absence.

Reads PostgreSQL's catalogue and log, and a few row groups of the archive. Changes nothing; safe to run again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self
from uuid import UUID

import duckdb
import psycopg

from config import Settings
from ledger.canonical import readable
from ledger.errors import ConfigError, DataError, FieldError, NotFoundError
from ledger.identifiers import time_of, unix_us
from ledger.month_proofs import MonthProof, RowAbsenceProof, RowProof, StatementProof
from ledger.month_tree import HEADER_MARK
from ledger.months import Month
from ledger.tables import TieredTable
from sql.connection import Connection, connect
from storage.engine import engine
from storage.month_proofs import MonthProver
from storage.store import ObjectStore
from tasks.archiving.catalogue import MonthState, month_states
from tasks.proving.logged_months import LoggedMonth, PublishedLog, require_archived, whole_month


@dataclass(frozen=True, slots=True)
class ProofFile:
    """A proof file, and what it is about: a part of a month.

    ``rows`` are the fields of the rows that it shows, by column, as text. ``names_others``: it also shows the names of
    other groups than the one that was asked for.
    """

    table: str
    month: str
    part: int
    content: bytes
    rows: tuple[Mapping[str, str], ...] = ()
    names_others: bool = False


class Prover:
    """Makes proof files, each against the log as it is then. Not thread-safe: one for a piece of work, or a pool.

    Every method may raise NotFoundError for what is not there, GoneError for what was deleted, and NotYetError for a
    month that is not provable yet. It raises VerificationError where the archive does not have what the log says, and
    TransientError.
    A statement or an absence is of all parts of a month: one that is not archived, or deleted, refuses both.
    """

    def __init__(self, settings: Settings) -> None:
        """Connects. To be closed, or used as a context manager."""
        self._settings = settings
        with ExitStack() as stack:
            self._connection: Connection = stack.enter_context(connect(settings.database_dsn, "proving"))
            self._engine: duckdb.DuckDBPyConnection = stack.enter_context(engine(settings))
            self._store = ObjectStore(settings)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def is_connected(self) -> bool:
        """Return whether PostgreSQL answers on its connection, which may have been idle for long."""
        try:
            self._connection.execute("")
        except psycopg.Error:
            return False
        return True

    def close(self) -> None:
        """Give back what it has open."""
        self._stack.close()

    def row(self, table: TieredTable, key: UUID, is_shown: Callable[[ProofFile], bool] = lambda _: True) -> ProofFile:
        """The proof of a row, wherever in the archive it is. One that is not ``is_shown`` counts as not there."""
        log: PublishedLog | None = None  # read when it is needed: a hot row is answered without one
        for state in self._months_of(table, key):
            log = log or self._log()
            logged = _logged(log, table, state)
            try:
                file = _file(logged, self._prover(logged).row(key))
            except NotFoundError:
                continue
            if is_shown(file):
                return file
        raise NotFoundError(f"{table.name} has no archived row with {table.key_column} {key}")

    def statement(self, table: TieredTable, group: str, month: Month) -> list[ProofFile]:
        """The proofs that a month has these rows of a group and no others: one for each archived part of the month.

        A part without rows of the group gets a proof of their absence. Raises NotFoundError where no part has any.
        """
        made = list(self._of_parts(table, group, month))
        if not any(is_there for is_there, _ in made):
            raise NotFoundError(
                f"{table.name} {month} has no row of {group!r}; its absence can be proved: `treasury prove absence`"
            )
        return [file for _, file in made]

    def absence(self, table: TieredTable, group: str, month: Month) -> list[ProofFile]:
        """The proofs that a month has no row of a group: one for each archived part of the month."""
        made = list(self._of_parts(table, group, month))
        if any(is_there for is_there, _ in made):
            raise DataError(f"{table.name} {month} has rows of {group!r}: prove them with `treasury prove statement`")
        return [file for _, file in made]

    def absence_of_row(self, table: TieredTable, group: str, key: UUID) -> list[ProofFile]:
        """The proofs that no row of a group is at a place: the key, a UUIDv7, and the time in it. One for each part.

        Raises DataError where the group has a row with the key at another time. A proof of the place would be read as
        one of the key. A program that takes key and time from different clocks stores such rows.
        """
        created_at = _time_of(table, key)
        month, values = Month.of(created_at), {table.time_column: str(unix_us(created_at)), table.key_column: str(key)}
        files = []
        parts = whole_month(self._connection, table, month)
        log = self._log()
        for state in self._months_of(table, key):
            self._refuse_row(_logged(log, table, state), group, key)
        for state in parts:
            logged = _logged(log, table, state)
            layout = logged.manifest.layout
            known = values | ({layout.group_column: group} if layout.group_column else {})
            if missing := [name for name in layout.sorted_by if name not in known]:
                raise ConfigError(
                    f"table {table.name}: its archive is sorted by {missing[0]}, so a key has no one place"
                )
            prover = self._prover(logged)
            if layout.group_column is not None and not prover.has_group(group):
                files.append(_file(logged, prover.absence_of_group(group)))
            else:
                files.append(_file(logged, prover.absence_of_row([known[name] for name in layout.sorted_by])))
        return files

    def _refuse_row(self, logged: LoggedMonth, group: str, key: UUID) -> None:
        """Raise DataError where a part has a row of the group with the key, whatever its time is."""
        manifest, layout = logged.manifest, logged.manifest.layout
        for fields in self._prover(logged).fields_of_rows(key):
            if layout.group_column is None or fields[layout.group_column] == group:
                at = readable(layout.column(manifest.time_column), fields[manifest.time_column])
                raise DataError(
                    f"{manifest.table} {manifest.month} has a row of {group!r} with {manifest.key_column} {key}, at "
                    f"{at}: prove it with `treasury prove row`"
                )

    def _of_parts(self, table: TieredTable, group: str, month: Month) -> Iterator[tuple[bool, ProofFile]]:
        parts = whole_month(self._connection, table, month)
        log = self._log()
        for state in parts:
            logged = _logged(log, table, state)
            prover = self._prover(logged)
            is_there = prover.has_group(group)
            yield is_there, _file(logged, prover.statement(group) if is_there else prover.absence_of_group(group))

    def _months_of(self, table: TieredTable, key: UUID) -> Iterator[MonthState]:
        """The archived parts of months that may have a row with the key, those of the key's own month first.

        Raises, at its end, what `require_archived` does of the key's own month.
        """
        moment = time_of(key) if table.key_is_uuid7 else None
        month = None if moment is None else Month.of(moment)
        states = month_states(self._connection, table)
        own = [state for state in states if state.month == month]
        others = [state for state in states if state.month != month and not state.catalogue.keys_tell_month]
        yield from (state for state in (*own, *others) if state.is_archived)
        if month is not None:
            require_archived(table, month, own)

    def _log(self) -> PublishedLog:
        return PublishedLog(self._connection, self._store)

    def _prover(self, logged: LoggedMonth) -> MonthProver:
        return MonthProver(self._settings, self._store, self._engine, logged.manifest)


def _logged(log: PublishedLog, table: TieredTable, state: MonthState) -> LoggedMonth:
    return log.month(table, state.month, state.catalogue.part)


def _file(logged: LoggedMonth, proof: MonthProof) -> ProofFile:
    manifest = logged.manifest
    rows = tuple(manifest.layout.fields(text) for text in _row_texts(proof))
    names_others = not isinstance(proof, RowProof | StatementProof)
    return ProofFile(manifest.table, manifest.month, manifest.part, logged.prove(proof), rows, names_others)


def _row_texts(proof: MonthProof) -> Sequence[str]:
    """The texts of the rows that a proof shows."""
    match proof:
        case RowProof():
            return (proof.text,)
        case StatementProof():
            return proof.leaves[1:]
        case RowAbsenceProof():
            return [text for text in proof.leaves if not text.startswith(HEADER_MARK)]
        case _:
            return ()


def _time_of(table: TieredTable, key: UUID) -> datetime:
    """The time in a key. Raises FieldError for a key that contains none."""
    moment = time_of(key) if table.key_is_uuid7 else None
    if moment is None:
        raise FieldError(table.key_column, f"{key} contains no time, so it has no month")
    return moment
