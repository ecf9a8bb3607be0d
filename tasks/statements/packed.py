"""Files that are not text, known by their first bytes: refused by name, before a supplier's format reads them."""

import re

from suppliers.statement import StatementError

_UNPACK = "unpack it, and take in the file inside"
_EXPORT = "ask the supplier for the text file"
_ENCODE = "a statement must be UTF-8"
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x03\x04", "a zip archive or a spreadsheet", _UNPACK),
    (b"PK\x05\x06", "an empty zip archive", _UNPACK),
    (b"\x1f\x8b", "compressed with gzip", _UNPACK),
    (b"\x1f\x9d", "compressed with compress", _UNPACK),
    (b"BZh", "compressed with bzip2", _UNPACK),
    (b"\xfd7zXZ\x00", "compressed with xz", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", _UNPACK),
    (b"\x04\x22\x4d\x18", "compressed with lz4", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"%PDF-", "a PDF document", _EXPORT),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Word document", _EXPORT),
    (b"PAR1", "a Parquet file", _EXPORT),
    (b"\x00\x00\xfe\xff", "UTF-32 text", _ENCODE),
    (b"\xff\xfe\x00\x00", "UTF-32 text", _ENCODE),
    (b"\xff\xfe", "UTF-16 text", _ENCODE),
    (b"\xfe\xff", "UTF-16 text", _ENCODE),
    (b"-----BEGIN PGP MESSAGE", "encrypted with PGP", "decrypt it"),
)
_TAR_MARK = slice(257, 262)
_PAGE = re.compile(rb"\s*(?:<!doctype html|<html|<\?xml)", re.IGNORECASE)
_PAGE_BYTES = 512


def refuse_packed(content: bytes, name: str) -> None:
    """Raise StatementError that says what the file is and what to do, when its first bytes are not those of text."""
    for start, kind, to_do in _KINDS:
        if content.startswith(start):
            raise StatementError(name, f"is {kind}: {to_do}")
    if content[_TAR_MARK] == b"ustar":
        raise StatementError(name, f"is a tar archive: {_UNPACK}")
    if _PAGE.match(content[:_PAGE_BYTES].removeprefix(b"\xef\xbb\xbf")):
        raise StatementError(name, f"is an HTML or XML document: {_EXPORT}")
