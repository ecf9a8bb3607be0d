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
    """An archived part of a month (``YYYY-MM``), when all its objects were last read (UTC), and its bytes with rows.

    ``former_key`` is the object with the rows of a part that went back to warm; None for one that the month has now.
    """

    table_name: str
    month: str
    part: int
    verified_at: datetime
    size_bytes: int
    former_key: str | None = None

    def __str__(self) -> str:
        kind = "part" if self.former_key is None else "former part"
        return f"{self.table_name} {self.month}, {kind} {self.part}"


def part_ages(connection: Connection, *, classed: bool = False) -> list[PartAge]:
    """Every archived part of a month that can be read at once, the one that was read longest ago first.

    ``classed``: those in a storage class of their own instead. They are looked at each night, and read once restored.
    """
    with connection.cursor(row_factory=class_row(PartAge)) as cursor:
        return cursor.execute(_QUERIES["parts"], {"classed": classed}).fetchall()


def mark_verified(
    connection: Connection, keys: Sequence[str], table: str, month: date, part: int, *, deep: bool
) -> None:
    """Record that the objects ``keys`` of a part of a month (its first day) were read again just now."""
    for key in keys:
        values = {"object_key": key, "table": table, "month": month, "part": part, "deep": deep}
        check_stored(connection.execute(_QUERIES["mark"], values), 1, "archive_verified")
