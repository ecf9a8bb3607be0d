"""The processes of `treasury up`: their states, what happens to them, and the file that other processes read it from.

`servers.supervision` looks after the processes and writes the file.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from config.file_locks import is_held
from ledger.errors import TransientError

STATE_FILE = "processes.json"
UP = "up"  # the name of the lock of `treasury up`


class ProcessState(StrEnum):
    """The state of one supervised process."""

    RUNNING = "running"
    RESTARTING = "restarting"
    DOWN = "left down"


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that happened to a process. ``ends``: how often it has ended within the window; ``is_over``: it has not
    ended for the whole window.
    """

    name: str
    state: ProcessState
    ends: int
    text: str
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """One process as the state file has it. ``ends`` are the aware instants of its ends within the window."""

    state: ProcessState
    ends: tuple[datetime, ...]
    text: str


def reports(home: Path) -> dict[str, ProcessReport] | None:
    """The processes of the `treasury up` that runs in ``home``, by name; None when none runs there. Read-only.

    Raises TransientError for a state file that cannot be read.
    """
    if not is_held(home / "run" / f"{UP}.alive"):
        return None
    try:
        content = json.loads((home / "run" / STATE_FILE).read_text())
        return {
            name: ProcessReport(
                ProcessState(item["state"]), tuple(map(datetime.fromisoformat, item["ends"])), str(item["text"])
            )
            for name, item in content.items()
        }
    except FileNotFoundError:
        return {}  # it is starting or stopping
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TransientError(f"{home / 'run' / STATE_FILE} cannot be read: {type(error).__name__}") from None
