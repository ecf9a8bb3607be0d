"""The report of an error that a command's code did not foresee: one line, an exit code, and where the details are.

Libraries raise errors of their own when a server is away, slow or speaks another protocol. Most are translated where
they arise; this is the last place before a user would see a traceback.
"""

import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ledger.errors import ConfigError, TransientError, TreasuryError
from ledger.masking import cut, mask_forms, mask_text

EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h
_LINE_LIMIT = 300
_FILE_LIMIT_BYTES = 4 << 20
_OF_A_PATH = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
# The first part of a module's name, the server that such an error is about, and the setting that names it.
_SERVERS = {
    "redis": "Redis (TREASURY_REDIS_URL)",
    "botocore": "the object store (TREASURY_ARCHIVE_URL, TREASURY_S3_ENDPOINT_URL)",
    "aiobotocore": "the object store (TREASURY_ARCHIVE_URL, TREASURY_S3_ENDPOINT_URL)",
    "aiohttp": "the object store (TREASURY_ARCHIVE_URL, TREASURY_S3_ENDPOINT_URL)",
    "s3fs": "the object store (TREASURY_ARCHIVE_URL, TREASURY_S3_ENDPOINT_URL)",
    "httpx": "the HTTP server that was asked",
    "httpcore": "the HTTP server that was asked",
    "prefect": "Prefect (TREASURY_PREFECT_API_URL)",
}


def translated(error: Exception) -> TreasuryError | None:
    """The project's error for one of a library's, or for one that it was raised from; None for a fault of our own."""
    for cause in _chain(error):
        if isinstance(cause, TreasuryError):
            return cause
        known = _of_postgresql(cause) or _of_server(cause)
        if known is not None:
            return known
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        kind = ConfigError if isinstance(error, _OF_A_PATH) else TransientError
        return kind(f"{place}{error.strerror or type(error).__name__}")
    return None


def described(error: Exception, write: Callable[[str], Path | None]) -> str:
    """The line for a fault of this project; ``write`` keeps the traceback and gives its file."""
    kept = write("".join(traceback.format_exception(error)))
    first = mask_text(str(error).strip().partition("\n")[0])
    summary = cut(f"{type(error).__name__}: {first}" if first else type(error).__name__, _LINE_LIMIT)
    where = f"; the details are in {kept}" if kept is not None else ""
    return f"an error that should not occur: {summary}{where}; please report it"


def keep(text: str) -> Path | None:
    """Add ``text`` to `<home>/log/treasury.log`, or to a file of the system's temporary folder where there is no home.

    Readable by its owner only. None when it cannot be written.
    """
    home = Path(os.environ.get("TREASURY_HOME") or ".treasury").expanduser()
    folder = home / "log" if (home / "log").is_dir() else Path(tempfile.gettempdir())
    path = folder / ("treasury.log" if folder.name == "log" else f"treasury-{os.getuid()}.log")
    try:
        if path.exists() and path.stat().st_size > _FILE_LIMIT_BYTES:
            path.unlink()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as file:
            file.write(
                f"{datetime.now(UTC).isoformat(timespec='seconds')} {' '.join(sys.argv[:3])}\n{mask_forms(text)}\n"
            )
    except OSError:
        return None
    return path


def _chain(error: BaseException | None) -> list[BaseException]:
    """The error, then what it was raised from and the members of a group, outermost first."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__
    return chain


def _of_postgresql(error: BaseException) -> TreasuryError | None:
    """Without importing the driver: an error of it exists only where it was imported."""
    if not _package(error) & {"psycopg", "sqlalchemy", "psycopg_pool"}:
        return None
    import psycopg  # noqa: PLC0415

    from sql.errors import translate  # noqa: PLC0415

    original: Any = getattr(error, "orig", error)
    return translate(original) if isinstance(original, psycopg.Error) else None


def _of_server(error: BaseException) -> TreasuryError | None:
    for package in sorted(_package(error) & set(_SERVERS)):
        return TransientError(f"{_SERVERS[package]}: {type(error).__name__}")
    return None


def _package(error: BaseException) -> set[str]:
    """The packages of the error's class and of those that it is made from."""
    return {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
