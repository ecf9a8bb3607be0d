"""A file that is not plain text is known by its first bytes, whichever reader asks."""

import bz2
import gzip
import lzma

import pytest

from ledger.file_kinds import FileKind, kind_of
from tasks.importing.source import OTHER_KINDS
from tasks.statements.packed import KINDS
from tests.packing import in_tar, in_zip

TEXT = b"reference,amount\nREF-1,10.00\n" * 40

# By names: what is packed holds the time of its packing, and each process collects the tests for itself.
NOT_TEXTS = {
    "zip": (in_zip(TEXT), FileKind.ZIP),
    "tar": (in_tar(TEXT), FileKind.TAR),
    "gzip": (gzip.compress(TEXT), FileKind.GZIP),
    "bzip2": (bz2.compress(TEXT), FileKind.BZIP2),
    "xz": (lzma.compress(TEXT), FileKind.XZ),
    "page": (b"\xef\xbb\xbf\n <!DOCTYPE HTML>" + TEXT, FileKind.PAGE),
    "XML": (b"<?xml version='1.0'?>" + TEXT, FileKind.PAGE),
    **{name: (TEXT.decode().encode(name), FileKind.UTF_16) for name in ("utf-16", "utf-16-le", "utf-16-be")},
    **{name: (TEXT.decode().encode(name), FileKind.UTF_32) for name in ("utf-32", "utf-32-le", "utf-32-be")},
}


@pytest.mark.parametrize("name", NOT_TEXTS)
def test_what_is_no_plain_text_is_known(name: str) -> None:
    content, kind = NOT_TEXTS[name]
    assert kind_of(content) is kind


@pytest.mark.parametrize("content", [b"", b"\x00", TEXT, b"\xef\xbb\xbf" + TEXT, b"x" * 257 + b"ustar" + TEXT])
def test_what_may_be_plain_text_has_no_kind(content: bytes) -> None:
    assert kind_of(content) is None


def test_both_readers_say_what_is_to_be_done_about_every_kind() -> None:
    assert set(OTHER_KINDS) == set(KINDS) == set(FileKind)
