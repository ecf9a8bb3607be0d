"""The public log, verified from its objects: signatures, every tile and bundle, events, indexes, timestamps.

Everything that is wrong becomes a finding. What can still be believed of a damaged log are its signed indexes.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence

from cryptography.x509 import Certificate

from ledger.counts import counted
from ledger.errors import DataError, DeepTierError, VerificationError
from ledger.merkle import HASH_BYTES, leaf_hash
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.events import Event, LogOpened
from ledger.transparency.notes import Note, open_note, require_keys, split_note
from ledger.transparency.replay import Index, LogState, index_of, number_gaps, replay
from ledger.transparency.tiles import WIDTH, Tile, Tree, decode_bundle, tiles_of
from ledger.transparency.verifier_keys import SignatureType, VerifierKey
from storage.store import ObjectStore
from storage.unreadable import MOVED
from tasks.transparency.archived_log import CHECKPOINT
from tasks.transparency.timestamps import require_imprint, verify_timestamp
from tasks.verifying.findings import VerificationReport
from tasks.verifying.known_log import KnownLog
from tasks.verifying.remembered_log import RememberedLog
from tasks.verifying.verified_log import ExpectedMonth, VerifiedLog, _expected, _named_keys, _records

_STAMP = re.compile(r"timestamps/(0|[1-9][0-9]{0,18})\.tsr")
_INDEX = "index/"
_TILE = "tile/"
_NOT_FINISHED = "a publication was not finished (`treasury log publish` completes it), or an older object was put back"


class LogVerification:
    """One pass over the objects of a log. ``listed`` are the keys of the archive with their sizes."""

    def __init__(
        self, store: ObjectStore, known: KnownLog, listed: Mapping[str, int], report: VerificationReport
    ) -> None:
        self._store, self._known, self._report = store, known, report
        self._prefix = f"{known.folder}/"
        self._names = [key.removeprefix(self._prefix) for key in listed if key.startswith(self._prefix)]
        self._objects: dict[str, bytes | None] = {}
        self._moved: set[str] = set()  # those that must be restored before they are read
        self._keys: set[VerifierKey] = set(known.keys)

    def run(self, remembered: RememberedLog | None, certificates: Sequence[Certificate]) -> VerifiedLog:
        """Verify all of it. ``remembered`` is what an earlier verification saw; ``certificates`` those of the TSA."""
        self._check_names()
        opened = self._checkpoint()
        tree = entries = None
        if opened is not None:
            tree, entries = self._tree(opened[0])
        if opened is None or tree is None or entries is None:
            self._compare_objects(remembered)
            return self._by_indexes()
        checkpoint, note = opened
        self._report.origin, self._report.size = checkpoint.origin, checkpoint.size
        state, verified = self._replay(checkpoint, entries)
        self._check_signatures(state, note)
        self._compare(checkpoint, tree, entries, remembered)
        self._check_indexes(state, entries, tree)
        self._check_timestamps(checkpoint, tree, certificates)
        verified.remembered = RememberedLog(checkpoint.origin, checkpoint.size, checkpoint.root, self._immutable())
        return verified

    def _add(self, name: str, text: str) -> None:
        if name not in self._moved:  # more is not known of such an object, whose finding is there already
            self._report.add(f"{self._prefix}{name}", text)

    def _read(self, name: str) -> bytes | None:
        """An object of the log, read once; None where it is absent, or must be restored first, which is a finding."""
        if name not in self._objects:
            try:
                self._objects[name] = self._store.find_bytes(f"{self._prefix}{name}")
            except DeepTierError:
                self._add(name, MOVED)
                self._moved.add(name)
                self._objects[name] = None
            self._report.counts["objects of the log"] += self._objects[name] is not None
        return self._objects[name]

    def _check_names(self) -> None:
        for name in self._names:
            is_known = name == CHECKPOINT or name.startswith((_TILE, _INDEX)) or _STAMP.fullmatch(name)
            if not is_known:
                self._add(name, "is not an object of a log: somebody put it there")

    def _checkpoint(self) -> tuple[Checkpoint, Note] | None:
        content = self._read(CHECKPOINT)
        if content is None:
            self._add(CHECKPOINT, "is missing: nothing says how long the log is")
            return None
        try:
            return self._known.open(content)
        except VerificationError as error:
            self._add(CHECKPOINT, str(error))
            return None

    def _tree(self, checkpoint: Checkpoint) -> tuple[Tree | None, list[bytes] | None]:
        """The tree of the checkpoint's root and the entries that lead to it; None for what the objects do not give."""
        bundles = {tile: self._bundle(tile) for tile in tiles_of(checkpoint.size) if tile.level is None}
        parts = [part for part in bundles.values() if part is not None]
        entries = [entry for part in parts for entry in part]
        whole = Tree(entries) if len(parts) == len(bundles) else None
        if whole is not None and whole.root(checkpoint.size) == checkpoint.root:
            self._check_tiles(checkpoint, whole)
            return whole, entries
        hashed = self._tree_of_tiles(checkpoint)
        if hashed is not None:
            self._name_bundles(bundles, hashed)
            self._check_tiles(checkpoint, hashed)
        else:
            self._add(CHECKPOINT, "neither the entries nor the tiles lead to its root")
            self._name_disagreement(bundles)
        return hashed, None

    def _bundle(self, tile: Tile) -> list[bytes] | None:
        """The entries of a bundle; from the full one where a partial one was removed."""
        content = self._read(tile.path)
        read = tile
        if content is None:
            read, content = tile.whole, self._read(tile.whole.path)
        if content is None:
            self._add(tile.path, "is missing")
            return None
        try:
            return decode_bundle(content, read.width)[: tile.width]
        except VerificationError as error:
            self._add(read.path, str(error))
            return None

    def _tile(self, tile: Tile) -> bytes | None:
        content = self._read(tile.path)
        if content is None:
            whole = self._read(tile.whole.path)
            content = None if whole is None else whole[: tile.width * HASH_BYTES]
        return content if content is not None and len(content) == tile.width * HASH_BYTES else None

    def _tree_of_tiles(self, checkpoint: Checkpoint) -> Tree | None:
        tiles = [self._tile(tile) for tile in tiles_of(checkpoint.size) if tile.level == 0]
        leaves = b"".join(tile or b"" for tile in tiles)
        if any(tile is None for tile in tiles):
            return None
        tree = Tree((), leaves)
        return tree if tree.root(checkpoint.size) == checkpoint.root else None

    def _name_bundles(self, bundles: Mapping[Tile, list[bytes] | None], hashed: Tree) -> None:
        """Name each bundle whose entries are not those of the tiles, which lead to the signed root."""
        for tile, entries in bundles.items():
            leaves = hashed.content(Tile(0, tile.index, tile.width))
            for place, entry in enumerate(entries or ()):
                if leaf_hash(entry) != leaves[place * HASH_BYTES : (place + 1) * HASH_BYTES]:
                    number = tile.index * WIDTH + place
                    self._add(tile.path, f"entry {number} is not the one that the checkpoint signs")

    def _name_disagreement(self, bundles: Mapping[Tile, list[bytes] | None]) -> None:
        """Without a root to compare with: name the pairs of bundle and tile that contradict each other."""
        for tile, entries in bundles.items():
            beside = Tile(0, tile.index, tile.width)
            content = self._tile(beside)
            if content is None:
                self._add(beside.path, "is missing or has another length")
            elif entries is not None and b"".join(map(leaf_hash, entries)) != content:
                self._add(tile.path, f"its entries are not those of {self._prefix}{beside.path}")

    def _check_tiles(self, checkpoint: Checkpoint, tree: Tree) -> None:
        """Every tile and bundle that lies there has the bytes that follow from the entries; none is missing."""
        for name in self._names:
            if name.startswith(_TILE):
                self._check_tile(name, checkpoint, tree)
        there = set(self._names)
        for tile in tiles_of(checkpoint.size):
            if tile.path not in there and tile.whole.path not in there:
                self._add(tile.path, "is missing")

    def _check_tile(self, name: str, checkpoint: Checkpoint, tree: Tree) -> None:
        tile = Tile.parse(name)
        if tile is None:
            self._add(name, "is neither a tile nor a bundle of a log: somebody put it there")
            return
        content = self._read(name)
        if content is None:
            self._add(name, "is missing")  # it was listed a moment before
            return
        hashes = checkpoint.size >> 8 * (tile.level or 0)
        if tile.index * WIDTH + tile.width > hashes:
            self._add(name, f"reaches beyond the {checkpoint.size} entries of the checkpoint: {_NOT_FINISHED}")
        elif tile.level is None and not tree.has_entries:
            self._check_loose_bundle(name, tile, content, tree)
        elif content != tree.content(tile):
            self._add(name, "does not have the bytes that follow from the entries of the checkpoint")

    def _check_loose_bundle(self, name: str, tile: Tile, content: bytes, tree: Tree) -> None:
        """A bundle where the entries as a whole are damaged: compared with the hashes of the tiles."""
        try:
            hashes = b"".join(map(leaf_hash, decode_bundle(content, tile.width)))
        except VerificationError as error:
            self._add(name, str(error))
            return
        if hashes != tree.content(Tile(0, tile.index, tile.width)):
            self._add(name, "its entries are not those that the checkpoint signs")

    def _replay(self, checkpoint: Checkpoint, entries: Sequence[bytes]) -> tuple[LogState, VerifiedLog]:
        """The events and the state that they lead to; each one that cannot be read, and each gap, is a finding."""
        events: list[tuple[int, Event]] = []
        for index, entry in enumerate(entries):
            try:
                events.append((index, Event.from_bytes(entry)))
            except DataError as error:
                self._add(f"{_TILE}entries", f"entry {index}: {error}")
        for gap in number_gaps(events):
            self._add(f"{_TILE}entries", gap)
        state = replay(event for _, event in events)
        self._check_events(checkpoint, [event for _, event in events], state)
        self._keys |= {VerifierKey.parse(text) for _, change in state.key_changes for text in change.new}
        self._report.counts["entries"] += len(entries)
        return state, _believed(events, state)

    def _check_events(self, checkpoint: Checkpoint, events: Sequence[Event], state: LogState) -> None:
        name = f"{_TILE}entries"
        if checkpoint.size and not (events and isinstance(events[0].body, LogOpened)):
            self._add(name, "the log does not begin with the event log_opened")
        if checkpoint.size and state.origin != checkpoint.origin:
            self._add(name, f"the log says that its origin is {state.origin}, its checkpoint {checkpoint.origin}")
        for index, event in enumerate(events):
            if checkpoint.origin != f"treasury/{event.installation}":
                self._add(name, f"entry {index} is an event of another installation, {event.installation}")
        before: tuple[str, ...] = ()
        for index, change in state.key_changes:
            if change.old != before:
                self._add(name, f"entry {index}: the keys that it replaces are not those that signed the log before")
            before = change.new

    def _check_signatures(self, state: LogState, note: Note) -> None:
        """Both keys of the log have signed, and nobody else under its name."""
        known = {VerifierKey.parse(text) for text in state.keys}
        content = self._read(CHECKPOINT) or b""
        try:
            require_keys(open_note(content, self._keys), known)
        except VerificationError as error:
            self._add(CHECKPOINT, str(error))
        others = 0
        for signature in split_note(content)[1]:
            is_known = any(signature.is_of(key) for key in (*self._keys, *note.keys))
            if not is_known and signature.name == self._known.origin:
                self._add(CHECKPOINT, f"a signature of {signature.name} is by no key of the log")
            others += not is_known and signature.name != self._known.origin
        if others:
            self._report.notes.append(
                f"{others} cosignatures are of witnesses that the policy does not name: not verified"
            )

    def _compare(
        self, checkpoint: Checkpoint, tree: Tree, entries: Sequence[bytes], remembered: RememberedLog | None
    ) -> None:
        """The checkpoint continues what this home has verified, and is the log that PostgreSQL knows."""
        if remembered is not None:
            seen = f"the log of {remembered.size} entries that this home has verified"
            if checkpoint.size < remembered.size:
                self._add(CHECKPOINT, f"has {checkpoint.size} entries: {seen} was set back")
            elif tree.root(remembered.size) != remembered.root:
                self._add(CHECKPOINT, f"does not continue {seen}: two histories")
        self._compare_objects(remembered)
        database = self._known.database
        if database is None:
            return
        if checkpoint.size < database.published_size:
            self._add(
                CHECKPOINT,
                f"has {checkpoint.size} entries, and PostgreSQL has published {database.published_size}: it was set "
                "back (`treasury log publish` writes it again)",
            )
        both = zip(entries, database.entries, strict=False)
        differing = [index for index, (archived, planned) in enumerate(both) if archived != planned]
        if differing:
            self._add(f"{_TILE}entries", f"entry {differing[0]} is another one than PostgreSQL's: two histories")
        if len(entries) > len(database.entries):
            self._add(CHECKPOINT, f"has {len(entries)} entries, and PostgreSQL knows {len(database.entries)}")

    def _compare_objects(self, remembered: RememberedLog | None) -> None:
        """No object that was verified before was changed or removed since."""
        for name, sha256 in (remembered.objects if remembered else {}).items():
            content = self._read(name)
            tile = Tile.parse(name)
            if content is None:
                # tlog-tiles allows it for a partial tile where the full one is there.
                if tile is None or self._read(tile.whole.path) is None:
                    self._add(name, "was there when this home verified the log, and is missing now")
            elif hashlib.sha256(content).hexdigest() != sha256:
                self._add(name, "was changed since this home verified the log")

    def _immutable(self) -> dict[str, str]:
        names = [name for name in self._names if name.startswith(_TILE) or _STAMP.fullmatch(name)]
        contents = {name: self._read(name) for name in names}
        return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items() if content is not None}

    def _check_indexes(self, state: LogState, entries: Sequence[bytes], tree: Tree) -> None:
        there = {name.removeprefix(_INDEX) for name in self._names if name.startswith(_INDEX)}
        for table in sorted(there - state.tables):
            self._add(f"{_INDEX}{table}", "the log has no event of such a table")
        for table in sorted(state.tables):
            content = self._read(f"{_INDEX}{table}")
            if content is None:
                self._add(f"{_INDEX}{table}", f"is missing: {_NOT_FINISHED}")
            else:
                self._check_index(table, content, state, entries, tree)

    def _check_index(self, table: str, content: bytes, state: LogState, entries: Sequence[bytes], tree: Tree) -> None:
        name = f"{_INDEX}{table}"
        try:
            note = open_note(content, self._keys)
            index = Index.from_text(note.text)
        except DataError as error:
            self._add(name, str(error))
            return
        if index.size > tree.size:
            self._add(name, f"names {index.size} entries, and the checkpoint has {tree.size}: it was set back")
            return
        signing = [VerifierKey.parse(text) for text in state.keys_at(index.size)]
        wanted = {key for key in signing if key.type is SignatureType.ED25519}
        if note.keys != wanted or len(split_note(content)[1]) != len(wanted):
            self._add(name, f"is not signed by the key that signed the log at {index.size} entries, and by it alone")
        if index.size < tree.size:
            self._add(name, f"is that of {index.size} entries, and the log has {tree.size}: {_NOT_FINISHED}")
        try:
            said = index_of(
                replay(Event.read_own(entry) for entry in entries[: index.size]), table, tree.root(index.size)
            )
        except DataError:
            return  # the entry is named already
        if said != index:
            self._add(name, "does not say what the entries of the log say")
        self._report.counts["indexes"] += 1

    def _check_timestamps(self, checkpoint: Checkpoint, tree: Tree, certificates: Sequence[Certificate]) -> None:
        """Each stamp is over the checkpoint of its size, by the authority; PostgreSQL knows the newest one."""
        stamps = {int(match[1]): match[0] for name in self._names if (match := _STAMP.fullmatch(name))}
        for size, name in sorted(stamps.items()):
            if size > checkpoint.size:
                self._add(name, f"is of {size} entries, and the checkpoint has {checkpoint.size}: {_NOT_FINISHED}")
                continue
            text, content = Checkpoint(checkpoint.origin, size, tree.root(size)).text, self._read(name) or b""
            try:
                require_imprint(content, text)
                if certificates:
                    verify_timestamp(content, text, certificates)
                    self._report.counts["timestamps"] += 1
            except VerificationError as error:
                self._add(name, str(error))
        newest = self._known.database.timestamped_size if self._known.database is not None else 0
        if newest and newest not in stamps:
            self._add(f"timestamps/{newest}.tsr", "is missing: PostgreSQL says that this checkpoint was stamped")
        if stamps and not certificates:
            self._report.notes.append(
                f"{counted(len(stamps), 'timestamp')} compared with the log alone: TREASURY_TSA_CERTIFICATES names no "
                "authority, so nobody checked who made them, and when"
            )

    def _by_indexes(self) -> VerifiedLog:
        """The months that the signed indexes name, where the log itself cannot be believed."""
        verified = VerifiedLog()
        for name in self._names:
            if name.startswith(_INDEX):
                try:
                    index = Index.from_text(open_note(self._read(name) or b"", self._known.keys).text)
                except DataError as error:
                    self._add(name, str(error))
                    continue
                verified.tables.add(index.table)
                verified.months += [
                    ExpectedMonth(index.table, month.month, month.part, month.rows, month.manifest, month.objects)
                    for month in index.months
                ]
        self._report.notes.append("the log is damaged: the months were taken from the signed indexes")
        return verified


def _believed(events: Sequence[tuple[int, Event]], state: LogState) -> VerifiedLog:
    months = [_expected(existing.archived) for _, existing in sorted(state.months.items(), key=lambda item: item[0])]
    returned = [_expected(part.archived) for _, parts in sorted(state.former.items()) for part in parts]
    named = set(_named_keys(event for _, event in events))
    newest = max((event.incarnation for _, event in events), default=0)
    return VerifiedLog(
        months,
        dict(state.gone),
        _records(events),
        named,
        returned,
        dict(state.returned),
        set(state.tables),
        newest,
        is_whole=True,
    )
