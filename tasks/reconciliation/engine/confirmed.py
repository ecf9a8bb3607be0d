"""Matches that are decided before a run, as the engine takes them: before every pass, and without what is settled.

The tables are made by `hold`; without it there is none decided.
"""

from collections.abc import Sequence
from uuid import UUID

import duckdb

from tasks.reconciliation.engine.queries import CONFIRMED


def hold(
    engine: duckdb.DuckDBPyConnection, confirmed: Sequence[str], expected: Sequence[int], expected_rows: Sequence[UUID]
) -> None:
    """Give the engine the pairs that are ``confirmed`` (a break's line as JSON with ``break_id``, ``own_id`` and
    ``method``). Give it also the carried breaks and internal rows whose other side is to be corrected.
    """
    engine.execute(CONFIRMED["create_confirmed"], {"confirmed": list(confirmed)})
    engine.execute(CONFIRMED["create_expected_line"], {"breaks": list(expected)})
    engine.execute(CONFIRMED["create_expected_own"], {"rows": [str(row) for row in expected_rows]})


def match_confirmed(engine: duckdb.DuckDBPyConnection) -> None:
    """Pair what is decided, one to one and one to many, before any pass can take it for something else."""
    if _there(engine, "confirmed"):
        engine.execute(CONFIRMED["match_confirmed"])


def leave_out_settled(engine: duckdb.DuckDBPyConnection) -> None:
    """Leave out of ``compared`` what a decision has settled. A difference of money stays."""
    if _there(engine, "confirmed"):
        engine.execute(CONFIRMED["settle_confirmed"])
        engine.execute(CONFIRMED["settle_expected"])


def _there(engine: duckdb.DuckDBPyConnection, table: str) -> bool:
    query = "SELECT count(*) FROM duckdb_tables() WHERE table_name = $name"
    return bool(engine.execute(query, {"name": table}).fetchall()[0][0])
