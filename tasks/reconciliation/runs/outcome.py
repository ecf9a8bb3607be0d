"""The outcome of a run: both sides matched, classified and judged, the figures of it all, and a digest over them.

Nothing is written here, so a run and its replay compute the same.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from config import Settings
from config.suppliers import Connection as Contract
from storage.engine import engine, literal, url_of
from tasks.querying.link import translated
from tasks.reconciliation.audit import chain
from tasks.reconciliation.closing.internal_days import OWN_ROWS, OwnDay, OwnDays, joined
from tasks.reconciliation.engine import auto_resolution as rules
from tasks.reconciliation.engine import confirmed, tieout
from tasks.reconciliation.engine.matching import match
from tasks.reconciliation.engine.queries import MATCHING
from tasks.reconciliation.runs import automatic_settlement
from tasks.reconciliation.runs.before import Before
from tasks.reconciliation.runs.internal_rows import Window, own_side
from tasks.reconciliation.runs.report import RunSummary
from tasks.reconciliation.runs.request import RunRequest
from tasks.reconciliation.runs.statements import fetch_statement, open_statement

_BATCH_ROWS = 50_000
_SHARE = Decimal("0.000001")


@contextmanager
def computed(
    settings: Settings, request: RunRequest, before: Before, folder: Path
) -> Iterator[tuple[duckdb.DuckDBPyConnection, RunSummary]]:
    """Both sides matched, classified and summed up, in an engine of their own; nothing is written. ``folder`` takes
    what is fetched, and `OWN_ROWS`: a line of each internal row of the day. Raises like `reconcile_day`.
    """
    with engine(settings.model_copy(update={"archive_memory_mb": settings.reconciliation.memory_mb})) as duck:
        own_day = _compute(duck, settings, request, before, folder)
        summary = _summarise(duck, settings, request)
        # Beside the digest, not in it: runs that were made before this was kept still replay to theirs.
        summary.figures["own_day"] = own_day.as_json()
        yield duck, summary


def _rates(settings: Settings, supplier: str) -> Mapping[str, Decimal]:
    """The commission that the supplier's contract pays: the same figures that vending books by."""
    return contract_of(settings, supplier).commission


def contract_of(settings: Settings, supplier: str) -> Contract:
    """The settings of one supplier."""
    return settings.suppliers.everyone[supplier]


def rules_of(settings: Settings, supplier: str) -> dict[str, Any]:
    """Everything that the outcome depends on in addition to the two sides."""
    contract = {name: f"{rate:f}" for name, rate in _rates(settings, supplier).items()}
    return settings.reconciliation.model_dump(mode="json", exclude={"memory_mb"}) | {"commission": contract}


def _compute(
    duck: duckdb.DuckDBPyConnection, settings: Settings, request: RunRequest, before: Before, folder: Path
) -> OwnDay:
    """Both sides into the engine, then matched, classified, and judged by the rules; returns the internal rows of the
    day.
    """
    open_statement(duck, fetch_statement(settings, request.statement, folder), request.supplier, request.day)
    duck.execute(MATCHING["create_carried_line"], {"lines": list(before.lines)})
    duck.execute(MATCHING["create_taken_own"])
    duck.register("taken_ids", pa.table({"own_id": pa.array([str(row_id) for row_id in before.taken], pa.string())}))
    duck.execute("INSERT INTO taken_own SELECT own_id::UUID FROM taken_ids")
    confirmed.hold(duck, before.confirmed, before.expected, before.expected_rows)
    window = Window.around(request.supplier, request.day, settings.reconciliation.margin_days, before.wanted_rows)
    with translated(settings):
        _take_neighbours(duck, settings, request, before)
    with own_side(duck, settings, window):
        own_day = OwnDays(duck).read([request.day], folder / OWN_ROWS)[request.day]
        match(duck, settings.reconciliation, _rates(settings, request.supplier), request.day)
    rules.apply_rules(duck)
    return own_day


