"""One supplier's day, from the statement to the record: read, match, classify, resolve, tie out, report, write down.

Everything is computed before anything is written, and written in one transaction: a run that fails or is killed leaves
no trace but, at worst, report files that the next run of the same day replaces with the same bytes.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from psycopg.types.json import Jsonb
from pyarrow import csv

from config import Settings
from config.suppliers import Connection as Contract
from ledger.errors import ConfigError, ConflictError, RefusalError
from sql.connection import Connection, connect, fetch_one
from sql.queries import load
from storage.engine import engine, literal, url_of
from storage.spool import spool_folder
from storage.store import ObjectStore, describe_file
from suppliers.registry import definition_of
from tasks.link import translated
from tasks.reconciliation import chain, confirmed, rules, settling, tieout
from tasks.reconciliation.before import Before, read_before
from tasks.reconciliation.classes import Verdict
from tasks.reconciliation.matching import match, notable_rows
from tasks.reconciliation.people import SYSTEM
from tasks.reconciliation.report import Summary, markdown, warnings_of, write_reports
from tasks.reconciliation.sides import TABLE, Window, own_side
from tasks.reconciliation.statements import fetch_statement, open_statement

_QUERIES = load("reconciliation")
_ENGINE = load("matching")
# What a run writes, in this order: what is found, what that opens again, what it closes, what the rules resolve.
_WRITTEN = (
    *("insert_breaks", "insert_matches"),
    *("reopen_confirmed", "close_unconfirmed", "reopen_found", "reopen_counterparts"),
    *("close_absent", "close_counterparts", "confirm_arrived", "auto_resolve"),
)
_BATCH_ROWS = 50_000
_SHARE = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to reconcile: a supplier's Africa/Johannesburg day against the canonical statement at ``statement``, a local
    path or a key of the archive. ``output`` is a folder that gets the reports too; a dry run writes nothing else.
    """

    supplier: str
    day: date
    statement: str
    actor: str = SYSTEM
    movement: tieout.FloatMovement | None = None
    dry_run: bool = False
    output: Path | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run came to. ``run_id`` is None for a dry run; ``waiting`` counts what waits at the supplier; ``settled``
    is what became of rows that were still under way; ``warnings`` are what it must not be read without.
    """

    summary: Summary
    run_id: int | None
    waiting: int
    oldest: date | None
    settled: settling.Settled = field(default_factory=settling.Settled)
    warnings: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The run's verdict."""
        return Verdict(self.summary.verdict)

    def markdown(self) -> str:
        """The run for people, with what waits for them."""
        warnings = [f"**Warning**: {one}" for one in self.warnings]
        lines = [f"{markdown(self.summary)}\n", *warnings, self.settled.text(), self._record()]
        return "\n".join(line for line in lines if line) + "\n"

    def _record(self) -> str:
        since = f", the oldest since {self.oldest}" if self.oldest else ""
        waits = f"{self.waiting} breaks wait at {self.summary.supplier}{since}"
        if self.run_id is None:
            return f"Dry run: nothing was stored, its breaks neither. From former runs {waits}."
        return f"{waits}. Run {self.run_id}."


def reconcile_day(settings: Settings, request: RunRequest, now: datetime | None = None) -> RunResult:
    """Reconcile one day and write the run down. Safe to run again: the same two sides give the same digest, a new run
    record that supersedes the former one, and no break twice.

    Once it is stored, rows of ours that are still under way are ended where it decides them (`settling`). The aware
    instant ``now`` (default: this one) tells whether the day is over; a run before that says so.

    Raises DataError for a statement that is not as it must be, ConflictError when the day is in a closed period or the
    supplier is being reconciled by somebody else, TransientError when a server is away.
    """
    started = now or datetime.now(UTC)
    _check_supplier(settings, request.supplier)
    with _locked(settings, request) as connection, spool_folder(settings.spool, "reconciliation") as folder:
        before = read_before(connection, settings.reconciliation, request.supplier, request.day)
        statement = fetch_statement(settings, request.statement, folder)
        with computed(settings, replace(request, statement=str(statement)), before, folder) as (duck, summary):
            target = request.output or folder / "reports"
            target.mkdir(parents=True, exist_ok=True)
            files = write_reports(duck, summary, target)
            run_id, settled = None, settling.Settled()
            if not request.dry_run:
                prefix = _store(settings, request, summary, files)
                _store_inputs(settings, request, summary, before, statement)
                run_id = _write_down(connection, settings, duck, request, summary, before, prefix, started)
                settled = _settle(connection, settings, duck, request, before)
        waiting, oldest, _ = fetch_one(connection, _QUERIES["waiting"], {"supplier": request.supplier})
    settled.raise_problems(f"{request.supplier} {request.day}")
    warnings = tuple(warnings_of(request.day, summary.figures["lines"], started))
    return RunResult(summary, run_id, waiting, oldest, settled, warnings)


