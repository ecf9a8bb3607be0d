"""The objects that the store is tried with: under a prefix of their own, removed afterwards as far as locks allow."""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from config import Settings
from storage.layout import CANARIES
from storage.store import ObjectStore
from storage.store_errors import error_code, translated
from storage.versions import KeptVersionError, VersionedStore
from tasks.storage_check.findings import Left

_NONCE_BYTES = 8
_OF_MOVES = f"{CANARIES}/class-"  # of a move that tries a storage class, which may be under way
_HOUR = timedelta(hours=1)


@dataclass(slots=True)
class Canaries:
    """The canaries of one run, and their store. ``clock_offset`` is how far the store's clock is ahead."""

    settings: Settings
    folder: str = field(default_factory=lambda: f"{CANARIES}/{secrets.token_hex(_NONCE_BYTES)}")
    clock_offset: timedelta = timedelta()

    @property
    def store(self) -> ObjectStore:
        """The objects."""
        return ObjectStore(self.settings)

    @property
    def versions(self) -> VersionedStore:
        """Their versions."""
        return VersionedStore(self.settings)

    def put(self, name: str, content: bytes = b"canary") -> str:
        """Make a canary; returns its key."""
        key = f"{self.folder}/{name}"
        self.store.put_bytes(content, key)
        return key

    def place(self, key: str) -> dict[str, str]:
        """The parameters of S3 that name an object."""
        bucket, rest = self.store.place(key)
        return {"Bucket": bucket, "Key": rest}

    def call(self, operation: str, **parameters: Any) -> Any:
        """An operation of S3, with this project's errors."""
        with translated(f"try {operation}"):
            return self.store.call(operation, **parameters)

    def refused(self, operation: str, **parameters: Any) -> str:
        """The code with which the store refuses an operation; empty where it carries it out."""
        try:
            self.store.call(operation, **parameters)
        except Exception as error:
            code = error_code(error)
            if not code:
                raise
            return code
        return ""

    def soon(self, seconds: float) -> datetime:
        """An instant a moment from now, by the store's clock."""
        return datetime.now(UTC) + self.clock_offset + timedelta(seconds=seconds)


def sweep(settings: Settings) -> tuple[int, tuple[Left, ...]]:
    """Remove the canaries of all runs, that of a killed one too; returns how many, and those that locks keep."""
    versions, removed, left = VersionedStore(settings), 0, list[Left]()
    store = ObjectStore(settings)
    for key in sorted(versions.everything(CANARIES)):
        kept_versions = versions.versions(key)
        newest = max(
            (version.modified_at for version in kept_versions if version.modified_at is not None), default=None
        )
        if key.startswith(_OF_MOVES) and newest is not None and newest > datetime.now(UTC) - _HOUR:
            continue
        try:
            versions.remove(key)
        except KeptVersionError:
            now = datetime.now(UTC)
            left += [
                Left(key, version.version, version.locked_until)
                for version in versions.versions(key)
                if version.why_kept(now)
            ]
        else:
            removed += 1
    _abort_uploads(store)
    return removed, tuple(left)


def _abort_uploads(store: ObjectStore) -> None:
    if not store.is_folder:
        bucket, prefix = store.place(CANARIES)
        with translated("abort the uploads of canaries"):
            store.sweep_below(bucket, prefix)
