"""Administration: API keys, preparing a database, housekeeping, and the schedules of flows."""
