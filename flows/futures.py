"""What became of a task: its result or the error it ended with, so that one failing task stops no other."""

from collections.abc import Sequence
from typing import TypeVar, cast

from prefect.futures import PrefectFuture

from ledger.errors import ConfigError, DataError, TransientError

T = TypeVar("T")


def result_or_error(future: "PrefectFuture[T]") -> T | Exception:
    """Wait for the task and give back what it returned, or the exception it failed with."""
    return cast("T | Exception", future.result(raise_on_failure=False))


def raise_together(problems: Sequence[Exception]) -> None:
    """Raise one error for all of ``problems``, of their common kind if they have one; nothing when there are none.

    So a run in which only servers were away ends as transient, and one in which only settings were wrong as that.
    """
    if not problems:
        return
    message = "; ".join(str(problem) for problem in problems)
    for kind in (TransientError, ConfigError):
        if all(isinstance(problem, kind) for problem in problems):
            raise kind(message)
    raise DataError(message)
