"""Daily totals: kept of months that have ended, computed from the rows for the rest, equal to the rows to the cent."""
