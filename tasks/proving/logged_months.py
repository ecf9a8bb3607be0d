"""An archived month with all that a proof about it needs: its manifest, and its entry in the published log."""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.errors import GoneError, NotFoundError, NotYetError, VerificationError
from ledger.merkle_proofs import SubtreeRoot, inclusion_path
from ledger.month_proofs import MonthProof
from ledger.months import Month
from ledger.proof_files import write_proof
from ledger.tables import TieredTable
from ledger.transparency.events import Archived, Event
from ledger.transparency.tiles import root_of_size, roots_from
from sql.connection import Connection
from sql.installation import read_installation
from sql.log import LogRow, find_archived, read_log
from sql.old_months import rows_in_postgres
from storage.manifest import Manifest
from storage.store import ObjectStore, StoredFile
from tasks.archiving.calendar import utc_today
from tasks.archiving.catalogue import MonthState, gone_text, month_states
from tasks.transparency.archived_log import ArchivedLog


@dataclass(frozen=True, slots=True)
class LoggedMonth:
    """A part of a month: its manifest, the log's entry of it with its place, and the newest checkpoint."""

    manifest: Manifest
    entry: bytes
    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes

    def prove(self, proof: MonthProof) -> bytes:
        """The proof file of what was proved of this part of the month."""
        return write_proof(self.entry, proof, self.index, self.path, self.checkpoint)


class PublishedLog:
    """The published log as it is now: its checkpoint and places from PostgreSQL, paths from a few tiles of the archive.

    So a proof costs the same however long the log is.
    """

    def __init__(self, connection: Connection, store: ObjectStore) -> None:
        installation = read_installation(connection)
        row = None if installation is None else read_log(connection, installation.installation_id)
        if row is None or row.checkpoint is None:
            raise NotFoundError("no log was published yet: run `treasury log publish` after the first archived month")
        self._connection = connection
        self._store = store
        self._installation = row.installation_id
        self._checkpoint = bytes(row.checkpoint)
        self._size = row.published_size
        self._root_of = _checked_tiles(ArchivedLog(store, row.folder), row)

    def month(self, table: TieredTable, month: Month, part: int) -> LoggedMonth:
        """A part of an archived month. Raises NotYetError where its event is not published yet."""
        indexed_entry = find_archived(self._connection, self._installation, table.name, str(month), part)
        if indexed_entry is None or indexed_entry[0] is None or indexed_entry[0] >= self._size:
            raise NotYetError(f"{table.name} {month}: its event is not published yet: `treasury log publish`")
        index, entry = indexed_entry
        archived = Event.from_bytes(entry).body
        assert isinstance(archived, Archived)  # noqa: S101  # `find_archived` looks for these
        content = self._store.read_bytes(archived.manifest.key)
        if StoredFile.of(content).sha256.hex() != archived.manifest.sha256:
            raise VerificationError(f"{archived.manifest.key}: its SHA-256 is not the one in the log")
        path = inclusion_path(index, self._size, self._root_of)
        return LoggedMonth(
            Manifest.from_bytes(content, archived.manifest.key), entry, index, tuple(path), self._checkpoint
        )


def _checked_tiles(archive: ArchivedLog, row: LogRow) -> SubtreeRoot:
    """The log's subtrees, from its tiles. Raises VerificationError where these do not lead to the published root."""
    root_of = roots_from(archive.read_tile, row.published_size)
    if root_of_size(row.published_size, root_of) != row.root:
        raise VerificationError(f"{archive.key('tile')}: the tiles do not lead to the root that was published")
    return root_of


def whole_month(connection: Connection, table: TieredTable, month: Month) -> list[MonthState]:
    """The parts of a month, in order, which have all of its rows: what a statement or an absence is proved of.

    Raises what `require_archived` does, and NotYetError where PostgreSQL has rows of the month that belong to no part.
    """
    parts = [state for state in month_states(connection, table) if state.month == month]
    require_archived(table, month, parts)
    if places := rows_in_postgres(connection, table, month, month):
        raise NotYetError(
            f"{table.name} {month}: PostgreSQL has rows of it in {places[month]}, which the catalogue does not know: "
            "provable once these are archived as late rows, or removed"
        )
    return parts


def require_archived(table: TieredTable, month: Month, parts: Sequence[MonthState]) -> None:
    """Raise unless every part of a month is archived: what is left of a month proves nothing of the rest.

    Raises NotFoundError for a month without parts, and GoneError where one was deleted. Raises NotYetError where one is
    still in PostgreSQL; the error says when it will be provable.
    """
    if not parts:
        raise NotFoundError(f"{table.name} has no month {month}")
    if gone := gone_text(parts):
        is_left = any(part.is_archived for part in parts)
        kept = ". The rows that holds have kept are not all rows of the month" if is_left else ""
        raise GoneError(f"{table.name} {month} {gone}{kept}")
    for part in parts:
        if not part.is_archived:
            raise NotYetError(_not_yet(table, part))


def _not_yet(table: TieredTable, part: MonthState) -> str:
    if (until := part.catalogue.work_until) is not None:
        return (
            f"{table.name} {part.month} went back to warm, and is in work until {until}: provable again once it is "
            "archived after that. Proof files that were made before still show what was archived then"
        )
    number, due = part.catalogue.part, table.policy.archived_from(part.month)
    named = f"{table.name} {part.month}" + (f", part {number}," if number > 1 else "")
    when = f"by its policy from {due} on" if due > utc_today() else "by the next nightly run"
    return f"{named} is {part.tier}: provable once it is archived, {when}"
