"""What a SQLSTATE means to this project, in one table."""

import re

import psycopg

from ledger.errors import ClosedDayError, ConfigError, ConflictError, DataError, TransientError, TreasuryError

HISTORY_IS_FIXED = "TR001"  # raised by treasury_guard_history()
MONTH_IS_SEALED = "TR002"  # raised by treasury_refuse_sealed()
DAY_IS_CLOSED = "TR003"  # raised by treasury_guard_period()

_BY_STATE: dict[str, type[TreasuryError]] = {
    HISTORY_IS_FIXED: ConflictError,
    MONTH_IS_SEALED: ConflictError,
    DAY_IS_CLOSED: ClosedDayError,
    "23505": ConflictError,  # unique_violation
    "28000": ConfigError,  # invalid_authorization_specification
    "28P01": ConfigError,  # invalid_password
    "3D000": ConfigError,  # invalid_catalog_name
    "42501": ConfigError,  # insufficient_privilege
    "42P01": ConfigError,  # undefined_table: not migrated
    "55P03": TransientError,  # lock_not_available
}
_BY_CLASS: dict[str, type[TreasuryError]] = {
    "08": TransientError,  # connection exception
    "22": DataError,  # data exception
    "23": DataError,  # integrity constraint violation
    "40": TransientError,  # transaction rollback: deadlock, serialization
    "53": TransientError,  # insufficient resources
    "57": TransientError,  # operator intervention: shutdown, cancel
    "58": TransientError,  # system error
}

# libpq gives no SQLSTATE for a login that the server refuses. A server that speaks no English is taken for one that is
# away: wrong, but safe.
_LOGIN_REFUSED = re.compile(r"FATAL: .*(authentication failed|does not exist|no pg_hba\.conf entry|not permitted)")


def translate(error: psycopg.Error) -> TreasuryError:
    """The project's error for PostgreSQL's. Without a SQLSTATE only a broken connection is transient."""
    state = error.sqlstate
    message = error.diag.message_primary or str(error).strip() or type(error).__name__
    if state is None:
        return _without_state(error)(f"PostgreSQL: {message}")
    kind = _BY_STATE.get(state) or _BY_CLASS.get(state[:2], DataError)
    return kind(f"PostgreSQL {state}: {message}")


def _without_state(error: psycopg.Error) -> type[TreasuryError]:
    if _LOGIN_REFUSED.search(str(error)):
        return ConfigError
    return TransientError if isinstance(error, psycopg.OperationalError) else DataError
