"""What a query asks for, before any month is looked at: planned once, over one stand-in for all rows of a table.

The conditions that the optimizer moves to the scan of the stand-in hold for every row of the answer, whatever month it
is in. So months are left out by their bounds without a table for each of them. Only queries whose joins and subqueries
decide need those tables (`storage.pruning`).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any
from uuid import UUID

import duckdb

from ledger.identifiers import id_bounds
from ledger.months import Month
from ledger.totals import totals_columns
from storage.branches import Branch, Described, Need, Plan, PlanWatch
from storage.conditions import (
    EVERYTHING,
    MONTH,
    TIER,
    Asked,
    Condition,
    asked_of,
    has_wide_sum,
    is_plain,
    joined,
    plain_plans,
    plan_nodes,
    scanned,
)
from storage.engine import identifier
from storage.exact import register_exact
from storage.long_intervals import checked_intervals
from storage.moment import fix_moment, needs_moment
from storage.stand_ins import create_stand_in, scanned_tables
from storage.wide_sums import checked, register_checks


@dataclass(frozen=True, slots=True)
class Outlined:
    """A plan whose ``needs`` are right. ``is_whole``: no look at each month would find fewer."""

    plan: Plan
    is_whole: bool


class Outline:
    """The stand-ins of whole tables, in an engine of their own in which nothing else is. Thread-safe."""

    def __init__(self, tables: Sequence[Described], config: Mapping[str, str]) -> None:
        self._connection = duckdb.connect(config=dict(config))
        self._lock = Lock()
        self._connection.execute("SET TimeZone = 'UTC'")
        register_checks(self._connection)
        register_exact(self._connection)
        plain_plans(self._connection)
        self._columns: dict[str, Described] = {}
        self._is_cold: dict[str, bool] = {}
        self._totals: dict[str, str] = {}
        for number, (table, columns) in enumerate(tables):
            whole = (*columns, TIER, MONTH)
            for is_cold, view in ((False, table.name), (True, table.cold_view)):
                name = f"stand_in_{number}_{'cold' if is_cold else 'all'}"
                self._create(name, view, (table, whole))
                self._is_cold[name] = is_cold
            for place, view in enumerate(table.totals_views):
                name = f"stand_in_{number}_totals_{place}"
                self._create(name, view, (table, totals_columns(table, columns)))
                self._totals[name] = view

    def _create(self, name: str, view: str, described: Described) -> None:
        create_stand_in(self._connection, name, described[1])
        self._connection.execute(f"CREATE VIEW {identifier(view)} AS SELECT * FROM {name}")
        self._columns[name] = described

    def close(self) -> None:
        """Give its memory back."""
        self._connection.close()

    def plan(
        self, query: str, moment: datetime, branches: Iterable[Branch], watch: PlanWatch = nullcontext
    ) -> Outlined:
        """Which of ``branches`` a query needs when it is ``moment`` (aware). ``watch`` ends what takes too long.

        Raises duckdb.Error for what is not a valid query over the views.
        """
        with self._lock, watch(self._connection):
            if needs_moment(query):
                fix_moment(self._connection, moment)
            described = self._connection.execute(f"DESCRIBE {query}").fetchall()
            columns = [(str(name), str(kind)) for name, kind, *_ in described]
            nodes = plan_nodes(self._connection, query)
            scanned_names = self._scanned(nodes, query) & self._columns.keys()
            is_wide = nodes is None or has_wide_sum(nodes)
            written = checked_intervals(checked(self._connection, query) if is_wide else query, columns)
        asked = asked_of(nodes, self._columns) if nodes is not None else {}
        rows = scanned_names & self._is_cold.keys()
        needs = [need for branch in branches if (need := self._need(branch, rows, asked)) is not None]
        totals = {
            self._totals[name]: asked.get(name, EVERYTHING) for name in sorted(scanned_names & self._totals.keys())
        }
        is_whole = len(needs) <= 1 or (nodes is not None and is_plain(nodes, self._columns))
        return Outlined(Plan(needs, written, tuple(name for name, _ in columns), totals), is_whole)

    def _scanned(self, nodes: Sequence[Mapping[str, Any]] | None, query: str) -> set[str]:
        """The tables that a plan reads; its ``nodes`` are None where the engine cannot write them down."""
        if nodes is not None:
            return {scanned(node) for node in nodes if node.get("type") == "LOGICAL_GET"}
        physical = self._connection.execute(f"EXPLAIN (FORMAT json) {query}").fetchall()[0][1]
        return set(scanned_tables(json.loads(physical)))

    def _need(self, branch: Branch, scanned_names: Iterable[str], asked: Mapping[str, Asked]) -> Need | None:
        scans = [
            asked.get(name, Asked())
            for name in scanned_names
            if self._columns[name][0] is branch.table and (branch.is_archived or not self._is_cold[name])
        ]
        places = [scan for scan in scans if may_hold(branch, scan)]
        return Need(branch, joined(places)) if places else None


def may_hold(branch: Branch, asked: Asked) -> bool:
    """Whether the bounds of a place let it have a row that is asked for."""
    return not asked.alternatives or any(
        all(_is_possible(branch, condition) for condition in all_) for all_ in asked.alternatives
    )


def _is_possible(branch: Branch, condition: Condition) -> bool:
    table, month, column = branch.table, branch.month, condition.column
    if column == table.time_column:
        return month is None or _may_be_in(month, condition)
    if column == table.key_column:
        return month is None or not branch.keys_tell_month or _may_have_key(month, condition)
    own = {TIER.name: branch.tier, MONTH.name: None if month is None else str(month)}.get(column)
    return own is None or _holds(own, condition)


def _may_be_in(month: Month, condition: Condition) -> bool:
    instants = [value for value in condition.values if isinstance(value, datetime)]
    if len(instants) != len(condition.values):
        return True
    tests = {
        "=": lambda at: month.lower <= at < month.upper,
        ">=": lambda at: at < month.upper,
        ">": lambda at: at < month.upper,
        "<=": lambda at: at >= month.lower,
        "<": lambda at: at > month.lower,
    }
    return any(map(tests[condition.comparison], instants))


def _may_have_key(month: Month, condition: Condition) -> bool:
    if condition.comparison != "=":
        return True
    first, last = id_bounds(month)
    return any(not isinstance(value, UUID) or first <= value < last for value in condition.values)


def _holds(own: str, condition: Condition) -> bool:
    """Whether a text, of ASCII, meets a condition. Texts are compared by their bytes."""
    here = own.encode()
    values = [value.encode() for value in condition.values if isinstance(value, str)]
    if len(values) != len(condition.values):
        return True
    tests = {
        "=": lambda value: here == value,
        ">=": lambda value: here >= value,
        ">": lambda value: here > value,
        "<=": lambda value: here <= value,
        "<": lambda value: here < value,
    }
    return any(map(tests[condition.comparison], values))
