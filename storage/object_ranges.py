"""Ranges of bytes of objects, read from the store: many at once, with the store's time limits and tries."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from config import Settings
from ledger.errors import ConfigError, DataError, TransientError

_CONNECT_TIMEOUT_S = 5.0
_TRIES = 2
_DENIED = ("ACCESS_DENIED", "AccessDenied", "INVALID_ACCESS_KEY_ID", "SignatureDoesNotMatch", "NO_SUCH_BUCKET")
_OUTSIDE = ("InvalidRange", "INVALID_RANGE", "HTTP status 416", "out of bounds")

Range = tuple[int, int]


class ObjectRanges:
    """The archive's objects by ranges. Thread-safe. Arrow's S3 client takes a tenth of the time of s3fs for one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        parts = urlsplit(settings.archive_location)
        self.is_folder = parts.scheme == "file"
        self._root = f"{parts.netloc}{parts.path}".rstrip("/")

    def read(self, key: str, ranges: Sequence[Range]) -> list[bytes]:
        """The bytes of an object in ``ranges`` of start and end; fewer where the object ends before.

        Raises DataError where the object is missing, ConfigError where it is denied, TransientError for all else.
        """
        try:
            return self._read_file(key, ranges) if self.is_folder else self._read_s3(key, ranges)
        except FileNotFoundError as error:
            raise DataError(f"object store: cannot read {key}: it is not there") from error
        except PermissionError as error:
            raise ConfigError(f"object store: not allowed to read {key}") from error
        except OSError as error:
            raise self._translated(key, str(error)) from error

    def _translated(self, key: str, text: str) -> ConfigError | DataError | TransientError:
        if any(word in text for word in _DENIED):
            return ConfigError(f"object store: not allowed to read {key}: {text}")
        if any(word in text for word in _OUTSIDE):
            return DataError(f"object store: cannot read {key}: it ends before the bytes that were archived")
        return TransientError(f"object store: cannot read {key}: {text}")

    def _read_file(self, key: str, ranges: Sequence[Range]) -> list[bytes]:
        with (Path(self._root) / key).open("rb") as file:
            return [os.pread(file.fileno(), end - start, start) for start, end in ranges]

    def _read_s3(self, key: str, ranges: Sequence[Range]) -> list[bytes]:
        with self._s3.open_input_file(f"{self._root}/{key}") as file:
            return [bytes(file.read_at(end - start, start)) for start, end in ranges]

    @cached_property
    def _s3(self) -> Any:
        from pyarrow import fs  # noqa: PLC0415  # the SDK takes long to load, and a folder needs none of it

        settings = self._settings
        address = urlsplit(settings.s3_endpoint_url or "")
        secret = settings.s3_secret_access_key
        return fs.S3FileSystem(
            access_key=settings.s3_access_key_id,
            secret_key=secret.get_secret_value() if secret else None,
            region=settings.s3_region,
            endpoint_override=address.netloc or None,
            scheme=address.scheme or "https",
            connect_timeout=_CONNECT_TIMEOUT_S,
            request_timeout=settings.store_timeout_s,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_TRIES),
        )
