"""A question has one moment: whatever tells the time says the same where it is planned and where it runs."""

from datetime import UTC, datetime, timedelta, timezone

import duckdb
import pytest

from storage.moment import fix_moment

MOMENT = datetime(2026, 3, 1, 1, 2, 3, 456789, tzinfo=timezone(timedelta(hours=2)))
_TIMES = "('TIMESTAMP WITH TIME ZONE', 'TIMESTAMP', 'DATE', 'TIME', 'TIME WITH TIME ZONE', 'TIMESTAMP_NS')"


@pytest.fixture
def fixed() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    fix_moment(connection, MOMENT)
    return connection


def test_every_function_that_tells_the_time_tells_the_moment(fixed: duckdb.DuckDBPyConnection) -> None:
    query = (
        "SELECT DISTINCT function_name FROM duckdb_functions()"
        f" WHERE function_type = 'scalar' AND len(parameters) = 0 AND return_type IN {_TIMES}"
    )
    names = [name for (name,) in duckdb.execute(query).fetchall()]
    assert {"now", "today", "current_localtimestamp", "get_current_time"} <= set(names)
    utc = MOMENT.astimezone(UTC)
    fitting = (f"{utc:%Y-%m-%d}", f"{utc:%H:%M:%S.%f}", f"{utc:%Y-%m-%d %H:%M:%S.%f}")
    for name in names:
        row = fixed.execute(f"SELECT {name}()::VARCHAR").fetchone()
        assert row is not None
        assert row[0].removesuffix("+00") in fitting, name


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("current_timestamp", MOMENT.astimezone(UTC)),
        ("current_date", MOMENT.astimezone(UTC).date()),
        ("localtimestamp", MOMENT.astimezone(UTC).replace(tzinfo=None)),
        ("age(TIMESTAMP '2026-02-27 00:00:00')", timedelta(days=1)),
        ("age(TIMESTAMP '2026-02-28 12:00:00', TIMESTAMP '2026-02-27 00:00:00')", timedelta(days=1, hours=12)),
    ],
)
def test_words_and_ages_keep_their_meaning(fixed: duckdb.DuckDBPyConnection, expression: str, value: object) -> None:
    found = fixed.execute(f"SELECT {expression}")
    assert found.fetchone() == (value,)
