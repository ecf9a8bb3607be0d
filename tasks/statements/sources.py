"""The sources of statements: a folder on this machine, in an object store or behind SFTP, or a supplier's API."""

import asyncio
import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import fsspec
import paramiko
from aiohttp import ClientError as AiohttpError
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]  # it has no types

from config import Settings
from config.suppliers import Connection
from ledger.business_days import day_of
from ledger.errors import ConfigError, TransientError
from storage.store import file_system
from suppliers.definition import StatementFormat
from suppliers.registry import definition_of, definitions, open_suppliers
from suppliers.statement import STATEMENT_SCHEMA

_CONNECT_TIMEOUT_S = 10.0
_MOST_FILES = 366
_PART_BYTES = 1 << 20
_MADE_WITHIN = timedelta(days=7)  # of the end of a day, its file is looked for by its name
_SCHEMES = frozenset({"", "file", "s3", "sftp"})


@dataclass(frozen=True, slots=True)
class StatementFile:
    """A file as it came. ``content`` is None when it is larger than ``statement_limit_mb``: then only its size and
    SHA-256 are known.
    """

    name: str
    content: bytes | None
    size_bytes: int
    sha256: bytes

    @classmethod
    def of(cls, name: str, content: bytes) -> Self:
        """The file with this content."""
        return cls(name, content, len(content), hashlib.sha256(content).digest())


@dataclass(frozen=True, slots=True)
class NoFile:
    """A place with a statement's name that is not a file with one. It is a folder, a pipe, a device, or a link that
    leads to no file.
    """

    name: str


def find_files(
    settings: Settings, supplier: str, day: date | None, url: str | None
) -> Iterator[StatementFile | NoFile]:
    """The files that are there for a supplier, one in memory at a time: those of ``day`` by their name, or all of them.

    From ``url`` (a file or a folder), else the supplier's ``statement_url``, else its API, which needs the day.
    Of a file that is larger than ``statement_limit_mb`` the content is left out. What is not a file is not opened.
    Raises ConfigError when there is no such place, TransientError when it does not answer.
    """
    connection = settings.suppliers.everyone[supplier]
    form = definition_of(settings.suppliers, supplier).statement()
    place = url or connection.statement_url
    if place is not None:
        return _from_folder(settings, connection, form, day, place)
    if form.answer_name is None:
        raise ConfigError(f"TREASURY_SUPPLIERS: {supplier}.statement_url is not set, and its API gives no statements")
    if day is None:
        raise ConfigError(f"day: must be given, {supplier}'s statements come from its API")
    return iter([StatementFile.of(form.answer_name(day), asyncio.run(_from_api(settings, supplier, day)))])


async def _from_api(settings: Settings, supplier: str, day: date) -> bytes:
    async with open_suppliers(settings.suppliers, supplier) as opened:
        content = await opened[supplier].fetch_statement(day)
    if content is None:
        raise ConfigError(f"{supplier}: its API gives no statements")
    return content


def _from_folder(
    settings: Settings, connection: Connection, form: StatementFormat, day: date | None, url: str
) -> Iterator[StatementFile | NoFile]:
    pattern = form.file_name
    limit_bytes = connection.statement_limit_mb << 20
    with _translated(url), _opened(settings, connection, url) as (files, root):
        entries = [{"name": root, "type": "file"}] if files.isfile(root) else files.ls(root, detail=True)
        types = {entry["name"]: entry["type"] for entry in entries}
        listed = sorted(types)
        chosen = [path for path in listed if listed == [root] or _is_wanted(_name(path), pattern, day)]
        for path in chosen[-_MOST_FILES:]:
            if not _is_file(files, path, types[path]):
                yield NoFile(_name(path))
                continue
            with files.open(path, "rb") as file:
                statement = _read(_name(path), file, limit_bytes)
            yield statement


@dataclass(frozen=True, slots=True)
class OtherNames:
    """The names in a folder beside the wanted statements. ``example`` is a name that a statement may have. ``names``
    are those of the entries whose names are not like it or are of other days, sorted.
    """

    example: str
    names: tuple[str, ...]


def other_names(settings: Settings, supplier: str, day: date | None, url: str | None) -> OtherNames | None:
    """The entries of the supplier's folder that `find_files` does not read; None where statements come from its API.

    Raises as `find_files` does.
    """
    connection = settings.suppliers.everyone[supplier]
    form = definition_of(settings.suppliers, supplier).statement()
    place = url or connection.statement_url
    if place is None:
        return None
    with _translated(place), _opened(settings, connection, place) as (files, root):
        paths = [] if files.isfile(root) else sorted(entry["name"] for entry in files.ls(root, detail=True))
    names = tuple(name for name in map(_name, paths) if not _is_wanted(name, form.file_name, day))
    example, _ = form.write(STATEMENT_SCHEMA.empty_table(), day or day_of(datetime.now(UTC)) - timedelta(days=1))
    return OtherNames(example, names)


