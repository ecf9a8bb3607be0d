"""The object store behind one URL: put, read back, remove, by exact key. Over fsspec, so s3:// and file:// are alike.

A key is never listed to be found and never written twice with other bytes: who wants an object knows its key.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import fsspec
from aiohttp import ClientError as AiohttpError
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]  # it has no types

from config import Settings
from ledger.errors import ConfigError, DataError, TransientError

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
        """Upload a local file as the object ``key``. An object of that key is replaced as a whole."""
        with _translated(f"write {key}"):
            self._make_folder(key)
            limit = self._limit(source.stat().st_size)
            self._files.put_file(str(source), self._path(key), chunksize=_PART_BYTES, **limit)

    def put_bytes(self, content: bytes, key: str) -> None:
        """Store ``content`` as the object ``key``."""
        with _translated(f"write {key}"):
            self._make_folder(key)
            self._files.pipe_file(self._path(key), content, **self._limit(len(content)))

    def fetch(self, key: str, target: Path) -> StoredFile:
        """Read the object ``key`` afresh into a local file; returns what arrived. DataError when it is absent."""
        digest, size_bytes = hashlib.sha256(), 0
        with _translated(f"read {key}"), target.open("wb") as file, self._open(key) as remote:
            while chunk := remote.read(_CHUNK_BYTES):
                digest.update(chunk)
                size_bytes += file.write(chunk)
        return StoredFile(size_bytes, digest.digest())

    def read_bytes(self, key: str) -> bytes:
        """The whole object ``key``, read afresh; for manifests, not for data. Raises DataError when it is absent."""
        with _translated(f"read {key}"):
            content = self._files.cat_file(self._path(key))
        return bytes(content)

    def exists(self, key: str) -> bool:
        """Whether there is an object ``key`` now."""
        with _translated(f"look for {key}"):
            self._files.invalidate_cache()
            return bool(self._files.exists(self._path(key)))

    def remove(self, key: str) -> None:
        """Delete the object ``key``; it is no error when there is none. Safe to run again."""
        with _translated(f"remove {key}"):
            try:
                self._files.rm_file(self._path(key))
            except FileNotFoundError as error:
                if _bucket_is_missing(error):
                    raise

    def _open(self, key: str) -> BinaryIO:
        opened: BinaryIO = self._files.open(self._path(key), "rb", block_size=_PART_BYTES, cache_type="readahead")
        return opened

    def _limit(self, size_bytes: int) -> dict[str, float]:
        """How long an upload may take. Without it a server that takes the connection and says nothing is waited for
        without end: the client asks it first whether it may send (Expect: 100-continue), under no timeout.
        """
        if self.url.startswith("file://"):
            return {}
        return {"timeout": self._timeout_s * (_TRIES + size_bytes // _PART_BYTES)}

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _make_folder(self, key: str) -> None:
        if self.url.startswith("file://"):
            self._files.makedirs(self._path(key).rsplit("/", 1)[0], exist_ok=True)


def file_system(settings: Settings, scheme: str) -> Any:
    """The files of ``file`` or ``s3``, with the settings' address, credentials and time limits."""
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
            # proved by our own SHA-256 of a fresh read, which is more than they would tell.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        },
        "use_listings_cache": False,
    }


_DENIED = frozenset({"403", "401", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoSuchBucket"})


def _bucket_is_missing(error: FileNotFoundError) -> bool:
    cause = error.__cause__
    return isinstance(cause, ClientError) and cause.response.get("Error", {}).get("Code") == "NoSuchBucket"


@contextmanager
def _translated(action: str) -> Iterator[None]:
    """The project's errors for those of s3fs, botocore and the file system."""
    try:
        yield
    except FileNotFoundError as error:
        if _bucket_is_missing(error):
            raise ConfigError(
                f"object store: cannot {action}: TREASURY_ARCHIVE_URL names no bucket that is there"
            ) from error
        raise DataError(f"object store: cannot {action}: it is not there: {error}") from error
    except PermissionError as error:
        raise ConfigError(f"object store: not allowed to {action}: {error}") from error
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        kind = ConfigError if code in _DENIED else TransientError
        raise kind(f"object store: cannot {action}: {code or error}") from error
    except (OSError, BotoCoreError, AiohttpError) as error:
        raise TransientError(f"object store: cannot {action}: {str(error) or type(error).__name__}") from error