def _take_neighbours(duck: duckdb.DuckDBPyConnection, settings: Settings, request: RunRequest, before: Before) -> None:
    """Rows of the margin that their own day's run has matched are not free for this day's lines."""
    if before.neighbours:
        files = ", ".join(literal(url_of(settings, key)) for key in before.neighbours)
        duck.execute(
            f"INSERT INTO taken_own SELECT own_id FROM read_parquet([{files}]) "
            f"WHERE state = 'confirmed' AND line_no > 0 AND own_day <> DATE {literal(request.day.isoformat())}"
        )


def _summarise(duck: duckdb.DuckDBPyConnection, settings: Settings, request: RunRequest) -> RunSummary:
    """The figures, checked, and the digest over both sides, the rules and the outcome."""
    rules_ = settings.reconciliation
    commissions = {
        name: tieout.Commission(*sums) for name, *sums in duck.execute(MATCHING["commission_totals"]).fetchall()
    }
    ties = tieout.tie_outs(duck.execute(MATCHING["totals"]).fetchall(), commissions, rules_)
    movement = tieout.float_figures(request.movement, ties)
    lines, own, matched_lines, matched_own, not_expected, breaks = _row(duck, MATCHING["counts"])
    both = lines + own - not_expected
    share = (Decimal(matched_lines + matched_own) / both).quantize(_SHARE) if both else Decimal(1)
    classes = {
        name: {
            "breaks": count,
            "auto_resolved": auto,
            "escalated": escalated,
            "variance": f"{variance:.2f}",
            "difference": f"{difference:.4f}",
        }
        for name, count, auto, escalated, variance, difference in duck.execute(MATCHING["class_counts"]).fetchall()
    }
    figures = {
        "lines": lines,
        "own_rows": own,
        "matched_lines": matched_lines,
        "matched_own_rows": matched_own,
        "nothing_expected": not_expected,
        "matched_share": f"{share:f}",
        "breaks": breaks,
        "auto_resolved": sum(figures_of["auto_resolved"] for figures_of in classes.values()),
        "classes": classes,
        "open_rows_decided": automatic_settlement.counts(
            automatic_settlement.decided_by_lines(duck, contract_of(settings, request.supplier))
        ),
        "currencies": {tie.currency: tie.as_json() for tie in ties},
        "float": movement,
        "statement_digest": _text_digest(duck, MATCHING["line_text"].format(carried="false")),
        "own_digest": _text_digest(duck, MATCHING["own_text"]),
    }
    verdict = tieout.verdict_of(share, _largest_variance(ties, movement), rules_)
    outcome = {
        "supplier": request.supplier,
        "day": request.day.isoformat(),
        "rules": rules_of(settings, request.supplier),
        "figures": figures,
        "carried": _text_digest(duck, MATCHING["line_text"].format(carried="true")),
        "breaks": _text_digest(duck, MATCHING["found_text"].format(found=MATCHING["found_rows"])),
        "verdict": str(verdict),
    }
    digest = hashlib.sha256(chain.canonical_json(outcome).encode()).hexdigest()
    return RunSummary(request.supplier, request.day.isoformat(), digest, str(verdict), figures)


def _largest_variance(ties: Sequence[tieout.TieOut], movement: dict[str, str] | None) -> Decimal:
    sizes = [abs(tie.variance) for tie in ties]
    if movement is not None:
        sizes.append(abs(Decimal(movement["consumed_less_statement"])))
    return max(sizes, default=Decimal(0))


def _row(duck: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    return tuple(duck.execute(query).fetchall()[0])


def _text_digest(duck: duckdb.DuckDBPyConnection, query: str) -> str:
    """SHA-256 over a column of texts in the query's order, streamed."""
    digest = hashlib.sha256()
    for batch in duck.execute(query).to_arrow_reader(_BATCH_ROWS):
        for text in joined(batch.column(0)):
            digest.update(text)
    return digest.hexdigest()
