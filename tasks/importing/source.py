"""The file to import: looked through once before anything is loaded, then read, plain or gzip."""

import codecs
import gzip
import hashlib
import io
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ledger.errors import ConfigError, DataError

_GZIP_MAGIC = b"\x1f\x8b"
_UTF_16 = "text in UTF-16 or UTF-32: convert it, for example with iconv -f UTF-16 -t UTF-8"
_OTHER_KINDS = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook: unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Excel workbook: save the sheet as CSV",
    b"BZh": "compressed with bzip2: decompress it, or compress it with gzip",
    b"\xfd7zXZ\x00": "compressed with xz: decompress it, or compress it with gzip",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: decompress it, or compress it with gzip",
    b"%PDF-": "a PDF document: no text in lines",
    b"PAR1": "a Parquet file: no text in lines",
    b"\xff\xfe": _UTF_16,
    b"\xfe\xff": _UTF_16,
    b"\x00\x00\xfe\xff": _UTF_16,
}
_LONGEST_MAGIC = 8
_BLOCK_BYTES = 1 << 20
_STREAM_BYTES = 1 << 18

Seen = Callable[[int], None]


class Digests(NamedTuple):
    """SHA-256 of a file as it lies on the disk, and of its content without compression."""

    file: bytes
    content: bytes


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


class SourceFile:
    """An open file. ``size`` is in bytes as it lies on the disk, compressed or not."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._file = file
        self._state = _state(file)
        self.size = self._state[0]
        self._gzip = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC

    def survey(self, seen: Seen, encoding: str = "utf-8") -> Digests:
        """The SHA-256 of the file and of its content. ``seen`` is called with the number of bytes that were read.

        A compressed file is decompressed too, so that a truncated one is refused before its first row is loaded.
        Raises DataError for a damaged file, for one that is not a text in lines, and for one in UTF-8 where
        ``encoding`` says that a byte is a character.
        """
        self._file.seek(0)
        if not self._gzip:  # whose header may be mostly zeros
            self._refuse_other_kinds(self._file.read(_LONGEST_MAGIC))
        self._file.seek(0)
        digest, utf8 = hashlib.sha256(), _Utf8(encoding)
        while block := self._file.read(_BLOCK_BYTES):
            digest.update(block)
            if not self._gzip:
                utf8.add(block)
                seen(self._file.tell())
        content = self._decompress(seen, utf8) if self._gzip else digest.digest()
        if utf8.is_taken_for_another:
            raise DataError(
                f"{self.path} is UTF-8, and by file.encoding of the mapping it is {encoding}, where é would be Ã©: say "
                'encoding = "utf-8"; nothing was loaded'
            )
        return Digests(digest.digest(), content)

    def _decompress(self, seen: Seen, utf8: "_Utf8") -> bytes:
        digest = hashlib.sha256()
        try:
            self._refuse_other_kinds(self.stream().read(_LONGEST_MAGIC))
            stream = self.stream()
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
                utf8.add(block)
                seen(self._file.tell())
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{self.path} is damaged, nothing was loaded: {error}") from None
        return digest.digest()

    def _refuse_other_kinds(self, start: bytes) -> None:
        """Refuse by name what would only be rejected line by line."""
        for magic, kind in _OTHER_KINDS.items():
            if start.startswith(magic):
                raise DataError(f"{self.path} is {kind}; nothing was loaded")
        if start.count(0) >= len(start) // 2 > 0:
            raise DataError(f"{self.path} is {_UTF_16}; nothing was loaded")

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
