"""Files that are not plain text: refused by name, before a supplier's format reads them."""

from ledger.file_kinds import FileKind, kind_of
from suppliers.statement import StatementError

_UNPACK = "unpack it, and take in the file inside"
_EXPORT = "ask the supplier for the text file"
_ENCODE = "a statement must be UTF-8"
KINDS = {
    FileKind.ZIP: f"a zip archive or a spreadsheet: {_UNPACK}",
    FileKind.EMPTY_ZIP: f"an empty zip archive: {_UNPACK}",
    FileKind.SEVEN_ZIP: f"a 7z archive: {_UNPACK}",
    FileKind.RAR: f"a RAR archive: {_UNPACK}",
    FileKind.TAR: f"a tar archive: {_UNPACK}",
    FileKind.GZIP: f"compressed with gzip: {_UNPACK}",
    FileKind.COMPRESS: f"compressed with compress: {_UNPACK}",
    FileKind.BZIP2: f"compressed with bzip2: {_UNPACK}",
    FileKind.XZ: f"compressed with xz: {_UNPACK}",
    FileKind.ZSTD: f"compressed with zstd: {_UNPACK}",
    FileKind.LZ4: f"compressed with lz4: {_UNPACK}",
    FileKind.OLD_OFFICE: f"an old Excel or Word document: {_EXPORT}",
    FileKind.PDF: f"a PDF document: {_EXPORT}",
    FileKind.PARQUET: f"a Parquet file: {_EXPORT}",
    FileKind.PGP: "encrypted with PGP: decrypt it",
    FileKind.PAGE: f"an HTML or XML document: {_EXPORT}",
    FileKind.UTF_16: f"UTF-16 text: {_ENCODE}",
    FileKind.UTF_32: f"UTF-32 text: {_ENCODE}",
}


def refuse_packed(content: bytes, name: str) -> None:
    """Raise StatementError that says what the file is and what to do, when its first bytes are not those of text."""
    kind = kind_of(content)
    if kind is not None:
        raise StatementError(name, f"is {KINDS[kind]}")