@contextmanager
def computed(
    settings: Settings, request: RunRequest, before: Before, folder: Path
) -> Iterator[tuple[duckdb.DuckDBPyConnection, Summary]]:
    """Both sides matched, classified and summed up, in an engine of their own; nothing is written. ``folder`` takes
    what is fetched. Raises like `reconcile_day`.
    """
    with engine(settings.model_copy(update={"archive_memory_mb": settings.reconciliation.memory_mb})) as duck:
        _compute(duck, settings, request, before, folder)
        yield duck, _summarise(duck, settings, request)


def _settle(
    connection: Connection,
    settings: Settings,
    duck: duckdb.DuckDBPyConnection,
    request: RunRequest,
    before: Before,
) -> settling.Settled:
    """End the rows under way that the run decides, now that it is stored."""
    contract = _contract(settings, request.supplier)
    decided = settling.decided_by_lines(duck, contract)
    settling.note_lines_elsewhere(duck, connection, request.supplier, before.rows)
    counts_lines = definition_of(settings.suppliers, request.supplier).statement().counts_lines
    decided += settling.decided_by_absence(
        duck, connection, contract, request.supplier, request.day, before.rows, counts_lines=counts_lines
    )
    return settling.settle(connection, settings.table(TABLE), request.supplier, decided)


def check_open(connection: Connection, supplier: str, day: date) -> None:
    """Raise RefusalError, naming the period, when ``day`` is in a closed one."""
    closed = connection.execute(_QUERIES["closed_period"], {"supplier": supplier, "day": day}).fetchone()
    if closed is not None:
        raise RefusalError(f"{supplier} {day}: the period {closed[1]} to {closed[2]} is closed")


def _check_supplier(settings: Settings, supplier: str) -> None:
    if supplier not in (known := settings.suppliers.names):
        raise ConfigError(f"supplier: {supplier!r} is not known; known: {', '.join(known)}")


@contextmanager
def _locked(settings: Settings, request: RunRequest) -> Iterator[Connection]:
    """A connection on which nobody else reconciles the supplier, as long as it is open. A dry run keeps nobody out, and
    may look at a closed day.
    """
    with connect(settings.database_dsn, "reconciliation") as connection:
        if not request.dry_run:
            check_open(connection, request.supplier, request.day)
            if not fetch_one(connection, _QUERIES["try_lock"], {"supplier": request.supplier})[0]:
                raise ConflictError(f"{request.supplier} is being reconciled by another run")
        yield connection


def _rates(settings: Settings, supplier: str) -> Mapping[str, Decimal]:
    """The commission that the supplier's contract pays: the same figures that vending books by."""
    return _contract(settings, supplier).commission


def _contract(settings: Settings, supplier: str) -> Contract:
    return settings.suppliers.everyone[supplier]


def _rules(settings: Settings, supplier: str) -> dict[str, Any]:
    """Everything that the outcome depends on besides the two sides."""
    contract = {name: f"{rate:f}" for name, rate in _rates(settings, supplier).items()}
    return settings.reconciliation.model_dump(mode="json", exclude={"memory_mb"}) | {"commission": contract}


