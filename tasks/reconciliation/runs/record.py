"""Writing a run down: reports and inputs into the archive, then all of the record in one transaction."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import duckdb
from psycopg.types.json import Jsonb
from pyarrow import csv

from config import Settings
from ledger.installation import Owner
from ledger.people import SYSTEM
from sql.connection import Connection
from sql.queries import load
from sql.storing import check_counted, fetch_stored
from storage.store import ObjectStore, describe_file
from tasks.reconciliation.audit import chain
from tasks.reconciliation.closing import closed_days
from tasks.reconciliation.closing.periods import check_open
from tasks.reconciliation.engine import auto_resolution as rules
from tasks.reconciliation.engine.matching import notable_rows
from tasks.reconciliation.engine.queries import MATCHING
from tasks.reconciliation.runs.before import Before
from tasks.reconciliation.runs.outcome import rules_of
from tasks.reconciliation.runs.report import RunSummary
from tasks.reconciliation.runs.request import RunRequest

_AUDIT = load("reconciliation_audit")
_RUNS = load("reconciliation_runs")
_BATCH_ROWS = 50_000
_KEY_DIGITS = 16
# What a run writes, in this order: what is found, what that opens again, what it closes, what the rules resolve.
# Each with the relation that its rows are counted in.
_WRITTEN = {
    "insert_breaks": "recon_breaks",
    "insert_matches": "recon_matches",
    "reopen_confirmed": "recon_resolutions",
    "close_unconfirmed": "recon_resolutions",
    "reopen_found": "recon_resolutions",
    "reopen_counterparts": "recon_resolutions",
    "close_absent": "recon_resolutions",
    "close_counterparts": "recon_resolutions",
    "confirm_arrived": "recon_confirmations",
    "auto_resolve": "recon_resolutions",
}


def store_reports(
    settings: Settings, owner: Owner, request: RunRequest, summary: RunSummary, files: Sequence[Path]
) -> str:
    """Put the reports into the archive and note their SHA-256 in the figures. Returns the prefix, which is named by the
    digest, the reports' contents and the installation. ``owner`` was proved by `tasks.archiving.ownership`.
    """
    store = ObjectStore(settings)
    summary.figures["objects"] = {file.name: describe_file(file).sha256.hex() for file in files}
    contents = hashlib.sha256(chain.canonical_json(summary.figures["objects"]).encode()).hexdigest()[:_KEY_DIGITS]
    prefix = f"reconciliation/{request.supplier}/{request.day}/{summary.digest}-{contents}-{owner.short}"
    for file in files:
        store.put(file, f"{prefix}/{file.name}")
    return prefix


def store_inputs(
    settings: Settings, owner: Owner, request: RunRequest, summary: RunSummary, before: Before, statement: Path
) -> None:
    """Note in the figures which statement the run had and what lay before it, so that it can be replayed. A statement
    that is not in the archive is put there. Keys are the content's SHA-256 and the installation: equal runs may have
    other inputs. ``owner`` as in `store_reports`.
    """
    store = ObjectStore(settings)
    folder = f"reconciliation/{request.supplier}/{request.day}"
    sha256 = describe_file(statement).sha256.hex()
    key = request.statement
    if Path(key).is_file():
        key = f"{folder}/statements/{sha256}-{owner.short}.parquet"
        store.put(statement, key)
    summary.figures["statement"] = {"key": key, "sha256": sha256}
    movement = request.movement.model_dump(mode="json") if request.movement else None
    content = chain.canonical_json({"movement": movement, "before": before.as_json()}).encode()
    digest = hashlib.sha256(content).hexdigest()
    summary.figures["inputs"] = {"key": f"{folder}/inputs/{digest}-{owner.short}.json", "sha256": digest}
    store.put_bytes(content, summary.figures["inputs"]["key"])


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt: when the run began (aware), where its reports are, and what it found in closed days."""

    started: datetime
    prefix: str
    looked: closed_days.Looked


def write_down(
    connection: Connection,
    settings: Settings,
    duck: duckdb.DuckDBPyConnection,
    request: RunRequest,
    summary: RunSummary,
    before: Before,
    attempt: Attempt,
) -> int:
    """Write down the run, its breaks, what they close and what closes them. What it found in closed days and the event
    of it all are written with them, or nothing is. Raises NotStoredError when PostgreSQL stored fewer of them than were
    found.
    """
    arrived = duck.execute(MATCHING["arrived"]).fetchall()
    met = [number for number, _ in arrived if number is not None]
    met += [before.rows[own_id] for _, own_id in arrived if own_id in before.rows]
    margin = timedelta(days=settings.reconciliation.margin_days)
    with connection.transaction():
        connection.execute(_AUDIT["lock_chain"])
        check_open(connection, request.supplier, request.day)
        run_id, _ = fetch_stored(
            connection, _RUNS["insert_run"], _record(settings, request, summary, attempt), "recon_runs"
        )
        named = {
            "run_id": run_id,
            "supplier": request.supplier,
            "day": request.day,
            "actor": SYSTEM,  # a rule decided, not whoever started the run
            "arrived": met,
            "expected": before.expected,
            "window_first": request.day - margin,
            "window_last": request.day + margin,
            "reasons": Jsonb({rule.name: rule.why for rule in rules.RULES}),
        }
        _copy(connection, duck, "create_found", "copy_found", MATCHING["found_rows"])
        _copy(connection, duck, "create_matched", "copy_matched", notable_rows())
        connection.execute(_RUNS["keep_settled"], named)
        for name, where in _WRITTEN.items():
            check_counted(connection.execute(_RUNS[name], named), where)
        changed = closed_days.write_down(connection, settings, request.supplier, run_id, attempt.looked)
        chain.record_run(connection, run_id)
        if changed:
            chain.record_closed_days(connection, *changed)
    return int(run_id)


def _record(settings: Settings, request: RunRequest, summary: RunSummary, attempt: Attempt) -> dict[str, Any]:
    figures = summary.figures
    return {
        "supplier": request.supplier,
        "day": request.day,
        "digest": bytes.fromhex(summary.digest),
        "statement_digest": bytes.fromhex(figures["statement_digest"]),
        "own_digest": bytes.fromhex(figures["own_digest"]),
        "rules": Jsonb(rules_of(settings, request.supplier)),
        "verdict": summary.verdict,
        "line_count": figures["lines"],
        "own_count": figures["own_rows"],
        "matched_count": figures["matched_lines"],
        "break_count": figures["breaks"],
        "figures": Jsonb(figures),
        "object_prefix": attempt.prefix,
        "actor": request.actor,
        "started_at": attempt.started,
    }


def _copy(connection: Connection, duck: duckdb.DuckDBPyConnection, create: str, copy_in: str, query: str) -> None:
    """The rows of the engine's query into a temporary table of PostgreSQL's, by COPY."""
    connection.execute(_RUNS[create])
    with connection.cursor() as cursor, cursor.copy(_RUNS[copy_in]) as copy:
        for batch in duck.execute(query).to_arrow_reader(_BATCH_ROWS):
            block = BytesIO()
            csv.write_csv(batch, block, csv.WriteOptions(include_header=False))
            copy.write(block.getbuffer())
