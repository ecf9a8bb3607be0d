"""The way back: copies of archived months in PostgreSQL for a limited time, and months that take writes again."""
