"""The passes: what belongs together, found in sets by DuckDB, the strongest evidence first. No I/O.

The engine must hold ``statement``, ``own_rows``, ``taken_own`` and ``carried_line`` before `match` is called (see
`tasks.reconciliation.runs.internal_rows`). Afterwards it holds ``compared``, ``lost_line``, ``lost_own`` and ``found``.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from config.reconciliation import Pass, ReconciliationSettings
from ledger.business_days import OFFSET_MS
from ledger.errors import DataError
from ledger.statements import BreakClass, ComparedStatus
from ledger.transactions import VasType
from storage.engine import literal
from tasks.reconciliation.engine import confirmed, groups
from tasks.reconciliation.engine.assignment import Candidates, assign
from tasks.reconciliation.engine.commission import rate_table
from tasks.reconciliation.engine.queries import MATCHING
from tasks.reconciliation.vocabulary import OWN_STATUS

Engine = duckdb.DuckDBPyConnection

# Of a pass by a key: the line's column, our column, and what the match is called.
_KEYS: dict[Pass, tuple[str, str, str]] = {
    "supplier_transaction_id": ("supplier_id", "supplier_id", "supplier_id"),
    "reference": ("reference", "reference", "reference"),
    "supplier_reference": ("reference", "supplier_reference", "supplier_reference"),
}
# First what agrees in everything, so that of two rows under one key the right one is taken.
_ALSO = (", amount, status", ", amount")
_MILLISECONDS = 1000
_RATE_UNITS = 1_000_000  # of a rate, as whole numbers


def match(engine: Engine, rules: ReconciliationSettings, rates: Mapping[str, Decimal], day: date) -> None:
    """Run every pass over the two sides of ``day`` (Africa/Johannesburg) and classify what is left.

    ``rates`` are the contract's shares of commission, by product code or else by VAS type.

    Raises DataError for a status that is not known on either side. Not to be run twice in one engine.
    """
    _prepare(engine, rules, rates, day)
    for name in ("create_line", "create_own", "create_results", "create_suggestion", "create_duplicates"):
        engine.execute(MATCHING[name])
    groups.create_tables(engine)
    for name in ("create_duplicate_own", "create_open_line", "create_open_own", "create_covered_own", "create_vat_of"):
        engine.execute(MATCHING[name])
    groups.unfold_reversals(engine)
    confirmed.match_confirmed(engine)
    _match_by_keys(engine, rules)
    groups.attach_reversals(engine)
    groups.cover_payouts(engine)
    engine.execute(MATCHING["find_duplicate_lines"])
    engine.execute(MATCHING["find_duplicate_own"])
    if "scored" in rules.passes:
        _match_by_score(engine, rules)
    groups.suggest_payouts(engine)
    engine.execute(MATCHING["create_compared"])
    confirmed.leave_out_settled(engine)
    for name in ("create_payout_compared", "create_lost_line", "create_lost_own", "create_found"):
        engine.execute(MATCHING[name])


def matched_rows() -> str:
    """The query over every match, plain or not, for the archive."""
    return MATCHING["matched_rows"]


def notable_rows() -> str:
    """The query over the matches that are not plain."""
    return MATCHING["notable_rows"].format(matched=MATCHING["matched_rows"])


def _prepare(engine: Engine, rules: ReconciliationSettings, rates: Mapping[str, Decimal], day: date) -> None:
    """Types, variables and small tables that the queries are written against."""
    _create_enum(engine, "compared_status", ComparedStatus)
    _create_enum(engine, "break_class", BreakClass)
    statuses = pa.table(
        {"raw": [str(status) for status in OWN_STATUS], "word": [str(status) for status in OWN_STATUS.values()]}
    )
    engine.register("own_status_words", statuses)
    engine.execute("CREATE TABLE own_status AS SELECT raw, word::compared_status AS compared FROM own_status_words")
    unknown = engine.execute(MATCHING["unknown_statuses"]).fetchall()
    if unknown:
        raise DataError(f"the internal rows have statuses that are not known: {[row[0] for row in unknown]}")
    engine.register("rate_words", rate_table(rates))
    engine.execute("CREATE TABLE rate AS SELECT * FROM rate_words")
    for name, value in _variables(rules, day).items():
        engine.execute(f"SET VARIABLE {name} = {value}")


def _create_enum(engine: Engine, name: str, words: type[StrEnum]) -> None:
    engine.execute(f"CREATE TYPE {name} AS ENUM ({', '.join(literal(str(word)) for word in words)})")


def _variables(rules: ReconciliationSettings, day: date) -> dict[str, str]:
    """The figures of the settings as SQL values: money as decimals, scores as doubles, times in milliseconds."""
    # A pair that is right in all else may miss this much in one feature and still reach the threshold.
    reach = 1 - rules.threshold
    amount_reach = rules.amount_span * min(Decimal(1), Decimal(str(reach / rules.weight_amount)))
    time_reach_ms = int(rules.time_window_s * _MILLISECONDS * min(1.0, reach / rules.weight_time))
    return {
        "day": f"DATE {literal(day.isoformat())}",
        "day_offset_ms": str(OFFSET_MS),
        "vas_types": f"[{', '.join(literal(str(vas_type)) for vas_type in VasType)}]",
        "amount_tolerance": f"{rules.amount_tolerance}::DECIMAL(18,2)",
        "time_tolerance_ms": str(rules.time_tolerance_s * _MILLISECONDS),
        "commission_tolerance": f"{rules.commission_tolerance}::DECIMAL(18,4)",
        "check_own_commission": str(rules.check_own_commission).lower(),
        "weight_amount": f"{rules.weight_amount}::DOUBLE",
        "weight_time": f"{rules.weight_time}::DOUBLE",
        "weight_product": f"{rules.weight_product}::DOUBLE",
        "threshold": f"{rules.threshold}::DOUBLE - 1e-9",
        "amount_span": f"{rules.amount_span}::DOUBLE",
        "amount_reach": f"{max(amount_reach, Decimal('0.01')):.2f}::DECIMAL(18,2)",
        "time_window_ms": f"{rules.time_window_s * _MILLISECONDS}::DOUBLE",
        "time_reach_ms": str(time_reach_ms),
        "neighbours": str(rules.neighbours),
        "auto_time_ms": str(rules.auto_time_s * _MILLISECONDS),
        "auto_rounding": f"{rules.auto_rounding}::DECIMAL(18,2)",
        "auto_commission": f"{rules.auto_commission}::DECIMAL(18,4)",
        "escalate_above": f"{rules.escalate_above}::DECIMAL(18,4)",
        "escalate_issues": str(rules.escalate_issues),
        "vat_units": f"{int(rules.vat_rate * _RATE_UNITS)}::HUGEINT",
        **groups.VARIABLES,
    }


def _match_by_keys(engine: Engine, rules: ReconciliationSettings) -> None:
    """The passes by an identifier. Parts of one amount are looked for once the first has taken what agrees in all, and
    before anything is matched whatever its amount.
    """
    split = False
    for name in rules.passes:
        if name == "scored":
            continue
        line_key, own_key, method = _KEYS[name]
        for also in _ALSO:
            query = MATCHING["match_key"].format(line_key=line_key, own_key=own_key, method=method, also=also)
            engine.execute(query)
        if not split:
            groups.match_splits(engine, rules.passes)
            split = True
        engine.execute(MATCHING["match_lone_key"].format(line_key=line_key, own_key=own_key, method=method))


# Which rows are scored on which: by product where both sides name one, without it where one does not.
_BLOCKS = (
    ("product_code", "product_code", "product_code IS NOT NULL", "l.product_code IS NOT NULL"),
    ("''", "''", "true", "l.product_code IS NULL"),
    ("''", "''", "product_code IS NULL", "l.product_code IS NOT NULL"),
)


def _match_by_score(engine: Engine, rules: ReconciliationSettings) -> None:
    """First those that no identifier distinguishes. What then is left, though its identifiers differ, is only
    suggested: a mistyped reference, if all else is alike. Of more than ``suggestion_limit`` that are left nobody looks
    at each.
    """
    if _score(engine, rules, contradicting=False) <= rules.suggestion_limit:
        _score(engine, rules, contradicting=True)
    _drop_loose(engine)


def _score(engine: Engine, rules: ReconciliationSettings, *, contradicting: bool) -> int:
    """Score what is open; returns how many lines, or rows, are without a counterpart afterwards."""
    _drop_loose(engine)
    engine.execute(MATCHING["create_loose_line"])
    engine.execute(MATCHING["create_loose_own"])
    loose = engine.execute(MATCHING["count_loose"]).fetchall()[0]
    if not all(loose):
        return int(max(loose))
    assigned = assign(_candidates(engine, contradicting=contradicting), rules.tie_margin, rules.component_limit)
    firm = "add_suggested_firm" if contradicting else "add_scored"
    for name, pairs, query in (("firm", assigned.firm, firm), ("doubtful", assigned.doubtful, "add_suggested")):
        engine.register(name, pa.table({"line_no": pairs.lines, "own_no": pairs.rows, "score": pairs.scores}))
        engine.execute(MATCHING[query])
        engine.unregister(name)
    return int(max(loose)) - assigned.firm.lines.size - assigned.doubtful.lines.size


def _drop_loose(engine: Engine) -> None:
    engine.execute("DROP TABLE IF EXISTS loose_line")
    engine.execute("DROP TABLE IF EXISTS loose_own")


def _candidates(engine: Engine, *, contradicting: bool) -> Candidates:
    parts: list[dict[str, Any]] = []
    for own_product, line_product, own_filter, line_filter in _BLOCKS:
        query = MATCHING["score_candidates"].format(
            product=own_product,
            line_product=line_product if line_product == "''" else f"l.{line_product}",
            own_filter=own_filter,
            line_filter=line_filter,
            contradicting=str(contradicting).lower(),
        )
        parts.append(engine.execute(query).fetchnumpy())
    return Candidates(
        np.concatenate([part["line_no"] for part in parts]).astype(np.int64),
        np.concatenate([part["own_no"] for part in parts]).astype(np.int64),
        np.concatenate([part["score"] for part in parts]).astype(np.float64),
    )
