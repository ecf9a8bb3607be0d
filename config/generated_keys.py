"""Generated keys and passwords: made once, kept in ``<home>/keys``, readable by their owner only."""

import os
import secrets
from pathlib import Path

from config.home import folder as home_folder


def folder(home: Path) -> Path:
    """``<home>/keys``, made with mode 0700."""
    path = home_folder(home, "keys")
    path.chmod(0o700)
    return path


def key(home: Path, name: str, length: int, prefix: str = "") -> str:
    """The key called ``name``: ``prefix`` and ``length`` random hex digits, made on the first call.

    Safe to rerun and to race.
    """
    path = folder(home) / name
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return _make(path, prefix + secrets.token_hex((length + 1) // 2)[:length])


def _make(path: Path, value: str) -> str:
    """Write ``value`` whole or not at all; when another process was first, its value counts."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    write_private(draft, value)
    try:
        os.link(draft, path)
    except FileExistsError:
        return path.read_text().strip()
    finally:
        draft.unlink()
    return value


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600, replacing what was there."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
