"""Every version of an object: listed, removed, and proved to be absent. What only a deletion for good needs.

A store without versions has one version of each object. In a bucket with versions a plain delete only adds a marker, so
each version is deleted by its id.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from config import Settings
from ledger.errors import ConfigError, RefusalError
from storage.store import ObjectStore, version_of
from storage.store_errors import error_code, translated

_UNSUPPORTED = frozenset({"NotImplemented", "501", "MethodNotAllowed", "405", "XNotImplemented"})
_ON = "ON"
_NULL = "null"  # the id of a version that was written without versioning


class KeptVersionError(RefusalError):
    """The store keeps a version of an object: by a lock that has not ended, or against a delete that it accepted."""


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One version of an object as the store has it. ``version`` is empty where the store has no versions.

    A ``marker`` says that the object was deleted, and has no content. ``locked_until`` and ``legal_hold`` are those of
    S3 Object Lock. Times are UTC.
    """

    version: str
    size_bytes: int
    storage_class: str
    modified_at: datetime | None = None
    is_marker: bool = False
    lock_mode: str = ""
    locked_until: datetime | None = None
    legal_hold: bool = False

    def why_kept(self, now: datetime, *, hold_is_ours: bool = False) -> str:
        """Why the store will not let it go at an aware instant; empty where nothing is in the way.

        ``hold_is_ours``: the legal hold is this project's, which takes it off before it deletes the version.
        """
        if self.legal_hold and not hold_is_ours:
            return "a legal hold of the store is on it: take that off first"
        if self.locked_until is not None and self.locked_until > now:
            return f"it is locked ({self.lock_mode or 'retention'}) until {self.locked_until:%Y-%m-%d %H:%M:%S} UTC"
        return ""

    def to_record(self) -> dict[str, Any]:
        """The version as JSON values."""
        return {
            "version": self.version,
            "size_bytes": self.size_bytes,
            "storage_class": self.storage_class,
            "modified_at": _text(self.modified_at),
            "is_marker": self.is_marker,
            "lock_mode": self.lock_mode,
            "locked_until": _text(self.locked_until),
            "legal_hold": self.legal_hold,
        }


