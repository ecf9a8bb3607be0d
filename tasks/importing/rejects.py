"""The file of lines that were not loaded: line number, reason, field, and the line itself with card numbers masked."""

import csv
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TextIO

from ledger.errors import ConfigError, TransientError

HEADER = ("line", "reason", "field", "text")
_SHOWN_CHARACTERS = 4096

# Card numbers: 13 to 19 digits (ISO/IEC 7812-1), written together or in groups, the last digit by Luhn.
_CARD_DIGITS = range(13, 20)
_SHOWN_DIGITS = 4
_RUN = re.compile(r"\d(?:[ -]?\d){12,}")
_GROUP = re.compile(r"\d+")


class Reject(NamedTuple):
    """A line that was not loaded. ``field`` is empty when the whole line is meant."""

    line: int
    reason: str
    field: str
    text: str


class RejectsFile:
    """Writes and counts rejects. Raises TransientError when the disk is full or fails."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path = path
        self._file = file
        self._writer = csv.writer(file)
        self._writer.writerow(HEADER)
        self.count = 0

    def write(self, rejects: Iterable[Reject]) -> None:
        """Add ``rejects``, masked."""
        with self._told():
            for reject in rejects:
                self.count += 1
                text = mask_cards(reject.text[:_SHOWN_CHARACTERS])
                self._writer.writerow((reject.line, mask_cards(reject.reason), reject.field, text))

    def finish(self) -> None:
        """Write all that waits, so that what is counted is in the file."""
        with self._told():
            self._file.flush()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = f"rejects file {self._path}: {error.strerror}; what was loaded stays, run the import again"
            raise TransientError(reason) from None


@contextmanager
def open_rejects(path: Path) -> Iterator[RejectsFile]:
    """A new rejects file at ``path``, replacing an older one. Raises ConfigError when it cannot be written."""
    try:
        file = path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
    except OSError as error:
        raise ConfigError(f"rejects file {path}: {error.strerror}; name another with --rejects") from None
    try:
        yield RejectsFile(path, file)
    finally:
        with suppress(OSError):  # told by `finish`; what could not be written then cannot be now
            file.close()


def mask_cards(text: str) -> str:
    """``text`` with all but the last four digits of everything that may be a card number replaced by ``*``.

    Every run of whole digit groups is tried, so a number next to a card number does not hide it; a reference that
    passes Luhn by chance is masked too.
    """
    return _RUN.sub(lambda found: _mask_groups(found[0]), text)


def _mask_groups(text: str) -> str:
    groups = list(_GROUP.finditer(text))
    masked = list(text)
    for start in range(len(groups)):
        digits = ""
        for group in groups[start:]:
            digits += group[0]
            if len(digits) >= _CARD_DIGITS.stop:
                break
            if len(digits) in _CARD_DIGITS and passes_luhn(digits):
                _mask_digits(masked, groups[start].start(), group.end())
    return "".join(masked)


def _mask_digits(characters: list[str], start: int, end: int) -> None:
    places = [place for place in range(start, end) if characters[place].isdigit() or characters[place] == "*"]
    for place in places[:-_SHOWN_DIGITS]:
        characters[place] = "*"


def passes_luhn(digits: str) -> bool:
    """Whether the last of ``digits`` is their Luhn check digit (ISO/IEC 7812-1, annex B)."""
    doubled = (int(digit) * 2 for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(value - 9 if value > 9 else value for value in doubled)) % 10 == 0
