"""The objects of the archived months by the catalogue, through the one view that lists them."""

from dataclasses import dataclass

from psycopg.rows import class_row

from ledger.months import Month
from sql.connection import Connection
from sql.queries import load

_QUERIES = load("archive_objects")


@dataclass(frozen=True, slots=True)
class ArchiveObject:
    """An object of an archived part of a month. ``kind`` is an `ObjectKind`; the size of a manifest is not known.

    ``is_former``: the part went back to warm, and the object stays until the month is deleted; ``kind`` says so.
    """

    part: int
    kind: str
    object_key: str
    size_bytes: int | None
    sha256: bytes
    is_former: bool


def objects_of_month(connection: Connection, table: str, month: Month) -> list[ArchiveObject]:
    """Every object of the archived parts of a month, part by part, the file with the rows first; former ones last."""
    with connection.cursor(row_factory=class_row(ArchiveObject)) as cursor:
        return cursor.execute(_QUERIES["of_month"], {"table": table, "month": month.first_day}).fetchall()


@dataclass(frozen=True, slots=True)
class ObjectAmount:
    """How many objects an archived part of a month has, and the bytes of those beside its rows.

    ``is_former``: all former objects of a part, with its former rows. The size of a manifest is not known.
    """

    month: Month
    part: int
    is_former: bool
    objects: int
    other_bytes: int


def object_amounts(connection: Connection, table: str) -> list[ObjectAmount]:
    """How many objects the archived months of a table have, part by part, and what is stored beside the rows."""
    rows = connection.execute(_QUERIES["amounts"], {"table": table}).fetchall()
    return [ObjectAmount(Month.of(month), *amount) for month, *amount in rows]
