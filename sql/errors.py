"""The meaning of each SQLSTATE for this project, in one table."""

import re

import psycopg

from ledger.errors import (
    ClosedDayError,
    ConfigError,
    ConflictError,
    DataError,
    EncodingError,
    LateRowsError,
    NotStoredError,
    ReadOnlyError,
    TransientError,
    TreasuryError,
)

HISTORY_IS_FIXED = "TR001"  # raised by treasury_guard_history()
MONTH_IS_SEALED = "TR002"  # raised by treasury_refuse_sealed()
DAY_IS_CLOSED = "TR003"  # raised by treasury_guard_period()
NOT_STORED = "treasury: not stored as sent"  # in what the query `store` of transactions.sql makes PostgreSQL raise
STORED_LATE = "treasury: too late to be stored"  # the same

_BY_STATE: dict[str, type[TreasuryError]] = {
    HISTORY_IS_FIXED: ConflictError,
    MONTH_IS_SEALED: ConflictError,
    DAY_IS_CLOSED: ClosedDayError,
    "22P05": EncodingError,  # untranslatable_character
    "23505": ConflictError,  # unique_violation
    "28000": ConfigError,  # invalid_authorization_specification
    "28P01": ConfigError,  # invalid_password
    "3D000": ConfigError,  # invalid_catalog_name
    "25P03": TransientError,  # idle_in_transaction_session_timeout
    "25P04": TransientError,  # transaction_timeout
    "25006": ReadOnlyError,  # read_only_sql_transaction
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

# The functions of PostgreSQL's source that raise an error: unlike its text they are in no language.
_POLICY_CHECK = "check_enable_rls"
_RULES = frozenset({"RewriteQuery", "rewriteTargetListIU", "transformOnConflictClause", "transformInsertStmt"})
_FEATURE = "0A000"  # feature_not_supported
_AFTER_STORING = "a trigger or a column changes them. Nothing was stored; `treasury health` names it"
_IN_QUOTES = re.compile(r"[\"«„“'](.+?)[\"»“”']")


def hidden_by_policy(table: str) -> str:
    """Return what to do about a table whose policy would hide rows from the session's role."""
    return (
        f"row-level security of table {table} would hide rows from this login, so nothing of it is read. Give the "
        "login BYPASSRLS (ALTER ROLE ... BYPASSRLS), or take the policy away "
        f"(ALTER TABLE {table} DISABLE ROW LEVEL SECURITY; for the owner NO FORCE ROW LEVEL SECURITY)"
    )


def _hidden_rows(message: str) -> str:
    table = _IN_QUOTES.search(message)
    return f"PostgreSQL 42501: {hidden_by_policy(table[1] if table else message)}"


def translate(error: psycopg.Error) -> TreasuryError:
    """The project's error for PostgreSQL's. Without a SQLSTATE only a broken connection is transient."""
    state = error.sqlstate
    message = error.diag.message_primary or str(error).strip() or type(error).__name__
    if state is None:
        return _without_state(error)(f"PostgreSQL: {message}")
    if NOT_STORED in message:
        return NotStoredError(f"PostgreSQL stored other rows than were sent: {_AFTER_STORING}")
    if STORED_LATE in message:
        return LateRowsError("the rows waited too long and are behind the feed's horizon: nothing was stored")
    if error.diag.source_function == _POLICY_CHECK:
        return ConfigError(_hidden_rows(message))
    if state == _FEATURE and error.diag.source_function in _RULES:
        return NotStoredError(f"PostgreSQL {state}: {message}: a rule takes the place of the INSERT or UPDATE; drop it")
    kind = _BY_STATE.get(state) or _BY_CLASS.get(state[:2], DataError)
    return kind(f"PostgreSQL {state}: {message}")


def _without_state(error: psycopg.Error) -> type[TreasuryError]:
    if _LOGIN_REFUSED.search(str(error)):
        return ConfigError
    return TransientError if isinstance(error, psycopg.OperationalError) else DataError
