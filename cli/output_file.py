"""A file for output that is there when it is whole, and never in part."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from cli.terminal import DISK_IS_FULL
from ledger.errors import ConfigError, TransientError, TreasuryError

_NEW_FILE = 0o666


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes the name ``path`` when the block ends without an error, and is removed otherwise.

    A pipe or a device is written to as it comes. Raises ConfigError when the file cannot be made, TransientError when
    its disk is full.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            with path.open("wb") as file:
                yield file
            return
        with _renamed(path.resolve()) as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: OSError) -> TreasuryError:
    kind = TransientError if error.errno in DISK_IS_FULL else ConfigError
    return kind(f"--output: {path}: {error.strerror or error}; nothing was written under this name")


@contextmanager
def _renamed(path: Path) -> Iterator[IO[bytes]]:
    """A file beside ``path`` that replaces it at the end."""
    if path.is_dir():
        raise IsADirectoryError(21, "Is a directory")
    draft = NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False)  # noqa: SIM115
    try:
        with draft.file as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(draft.name).chmod(_mode(path))
        Path(draft.name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(draft.name).unlink()
        raise


def _mode(path: Path) -> int:
    """The permissions of the file that is replaced, or those of a new file."""
    with suppress(OSError):
        return stat.S_IMODE(path.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return _NEW_FILE & ~mask
