"""Ranges of bytes of archived objects, from a folder or from an S3 server."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from config import Settings
from ledger.errors import ConfigError, DataError, TransientError

if TYPE_CHECKING:
    from storage.s3_ranges import S3Ranges

Range = tuple[int, int]


class ObjectRanges:
    """The archive's objects by ranges. Thread-safe. An API that has no archive yet has one, and reads nothing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.is_folder = urlsplit(settings.archive_url or "").scheme == "file"

    def close(self) -> None:
        """Close what is open. Safe to call twice."""
        if "_s3" in self.__dict__:
            self._s3.close()

    def read(self, key: str, ranges: Sequence[Range]) -> list[bytes]:
        """The bytes of an object in ``ranges`` of start and end; fewer where the object ends before.

        Raises DataError where the object is missing, ConfigError where it is denied, TransientError for all else.
        """
        if self.is_folder:
            return self._read_file(key, ranges)
        return [self._s3.read(key, start, end) for start, end in ranges]

    def _read_file(self, key: str, ranges: Sequence[Range]) -> list[bytes]:
        try:
            with (Path("/") / self._folder / key).open("rb") as file:
                return [os.pread(file.fileno(), end - start, start) for start, end in ranges]
        except FileNotFoundError as error:
            raise DataError(f"object store: cannot read {key}: it is not there") from error
        except PermissionError as error:
            raise ConfigError(f"object store: not allowed to read {key}") from error
        except OSError as error:
            raise TransientError(f"object store: cannot read {key}: {error}") from error

    @cached_property
    def _s3(self) -> "S3Ranges":
        from storage.s3_ranges import S3Ranges  # noqa: PLC0415  # a folder needs none of it

        return S3Ranges(self._settings, urlsplit(self._settings.archive_location).netloc, self._folder)

    @property
    def _folder(self) -> str:
        return urlsplit(self._settings.archive_location).path.strip("/")
