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
from ledger.file_kinds import START_BYTES, FileKind, kind_of

_CONVERT = "text in UTF-16 or UTF-32: convert it, for example with iconv -f UTF-16 -t UTF-8"
_UNPACK = "unpack it, or compress the file inside with gzip"
_DECOMPRESS = "decompress it, or compress it with gzip"
OTHER_KINDS = {
    FileKind.ZIP: "a ZIP archive or an Excel workbook: unpack it, or save the sheet as CSV",
    FileKind.EMPTY_ZIP: f"an empty ZIP archive: {_UNPACK}",
    FileKind.SEVEN_ZIP: f"a 7z archive: {_UNPACK}",
    FileKind.RAR: f"a RAR archive: {_UNPACK}",
    FileKind.TAR: f"a tar archive: {_UNPACK}",
    FileKind.GZIP: "compressed with gzip twice: decompress it once",
    FileKind.COMPRESS: f"compressed with compress: {_DECOMPRESS}",
    FileKind.BZIP2: f"compressed with bzip2: {_DECOMPRESS}",
    FileKind.XZ: f"compressed with xz: {_DECOMPRESS}",
    FileKind.ZSTD: f"compressed with zstd: {_DECOMPRESS}",
    FileKind.LZ4: f"compressed with lz4: {_DECOMPRESS}",
    FileKind.OLD_OFFICE: "an old Excel workbook: save the sheet as CSV",
    FileKind.PDF: "a PDF document: no text in lines",
    FileKind.PARQUET: "a Parquet file: no text in lines",
    FileKind.PGP: "encrypted with PGP: decrypt it",
    FileKind.PAGE: "a web page or an XML document: export the rows as CSV",
    FileKind.UTF_16: _CONVERT,
    FileKind.UTF_32: _CONVERT,
}
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
        self._gzip = kind_of(file.read(START_BYTES)) is FileKind.GZIP

    def survey(self, seen: Seen, encoding: str = "utf-8") -> Survey:
        """What is to be known before anything is loaded. ``seen`` is called with the number of bytes that were read.

        A compressed file is decompressed too, so that a truncated one is refused before its first row is loaded. Raises
        DataError for a damaged file and for one that is not a text in lines. Raises it, too, for a file in UTF-8 where
        ``encoding`` says that a byte is a character.
        """
        self._file.seek(0)
        if not self._gzip:  # whose header may be mostly zeros
            self._refuse_other_kinds(self._file.read(START_BYTES))
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
            self._refuse_other_kinds(self.stream().read(START_BYTES))
            stream = self.stream()
            while block := stream.read(_BLOCK_BYTES):
                content.add(block)
                seen(self._file.tell())
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{self.path} is damaged, nothing was loaded: {error}") from None

    def _refuse_other_kinds(self, start: bytes) -> None:
        """Refuse by name what would only be rejected line by line."""
        kind = kind_of(start)
        if kind is not None:
            raise DataError(f"{self.path} is {OTHER_KINDS[kind]}; nothing was loaded")

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
