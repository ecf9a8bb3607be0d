"""The metrics of the public log, for Prometheus: read from PostgreSQL at the scrape, unlike all others."""

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from psycopg.rows import TupleRow

from api.connections.database import AsyncConnection, Database
from sql.queries import load

_QUERIES = load("monitoring")
_TIMEOUT_S = 2.0  # a scrape must not wait long for a database that does not answer


async def exposition(database: Database) -> bytes:
    """How much of the log is published, in Prometheus's text format.

    Raises the project's errors, within two seconds, when PostgreSQL does not answer.
    """
    waiting, age_s, published = await database.run(_read, "monitoring", _TIMEOUT_S)
    registry = CollectorRegistry()
    for name, description, value in (
        ("treasury_log_events", "Events of the public log that are published", published),
        ("treasury_log_unpublished_events", "Events of the public log that are not published", waiting),
        ("treasury_log_unpublished_age_seconds", "Age of the oldest event that is not published", age_s),
    ):
        Gauge(name, description, registry=registry).set(value)
    return generate_latest(registry)


async def _read(connection: AsyncConnection) -> TupleRow:
    row = await (await connection.execute(_QUERIES["public_log"])).fetchone()
    return row or (0, 0.0, 0)
