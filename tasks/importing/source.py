"""The file to import: looked through once before anything is loaded, then read, plain or gzip."""

import codecs
import gzip
import hashlib
import io
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ledger.errors import ConfigError, DataError

_GZIP_MAGIC = b"\x1f\x8b"
_UTF_16 = "text in UTF-16 or UTF-32: convert it, for example with iconv -f UTF-16 -t UTF-8"
_UNPACK = "unpack it, or compress the file inside with gzip"
_DECOMPRESS = "decompress it, or compress it with gzip"
_OTHER_KINDS = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook: unpack it, or save the sheet as CSV",
    b"PK\x05\x06": f"an empty ZIP archive: {_UNPACK}",
    b"7z\xbc\xaf\x27\x1c": f"a 7z archive: {_UNPACK}",
    b"Rar!\x1a\x07": f"a RAR archive: {_UNPACK}",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Excel workbook: save the sheet as CSV",
    b"\x1f\x9d": f"compressed with compress: {_DECOMPRESS}",
    b"BZh": f"compressed with bzip2: {_DECOMPRESS}",
    b"\xfd7zXZ\x00": f"compressed with xz: {_DECOMPRESS}",
    b"\x28\xb5\x2f\xfd": f"compressed with zstd: {_DECOMPRESS}",
    b"\x04\x22\x4d\x18": f"compressed with lz4: {_DECOMPRESS}",
    b"-----BEGIN PGP MESSAGE": "encrypted with PGP: decrypt it",
    b"%PDF-": "a PDF document: no text in lines",
    b"PAR1": "a Parquet file: no text in lines",
    b"\xff\xfe": _UTF_16,
    b"\xfe\xff": _UTF_16,
    b"\x00\x00\xfe\xff": _UTF_16,
}
_TAR_MARK = slice(257, 262)
_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<!doctype html|<html|<\?xml)", re.IGNORECASE)
_START_BYTES = 512
_FIRST_CHARACTERS = slice(8)  # where half of the bytes of a text in UTF-16 are zeros
_BLOCK_BYTES = 1 << 20
_STREAM_BYTES = 1 << 18

Seen = Callable[[int], None]


class Survey(NamedTuple):
    """SHA-256 of a file as it lies on the disk, and of its content without compression.

    ``is_cut`` says that the last line of the content has no line end.
    """

    file: bytes
    content: bytes
    is_cut: bool


class _Utf8:
    """Looks whether a content that is to be read in another encoding is UTF-8: bytes beyond ASCII that happen to be are
    as good as never seen in an encoding in which each of them is a character.
    """

    def __init__(self, encoding: str) -> None:
        is_by_byte = len("é".encode().decode(encoding, "replace")) == len("é".encode())
        self._decoder = codecs.getincrementaldecoder("utf-8")() if encoding != "utf-8" and is_by_byte else None
        self._beyond_ascii = False

    def add(self, block: bytes) -> None:
        """The next bytes of the content."""
        if self._decoder is None:
            return
        self._beyond_ascii = self._beyond_ascii or not block.isascii()
        try:
            self._decoder.decode(block)
        except UnicodeDecodeError:
            self._decoder = None

    @property
    def is_taken_for_another(self) -> bool:
        """Whether all that was added is UTF-8, and more than ASCII."""
        if self._decoder is None or not self._beyond_ascii:
            return False
        try:
            self._decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
        return True


class _Content:
    """What is to be known of a content, block by block."""

    def __init__(self, encoding: str) -> None:
        self.digest = hashlib.sha256()
        self.utf8 = _Utf8(encoding)
        self._last = b""

    def add(self, block: bytes) -> None:
        """The next bytes of the content."""
        self.digest.update(block)
        self.utf8.add(block)
        self._last = block[-1:]

    @property
    def is_cut(self) -> bool:
        """Whether the last line has no line end."""
        return self._last not in b"\r\n"


class SourceFile:
    """An open file. ``size`` is in bytes as it lies on the disk, compressed or not."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._file = file
        self._state = _state(file)
        self.size = self._state[0]
        self._gzip = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC

    def survey(self, seen: Seen, encoding: str = "utf-8") -> Survey:
        """What is to be known before anything is loaded. ``seen`` is called with the number of bytes that were read.

        A compressed file is decompressed too, so that a truncated one is refused before its first row is loaded. Raises
        DataError for a damaged file and for one that is not a text in lines. Raises it, too, for a file in UTF-8 where
        ``encoding`` says that a byte is a character.
        """
        self._file.seek(0)
        if not self._gzip:  # whose header may be mostly zeros
            self._refuse_other_kinds(self._file.read(_START_BYTES))
        self._file.seek(0)
        content = _Content(encoding)
        digest = hashlib.sha256() if self._gzip else content.digest
        while block := self._file.read(_BLOCK_BYTES):
            if self._gzip:
                digest.update(block)
            else:
                content.add(block)
                seen(self._file.tell())
        if self._gzip:
            self._decompress(seen, content)
        if content.utf8.is_taken_for_another:
            raise DataError(
                f"{self.path} is UTF-8, and by file.encoding of the mapping it is {encoding}, where é would be Ã©: say "
                'encoding = "utf-8"; nothing was loaded'
            )
        return Survey(digest.digest(), content.digest.digest(), content.is_cut)

    def _decompress(self, seen: Seen, content: _Content) -> None:
        try:
            self._refuse_other_kinds(self.stream().read(_START_BYTES))
            stream = self.stream()
            while block := stream.read(_BLOCK_BYTES):
                content.add(block)
                seen(self._file.tell())
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{self.path} is damaged, nothing was loaded: {error}") from None

    def _refuse_other_kinds(self, start: bytes) -> None:
        """Refuse by name what would only be rejected line by line."""
        kind = next((kind for magic, kind in _OTHER_KINDS.items() if start.startswith(magic)), None)
        if start[_TAR_MARK] == b"ustar" and 0 in start:
            kind = f"a tar archive: {_UNPACK}"
        elif _PAGE.match(start):
            kind = "a web page or an XML document: export the rows as CSV"
        elif (first := start[_FIRST_CHARACTERS]).count(0) >= len(first) // 2 > 0:
            kind = kind or _UTF_16
        if kind is not None:
            raise DataError(f"{self.path} is {kind}; nothing was loaded")

    def stream(self) -> BinaryIO:
        """The content from its start. One stream at a time."""
        self._file.seek(0)
        return io.BufferedReader(gzip.GzipFile(fileobj=self._file), _STREAM_BYTES) if self._gzip else self._file

    def position(self) -> int:
        """Return how many of ``size`` bytes have been read."""
        return self._file.tell()

    def check_unchanged(self, advice: str) -> None:
        """Raise DataError, with ``advice``, when somebody wrote to the file since it was opened."""
        if _state(self._file) != self._state:
            raise DataError(f"{self.path} changed while it was read; {advice}")


def _state(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


@contextmanager
def open_source(path: Path) -> Iterator[SourceFile]:
    """Open ``path`` for `survey` and `stream`. Raises ConfigError when it is not a file that can be read twice."""
    try:
        file = path.open("rb", buffering=_BLOCK_BYTES)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ConfigError(f"{path} is not a regular file; an import reads its file twice")
        yield SourceFile(path, file)
