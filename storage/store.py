"""The object store behind one URL: put, read back, remove, by exact key. Over fsspec, so s3:// and file:// are alike.

Readers know the key of the object that they want and never list a folder. An object is made once and never changed: a
key that is taken by other bytes is refused. Only the marker of the installation (`storage.marker`), the checkpoint of
the public log and its indexes are replaced.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from config import Settings
from ledger.errors import ConflictError, DataError, DeepTierError
from storage import folder
from storage.store_errors import _NO_UPLOADS, _TAKEN, _UNKNOWN_CONDITION, _bucket_is_missing, _is_code, translated

_CHUNK_BYTES = 4 << 20
_PART_BYTES = 16 << 20  # of a multipart upload: 10,000 parts allow 160 GB in one object
_CONNECT_TIMEOUT_S = 5.0
_TRIES = 2


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What a file or an object is made of: its size in bytes and the SHA-256 of all of them."""

    size_bytes: int
    sha256: bytes

    @classmethod
    def of(cls, content: bytes) -> "StoredFile":
        """The description of bytes in memory."""
        return cls(len(content), hashlib.sha256(content).digest())


class ObjectStore:
    """Objects under one URL. Thread-safe; every call may raise TransientError (try again) or ConfigError (denied)."""

    def __init__(self, settings: Settings) -> None:
        self.url = settings.archive_location
        parts = urlsplit(self.url)
        self._root = f"{parts.netloc}{parts.path}".rstrip("/")
        self._timeout_s = settings.store_timeout_s
        self._files = file_system(settings, parts.scheme)

    def put(self, source: Path, key: str) -> None:
        """Upload a local file as the object ``key``, which must not be there yet. Safe to run again with the same file.

        Raises ConflictError naming ``key`` when an object of that key holds other bytes; it is left as it is.
        """
        with translated(f"write {key}"):
            made = self._make_file(source, key)
        if not made:
            self._require_same(describe_file(source), key)

    def put_bytes(self, content: bytes, key: str) -> None:
        """Store ``content`` as the object ``key``, which must not be there yet; as `put`."""
        with translated(f"write {key}"):
            made = self._make_bytes(content, key)
        if not made:
            self._require_same(StoredFile.of(content), key)

    def replace_bytes(self, content: bytes, key: str) -> None:
        """Store ``content`` as the object ``key``, in place of what is there: a marker, a checkpoint or an index."""
        with translated(f"write {key}"):
            if self.is_folder:
                folder.replace(content, Path(self._path(key)))
            else:
                self._files.pipe_file(self._path(key), content, **self._limit(len(content)))

    def fetch(self, key: str, target: Path) -> StoredFile:
        """Read the object ``key`` afresh into a local file; returns what arrived. DataError when it is absent."""
        digest, size_bytes = hashlib.sha256(), 0
        with translated(f"read {key}", key), target.open("wb") as file, self._open(key) as remote:
            while chunk := remote.read(_CHUNK_BYTES):
                digest.update(chunk)
                size_bytes += file.write(chunk)
        return StoredFile(size_bytes, digest.digest())

    def read_bytes(self, key: str) -> bytes:
        """The whole object ``key``, read afresh; for manifests, not for data. Raises DataError when it is absent."""
        with translated(f"read {key}", key):
            content = self._files.cat_file(self._path(key))
        return bytes(content)

    def find_bytes(self, key: str) -> bytes | None:
        """The whole object ``key``, read afresh, or None when it is absent. A missing bucket is a ConfigError."""
        try:
            return self.read_bytes(key)
        except DeepTierError:
            raise
        except DataError:
            return None

    def keys(self, below: str) -> list[str]:
        """The keys of all objects in the folder ``below`` and its subfolders, as the store lists them now, sorted.

        For the question what else lies there, never to find out what to read.
        """
        return sorted(self.sizes(below))

    def sizes(self, below: str) -> dict[str, int]:
        """The keys of all objects in the folder ``below``, as `keys` lists them, each with its size in bytes."""
        with translated(f"list {below}"):
            self._files.invalidate_cache()
            listing = self._files.find(self._path(below), detail=True)
        prefix, own = f"{self._root}/", self._path(below)
        listed = {
            path.removeprefix(prefix): int(entry["size"] or 0)
            for path, entry in listing.items()
            if not _is_marker_of_folder(path, entry, own)
        }
        return {key: listed[key] for key in sorted(listed) if not folder.is_partial(key)}

    def exists(self, key: str) -> bool:
        """Whether there is an object ``key`` now."""
        with translated(f"look for {key}"):
            self._files.invalidate_cache()
            return bool(self._files.exists(self._path(key)))

    def remove(self, key: str) -> None:
        """Delete the object ``key`` and what killed uploads have left of it; nothing where there is none. Safe
        to run again.
        """
        with translated(f"remove {key}"):
            self.sweep(key)
            try:
                self._files.rm_file(self._path(key))
            except FileNotFoundError as error:
                if _bucket_is_missing(error):
                    raise

    def sweep(self, key: str) -> None:
        """Remove what killed uploads have left of ``key``: a store keeps, and bills, parts that no list shows.

        Before the object is deleted, so that no upload is completed behind that. Safe to run again.
        """
        if self.is_folder:
            folder.sweep(Path(self._path(key)))
            return
        bucket, path = self.place(key)
        with translated(f"abort the uploads of {key}"):
            self.sweep_path(bucket, path)

    def sweep_path(self, bucket: str, path: str) -> None:
        """Abort the uploads in parts that killed processes have left of a key in a bucket."""
        self._abort(bucket, [upload for upload in self._unfinished_uploads(bucket, path) if upload[0] == path])

    def sweep_below(self, bucket: str, prefix: str) -> None:
        """Abort all uploads in parts of keys that begin with ``prefix``."""
        self._abort(bucket, self._unfinished_uploads(bucket, prefix))

    def _abort(self, bucket: str, uploads: Sequence[tuple[str, str]]) -> None:
        for path, upload in uploads:
            with suppress(FileNotFoundError):  # it ended meanwhile
                self._files.call_s3("abort_multipart_upload", Bucket=bucket, Key=path, UploadId=upload)

    @property
    def is_folder(self) -> bool:
        """Whether the objects are files of this machine."""
        return self.url.startswith("file://")

    def path(self, key: str) -> str:
        """The object's path for the file system below: bucket and key, or a file."""
        return self._path(key)

    def place(self, key: str) -> tuple[str, str]:
        """The bucket and the key in it of an object in S3."""
        bucket, _, rest = self._path(key).partition("/")
        return bucket, rest

    def call(self, operation: str, **parameters: Any) -> Any:
        """An operation of S3 that has no method here, as botocore names it."""
        return self._files.call_s3(operation, **parameters)

    def is_readable(self, key: str) -> bool:
        """Whether the object ``key`` can be read now, by reading a byte of it; False where it must be restored first.

        Raises the store's errors for anything else that is in the way. Reads only.
        """
        if self.is_folder:
            return True
        bucket, path = self.place(key)
        try:
            with translated(f"read {key}", key):
                self.call("get_object", Bucket=bucket, Key=path, Range="bytes=0-0")
        except DeepTierError:
            return False
        return True

    def _open(self, key: str) -> BinaryIO:
        opened: BinaryIO = self._files.open(self._path(key), "rb", block_size=_PART_BYTES, cache_type="readahead")
        return opened

    def _limit(self, size_bytes: int) -> dict[str, float]:
        """How long an upload may take. Without it a server that takes the connection and says nothing is waited for
        without end: the client asks it first whether it may send (Expect: 100-continue), under no timeout.
        """
        if self.is_folder:
            return {}
        return {"timeout": self._timeout_s * (_TRIES + size_bytes // _PART_BYTES)}

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _make_file(self, source: Path, key: str) -> bool:
        """Make the object from a file; False when there is one already."""
        if self.is_folder:
            return folder.create(source, Path(self._path(key)))
        upload = partial(self._files.put_file, str(source), self._path(key), chunksize=_PART_BYTES)
        return self._create(upload, key, source.stat().st_size)

    def _make_bytes(self, content: bytes, key: str) -> bool:
        """Make the object from bytes; False when there is one already."""
        if self.is_folder:
            return folder.create(content, Path(self._path(key)))
        return self._create(partial(self._files.pipe_file, self._path(key), content), key, len(content))

    def _create(self, upload: Callable[..., object], key: str, size_bytes: int) -> bool:
        """Upload unless the key is taken; False when it is.

        The store is asked first, because not every store honours ``If-None-Match`` (the embedded one ignores it). Where
        it does, the condition closes the gap between the question and the upload.
        """
        if self._is_there(key):
            return False
        limit = self._limit(size_bytes)
        try:
            upload(mode="create", **limit)
        except OSError as error:
            if _is_code(error, _TAKEN):
                return False
            if not _is_code(error, _UNKNOWN_CONDITION):
                raise
            upload(**limit)
        return True

    def _is_there(self, key: str) -> bool:
        bucket, _, rest = self._path(key).partition("/")
        try:
            self._files.call_s3("head_object", Bucket=bucket, Key=rest)
        except FileNotFoundError as error:
            if _bucket_is_missing(error):
                raise
            return False
        return True

    def _unfinished_uploads(self, bucket: str, prefix: str) -> list[tuple[str, str]]:
        """The keys and ids of uploads in parts that have not ended, of keys that begin with ``prefix``."""
        try:
            answer = self._files.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix)
        except OSError as error:
            if _is_code(error, _NO_UPLOADS):
                return []
            raise
        return [(str(upload["Key"]), str(upload["UploadId"])) for upload in answer.get("Uploads", [])]

    def _require_same(self, wanted: StoredFile, key: str) -> None:
        """Raise ConflictError unless the object that is there holds the very bytes, as after a lost answer."""
        digest, size_bytes = hashlib.sha256(), 0
        with translated(f"read {key}", key), self._open(key) as remote:
            while chunk := remote.read(_CHUNK_BYTES):
                digest.update(chunk)
                size_bytes += len(chunk)
        if StoredFile(size_bytes, digest.digest()) != wanted:
            raise ConflictError(
                f"object store: {key} is there already with other bytes and was left as it is; another database or "
                "program wrote it: run `treasury installation show`"
            )


def _is_marker_of_folder(path: str, listed: Mapping[str, Any], below: str) -> bool:
    """Whether a listed thing is not an object: some stores list the folders themselves, under their names or with a
    slash behind.
    """
    name = str(listed.get("Key") or path)
    return listed.get("type") == "directory" or name.endswith("/") or path.rstrip("/") == below.rstrip("/")


def file_system(settings: Settings, scheme: str) -> Any:
    """The files of ``file`` or ``s3``, with the settings' address, credentials and time limits."""
    import fsspec  # noqa: PLC0415  # a question that only PostgreSQL answers needs no store

    files = fsspec.filesystem(scheme, **_options(settings, scheme))
    files.retries = _TRIES  # of s3fs, around those of botocore: together they multiply
    return files


def describe_file(path: Path) -> StoredFile:
    """Size and SHA-256 of a local file."""
    with path.open("rb") as file:
        return StoredFile(path.stat().st_size, hashlib.file_digest(file, "sha256").digest())


def _options(settings: Settings, scheme: str) -> dict[str, object]:
    if scheme == "file":
        return {}
    secret = settings.s3_secret_access_key
    return {
        "key": settings.s3_access_key_id,
        "secret": secret.get_secret_value() if secret else None,
        "endpoint_url": settings.s3_endpoint_url,
        "client_kwargs": {"region_name": settings.s3_region},
        "config_kwargs": {
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "read_timeout": settings.store_timeout_s,
            "retries": {"total_max_attempts": _TRIES, "mode": "standard"},
            # Servers other than AWS refuse the trailing checksums that botocore sends by default. The content is
            # proved by our own SHA-256 of a fresh read, which proves more than they would.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        },
        "use_listings_cache": False,
    }


def version_of(answer: Any) -> str:
    """The id of the version that an answer of the store is about; empty for one without versions."""
    version = str(answer.get("VersionId") or "")
    return "" if version == "null" else version