def _compute(
    duck: duckdb.DuckDBPyConnection, settings: Settings, request: RunRequest, before: Before, folder: Path
) -> None:
    """Both sides into the engine, then matched, classified, and judged by the rules."""
    open_statement(duck, fetch_statement(settings, request.statement, folder), request.supplier, request.day)
    duck.execute(_ENGINE["create_carried_line"], {"lines": list(before.lines)})
    duck.execute(_ENGINE["create_taken_own"])
    duck.register("taken_ids", pa.table({"own_id": pa.array([str(one) for one in before.taken], pa.string())}))
    duck.execute("INSERT INTO taken_own SELECT own_id::UUID FROM taken_ids")
    confirmed.hold(duck, before.confirmed, before.expected, before.expected_rows)
    window = Window.around(request.supplier, request.day, settings.reconciliation.margin_days, before.wanted_rows)
    with translated(settings):
        _take_neighbours(duck, settings, request, before)
    with own_side(duck, settings, window):
        match(duck, settings.reconciliation, _rates(settings, request.supplier), request.day)
    rules.apply_rules(duck)


def _take_neighbours(duck: duckdb.DuckDBPyConnection, settings: Settings, request: RunRequest, before: Before) -> None:
    """Rows of the margin that their own day's run has matched are not free for this day's lines."""
    if before.neighbours:
        files = ", ".join(literal(url_of(settings, key)) for key in before.neighbours)
        duck.execute(
            f"INSERT INTO taken_own SELECT own_id FROM read_parquet([{files}]) "
            f"WHERE state = 'confirmed' AND line_no > 0 AND own_day <> DATE {literal(request.day.isoformat())}"
        )


def _summarise(duck: duckdb.DuckDBPyConnection, settings: Settings, request: RunRequest) -> Summary:
    """The figures, checked, and the digest over both sides, the rules and the outcome."""
    rules_ = settings.reconciliation
    commissions = {
        name: tieout.Commission(*sums) for name, *sums in duck.execute(_ENGINE["commission_totals"]).fetchall()
    }
    ties = tieout.tie_outs(duck.execute(_ENGINE["totals"]).fetchall(), commissions, rules_)
    movement = tieout.float_figures(request.movement, ties)
    lines, own, matched_lines, matched_own, not_expected, breaks = _row(duck, _ENGINE["counts"])
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
        for name, count, auto, escalated, variance, difference in duck.execute(_ENGINE["class_counts"]).fetchall()
    }
    figures = {
        "lines": lines,
        "own_rows": own,
        "matched_lines": matched_lines,
        "matched_own_rows": matched_own,
        "nothing_expected": not_expected,
        "matched_share": f"{share:f}",
        "breaks": breaks,
        "auto_resolved": sum(one["auto_resolved"] for one in classes.values()),
        "classes": classes,
        "open_rows_decided": settling.counts(settling.decided_by_lines(duck, _contract(settings, request.supplier))),
        "currencies": {tie.currency: tie.as_json() for tie in ties},
        "float": movement,
        "statement_digest": _text_digest(duck, _ENGINE["line_text"].format(carried="false")),
        "own_digest": _text_digest(duck, _ENGINE["own_text"]),
    }
    verdict = tieout.verdict_of(share, _largest_variance(ties, movement), rules_)
    outcome = {
        "supplier": request.supplier,
        "day": request.day.isoformat(),
        "rules": _rules(settings, request.supplier),
        "figures": figures,
        "carried": _text_digest(duck, _ENGINE["line_text"].format(carried="true")),
        "breaks": _text_digest(duck, _ENGINE["found_text"].format(found=_ENGINE["found_rows"])),
        "verdict": str(verdict),
    }
    digest = hashlib.sha256(chain.canonical_json(outcome).encode()).hexdigest()
    return Summary(request.supplier, request.day.isoformat(), digest, str(verdict), figures)


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
        for text in _buffers(batch.column(0)):
            digest.update(text)
    return digest.hexdigest()


def _buffers(column: pa.Array) -> Iterator[memoryview]:
    """The bytes of a column of texts one after another, without making a Python object of each."""
    wide = column.cast(pa.large_string())
    offsets, content = wide.buffers()[1:3]
    places = memoryview(offsets).cast("q")[wide.offset : wide.offset + len(wide) + 1]
    if content is not None and len(wide):
        yield memoryview(content)[places[0] : places[-1]]


