"""Files that are not plain text, known by their first bytes. Each reader says what to do about a kind."""

import re
from enum import StrEnum, auto

START_BYTES = 512
"""How many first bytes of a file show its kind."""


class FileKind(StrEnum):
    """What a file is that is not plain text."""

    ZIP = auto()
    EMPTY_ZIP = auto()
    SEVEN_ZIP = auto()
    RAR = auto()
    TAR = auto()
    GZIP = auto()
    COMPRESS = auto()
    BZIP2 = auto()
    XZ = auto()
    ZSTD = auto()
    LZ4 = auto()
    OLD_OFFICE = auto()
    PDF = auto()
    PARQUET = auto()
    PGP = auto()
    PAGE = auto()
    UTF_16 = auto()
    UTF_32 = auto()


_MAGIC = (
    (b"PK\x03\x04", FileKind.ZIP),  # a workbook, too
    (b"PK\x05\x06", FileKind.EMPTY_ZIP),
    (b"7z\xbc\xaf\x27\x1c", FileKind.SEVEN_ZIP),
    (b"Rar!\x1a\x07", FileKind.RAR),
    (b"\x1f\x8b", FileKind.GZIP),
    (b"\x1f\x9d", FileKind.COMPRESS),
    (b"BZh", FileKind.BZIP2),
    (b"\xfd7zXZ\x00", FileKind.XZ),
    (b"\x28\xb5\x2f\xfd", FileKind.ZSTD),
    (b"\x04\x22\x4d\x18", FileKind.LZ4),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", FileKind.OLD_OFFICE),
    (b"%PDF-", FileKind.PDF),
    (b"PAR1", FileKind.PARQUET),
    (b"-----BEGIN PGP MESSAGE", FileKind.PGP),
    (b"\x00\x00\xfe\xff", FileKind.UTF_32),
    (b"\xff\xfe\x00\x00", FileKind.UTF_32),  # before UTF-16, whose mark it begins with
    (b"\xff\xfe", FileKind.UTF_16),
    (b"\xfe\xff", FileKind.UTF_16),
)
_TAR_MARK = slice(257, 262)
_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<!doctype html|<html|<\?xml)", re.IGNORECASE)
_FIRST_CHARACTERS = slice(8)  # of which half are zeros in UTF-16, and three quarters in UTF-32


def kind_of(content: bytes) -> FileKind | None:
    """The kind of a file whose first `START_BYTES` are those of ``content``; None for what may be plain text."""
    start = content[:START_BYTES]
    for magic, kind in _MAGIC:
        if start.startswith(magic):
            return kind
    if start[_TAR_MARK] == b"ustar" and 0 in start:  # a text may have the word there
        return FileKind.TAR
    if _PAGE.match(start):
        return FileKind.PAGE
    first = start[_FIRST_CHARACTERS]
    zeros = first.count(0)
    if zeros >= len(first) // 2 > 0:
        return FileKind.UTF_32 if 4 * zeros >= 3 * len(first) else FileKind.UTF_16
    return None
