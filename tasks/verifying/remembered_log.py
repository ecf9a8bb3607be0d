"""The log as this home remembers it from the last verification that found nothing wrong: a file in the home.

So a log that was set back, forked, or whose objects were removed is noticed by everybody who verified it before. That
is true even where the archive is consistent in itself. An object of a log never changes and is never removed, but for
the checkpoint and the indexes.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.home import folder as home_folder
from ledger.errors import DataError

_FOLDER = "verified"
_FORMAT = "treasury-verified-v1"


@dataclass(frozen=True, slots=True)
class RememberedLog:
    """The head of a log, and its objects that never change: SHA-256 in hexadecimal by the name below its folder."""

    origin: str
    size: int
    root: bytes
    objects: Mapping[str, str]


def recall(home: Path, origin: str) -> RememberedLog | None:
    """Return what was remembered of the log ``origin``; None before its first verification. Raises DataError naming the
    file.

    Makes nothing.
    """
    path = _path(home, origin)
    try:
        content = json.loads(path.read_bytes())
        return _read(content, origin)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DataError(
            f"{path} cannot be read as what was remembered of the log: restore or remove it. Without it the log is "
            "verified as on a machine that has never seen it"
        ) from None


def remember(home: Path, log: RememberedLog) -> None:
    """Write what the next verification compares with, whole or not at all. Safe to run again.

    Raises ConfigError for a home that cannot be written to.
    """
    home_folder(home, _FOLDER)
    path = _path(home, log.origin)
    content = {
        "format": _FORMAT,
        "origin": log.origin,
        "size": log.size,
        "root": log.root.hex(),
        "objects": dict(sorted(log.objects.items())),
    }
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _path(home: Path, origin: str) -> Path:
    return home / _FOLDER / f"{hashlib.sha256(origin.encode()).hexdigest()[:16]}.json"


def _read(content: Any, origin: str) -> RememberedLog:
    if content["format"] != _FORMAT or content["origin"] != origin:
        raise ValueError(_FORMAT)
    objects = {str(name): str(sha256) for name, sha256 in content["objects"].items()}
    return RememberedLog(origin, int(content["size"]), bytes.fromhex(content["root"]), objects)
