"""Objects in a folder, for archives at ``file://``: made once, whole or not at all, and safe on the disk.

The bytes go to a partial file beside the object and reach the disk. They get the object's name by a hard link, which
fails where the name is taken. So two processes cannot both make it, and a process that is killed leaves no part of an
object under its name.
"""

import errno
import fcntl
import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

_PARTIAL = ".partial"
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def create(content: Path | bytes, target: Path) -> bool:
    """Make ``target`` from a file or from bytes, with its folders. False, and nothing changes, when it is there.

    Raises OSError. Safe to run again: what a killed process left of the same object is removed first.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target)
    if target.exists():
        return False
    with _partial(content, target) as partial:
        try:
            os.link(partial, target)
        except FileExistsError:
            return False
        except FileNotFoundError:  # swept by another process in the instant before it was locked
            return create(content, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _copy_exclusively(partial, target)
    _sync_folder(target.parent)
    return True


def replace(content: bytes, target: Path) -> None:
    """Put ``content`` in the place of ``target``, whole: readers get the old bytes or the new. Raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target)
    with _partial(content, target) as partial:
        try:
            partial.replace(target)
        except FileNotFoundError:  # as in `create`
            return replace(content, target)
    _sync_folder(target.parent)
    return None


def sweep(target: Path) -> None:
    """Remove the partial files of ``target`` that no living process holds."""
    for partial in target.parent.glob(f".{glob.escape(target.name)}.*{_PARTIAL}"):
        with suppress(FileNotFoundError, BlockingIOError), partial.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.unlink()


def is_partial(path: str) -> bool:
    """Whether a path is that of a partial file, which is not an object."""
    name = path.rpartition("/")[2]
    return name.startswith(".") and name.endswith(_PARTIAL)


@contextmanager
def _partial(content: Path | bytes, target: Path) -> Iterator[Path]:
    """The content in a file beside ``target``, on the disk and locked; removed on the way out unless it was renamed."""
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}{_PARTIAL}")
    try:
        with partial.open("xb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with content.open("rb") if isinstance(content, Path) else BytesIO(content) as source:
                shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())
            yield partial
    finally:
        partial.unlink(missing_ok=True)


def _copy_exclusively(partial: Path, target: Path) -> bool:
    """For file systems without hard links: a process that is killed here leaves a part of the object."""
    try:
        with target.open("xb") as file, partial.open("rb") as source:
            shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
