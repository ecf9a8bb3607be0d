"""Groups that belong together though they are not one line and one row: reversals, parts of one amount, payouts. No
I/O.

Steps of `tasks.reconciliation.engine.matching.match`, in the order that it calls them.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from config.reconciliation import Pass
from tasks.reconciliation.engine.queries import GROUPS
from tasks.reconciliation.engine.subsets import MOST_ROWS, only_subset

Engine = duckdb.DuckDBPyConnection

_LINE_KEYS = ("supplier_id", "reference")
# What a reversal of another day's purchase is known by: the line's column, ours.
_PURCHASE_KEYS = (("supplier_id", "supplier_id"), ("reference", "reference"), ("reference", "supplier_reference"))
# Parts are known by a reference of ours, in the passes that go by one. An id of the supplier's is one line's alone.
_SPLIT_KEYS: dict[Pass, tuple[str, str]] = {
    "reference": ("reference", "reference"),
    "supplier_reference": ("reference", "supplier_reference"),
}
_TABLES = ("create_attached", "create_attached_own", "create_line_note", "create_payout_cover", "create_unfolded")
VARIABLES = {"split_parts": "8", "payout_lines": "200", "payout_rows": str(MOST_ROWS)}
_SEVERAL = "several sets of our rows add up to it"
_SHARED = "the rows that add up to it are another payout's too"
_TOO_MANY = f"more than {MOST_ROWS} rows are left that it may cover"


def create_tables(engine: Engine) -> None:
    """The tables that the steps fill."""
    for name in _TABLES:
        engine.execute(GROUPS[name])


def unfold_reversals(engine: Engine) -> None:
    """Count once what the statement lists twice. Before anything is matched."""
    for key in _LINE_KEYS:
        engine.execute(GROUPS["find_unfolded"].format(key=key))
    engine.execute(GROUPS["unfold_reversed"])


def match_splits(engine: Engine, passes: tuple[Pass, ...]) -> None:
    """Two lines or a few for one internal row, and the other way round, where reference and sum say so."""
    for name in passes:
        if name in _SPLIT_KEYS:
            line_key, own_key = _SPLIT_KEYS[name]
            for step in ("match_split_lines", "attach_split_lines", "match_split_rows", "attach_split_rows"):
                engine.execute(GROUPS[step].format(line_key=line_key, own_key=own_key))


def attach_reversals(engine: Engine) -> None:
    """Reversals, on either side, to what they take back."""
    for key in _LINE_KEYS:
        engine.execute(GROUPS["attach_reversals"].format(key=key))
    for key in _LINE_KEYS:
        engine.execute(GROUPS["attach_attempts"].format(key=key))
    engine.execute(GROUPS["attach_own_reversals"])
    for step in ("match_late_reversals", "note_late_reversals"):
        for line_key, own_key in _PURCHASE_KEYS:
            engine.execute(GROUPS[step].format(line_key=line_key, own_key=own_key))


def cover_payouts(engine: Engine) -> None:
    """Payouts over entries of their own statement, then those whose reference internal rows carry."""
    for name in ("cover_payouts", "uncount_payouts", "match_payouts"):
        engine.execute(GROUPS[name])


def suggest_payouts(engine: Engine) -> None:
    """What a payout without a known reference may cover. That is all that is left of a day, or else the only set of a
    few rows that adds up to it. Both count gross or net of commission. Suggested, never matched.

    Bounded: `VARIABLES` says how many payouts and rows are looked at, each in a fixed number of steps.
    """
    engine.execute(GROUPS["suggest_payouts"])
    payouts = [_Payout(*row) for row in engine.execute(GROUPS["open_payouts"]).fetchall()]
    if not payouts:
        return
    rows: dict[str, list[_Row]] = defaultdict(list)
    for own_id, currency, cents, net_cents in engine.execute(GROUPS["rows_left"]).fetchall():
        rows[currency].append(_Row(own_id, cents, net_cents))
    answers = [_answer(payout, rows[payout.currency]) for payout in payouts]
    claims: dict[str, int] = defaultdict(int)
    for answer in answers:
        for own_id in answer.rows:
            claims[own_id] += 1
    shared = {answer.line_no for answer in answers if any(claims[own_id] > 1 for own_id in answer.rows)}
    covered = [(answer.line_no, own_id) for answer in answers if answer.line_no not in shared for own_id in answer.rows]
    noted = [(answer.line_no, _SHARED if answer.line_no in shared else answer.note) for answer in answers]
    _insert(engine, "covered", "own_id", covered, "add_payout_suggestions")
    _insert(engine, "noted", "note", [pair for pair in noted if pair[1]], "add_payout_notes")


@dataclass(frozen=True, slots=True)
class _Payout:
    line_no: int
    currency: str
    cents: int


@dataclass(frozen=True, slots=True)
class _Row:
    own_id: str
    cents: int
    net_cents: int


@dataclass(frozen=True, slots=True)
class _Answer:
    """The rows that a payout must cover, or why none are named."""

    line_no: int
    rows: tuple[str, ...] = ()
    note: str = ""


def _answer(payout: _Payout, rows: list[_Row]) -> _Answer:
    if len(rows) > MOST_ROWS:
        return _Answer(payout.line_no, note=_TOO_MANY)
    for amounts in _readings(rows):
        subsets = only_subset(amounts, payout.cents)
        if subsets.several:
            return _Answer(payout.line_no, note=_SEVERAL)
        if subsets.places is not None:
            return _Answer(payout.line_no, tuple(rows[place].own_id for place in subsets.places))
    return _Answer(payout.line_no)


def _readings(rows: list[_Row]) -> Iterator[list[int]]:
    """Yield what was paid out of each row: all of it, or what commission leaves."""
    yield [row.cents for row in rows]
    yield [row.net_cents for row in rows]


def _insert(engine: Engine, table: str, column: str, pairs: list[tuple[int, str]], query: str) -> None:
    lines = pa.array([line_no for line_no, _ in pairs], pa.int64())
    engine.register(table, pa.table({"line_no": lines, column: pa.array([value for _, value in pairs], pa.string())}))
    engine.execute(GROUPS[query])
    engine.unregister(table)
