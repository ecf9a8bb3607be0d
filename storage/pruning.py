"""Which months a query needs, found by DuckDB's own optimizer before any file is opened.

Opening a file costs round trips to the object store, and ten years are hundreds of files. So the query is first planned
over stand-ins: one small table per month, under the month's bounds. It has values at both ends of every type, so that
statistics rule out only what the bounds rule out. A month whose stand-in the optimizer drops cannot hold an answer; the
others are bound for real. Whatever the optimizer cannot see through stays in: pruning is only ever an omission of what
is proved to be empty. The same plan says what each month is asked for (`storage.conditions`).
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import duckdb

from ledger.identifiers import id_bounds
from ledger.totals import totals_columns
from storage.branches import Branch, Described, Need, Plan
from storage.conditions import EVERYTHING, Condition, asked_of, has_wide_sum, plain_plans, plan_nodes
from storage.engine import identifier
from storage.exact import register_exact
from storage.moment import fix_moment
from storage.stand_ins import create_stand_in, scanned_tables
from storage.views import create_views
from storage.wide_sums import checked, register_checks

_STAND_IN = "stand_in_"


def plan_of(
    tables: Sequence[Described],
    branches: Sequence[Branch],
    query: str,
    config: Mapping[str, str],
    moment: datetime,
) -> Plan:
    """The branches that ``query`` can get rows from when it is now ``moment`` (aware).

    Raises duckdb.Error when it is not a valid query over the views.
    """
    with duckdb.connect(config=dict(config)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return Planner(connection, tables, branches).plan(query, moment)


class Planner:
    """The stand-ins of months, in a connection that nothing else is in."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, tables: Sequence[Described], branches: Sequence[Branch]
    ) -> None:
        self._connection = connection
        self._moment: datetime | None = None
        self._named = {f"{_STAND_IN}{number}": branch for number, branch in enumerate(branches)}
        columns = {table.name: described for table, described in tables}
        self._columns = {name: (branch.table, columns[branch.table.name]) for name, branch in self._named.items()}
        for name, (_, described) in self._columns.items():
            create_stand_in(connection, name, described)
        register_checks(connection)
        register_exact(connection)
        create_views(connection, tables, [(branch, name) for name, branch in self._named.items()])
        for table, described in tables:
            for view in table.totals_views:
                create_stand_in(connection, identifier(view), totals_columns(table, described))

    def plan(self, query: str, moment: datetime) -> Plan:
        """See `plan_of`."""
        if moment != self._moment:
            fix_moment(self._connection, moment)
            self._moment = moment
        self._connection.execute("RESET disabled_optimizers")
        physical = self._connection.execute(f"EXPLAIN (FORMAT json) {query}").fetchall()[0][1]
        scanned_names = set(scanned_tables(json.loads(physical)))
        plain_plans(self._connection)
        nodes = plan_nodes(self._connection, query)
        asked = asked_of(nodes, self._columns) if nodes else {}
        needs = [
            Need(branch, asked.get(name, EVERYTHING)) for name, branch in self._named.items() if name in scanned_names
        ]
        needs = [need for need in needs if _may_hold(need)]
        names = tuple(str(row[0]) for row in self._connection.execute(f"DESCRIBE {query}").fetchall())
        is_wide = nodes is None or has_wide_sum(nodes)
        return Plan(needs, checked(self._connection, query) if is_wide else query, names)


def _may_hold(need: Need) -> bool:
    """Whether a month may have a row that is asked for by its key: the optimizer does not see it for a list of keys."""
    branch, alternatives = need.branch, need.asked.alternatives
    if branch.month is None or not branch.keys_tell_month or not alternatives:
        return True
    first, last = id_bounds(branch.month)

    def is_possible(condition: Condition) -> bool:
        if (condition.column, condition.comparison) != (branch.table.key_column, "="):
            return True
        return any(not isinstance(value, UUID) or first <= value < last for value in condition.values)

    return any(all(map(is_possible, conditions)) for conditions in alternatives)
