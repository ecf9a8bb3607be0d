"""Daily totals over HTTP."""
