"""The moment of a question: `now()` and its like, the same wherever the question is planned and run.

A plan that was made some milliseconds before the run would leave out rows by a bound that the run no longer has.
"""

import re
from datetime import UTC, datetime

import duckdb

_TELLING = re.compile(r"now|current|today|timestamp|local|age", re.IGNORECASE)


def needs_moment(query: str) -> bool:
    """Whether a query may call one of the functions that return the time."""
    return _TELLING.search(query) is not None


def fix_moment(connection: duckdb.DuckDBPyConnection, moment: datetime, *, temporary: bool = False) -> None:
    """Make every clock function of the engine return ``moment`` (aware). Safe to run again.

    ``temporary``: in the session of ``connection`` alone.
    """
    kind = "TEMP MACRO" if temporary else "MACRO"
    utc = moment.astimezone(UTC)
    instant, day = f"TIMESTAMPTZ '{utc.isoformat()}'", f"DATE '{utc.date().isoformat()}'"
    local, time = f"TIMESTAMP '{utc.replace(tzinfo=None).isoformat()}'", utc.time().isoformat()
    fixed = {
        "now()": instant,
        "get_current_timestamp()": instant,
        "transaction_timestamp()": instant,
        "current_date()": day,
        "today()": day,
        "current_localtimestamp()": local,
        "current_localtime()": f"TIME '{time}'",
        "get_current_time()": f"TIMETZ '{time}+00'",
    }
    for signature, value in fixed.items():
        connection.execute(f"CREATE OR REPLACE {kind} {signature} AS {value}")
    # Of one argument it is the time since then, of two the time between them.
    since = f"system.main.age({day}::TIMESTAMPTZ, since::TIMESTAMPTZ)"
    between = "system.main.age(later, earlier)"
    connection.execute(f"CREATE OR REPLACE {kind} age (since) AS {since}, (later, earlier) AS {between}")
