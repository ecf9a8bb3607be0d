"""Times of rows that neither Python nor RFC 3339 has: before the year 1, after 9999, and infinite."""

import pyarrow as pa
import pyarrow.compute as pc

from ledger.instants import FIRST_INSTANT, LAST_INSTANT


def within_reach(rows: pa.Table) -> pa.Table:
    """``rows`` with `LAST_INSTANT` for later instants and for infinity, and `FIRST_INSTANT` for earlier ones."""
    for place, field in enumerate(rows.schema):
        if pa.types.is_timestamp(field.type) and field.type.tz is not None:
            first, last = (pa.scalar(end, field.type).cast(pa.int64()) for end in (FIRST_INSTANT, LAST_INSTANT))
            numbers = pc.min_element_wise(rows.column(place).cast(pa.int64()), last, skip_nulls=False)
            column = pc.max_element_wise(numbers, first, skip_nulls=False).cast(field.type)
            rows = rows.set_column(place, field, column)
    return rows
