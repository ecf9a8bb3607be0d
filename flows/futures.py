"""The outcome of a task: its result or the error it ended with, so that one failing task stops no other."""

from collections.abc import Sequence
from typing import TypeVar, cast

from prefect.futures import PrefectFuture

from ledger.errors import combined

T = TypeVar("T")


def result_or_error(future: "PrefectFuture[T]") -> T | Exception:
    """Wait for the task and give back what it returned, or the exception it failed with."""
    return cast("T | Exception", future.result(raise_on_failure=False))


def raise_together(problems: Sequence[Exception]) -> None:
    """Raise one error for all of ``problems``, of their common kind if they have one; nothing when there are none."""
    if problems:
        raise combined(problems)
