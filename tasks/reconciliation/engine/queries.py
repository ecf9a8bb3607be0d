"""The queries of the engine. DuckDB runs them; the files are beside this module."""

from sql.queries import load

MATCHING = load("matching", __package__)
GROUPS = load("groups", __package__)
CONFIRMED = load("confirmed", __package__)
SETTLEMENT = load("settlement", __package__)
