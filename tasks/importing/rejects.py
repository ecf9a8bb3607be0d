"""The file of lines that were not loaded: line number, reason, field, and the line itself with card numbers masked."""

import csv
import errno
import fcntl
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, TextIO

from ledger.card_finder import LONGEST_CHARACTERS, Search, mask_card_numbers
from ledger.errors import ConfigError, TransientError

HEADER = ("line", "reason", "field", "text")
_SHOWN_CHARACTERS = 4096

_SHOWN_DIGITS = 4  # of a card number


class RecordOutcome(StrEnum):
    """The outcome of a record that was not loaded."""

    REJECTED = "rejected"
    KNOWN = "known"  # it was loaded before, with the same values
    DIFFERENT = "different"  # it was loaded before, with other values


class Reject(NamedTuple):
    """A record that was not loaded. ``field`` is empty when the whole line is meant, and may name several fields."""

    line: int
    reason: str
    field: str
    text: str
    outcome: RecordOutcome = RecordOutcome.REJECTED


class RejectsFile:
    """Writes and counts rejects. Raises TransientError when the disk is full or fails."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self.path = path
        self._file = file
        self._writer = csv.writer(file)
        self._writer.writerow(HEADER)
        self.counts = Counter[RecordOutcome]()

    def write(self, rejects: Iterable[Reject]) -> None:
        """Add ``rejects``, masked."""
        with self._os_errors_named():
            for reject in rejects:
                self.counts[reject.outcome] += 1
                texts = (_shown(text) for text in (reject.reason, reject.field, reject.text))
                self._writer.writerow((reject.line, *texts))

    def finish(self) -> None:
        """Write all that waits, so that what is counted is in the file."""
        with self._os_errors_named():
            self._file.flush()

    @contextmanager
    def _os_errors_named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = f"rejects file {self.path}: {error.strerror}; what was loaded stays, run the import again"
            raise TransientError(reason) from None


def choose_path(file: Path, chosen: Path | None) -> Path:
    """Return where the rejects of ``file`` go: to ``chosen``, a file or a folder, or else beside the file. Where that
    folder cannot be written, they go into the current one.
    """
    name = f"{file.name}.rejects.csv"
    if chosen is not None:
        return chosen / name if chosen.is_dir() else chosen
    beside = file.with_name(name)
    writable = os.access(beside if beside.exists() else beside.parent, os.W_OK)
    return beside if writable else Path(name)


@contextmanager
def open_rejects(path: Path, chosen: Path | None = None) -> Iterator[RejectsFile]:
    """A new rejects file at ``path``, replacing an older one. Its owner alone may read a file that is made here.

    Raises ConfigError when it cannot be written, or is being written by another import. A link is followed where
    somebody has ``chosen`` it, such as /dev/stdout, and refused where it merely lies in the place of the file.
    """
    try:
        file = _open_alone(path, 0 if path == chosen else os.O_NOFOLLOW)
    except BlockingIOError:
        raise ConfigError(f"rejects file {path}: another import writes it; name another with --rejects") from None
    except OSError as error:
        reason = "is a link" if error.errno == errno.ELOOP else error.strerror
        raise ConfigError(f"rejects file {path}: {reason}; name another with --rejects") from None
    try:
        yield RejectsFile(path, file)
    finally:
        with suppress(OSError):  # reported by `finish`; what could not be written then cannot be now
            file.close()


def _open_alone(path: Path, flags: int) -> TextIO:
    """Open ``path`` for writing, emptied, locked until it is closed. Raises BlockingIOError where somebody has it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, 0o600)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):  # a device has no content of its own
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
        return os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace", newline="")
    except BaseException:
        os.close(descriptor)
        raise


def _shown(text: str) -> str:
    """The beginning of ``text``, masked before it is cut: the beginning of a card number is not recognised as one."""
    return mask_card_numbers(text[: _SHOWN_CHARACTERS + LONGEST_CHARACTERS], Search.RAW, _SHOWN_DIGITS)[
        :_SHOWN_CHARACTERS
    ]
