"""One supplier's day, from the statement to the record: read, match, classify, resolve, tie out, report, write down.

Everything is computed before anything is written, and written in one transaction. A run that fails or is killed leaves
at most report files. The next run of the same day replaces them with the same bytes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

import duckdb

from config import Settings
from ledger.counts import counted
from sql.connection import Connection, connect, fetch_one
from sql.queries import load
from sql.session_lock import try_session_lock
from storage.spool import spool_folder
from suppliers.registry import definition_of
from tasks.archiving.ownership import check_ownership
from tasks.reconciliation.closing import closed_days
from tasks.reconciliation.closing.internal_days import OWN_ROWS
from tasks.reconciliation.closing.periods import check_open
from tasks.reconciliation.runs import automatic_settlement, record
from tasks.reconciliation.runs.before import Before, read_before
from tasks.reconciliation.runs.internal_rows import TABLE
from tasks.reconciliation.runs.outcome import computed, contract_of
from tasks.reconciliation.runs.report import RunSummary, markdown, returned_to, warnings_of, write_reports
from tasks.reconciliation.runs.request import RunRequest
from tasks.reconciliation.runs.statements import fetch_statement
from tasks.reconciliation.vocabulary import Verdict

_QUERIES = load("reconciliation_runs")


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of a run. ``run_id`` is None for a dry run; ``waiting`` counts what waits at the supplier. ``settled``
    is what became of rows that were still under way. The result must not be read without its ``warnings``.
    """

    summary: RunSummary
    run_id: int | None
    waiting: int
    oldest: date | None
    settled: automatic_settlement.Settled = field(default_factory=automatic_settlement.Settled)
    warnings: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The run's verdict."""
        return Verdict(self.summary.verdict)

    def markdown(self) -> str:
        """The run for people, with what waits for them."""
        warnings = [f"**Warning**: {warning}" for warning in self.warnings]
        lines = [f"{markdown(self.summary)}\n", *warnings, self.settled.text(), self._record()]
        return "\n".join(line for line in lines if line) + "\n"

    def _record(self) -> str:
        since = f", the oldest since {self.oldest}" if self.oldest else ""
        waits = f"{counted(self.waiting, 'break waits', 'breaks wait')} at {self.summary.supplier}{since}"
        if self.run_id is None:
            return f"Dry run: nothing was stored, its breaks neither. From former runs {waits}."
        return f"{waits}. Run {self.run_id}."


def reconcile_day(settings: Settings, request: RunRequest, now: datetime | None = None) -> RunResult:
    """Reconcile one day and write the run down. Safe to run again: the same two sides give the same digest, a new run
    record that supersedes the former one, and no break twice.

    What has changed in closed days of the supplier is found as well, and becomes a break (`closed_days`).

    Once it is stored, internal rows that are still under way are ended where it decides them (`automatic_settlement`).
    The aware instant ``now`` (default: this one) decides whether the day is over; a run before that says so.

    Raises DataError for a statement that is not as it must be. Raises ConflictError when the day is in a closed period
    or another run reconciles the supplier. Raises OwnershipError when the archive is not this database's, and
    TransientError when a server is away.
    """
    started = now or datetime.now(UTC)
    settings.suppliers.require(request.supplier)
    with _locked(settings, request) as connection, spool_folder(settings.spool, "reconciliation") as folder:
        before = read_before(connection, settings.reconciliation, request.supplier, request.day)
        statement = fetch_statement(settings, request.statement, folder)
        with computed(settings, replace(request, statement=str(statement)), before, folder) as (duck, summary):
            target = request.output or folder / "reports"
            target.mkdir(parents=True, exist_ok=True)
            files = write_reports(duck, summary, target, returned_to(settings.suppliers, request.supplier))
            run_id, settled, looked = None, automatic_settlement.Settled(), closed_days.Looked()
            if not request.dry_run:
                owner = check_ownership(connection, settings)
                prefix = record.store_reports(settings, owner, request, summary, [*files, folder / OWN_ROWS])
                record.store_inputs(settings, owner, request, summary, before, statement)
                looked = closed_days.find_changes(settings, connection, owner, request.supplier, folder)
                attempt = record.Attempt(started, prefix, looked)
                run_id = record.write_down(connection, settings, duck, request, summary, before, attempt)
                settled = _settle(connection, settings, duck, request, before)
        waiting, oldest, _ = fetch_one(connection, _QUERIES["waiting"], {"supplier": request.supplier})
    settled.raise_problems(f"{request.supplier} {request.day}", run_id)
    warnings = (*warnings_of(request.day, summary.figures["lines"], started), *looked.texts(request.supplier))
    return RunResult(summary, run_id, waiting, oldest, settled, warnings)


def _settle(
    connection: Connection,
    settings: Settings,
    duck: duckdb.DuckDBPyConnection,
    request: RunRequest,
    before: Before,
) -> automatic_settlement.Settled:
    """End the rows under way that the run decides, now that it is stored."""
    contract = contract_of(settings, request.supplier)
    decided = automatic_settlement.decided_by_lines(duck, contract)
    automatic_settlement.note_lines_elsewhere(duck, connection, request.supplier, before.rows)
    counts_lines = definition_of(settings.suppliers, request.supplier).statement().counts_lines
    decided += automatic_settlement.decided_by_absence(
        duck, connection, contract, request.supplier, request.day, before.rows, counts_lines=counts_lines
    )
    return automatic_settlement.settle(connection, settings.table(TABLE), request.supplier, decided)


@contextmanager
def _locked(settings: Settings, request: RunRequest) -> Iterator[Connection]:
    """A connection on which nobody else reconciles the supplier, as long as it is open. A dry run keeps nobody out, and
    may look at a closed day.

    The lock is given back before the connection closes: PostgreSQL ends a session a moment after its client has left,
    and a run that begins at once would be refused.
    """
    supplier = {"supplier": request.supplier}
    with connect(settings.database_dsn, "reconciliation") as connection:
        if request.dry_run:
            yield connection
            return
        check_open(connection, request.supplier, request.day)
        otherwise = f"{request.supplier} is being reconciled by another run"
        with try_session_lock(connection, _QUERIES["try_lock"], _QUERIES["unlock"], otherwise, supplier):
            yield connection
