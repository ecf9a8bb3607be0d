"""Rows that were imported before, in PostgreSQL: found by their identities, and recorded with the rows that are new."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from psycopg import Cursor
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier

from ledger.errors import ConfigError
from ledger.identifiers import created_at_of
from ledger.tables import TieredTable
from sql.connection import Connection
from sql.queries import load
from sql.relations import Parents
from sql.storing import check_stored, not_stored
from tasks.importing.identity import differing
from tasks.importing.mapping import Mapping
from tasks.importing.rejects import RecordOutcome, Reject
from tasks.importing.rows import Row

_QUERIES = load("imports")
ALREADY_LOADED = "already loaded"
_IDENTITIES = "import_identities"
_BY_FILE = "identity file"
_BY_VALUES = frozenset({"identity values", "identity not said"})
_NOT_SAID = (
    "has the values of row {row_id}, which another file brought. Whether it is the same transaction cannot be known "
    'without a key. Give the mapping a key, or identity = "values" (it is) or "file" (it is not)'
)
_GONE = "its row {row_id} was loaded before, and is not in the database any more: nothing is loaded in its place"


class _Known(NamedTuple):
    row_id: UUID
    fingerprint: bytes


def check_source(connection: Connection, mapping: Mapping, table: TieredTable, dry_run: bool) -> None:
    """Record by what rule the source's rows are known again. Raises ConfigError when it was another one until now,
    NotStoredError when PostgreSQL did not store it.

    Rows that were loaded by their values may be followed by rows of files. The other way round is refused: by its
    values no row of a file is known. Safe to run again. A dry run records nothing.
    """
    rule = mapping.identity_rule
    names = {"table": table.name, "source": mapping.name}
    if not dry_run:
        connection.execute(_QUERIES["record_source"], {**names, "rule": rule})
    row = connection.execute(_QUERIES["source_rule"], names).fetchone()
    if not dry_run and (row is None or (rule == _BY_FILE and row[0] in _BY_VALUES)):
        raise not_stored(1, 0, "import_sources")
    if row is None or row[0] == rule or (row[0] in _BY_VALUES and not mapping.key):
        return
    raise ConfigError(
        f"mapping {mapping.name}: rows of {table.name} from this source were known by {row[0]} until now, and by "
        f"{rule} all of them would be loaded again. {_advice(row[0])}"
    )


def _advice(rule: str) -> str:
    if rule == _BY_FILE:
        return 'Keep identity = "file"'
    if rule in _BY_VALUES:
        return "Keep the mapping without a key"
    return "Keep the key; where only its columns were renamed, say the former names in key_names"


class KnownRows:
    """The rows of one table that earlier imports loaded.

    ``columns`` are those of the rows' fingerprints. ``same_values`` says that equal values in another file are the
    same row.
    """

    def __init__(
        self, connection: Connection, table: TieredTable, columns: Sequence[str], same_values: bool = False
    ) -> None:
        self._connection = connection
        self._table = table
        self._names = columns[1:]  # without the id
        self._same_values = same_values

    def split(self, rows: Sequence[Row]) -> tuple[list[Row], list[Reject]]:
        """The rows that were not loaded before, and what is to be said of the others."""
        known_rows = self._find(rows)
        if not known_rows:
            return list(rows), []
        new: list[Row] = []
        rejects: list[Reject] = []
        for row in rows:
            known = [known_rows.get(identity) for identity in row.identities]
            if not any(known):
                new.append(row)
            elif known[0] is not None:
                rejects.append(self._same(row, known[0]))
            else:
                rejects.append(self._same_in_another_file(row, next(known_row for known_row in known if known_row)))
        return new, self._without_gone(rejects, known_rows, rows)

    def record(self, cursor: Cursor[TupleRow], rows: Sequence[Row]) -> None:
        """Record ``rows`` in the open transaction of ``cursor``, which stores them. In order: two imports of the same
        rows then wait for each other and do not deadlock. Raises UniqueViolation when another import was quicker.
        """
        entries = sorted((identity, row.row_id, row.fingerprint.hex()) for row in rows for identity in row.identities)
        if not entries:
            return
        with cursor.copy(_QUERIES["copy_identities"]) as copy:
            table = self._table.name
            lines = [f"{identity}\t{row_id}\t\\\\x{digest}\t{table}\n" for identity, row_id, digest in entries]
            copy.write("".join(lines))
        check_stored(cursor, len(entries), _IDENTITIES)

    def _find(self, rows: Sequence[Row]) -> dict[str, _Known]:
        identities = [identity for row in rows for identity in row.identities]
        if not identities:
            return {}
        cursor = self._connection.execute(_QUERIES["find_identities"], {"identities": identities})
        return {identity.hex: _Known(row_id, fingerprint) for identity, row_id, fingerprint in cursor}

    def _same(self, row: Row, known: _Known) -> Reject:
        names = differing(known.fingerprint, row.fingerprint, self._names)
        if not names:
            return Reject(row.line, ALREADY_LOADED, self._table.key_column, row.text, RecordOutcome.KNOWN)
        listed = ", ".join(names)
        reason = f"already loaded as row {known.row_id}, with another {listed}"
        return Reject(row.line, reason, listed, row.text, RecordOutcome.DIFFERENT)

    def _same_in_another_file(self, row: Row, known: _Known) -> Reject:
        if self._same_values:
            return self._same(row, known)
        return Reject(row.line, _NOT_SAID.format(row_id=known.row_id), "", row.text)

    def _without_gone(self, rejects: list[Reject], known_rows: dict[str, _Known], rows: Sequence[Row]) -> list[Reject]:
        """Rows that were loaded once and are in no tier now are not known: that would be short and silent."""
        gone = self._gone({known.row_id for known in known_rows.values()})
        if gone:  # a move may have been under way
            gone = self._gone(gone)
        if not gone:
            return rejects
        row_ids = {row.line: self._row_id(row, known_rows) for row in rows}
        return [
            Reject(reject.line, _GONE.format(row_id=row_ids[reject.line]), self._table.key_column, reject.text)
            if row_ids[reject.line] in gone
            else reject
            for reject in rejects
        ]

    @staticmethod
    def _row_id(row: Row, known_rows: dict[str, _Known]) -> UUID | None:
        return next((known_rows[identity].row_id for identity in row.identities if identity in known_rows), None)

    def _gone(self, row_ids: set[UUID]) -> set[UUID]:
        """Those of ``row_ids`` that are in no partition, although their month has not left PostgreSQL."""
        parents = Parents.of(self._connection, self._table)
        if parents.hot is None or parents.warm is None:
            raise ConfigError(f"table {self._table.name}: {self._table.hot_parent} or its warm parent is missing")
        ids = list(row_ids)
        statement = SQL(_QUERIES["gone_rows"]).format(
            hot=parents.hot.identifier,
            warm=parents.warm.identifier,
            key=Identifier(self._table.key_column),
            time=Identifier(self._table.time_column),
        )
        parameters = {"ids": ids, "times": [created_at_of(row_id) for row_id in ids], "table": self._table.name}
        return {row_id for (row_id,) in self._connection.execute(statement, parameters)}
