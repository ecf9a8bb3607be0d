"""A sum that leaves 128 bits is an error, also where the engine adds partial sums without a look."""

from decimal import Decimal

import duckdb
import pytest

from storage.wide_sums import checked, register_checks

_WIDE = "12345678901234567890123456780.123456789::DECIMAL(38, 9)"


@pytest.fixture
def wide() -> duckdb.DuckDBPyConnection:
    """A table of five rows whose sum fits, and a view of three times as many, in three partial sums, whose does not."""
    connection = duckdb.connect()
    register_checks(connection)
    connection.execute(f"CREATE TABLE one AS SELECT {_WIDE} AS x, i % 2 AS g, i FROM range(5) AS numbers(i)")
    connection.execute("CREATE VIEW three AS FROM one UNION ALL FROM one UNION ALL FROM one")
    return connection


def test_the_engine_itself_wraps_around(wide: duckdb.DuckDBPyConnection) -> None:
    """When this fails the checks can go."""
    row = wide.execute("SELECT sum(x) FROM three").fetchone()
    assert row is not None
    assert row[0] < 0


@pytest.mark.parametrize(
    "query",
    [
        "SELECT sum(x) FROM three",
        "SELECT g, sum(-x) FROM three GROUP BY ROLLUP (g)",
        "SELECT 1 FROM three HAVING sum(x) > 0",
        "WITH s AS (SELECT g, sum(x) AS s FROM three GROUP BY g) SELECT sum(s) + 1 FROM s",
        "SELECT sum(x) FILTER (WHERE i >= 0) FROM three",
        "SELECT (SELECT sum(x) FROM three) AS s",
        "FROM three SELECT sum(x), count(*)",
    ],
)
def test_a_sum_that_would_wrap_around_is_an_error_wherever_it_is(wide: duckdb.DuckDBPyConnection, query: str) -> None:
    with pytest.raises(duckdb.Error, match=r"more than 38 digits|Overflow"):
        wide.execute(checked(wide, query)).fetchall()


@pytest.mark.parametrize(
    "query",
    [
        "SELECT sum(x) FROM one",
        "SELECT g, sum(x) AS s FROM three GROUP BY g ORDER BY s",
        "SELECT i, sum(x) OVER (ORDER BY i) FROM one",
        "SELECT sum(sum(x)) OVER () FROM one GROUP BY g",
        "SELECT sum(DISTINCT x) FROM three",
        "SELECT sum(i), sum(i::DOUBLE), sum(NULL) FROM three",
        "SELECT g, sum(x) FROM one GROUP BY ALL ORDER BY ALL",
        "SELECT sum(COLUMNS(*)) FROM one",
        "SELECT sum(x) FROM (SELECT x FROM one UNION ALL SELECT -x FROM one)",
        "PIVOT (SELECT g, i, x FROM one) ON i USING sum(x)",
        "SELECT sum(x) FROM one WHERE false",
    ],
)
def test_a_sum_that_fits_is_the_same_with_the_check(wide: duckdb.DuckDBPyConnection, query: str) -> None:
    assert wide.execute(checked(wide, query)).fetchall() == wide.execute(query).fetchall()


def test_the_largest_sums_are_exact(wide: duckdb.DuckDBPyConnection) -> None:
    largest = "SELECT sum(x) FROM (VALUES (99999999999999999999999999999999999999::DECIMAL(38, 0)), (0)) AS t(x)"
    assert wide.execute(checked(wide, largest)).fetchone() == (Decimal(10**38 - 1),)
