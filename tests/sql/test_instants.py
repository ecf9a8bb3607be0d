"""Microseconds since 1970, computed by PostgreSQL in double precision: exact, as by its own numeric."""

from psycopg.sql import SQL, Identifier, Literal

from sql.connection import Connection, fetch_one
from sql.proof import microseconds

DAY_US = 86_400_000_000
ENDS = """
    '1899-12-31 23:59:59.999999+00', '1900-01-01 00:00+00', '1969-12-31 23:59:59.999999+00', '1970-01-01 00:00+00',
    '2039-12-31 23:59:59.999999+00', '2040-01-01 00:00+00', '4713-01-01 00:00+00 BC', '294246-12-31 23:59:59.999999+00'
"""


def test_every_microsecond_of_the_calendar_is_exact(connection: Connection) -> None:
    """At random all over the years 1900 to 2039, most of them near the ends, where double precision is coarsest."""
    spans = (("1900-01-01", 4_417_977_600_000_000), ("2039-12-31", DAY_US), ("1900-01-01", DAY_US))
    instants = [
        SQL(
            "SELECT timestamptz {} + floor(random() * {})::bigint * interval '1 microsecond' AS at "
            "FROM generate_series(1, 200000)"
        ).format(Literal(f"{first} 00:00+00"), Literal(span_us))
        for first, span_us in spans
    ]
    ends = SQL(f"SELECT unnest(ARRAY[{ENDS}]::timestamptz[])")
    source = SQL(" UNION ALL ").join([*instants, ends])
    query = SQL("SELECT count(*), count(*) FILTER (WHERE {} <> (extract(epoch FROM at) * 1000000)::bigint) FROM ({}) s")
    assert fetch_one(connection, query.format(microseconds(Identifier("at")), source)) == (600_008, 0)
