"""Make proof files from the archive: of a row, of all rows of a wallet in a month, and of absence.

Reads PostgreSQL's catalogue and log, and a few row groups of the archive. Changes nothing; safe to run again.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self
from uuid import UUID

import duckdb

from config import Settings
from ledger.errors import ConfigError, DataError, FieldError, NotFoundError
from ledger.identifiers import time_of, unix_us
from ledger.months import Month
from ledger.tables import TieredTable
from sql.connection import Connection, connect
from storage.engine import engine
from storage.month_proofs import MonthProver
from storage.store import ObjectStore
from tasks.archiving.catalogue import MonthState, month_states
from tasks.proving.logged_months import LoggedMonth, PublishedLog, archived_parts


@dataclass(frozen=True, slots=True)
class ProofFile:
    """A proof file, and what it is about: a part of a month."""

    table: str
    month: str
    part: int
    content: bytes


class Prover:
    """Makes proof files. Not thread-safe: one for a piece of work, or a pool of them.

    Every method may raise NotFoundError for what is not there, DataError for a month that is not provable yet,
    VerificationError where the archive does not hold what the log says, and TransientError.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        settings = self._settings
        with ExitStack() as stack:
            self._connection: Connection = stack.enter_context(connect(settings.database_dsn, "proving"))
            self._log = PublishedLog(self._connection)
            self._engine: duckdb.DuckDBPyConnection = stack.enter_context(engine(settings))
            self._store = ObjectStore(settings)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def row(self, table: TieredTable, key: UUID) -> ProofFile:
        """The proof of a row, wherever in the archive it is."""
        months = self._months_of(table, key)
        for state in months:
            logged = self._logged(table, state)
            try:
                return self._file(logged, logged.prove(self._prover(logged).row(key)))
            except NotFoundError:
                continue
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
        """The proofs that no row of a group has a key: the key, a UUIDv7, tells month and time of such a row."""
        created_at = _time_of(table, key)
        month, values = Month.of(created_at), {table.time_column: str(unix_us(created_at)), table.key_column: str(key)}
        files = []
        for state in archived_parts(self._connection, table, month):
            logged = self._logged(table, state)
            layout = logged.manifest.layout
            known = values | ({layout.group_column: group} if layout.group_column else {})
            if missing := [name for name in layout.sorted_by if name not in known]:
                raise ConfigError(
                    f"table {table.name}: its archive is sorted by {missing[0]}, so a key has no one place"
                )
            prover = self._prover(logged)
            if layout.group_column is not None and not prover.has_group(group):
                proof = logged.prove(prover.absence_of_group(group))
            else:
                proof = logged.prove(prover.absence_of_row([known[name] for name in layout.sorted_by]))
            files.append(self._file(logged, proof))
        return files

    def _of_parts(self, table: TieredTable, group: str, month: Month) -> Iterator[tuple[bool, ProofFile]]:
        for state in archived_parts(self._connection, table, month):
            logged = self._logged(table, state)
            prover = self._prover(logged)
            is_there = prover.has_group(group)
            proof = prover.statement(group) if is_there else prover.absence_of_group(group)
            yield is_there, self._file(logged, logged.prove(proof))

    def _months_of(self, table: TieredTable, key: UUID) -> list[MonthState]:
        """The archived parts of months that may have a row with the key, the month that the key tells first.

        Raises DataError where that month is still in PostgreSQL and no other archived month may have the row.
        """
        others = [
            state
            for state in month_states(self._connection, table)
            if state.is_archived and not state.catalogue.keys_tell_month
        ]
        try:
            told = Month.of(_time_of(table, key))
        except FieldError:
            return others
        try:
            return [*archived_parts(self._connection, table, told), *(one for one in others if one.month != told)]
        except (DataError, NotFoundError):
            if not others:
                raise
            return others

    def _logged(self, table: TieredTable, state: MonthState) -> LoggedMonth:
        return self._log.month(self._store, table, state.month, state.catalogue.part)

    def _prover(self, logged: LoggedMonth) -> MonthProver:
        return MonthProver(self._settings, self._store, self._engine, logged.manifest)

    @staticmethod
    def _file(logged: LoggedMonth, content: bytes) -> ProofFile:
        manifest = logged.manifest
        return ProofFile(manifest.table, manifest.month, manifest.part, content)


def _time_of(table: TieredTable, key: UUID) -> datetime:
    """The time that a key tells. Raises FieldError where it tells none."""
    told = time_of(key) if table.key_is_uuid7 else None
    if told is None:
        raise FieldError(table.key_column, f"{key} tells no time, so it tells no month")
    return told
