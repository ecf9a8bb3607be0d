"""The artifacts of a run in the Prefect UI, and its log lines: tables and summaries made from outcomes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from ledger.counts import counted
from ledger.sizes import human_bytes
from tasks.archiving.outcome import MoveOutcome, MoveResult
from tasks.archiving.plan import PlannedMove
from tasks.archiving.rollover import RolloverReport
from tasks.health import CheckResult, HealthState, worst
from tasks.health.record import Recorded
from tasks.retention.costs import SPANS, TableCost


def publish_plan(moves: Sequence[PlannedMove], as_of: date) -> str:
    """Publish what would move and what is held back; returns the same as text for the log."""
    rows = [
        {
            "table": move.table,
            "month": str(move.month),
            "moves": ", ".join(move.actions),
            "rows": move.rows,
            "size": human_bytes(move.postgres_bytes),
            "held back": f"{move.held_at}: {move.held_back}" if move.held_at else "",
        }
        for move in moves
    ]
    create_table_artifact(key="archive-plan", table=rows, description=f"What is due as of {as_of}")
    lines = [
        f"{move.table} {move.month}: {', '.join(move.actions)}, {counted(move.rows, 'row')}, "
        f"{human_bytes(move.postgres_bytes)}"
        + (f" - held back from {move.held_at}: {move.held_back}" if move.held_at else "")
        for move in moves
    ]
    return "\n".join(lines) or "nothing is due"


def publish_outcomes(outcomes: Sequence[MoveOutcome], as_of: date) -> str:
    """Publish what moved as a table and a summary; returns the summary."""
    rows = [
        {
            "table": outcome.table,
            "month": str(outcome.month),
            "move": outcome.action,
            "result": outcome.result,
            "rows": outcome.rows,
            "in PostgreSQL": human_bytes(outcome.postgres_bytes),
            "in the archive": human_bytes(outcome.archive_bytes) if outcome.archive_bytes else "",
            "seconds": round(outcome.duration_s, 3),
            "reason": outcome.reason,
        }
        for outcome in outcomes
    ]
    create_table_artifact(key="archive-moves", table=rows, description=f"What moved as of {as_of}")
    summary = _summary(outcomes, as_of)
    create_markdown_artifact(key="archive-summary", markdown=summary)
    return summary


def _summary(outcomes: Sequence[MoveOutcome], as_of: date) -> str:
    counts = Counter((outcome.action, outcome.result) for outcome in outcomes)
    before = sum(outcome.postgres_bytes for outcome in outcomes if outcome.archive_bytes)
    after = sum(outcome.archive_bytes for outcome in outcomes)
    lines = [f"## Archiving as of {as_of}", ""]
    lines += [f"- {action}: {count} {result}" for (action, result), count in sorted(counts.items())] or [
        "- nothing due"
    ]
    if before:
        lines.append(
            f"- archived {human_bytes(before)} of PostgreSQL as {human_bytes(after)} of Parquet "
            f"({100 * after / before:.1f} %)"
        )
    troubles = [outcome for outcome in outcomes if outcome.result is not MoveResult.MOVED or outcome.reason]
    if troubles:
        lines += ["", "| table | month | move | result | reason |", "|---|---|---|---|---|"]
        lines += [f"| {o.table} | {o.month} | {o.action} | {o.result} | {_cell(o.reason)} |" for o in troubles]
    return "\n".join(lines)


def publish_rollover(reports: Sequence[RolloverReport], as_of: date, plan_only: bool) -> str:
    """Publish what the rollover made and found; returns the same as text."""
    verb = "would make" if plan_only else "made"
    lines = [f"## Rollover as of {as_of}", ""]
    for report in reports:
        months = report.wanted if plan_only else report.created
        lines.append(f"- {report.table}: {verb} {_listed(map(str, months))}")
        lines += [f"  - {finding}" for finding in report.findings]
    summary = "\n".join(lines)
    create_markdown_artifact(key="rollover-summary", markdown=summary)
    return summary


def publish_costs(costs: Sequence[TableCost], currency: str) -> None:
    """Publish what the months of each table cost now and in the years ahead, and what the tiers save."""
    rows = [
        {
            "table": known["table"],
            **{tier: f"{counted(of['months'], 'month')}, {_priced(of)}" for tier, of in known["tiers"].items()},
            "other objects": _priced(known["other_objects"]),
            "months of unknown size": known["unknown_months"],
            f"{currency} a month": known["total"],
            "of it requests": known["requests"],
            "all hot": known["all_hot"],
            "saved": _percent(known["saved_percent"]),
        }
        | _years_ahead(known["ahead"])
        for known in (cost.as_json(currency) for cost in costs)
    ]
    description = "What a month of the stored data costs, and what the months to come will cost"
    create_table_artifact(key="storage-costs", table=rows, description=description)


def _years_ahead(costs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The cells of the months to come, by the names of their columns: empty for a table without a forecast."""
    known = {cost["months"]: cost for cost in costs}
    cells = dict[str, str]()
    for months, span in SPANS.items():
        cost = known.get(months)
        name, all_hot = f"the next {span}", f"the next {span}, all hot"
        cells |= {name: cost["total"] if cost else "", all_hot: _all_hot(cost) if cost else ""}
        cells[f"the next {span}, saved"] = _percent(cost["saved_percent"] if cost else None)
    return cells


def _all_hot(cost: Mapping[str, Any]) -> str:
    return "unknown" if cost["unknown_months"] else cost["all_hot"]


def _priced(amount: Mapping[str, Any]) -> str:
    return f"{human_bytes(amount['bytes'])}: {amount['cost']}"


def _percent(share: str | None) -> str:
    return "" if share is None else f"{share} %"


def publish_health(results: Sequence[CheckResult], recorded: Recorded, at: datetime) -> str:
    """Publish a run of the health checks as a table; returns the same as text, the worst state and counts first."""
    rows = [
        {
            "check": result.name,
            "state": str(result.state),
            "what is": result.line,
            "value": _number(result.value, result.unit),
            "threshold": _number(result.threshold, result.unit),
            "what to do": result.to_do,
            "ms": result.took_ms,
        }
        for result in results
    ]
    counts = Counter(result.state for result in results)
    shown = ", ".join(f"{counts[state]} {state}" for state in reversed(HealthState) if counts[state])
    create_table_artifact(key="health", table=rows, description=f"{shown} at {at:%Y-%m-%d %H:%M:%S} UTC")
    alerts = f"{counted(recorded.opened, 'alert')} opened, {recorded.resolved} resolved"
    notices = f"{counted(recorded.sent.delivered, 'notice')} sent, {recorded.sent.failed} failed"
    lines = [f"{worst(results)}: {shown}; {alerts}, {notices}"]
    lines += [
        f"{result.state} {result.name}: {result.line}" for result in results if result.state is not HealthState.HEALTHY
    ]
    return "\n".join(lines)


def _number(value: Decimal | None, unit: str) -> str:
    """As text: an artifact cannot hold a Decimal."""
    return "" if value is None else f"{value} {unit}".strip()


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "no partition: all are there"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
