"""The folders in the home, `TREASURY_HOME`."""

import os
from pathlib import Path

from ledger.errors import ConfigError


def folder(home: Path, name: str) -> Path:
    """``<home>/<name>``, made when it is missing. Raises ConfigError when it cannot be made or written to."""
    path = home / name
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"TREASURY_HOME: {path} cannot be made: {error.strerror}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise ConfigError(f"TREASURY_HOME: {path} cannot be written to")
    return path
