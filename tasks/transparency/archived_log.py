"""The log as it lies in the archive: read, and verified against its signed checkpoint."""

from collections.abc import Iterable
from dataclasses import dataclass

from ledger.errors import DataError, VerificationError
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.notes import Note, open_checkpoint, require_types
from ledger.transparency.tiles import Tile, Tree, decode_bundle, tiles_of
from ledger.transparency.verifier_keys import VerifierKey
from storage.store import ObjectStore

FOLDER = "log"
CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True)
class LogContent:
    """A log whose entries were read and lead to the root of its checkpoint. ``note`` is the checkpoint's bytes."""

    checkpoint: Checkpoint
    note: bytes
    tree: Tree
    entries: tuple[bytes, ...]


class ArchivedLog:
    """The objects of one log below ``folder`` of an archive. Every read is a fresh one."""

    def __init__(self, store: ObjectStore, folder: str = FOLDER) -> None:
        self.store = store
        self.folder = folder

    def key(self, name: str) -> str:
        """The object's key."""
        return f"{self.folder}/{name}"

    def find_checkpoint(self) -> bytes | None:
        """The checkpoint's bytes, not verified; None where there is none."""
        return self.store.find_bytes(self.key(CHECKPOINT))

    def open_checkpoint(self, keys: Iterable[VerifierKey], origin: str) -> tuple[Checkpoint, Note, bytes] | None:
        """The checkpoint, signed by a key of ``keys``; None where there is none. Raises VerificationError naming it."""
        content = self.find_checkpoint()
        if content is None:
            return None
        try:
            return *open_checkpoint(content, keys, origin), content
        except VerificationError as error:
            raise VerificationError(f"{self.key(CHECKPOINT)}: {error}") from None

    def read_tile(self, tile: Tile) -> bytes:
        """The content of a tile or a bundle, from the full one where the partial one was removed.

        Raises DataError naming the object that is not there, VerificationError for one that is too short.
        """
        content = self.store.find_bytes(self.key(tile.path))
        if content is not None or tile.whole == tile:
            return self.store.read_bytes(self.key(tile.path)) if content is None else content
        whole = self.store.find_bytes(self.key(tile.whole.path))
        if whole is None:
            raise DataError(f"object store: {self.key(tile.path)} is not there")
        if tile.level is None:
            entries = decode_bundle(whole, tile.whole.width)[: tile.width]
            return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
        return whole[: tile.width * 32]

    def read_entries(self, size: int) -> list[bytes]:
        """The first ``size`` entries, not verified. Raises DataError naming the bundle that is wrong."""
        entries: list[bytes] = []
        for tile in tiles_of(size):
            if tile.level is None:
                try:
                    entries += decode_bundle(self.read_tile(tile), tile.width)
                except VerificationError as error:
                    raise VerificationError(f"{self.key(tile.path)}: {error}") from None
        return entries

    def verify(self, keys: Iterable[VerifierKey], origin: str) -> LogContent | None:
        """The whole log, its entries leading to the root that ``keys`` signed, one of each signature type; None where
        there is none.
        """
        known = tuple(keys)
        opened = self.open_checkpoint(known, origin)
        if opened is None:
            return None
        checkpoint, note, content = opened
        try:
            require_types(note, known)
        except VerificationError as error:
            raise VerificationError(f"{self.key(CHECKPOINT)}: {error}") from None
        entries = tuple(self.read_entries(checkpoint.size))
        tree = Tree(entries)
        if tree.root(checkpoint.size) != checkpoint.root:
            raise VerificationError(
                f"{self.key('tile/entries')}: the {checkpoint.size} entries do not lead to the root of the checkpoint"
            )
        return LogContent(checkpoint, content, tree, entries)
