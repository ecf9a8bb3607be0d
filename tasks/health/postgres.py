"""The checks of PostgreSQL as a server: does it answer, how full is it, who holds it up, how fast does it grow."""

import shutil
import time
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from ledger.errors import ConfigError
from sql.clock import described, difference_s
from sql.connection import Connection, fetch_one
from sql.queries import load
from tasks.health.context import Context
from tasks.health.result import HealthState, Measure

_QUERIES = load("health")
_LOCAL = ("", "localhost", "127.0.0.1", "::1")
_DAY_S = 86_400.0
_SHORTEST_TREND_S = 3 * 3600.0
_GIBIBYTE = 1 << 30
DATABASE_SIZE = "database_size"


def postgres(context: Context) -> Measure:
    """It answers, and takes writes."""
    started = time.monotonic()
    with context.connect() as connection:
        connection.execute("RESET default_transaction_read_only")  # what every other session begins with
        version, in_recovery, takes_writes = fetch_one(connection, _QUERIES["server"])
        took_ms = round((time.monotonic() - started) * 1000)
    if in_recovery:
        return Measure(
            f"PostgreSQL {version} is a standby in recovery: it takes no writes", took_ms, HealthState.CRITICAL
        )
    if not takes_writes:
        return Measure(
            f"PostgreSQL {version} takes no writes: default_transaction_read_only is on for this login",
            took_ms,
            HealthState.CRITICAL,
        )
    return Measure(f"PostgreSQL {version} answered in {took_ms} ms", took_ms)


def connections(context: Context) -> Measure:
    """Return how many of the connections that may be made are in use: of the server's, of the database's, or of a
    login's.
    """
    with context.connect() as connection:
        logins = {"logins": sorted(context.logins(connection))}
        what, used, allowed = fetch_one(connection, _QUERIES["connections"], logins)
    share = 100 * used / allowed if allowed else 100
    return Measure(f"{used} of {allowed} connections{what} in use", share)


def long_transactions(context: Context) -> Measure:
    """The oldest open transaction: it keeps dead rows from being cleaned and DDL from getting its locks."""
    with context.connect() as connection:
        row = connection.execute(_QUERIES["oldest_transaction"]).fetchone()
        blind = _blind_spot(connection)
    if row is None:
        return Measure(f"no transaction is open{blind}", 0)
    age_s, owner, number = row
    return Measure(f"{number} open; the oldest for {age_s / 60:.1f} minutes: {owner}{blind}", age_s / 60)


def locks(context: Context) -> Measure:
    """The longest wait for a lock."""
    with context.connect() as connection:
        row = connection.execute(_QUERIES["longest_lock_wait"]).fetchone()
        blind = _blind_spot(connection)
    if row is None or row[0] is None:
        return Measure(f"nobody waits for a lock{blind}", 0)
    waited_s, pid, application, blockers, prepared, number = row
    sessions = [f"pid {', '.join(map(str, blockers[:5]))}"] if blockers else []
    holders = " and ".join([*sessions, *(f"the prepared transaction '{gid}'" for gid in prepared[:5])])
    who = f"pid {pid}, {application or 'unnamed'}, behind {holders or 'pid unknown'}"
    return Measure(f"{number} waiting; the longest for {waited_s:.0f} s: {who}{blind}", waited_s)


def collations(context: Context) -> Measure:
    """Indexes of texts are in the order that the server has now."""
    with context.connect() as connection:
        changed = connection.execute(_QUERIES["changed_collations"]).fetchall()
    if not changed:
        return Measure("the server orders texts as it did when their indexes were made", 0)
    lines = [f"{name} was version {before} and is {now or 'unknown'}" for name, before, now in changed]
    more = f" and {len(lines) - 3} more" if len(lines) > 3 else ""
    return Measure(f"the server orders texts otherwise than before: {'; '.join(lines[:3])}{more}", len(lines))


def _blind_spot(connection: Connection) -> str:
    """Return what the answer does not cover: without pg_read_all_stats a role sees only its own sessions."""
    sees_all = fetch_one(connection, _QUERIES["sees_all_sessions"])[0]
    return "" if sees_all else " (of this role's own sessions; grant pg_read_all_stats to see all)"


def database_growth(context: Context) -> Measure:
    """In how many days a database on this machine fills its disk, as it has grown in the last week at most."""
    with context.connect() as connection:
        size_bytes = int(fetch_one(connection, _QUERIES["database_bytes"])[0])
        earlier = connection.execute(_QUERIES["earlier_bytes"], {"name": DATABASE_SIZE}).fetchone()
    size = f"the database has {size_bytes / _GIBIBYTE:.2f} GiB"
    free_bytes = _free_bytes(context)
    if free_bytes is None:
        return Measure(f"{size}; its disk is not this machine's")
    if earlier is None or earlier[1] < _SHORTEST_TREND_S:
        return Measure(f"{size}; too few results yet to show how it grows")
    grown = (size_bytes - int(earlier[0])) / earlier[1] * _DAY_S
    if grown <= 0:
        return Measure(f"{size}; it does not grow")
    days = min(free_bytes / grown, 9999)
    return Measure(f"{size} and grows by {grown / _GIBIBYTE:.2f} GiB a day: its disk is full in {days:.0f} days", days)


def database_size(context: Context) -> Measure:
    """Return how large the database is; kept, so that the growth can be shown."""
    with context.connect() as connection:
        size_bytes = int(fetch_one(connection, _QUERIES["database_bytes"])[0])
    return Measure(f"{size_bytes / _GIBIBYTE:.2f} GiB", size_bytes, HealthState.HEALTHY)


def _free_bytes(context: Context) -> int | None:
    """Free bytes of the embedded server's disk; None when the database is elsewhere."""
    try:
        host = str(conninfo_to_dict(context.settings.database_dsn).get("host") or "")
    except ConfigError:
        return None
    folder: Path = context.settings.home / "postgres"
    if host not in _LOCAL or not folder.is_dir():
        return None
    return shutil.disk_usage(folder).free


def clock(context: Context) -> Measure:
    """By how many seconds this machine's clock differs from PostgreSQL's, at least."""
    with context.connect() as connection:
        ahead_s = difference_s(connection)
    if not ahead_s:
        return Measure("the clock of this machine agrees with PostgreSQL's", 0)
    return Measure(f"the clock of this machine is {described(ahead_s)} PostgreSQL's", abs(ahead_s))
