"""The types a tiered table may have. Each has one canonical text, one Parquet type and exact values throughout."""

from dataclasses import dataclass
from enum import StrEnum


class ColumnKind(StrEnum):
    """The kind of values in a column, independent of any engine."""

    UUID = "uuid"
    TEXT = "text"
    BOOLEAN = "boolean"
    INTEGER = "integer"  # 64 bits signed, also for smallint and integer
    DECIMAL = "decimal"  # exact, with a fixed scale
    TIMESTAMP = "timestamp"  # an instant, microseconds since 1970 UTC
    DATE = "date"
    JSON = "json"  # PostgreSQL's jsonb, kept as the text PostgreSQL prints


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a tiered table as PostgreSQL's catalogue has it. ``precision`` and ``scale`` are a decimal's.

    ``field_id`` is the column's number within its table, which it keeps when it is renamed (`sql.fields`); None where
    none was given yet.
    """

    name: str
    kind: ColumnKind
    nullable: bool = True
    precision: int | None = None
    scale: int | None = None
    field_id: int | None = None

    def __post_init__(self) -> None:
        if (self.kind is ColumnKind.DECIMAL) != (self.precision is not None and self.scale is not None):
            raise ValueError(f"{self.name}: precision and scale belong to decimals, and only to them")
