"""Keeps secrets and people's numbers out of the logs of the HTTP libraries, whatever level they log at."""

import logging
import re
from typing import Final

from stamina.instrumentation import PrometheusOnRetryHook, set_on_retry_hooks

# Queries may hold meter numbers and passwords, headers tokens; a run of seven digits or more may be anybody's number.
_RULES: Final = (
    (re.compile(r"\?[^\s'\">)]*"), "?***"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]+"), r"\1 ***"),
    (re.compile(r"(?i)(authorization|cookie|set-cookie)(\W+)[^\s,;)\]}]+"), r"\1\2***"),
    (re.compile(r"(?<![0-9A-Fa-f-])\+?\d{7,}(?![0-9A-Fa-f-])"), "***"),
)
_LOGGERS: Final = (
    "httpx",
    "httpcore",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
)


def masked(text: str) -> str:
    """``text`` without queries, credentials and long numbers."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


class _Masking(logging.Filter):
    """Rewrites a record before any handler sees it."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = masked(record.getMessage()), ()
        return True


_MASKING: Final = _Masking()


def install() -> None:
    """Mask the loggers of httpx and httpcore in this process, and silence the retries'. Safe to call again."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_MASKING)  # the same filter is added once
    # Each try's error in full is not a line for a log; that there are retries is counted.
    set_on_retry_hooks([PrometheusOnRetryHook])
