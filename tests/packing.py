"""Contents packed as people pack files."""

import io
import tarfile
import zipfile


def in_zip(content: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("statement", content)
    return target.getvalue()


def in_tar(content: bytes) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        entry = tarfile.TarInfo("statement")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return target.getvalue()
