"""The answers about daily totals."""

from typing import Annotated

from msgspec import Meta, Struct

from ledger.totals import SummedGroup, Zone


class DailyTotal(SummedGroup, frozen=True):
    """The rows of one group. A column that `group_by` does not name is null, as is the value of rows without one.

    ``sums`` are the sums of `amount`, `fee` and, for VAS transactions, `commission`.
    """

    rows: int
    sums: Annotated[dict[str, str], Meta(description="Decimal texts, by money column")]


class DailyTotals(Struct, kw_only=True):
    """Totals of the rows that the key may read, by day, then by currency and the other columns.

    ``deleted_months`` are those in the range of which rows were deleted at the end of their retention: deleted rows are
    not counted.
    """

    table: str
    zone: Zone
    items: list[DailyTotal]
    deleted_months: list[Annotated[str, Meta(examples=["2024-11"])]]
