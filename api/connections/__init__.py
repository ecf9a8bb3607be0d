"""The connections of an API process to PostgreSQL and to Redis, with their time limits and failure policy."""