def _is_wanted(name: str, pattern: Any, day: date | None) -> bool:
    if pattern.fullmatch(name) is None:
        return False
    return day is None or _may_be_of(name, pattern, day)


def _is_file(files: Any, path: str, listed_type: str) -> bool:
    """Return whether it can be read to an end. A link is what it leads to."""
    if listed_type in ("file", "directory"):
        return listed_type == "file"
    try:
        return bool(files.info(path)["type"] == "file")
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return False


def _read(name: str, file: Any, limit_bytes: int) -> StatementFile:
    """A file up to the limit; of a larger one the rest is read for its SHA-256 alone, a part at a time."""
    content = bytes(file.read(limit_bytes + 1))
    if len(content) <= limit_bytes:
        return StatementFile.of(name, content)
    digest, size_bytes = hashlib.sha256(content), len(content)
    del content
    while part := file.read(_PART_BYTES):
        digest.update(part)
        size_bytes += len(part)
    return StatementFile(name, None, size_bytes, digest.digest())


def _name(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1]


def day_in_name(settings: Settings, supplier: str, name: str) -> date | None:
    """The day that a file's name says it is of; None where names say when it was made, or where it says none."""
    known = definitions(settings.suppliers)
    parts = known[supplier].statement().file_name.fullmatch(name) if supplier in known else None
    return None if parts is None else _written_day(parts.groupdict().get("day"))


def shown_place(settings: Settings, supplier: str, url: str | None) -> str:
    """Return where `find_files` looks, as it may be shown: without a user."""
    place = url or settings.suppliers.everyone[supplier].statement_url
    return f"{supplier}'s API" if place is None else _without_user(place)


def _without_user(url: str) -> str:
    return urlsplit(url)._replace(netloc=urlsplit(url).hostname or "").geturl()


def _may_be_of(name: str, pattern: Any, day: date) -> bool:
    """By the date in its name: the day itself, or for a name that says when the file was made, some days after."""
    parts = pattern.fullmatch(name).groupdict()
    written = _written_day(parts.get("day") or parts["made"][:8])
    return written is not None and (written == day or ("made" in parts and day < written <= day + _MADE_WITHIN))


def _written_day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        return None


@contextmanager
def _opened(settings: Settings, connection: Connection, url: str) -> Iterator[tuple[Any, str]]:
    """The file system of a URL, and the path there."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise ConfigError(f"statement_url: must be a path, s3:// or sftp://, not {parts.scheme}://")
    if parts.scheme == "s3":
        yield file_system(settings, "s3"), f"{parts.netloc}{parts.path}".rstrip("/")
    elif parts.scheme == "sftp":
        files = fsspec.filesystem("sftp", skip_instance_cache=True, **_sftp_options(connection, url))
        files.ftp.get_channel().settimeout(connection.call_timeout_s)
        try:
            yield files, parts.path or "/"
        finally:
            files.client.close()
    else:
        path = Path(unquote(parts.path)) if parts.scheme else Path(url)
        yield file_system(settings, "file"), str(path.absolute())


def _sftp_options(connection: Connection, url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    if parts.hostname is None or connection.statement_known_hosts is None:
        raise ConfigError("statement_known_hosts: sftp:// needs a host, and the file of the keys that it may have")
    if parts.password is not None:
        raise ConfigError("statement_url: must hold no password; set statement_password")
    secret, key = connection.statement_password, connection.statement_key_file
    return {
        "host": parts.hostname,
        "port": parts.port or 22,
        "username": parts.username,
        "password": secret.get_secret_value() if secret else None,
        "key_filename": str(key) if key else None,
        "host_key_policy": _KnownHosts(connection.statement_known_hosts),
        "timeout": _CONNECT_TIMEOUT_S,
        "banner_timeout": _CONNECT_TIMEOUT_S,
        "auth_timeout": _CONNECT_TIMEOUT_S,
        "allow_agent": False,
        "look_for_keys": False,
    }


class _KnownHosts(paramiko.MissingHostKeyPolicy):
    """Only a host whose key is in the file is accepted."""

    def __init__(self, path: Path) -> None:
        try:
            self._keys = paramiko.HostKeys(str(path))
        except OSError as error:
            raise ConfigError(f"statement_known_hosts: cannot be read: {error.strerror}") from None

    def missing_host_key(self, _: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Raise unless the key is the host's."""
        if not self._keys.check(hostname, key):
            raise paramiko.BadHostKeyException(hostname, key, key)


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """The project's errors for those of the file systems. No address is shown with its user."""
    place = _without_user(url)
    try:
        yield
    except (paramiko.BadHostKeyException, paramiko.AuthenticationException) as error:
        raise ConfigError(f"statements at {place}: {type(error).__name__}") from None
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"statements at {place}: there is no such folder") from None
    except PermissionError:
        raise ConfigError(f"statements at {place}: not allowed to read") from None
    except (OSError, EOFError, paramiko.SSHException, BotoCoreError, ClientError, AiohttpError) as error:
        raise TransientError(f"statements at {place}: cannot be read now: {type(error).__name__}") from None
