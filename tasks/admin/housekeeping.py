"""Deletion of what is kept for a time only; and the last success of the nightly jobs."""

from datetime import timedelta

from config import Settings
from ledger.masking import cut
from sql.connection import connect
from sql.queries import load
from sql.storing import check_stored

_QUERIES = load("idempotency")
_HEALTH = load("health")
_SESSIONS = load("dashboard_sessions")
_ERROR_LIMIT = 1000
_BATCH_ROWS = 10_000


def purge_idempotency_keys(settings: Settings) -> int:
    """Delete keys older than ``settings.idempotency_hours``, in small batches; returns how many. Safe to run again."""
    return _purge(settings, _QUERIES["purge"], timedelta(hours=settings.idempotency_hours))


def purge_sessions(settings: Settings) -> int:
    """Delete sessions of the dashboard that ended more than ``settings.dashboard.keep_days`` ago, in small batches;
    returns how many. Safe to run again.
    """
    return _purge(settings, _SESSIONS["purge"], timedelta(days=settings.dashboard.keep_days))


def _purge(settings: Settings, query: str, age: timedelta) -> int:
    deleted = 0
    with connect(settings.database_dsn, "housekeeping") as connection:
        while True:
            batch = connection.execute(query, {"age": age, "limit": _BATCH_ROWS}).rowcount
            deleted += batch
            if batch < _BATCH_ROWS:
                return deleted


def purge_health_results(settings: Settings) -> int:
    """Delete results of health checks older than ``settings.health.keep_days``; returns how many. Safe to run again."""
    with connect(settings.database_dsn, "housekeeping") as connection:
        return connection.execute(_HEALTH["purge_results"], {"days": settings.health.keep_days}).rowcount


def record_job(settings: Settings, job: str, error: str | None = None) -> None:
    """Note that ``job`` ended now, well or with ``error``: the health checks ask when it last ended well."""
    with connect(settings.database_dsn, "housekeeping") as connection:
        if error is None:
            stored = connection.execute(_HEALTH["record_success"], {"job": job})
        else:
            stored = connection.execute(_HEALTH["record_failure"], {"job": job, "error": cut(error, _ERROR_LIMIT)})
        check_stored(stored, 1, "job_outcomes")
