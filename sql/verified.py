"""The time at which each object of the archive was last read again and agreed with the log."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from psycopg.rows import class_row

from sql.connection import Connection
from sql.queries import load
from sql.storing import check_stored

_QUERIES = load("verified")


@dataclass(frozen=True, slots=True)
class PartAge:
    """An archived part of a month (``YYYY-MM``), when all its objects were last read (UTC), and its bytes with rows."""

    table_name: str
    month: str
    part: int
    verified_at: datetime
    size_bytes: int


def part_ages(connection: Connection) -> list[PartAge]:
    """Every archived part of a month, the one that was read longest ago first."""
    with connection.cursor(row_factory=class_row(PartAge)) as cursor:
        return cursor.execute(_QUERIES["parts"]).fetchall()


def mark_verified(
    connection: Connection, keys: Sequence[str], table: str, month: date, part: int, *, deep: bool
) -> None:
    """Record that the objects ``keys`` of a part of a month (its first day) were read again just now."""
    for key in keys:
        values = {"object_key": key, "table": table, "month": month, "part": part, "deep": deep}
        check_stored(connection.execute(_QUERIES["mark"], values), 1, "archive_verified")