class VersionedStore:
    """The versions of objects under the archive's URL. Every call asks the store afresh."""

    def __init__(self, settings: Settings) -> None:
        self._store = ObjectStore(settings)

    def versions(self, key: str) -> list[ObjectVersion]:
        """Every version of the object ``key`` and every marker of it, with its locks; empty where nothing is there."""
        if self._store.is_folder:
            return self._file(key)
        with translated(f"list the versions of {key}"):
            bucket, rest = self._store.place(key)
            listed = [entry for entry in self._listed_or_none(bucket, rest) or () if entry["Key"] == rest]
            versions = [_version(entry, None if _is_marker(entry) else self._head(key, _id(entry))) for entry in listed]
            if not versions and (head := self._head(key, "")) is not None:
                versions = [_version({}, head)]  # of a store without versions
            return versions

    def keys(self, below: str) -> set[str]:
        """The keys of all objects in a folder that have any content, also one that only an older version has."""
        if self._store.is_folder:
            return set(self._store.keys(below))
        bucket, prefix = self._store.place(f"{below}/")
        root = prefix.removesuffix(f"{below}/")
        with translated(f"list the versions below {below}"):
            listed = self._listed_or_none(bucket, prefix)
        hidden = {str(entry["Key"]).removeprefix(root) for entry in listed or () if not _is_marker(entry)}
        return {key for key in hidden if not key.endswith("/")} | set(self._store.keys(below))

    def everything(self, below: str) -> set[str]:
        """The keys of a folder that have any version, also one that only says that the object was deleted."""
        if self._store.is_folder:
            return set(self._store.keys(below))
        bucket, prefix = self._store.place(f"{below}/")
        root = prefix.removesuffix(f"{below}/")
        with translated(f"list the versions below {below}"):
            listed = self._listed_or_none(bucket, prefix)
        return {str(entry["Key"]).removeprefix(root) for entry in listed or ()} | set(self._store.keys(below))

    def remove(self, key: str) -> None:
        """Delete every version of the object ``key``, what killed uploads left of it, and prove that it is absent.

        Safe to run again. Raises KeptVersionError naming object, version and lock where the store keeps one, and the
        store's errors.
        """
        self._store.sweep(key)
        for version in self.versions(key):
            self.remove_version(key, version)
        left = self.versions(key)
        if left:
            raise KeptVersionError(_kept(key, left[0], left[0].why_kept(datetime.now(UTC)) or "it accepted the delete"))
        if self._store.exists(key):
            raise KeptVersionError(f"{key}: the store still has it after every version was deleted")

    def remove_version(self, key: str, version: ObjectVersion) -> None:
        """Delete one version of an object for good. Safe to run again.

        Raises KeptVersionError naming object, version and lock where the store keeps it.
        """
        if reason := version.why_kept(datetime.now(UTC)):
            raise KeptVersionError(_kept(key, version, reason))
        self._delete(key, version)

    def _delete(self, key: str, version: ObjectVersion) -> None:
        if not version.version:
            self._store.remove(key)
            return
        bucket, rest = self._store.place(key)
        try:
            with translated(f"delete version {version.version} of {key}"):
                self._store.call("delete_object", Bucket=bucket, Key=rest, VersionId=version.version)
        except ConfigError as error:  # not allowed: where a lock is the reason, it says so
            reason = version.why_kept(datetime.now(UTC)) or str(error)
            raise KeptVersionError(_kept(key, version, reason)) from error

    def _file(self, key: str) -> list[ObjectVersion]:
        path = Path(self._store.path(key))
        if not path.exists():
            return []
        stat = path.stat()
        return [ObjectVersion("", stat.st_size, "", datetime.fromtimestamp(stat.st_mtime, UTC))]

    def _listed_or_none(self, bucket: str, prefix: str) -> list[dict[str, Any]] | None:
        """`_listed`, None where the store has no such list."""
        try:
            return self._listed(bucket, prefix)
        except OSError as error:
            if error_code(error) in _UNSUPPORTED:
                return None
            raise

    def _listed(self, bucket: str, prefix: str) -> list[dict[str, Any]]:
        """The entries of the list of versions whose keys begin with ``prefix``."""
        entries: list[dict[str, Any]] = []
        place: dict[str, str] = {}
        while True:
            page = self._store.call("list_object_versions", Bucket=bucket, Prefix=prefix, **place)
            entries += [{**entry, "marker": False} for entry in page.get("Versions", ())]
            entries += [{**entry, "marker": True} for entry in page.get("DeleteMarkers", ())]
            if not page.get("IsTruncated"):
                return entries
            place = {"KeyMarker": page["NextKeyMarker"]}
            if page.get("NextVersionIdMarker"):
                place["VersionIdMarker"] = page["NextVersionIdMarker"]

    def _head(self, key: str, version: str) -> Mapping[str, Any] | None:
        bucket, rest = self._store.place(key)
        if version == _NULL and (newest := self._head(key, "")) is not None and not version_of(newest):
            return newest  # what was written without versions; not every store takes its id here
        named = {"VersionId": version} if version else {}
        try:
            head: Mapping[str, Any] = self._store.call("head_object", Bucket=bucket, Key=rest, **named)
        except FileNotFoundError:
            return None
        return head


def _version(listed: Mapping[str, Any], head: Mapping[str, Any] | None) -> ObjectVersion:
    shown = head or {}
    return ObjectVersion(
        version=_id(listed),
        size_bytes=int(shown.get("ContentLength", listed.get("Size", 0)) or 0),
        storage_class=str(shown.get("StorageClass") or listed.get("StorageClass") or "STANDARD"),
        modified_at=_utc(shown.get("LastModified") or listed.get("LastModified")),
        is_marker=_is_marker(listed),
        lock_mode=str(shown.get("ObjectLockMode") or ""),
        locked_until=_utc(shown.get("ObjectLockRetainUntilDate")),
        legal_hold=shown.get("ObjectLockLegalHoldStatus") == _ON,
    )


def _id(listed: Mapping[str, Any]) -> str:
    return str(listed.get("VersionId") or "")


def _is_marker(listed: Mapping[str, Any]) -> bool:
    return bool(listed.get("marker"))


def _utc(value: Any) -> datetime | None:
    return value.astimezone(UTC) if isinstance(value, datetime) else None


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _kept(key: str, kept_version: ObjectVersion, reason: str) -> str:
    version = kept_version.version or "(the store has no versions)"
    return f"{key}: the store keeps version {version}: {reason}. Nothing was certified; run it again after that"
