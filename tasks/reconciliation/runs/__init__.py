"""One run: reading both sides, the outcome, reports, the record, automatic settlement, and replay."""