def _store(settings: Settings, request: RunRequest, summary: Summary, files: Sequence[Path]) -> str:
    """Put the reports into the archive under the digest, and note their SHA-256 in the figures; returns the prefix."""
    prefix = f"reconciliation/{request.supplier}/{request.day}/{summary.digest}"
    store = ObjectStore(settings)
    summary.figures["objects"] = {file.name: describe_file(file).sha256.hex() for file in files}
    for file in files:
        store.put(file, f"{prefix}/{file.name}")
    return prefix


def _store_inputs(settings: Settings, request: RunRequest, summary: Summary, before: Before, statement: Path) -> None:
    """Note in the figures which statement the run had and what lay before it, so that it can be replayed. A statement
    that is not in the archive is put there. Keys are the content's SHA-256: equal runs may have other inputs.
    """
    store = ObjectStore(settings)
    folder = f"reconciliation/{request.supplier}/{request.day}"
    sha256 = describe_file(statement).sha256.hex()
    key = request.statement
    if Path(key).is_file():
        key = f"{folder}/statements/{sha256}.parquet"
        store.put(statement, key)
    summary.figures["statement"] = {"key": key, "sha256": sha256}
    movement = request.movement.model_dump(mode="json") if request.movement else None
    content = chain.canonical_json({"movement": movement, "before": before.as_json()}).encode()
    digest = hashlib.sha256(content).hexdigest()
    summary.figures["inputs"] = {"key": f"{folder}/inputs/{digest}.json", "sha256": digest}
    store.put_bytes(content, summary.figures["inputs"]["key"])


def _write_down(
    connection: Connection,
    settings: Settings,
    duck: duckdb.DuckDBPyConnection,
    request: RunRequest,
    summary: Summary,
    before: Before,
    prefix: str,
    started: datetime,
) -> int:
    """The run, its breaks, what they close and what closes them, and the event of it all: together or not at all."""
    arrived = duck.execute(_ENGINE["arrived"]).fetchall()
    met = [number for number, _ in arrived if number is not None]
    met += [before.rows[own_id] for _, own_id in arrived if own_id in before.rows]
    margin = timedelta(days=settings.reconciliation.margin_days)
    with connection.transaction():
        connection.execute(_QUERIES["lock_chain"])
        check_open(connection, request.supplier, request.day)
        run_id, _ = fetch_one(connection, _QUERIES["insert_run"], _record(settings, request, summary, prefix, started))
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
        _copy(connection, duck, "create_found", "copy_found", _ENGINE["found_rows"])
        _copy(connection, duck, "create_matched", "copy_matched", notable_rows())
        for name in _WRITTEN:
            connection.execute(_QUERIES[name], named)
        chain.record_run(connection, run_id)
    return int(run_id)


def _record(
    settings: Settings, request: RunRequest, summary: Summary, prefix: str, started: datetime
) -> dict[str, Any]:
    figures = summary.figures
    return {
        "supplier": request.supplier,
        "day": request.day,
        "digest": bytes.fromhex(summary.digest),
        "statement_digest": bytes.fromhex(figures["statement_digest"]),
        "own_digest": bytes.fromhex(figures["own_digest"]),
        "rules": Jsonb(_rules(settings, request.supplier)),
        "verdict": summary.verdict,
        "line_count": figures["lines"],
        "own_count": figures["own_rows"],
        "matched_count": figures["matched_lines"],
        "break_count": figures["breaks"],
        "figures": Jsonb(figures),
        "object_prefix": prefix,
        "actor": request.actor,
        "started_at": started,
    }


def _copy(connection: Connection, duck: duckdb.DuckDBPyConnection, create: str, copy_in: str, query: str) -> None:
    """The rows of the engine's query into a temporary table of PostgreSQL's, by COPY."""
    connection.execute(_QUERIES[create])
    with connection.cursor() as cursor, cursor.copy(_QUERIES[copy_in]) as copy:
        for batch in duck.execute(query).to_arrow_reader(_BATCH_ROWS):
            block = BytesIO()
            csv.write_csv(batch, block, csv.WriteOptions(include_header=False))
            copy.write(block.getbuffer())
