"""The artifacts of a run in the Prefect UI, and its log lines: tables and summaries made from outcomes."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from ledger.counts import counted
from ledger.sizes import GIGABYTE, human_bytes
from tasks.archiving.outcome import MoveOutcome, MoveResult
from tasks.archiving.plan import PlannedMove
from tasks.archiving.rollover import RolloverReport
from tasks.health import CheckResult, HealthState, worst
from tasks.health.record import Recorded
from tasks.retention.costs import TableCost


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
    """Publish what the months of each table cost, and what the tiers save."""
    rows = [
        {
            "table": known["table"],
            **{f"{tier}, GB": round(amount["bytes"] / GIGABYTE, 3) for tier, amount in known["tiers"].items()},
            "other objects, GB": round(known["other_objects"]["bytes"] / GIGABYTE, 3),
            "months of unknown size": known["unknown_months"],
            f"{currency} a month": known["total"],
            "all hot": known["all_hot"],
            "saved": "" if known["saved_percent"] is None else f"{known['saved_percent']} %",
        }
        for known in (cost.as_json(currency) for cost in costs)
    ]
    create_table_artifact(key="storage-costs", table=rows, description="What a month of the stored data costs")


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
