"""The inputs that earlier runs and people's decisions have left for a run: part of its inputs, so it is kept for a
replay.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from config.reconciliation import ReconciliationSettings
from ledger.business_days import bounds
from sql.connection import Connection
from sql.queries import load
from tasks.reconciliation.runs.report import MATCHES

_QUERIES = load("reconciliation_runs")


@dataclass(frozen=True, slots=True)
class Before:
    """Rows that are matched elsewhere, breaks that still want their counterpart, matches that are decided already."""

    taken: Sequence[UUID]
    neighbours: Sequence[str]  # keys of the matches of the newest runs of the days around
    lines: Sequence[str]  # carried lines as JSON, with their break's number
    rows: dict[UUID, int]  # carried internal rows, with their break's number
    confirmed: Sequence[str]  # matches of the day's lines that are decided already, as JSON
    expected: Sequence[int]  # carried breaks whose side was held for right: the other side is to be corrected

    @property
    def wanted_rows(self) -> list[UUID]:
        """Internal rows that are wanted whatever their day."""
        return [*self.rows, *(UUID(json.loads(match)["own_id"]) for match in self.confirmed)]

    @property
    def expected_rows(self) -> list[UUID]:
        """Carried internal rows that were held for right."""
        return [own_id for own_id, number in self.rows.items() if number in set(self.expected)]

    def as_json(self) -> dict[str, Any]:
        """Everything as plain JSON."""
        plain = asdict(self)
        return plain | {"taken": list(map(str, self.taken)), "rows": {str(key): no for key, no in self.rows.items()}}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "Before":
        """The same again. Raises KeyError, ValueError or TypeError for what `as_json` does not make."""
        rows = {UUID(key): int(number) for key, number in plain["rows"].items()}
        return cls(**plain | {"taken": [UUID(row_id) for row_id in plain["taken"]], "rows": rows})


def read_before(connection: Connection, rules: ReconciliationSettings, supplier: str, day: date) -> Before:
    """Return what there is before a run of a supplier's ``day`` (Africa/Johannesburg)."""
    margin = timedelta(days=rules.margin_days)
    window = {
        "supplier": supplier,
        "day": day,
        "lower": bounds(day - margin)[0],
        "upper": bounds(day + margin)[1],
        "first": day - margin,
        "last": day + margin,
        "limit": rules.carry_limit,
    }
    taken = sorted(row[0] for row in connection.execute(_QUERIES["taken_rows"], window))
    runs = connection.execute(_QUERIES["current_runs"], window).fetchall()
    carried = connection.execute(_QUERIES["carried_breaks"], window).fetchall()
    confirmed = connection.execute(_QUERIES["confirmed_matches"], window).fetchall()
    return Before(
        taken,
        [f"{prefix}/{MATCHES}" for _, of_day, prefix in runs if of_day != day],
        [_numbered(line, number) for number, kind, line, *_ in carried if kind == "missing_here"],
        {UUID(own_id): number for number, kind, _, own_id, _ in carried if kind == "missing_there"},
        [_numbered(line, number, own_id=own_id, method=method) for number, line, own_id, method in confirmed],
        [number for number, *_, expected in carried if expected],
    )


def _numbered(line: str, break_id: int, **more: str) -> str:
    """A line of a break with the number of that."""
    return json.dumps(json.loads(line) | {"break_id": break_id} | more)
