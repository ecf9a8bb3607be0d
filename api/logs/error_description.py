"""The description of an error for the log: only what cannot quote the data of a row."""

import traceback
from typing import Any

import psycopg

from ledger.errors import TreasuryError


def describe(error: Exception) -> dict[str, Any]:
    """An error for the log: its type, where it was raised, and its text if it is one of ours.

    The text of any other error may quote the row that it is about.
    """
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    return {
        "error": type(error).__name__,
        "reason": _reason(error),
        "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }


def _reason(error: Exception) -> str:
    """Of PostgreSQL's refusals the SQLSTATE and the names: their text may quote a value, a trigger's any of them."""
    cause = error.__cause__
    if isinstance(cause, psycopg.Error) and cause.sqlstate is not None:
        names = (cause.diag.table_name, cause.diag.column_name, cause.diag.constraint_name)
        return " ".join(("PostgreSQL", cause.sqlstate, *(name for name in names if name)))
    return str(error) if isinstance(error, TreasuryError) else ""
