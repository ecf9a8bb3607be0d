"""The logging of this process as JSON lines on standard output, with secrets masked."""

import logging
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from api.logs.error_description import describe
from api.logs.output import OUTPUT, OutputHandler
from ledger.masking import mask_forms, mask_number

LOGGER: Final = "treasury.api"


class JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message and the record's ``fields``; secrets masked."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of ``record``."""
        line = {
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info is not None and isinstance(record.exc_info[1], Exception):
            line |= describe(record.exc_info[1])
        shown = {"time": datetime.fromtimestamp(record.created, UTC), **_masked(line)}
        return msgspec.json.encode(shown).decode(errors="replace")


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return mask_forms(value.encode(errors="replace").decode())
    if isinstance(value, dict):
        return {_masked(name): _masked(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(item) for item in value]
    return mask_number(value) if isinstance(value, int | float | Decimal) else value


def write_json_lines(level: str) -> None:
    """Make this process log as JSON lines on standard output, from ``level`` on. Safe to repeat."""
    logger = logging.getLogger(LOGGER)
    logger.setLevel(level)
    if not logger.handlers:
        logger.addHandler(_handler())
        logger.propagate = False


def capture_all_logs(level: str) -> None:
    """Make every other logger of this process write the same lines, such as uvicorn's and psycopg's. Safe to repeat.

    A handler that a library brings would write what it is given, so there is none but ours.
    """
    root = logging.getLogger()
    root.handlers = [_handler()]
    root.setLevel(level)
    for name in list(logging.root.manager.loggerDict):
        if name != LOGGER and not name.startswith(f"{LOGGER}."):
            logger = logging.getLogger(name)
            logger.handlers = []
            logger.propagate = True


def _handler() -> logging.Handler:
    handler = OutputHandler(OUTPUT)
    handler.setFormatter(JsonLines())
    return handler
