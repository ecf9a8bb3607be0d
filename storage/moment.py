"""The moment of a question: `now()` and its like, the same wherever the question is planned and run.

A plan that was made some milliseconds before the run would leave out rows by a bound that the run no longer has.
"""

from datetime import UTC, datetime

import duckdb


def fix_moment(connection: duckdb.DuckDBPyConnection, moment: datetime) -> None:
    """Make every clock function of the engine return ``moment`` (aware). Safe to run again."""
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
        connection.execute(f"CREATE OR REPLACE MACRO {signature} AS {value}")
    # Of one argument it is the time since then, of two the time between them.
    since = f"system.main.age({day}::TIMESTAMPTZ, since::TIMESTAMPTZ)"
    between = "system.main.age(later, earlier)"
    connection.execute(f"CREATE OR REPLACE MACRO age (since) AS {since}, (later, earlier) AS {between}")
