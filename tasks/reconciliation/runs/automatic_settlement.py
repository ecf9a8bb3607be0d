"""Automatic settlement: unfinished internal rows whose outcome only the supplier statement has.

A vend without an answer stays processing until the supplier's status rule finds its outcome, and some have no such
rule. Here a run's matches end it: by the line under its own reference, or because no statement has one. Those are the
statements of the days in which it can have been sold. The row is ended by the very query that the sweep uses. The
record with its break and the event of the chain are written in the same transaction. So of a sweep, a webhook and two
runs at once exactly one ends a row. The next run finishes the work of a killed one.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import duckdb
import psycopg

from config.suppliers import Connection as Contract
from ledger.business_days import ZONE, day_of
from ledger.counts import counted
from ledger.errors import TreasuryError, combined
from ledger.identifiers import created_at_of
from ledger.tables import TieredTable
from ledger.transactions import Status
from sql.connection import Connection, fetch_one
from sql.errors import translate
from sql.queries import load
from sql.storing import not_stored
from suppliers.money import share
from tasks.reconciliation.audit import chain
from tasks.reconciliation.engine.queries import MATCHING, SETTLEMENT
from tasks.vending.rows import Finish, finish_in, is_reference_of, status_in

ACTOR = "treasury"
_QUERIES = load("reconciliation_settlement")
_AUDIT = load("reconciliation_audit")
_PERIODS = load("reconciliation_periods")
_CENT = Decimal("0.01")
NOTHING = Decimal("0.00")
_SHOWN = 5


class Ground(StrEnum):
    """The reason why a row ends: the decision in its record."""

    LISTED = "settled_by_statement"
    ABSENT = "not_on_any_statement"
    ELSEWHERE = "line_elsewhere"  # it does not end: its line went to another row


@dataclass(frozen=True, slots=True)
class Decided:
    """One row under way, how it ends, and which break of the run it is: by number, or by fingerprint in hex."""

    row_id: UUID
    end: Finish
    ground: Ground
    reason: str
    break_id: int | None = None
    fingerprint: str | None = None


@dataclass(slots=True)
class Settled:
    """The result of a settlement: how many were ended with each status, ``absent`` of them because no statement has
    them. Others had ended so already, or otherwise, or have a status that this may not end.
    """

    ended: Counter[Status] = field(default_factory=Counter)
    absent: int = 0
    agreed: int = 0
    contradicted: int = 0
    problems: list[TreasuryError] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many rows this ended."""
        return self.ended.total()

    def text(self) -> str:
        """One sentence for people; empty when there was nothing to do."""
        if not (self.count or self.agreed or self.contradicted):
            return ""
        statuses = ", ".join(f"{count} {status}" for status, count in sorted(self.ended.items())) or "none"
        sentence = f"Unfinished internal rows that this ended: {statuses}"
        sentence += f" ({self.absent} because no statement has them)" if self.absent else ""
        sentence += f"; {self.agreed} had ended so meanwhile" if self.agreed else ""
        return (
            sentence + (f"; {self.contradicted} ended otherwise, see their breaks" if self.contradicted else "") + "."
        )

    def raise_problems(self, place: str, run_id: int | None) -> None:
        """Raise one error for the rows that could not be ended, TransientError when another run may do it. It names
        the run, which is stored.
        """
        if self.problems:
            named = "; ".join(str(problem) for problem in self.problems[:_SHOWN])
            rows = counted(len(self.problems), "row")
            text = f"{place}: the run is stored, but it could not end {rows} that it decides: {named}"
            raise combined(self.problems, f"{text}; `treasury recon show-run {run_id}` shows the run")


def decided_by_lines(engine: duckdb.DuckDBPyConnection, contract: Contract) -> list[Decided]:
    """The vends under way that a line of the statement decides. The engine must have matched and classified."""
    query = SETTLEMENT["decided"].format(found_rows=MATCHING["found_rows"])
    rows = engine.execute(query).fetchall()
    return [_listed(contract, row) for row in rows if is_reference_of(row[1], row[0])]


def decided_by_absence(
    engine: duckdb.DuckDBPyConnection,
    connection: Connection,
    contract: Contract,
    supplier: str,
    day: date,
    breaks: Mapping[UUID, int],
    *,
    counts_lines: bool,
) -> list[Decided]:
    """The vends under way that no statement has, of all the days in which they can have been sold and
    ``statement_absent_days`` more. ``breaks`` are the carried ones by row: only what they hold is looked at. The run of
    ``day`` must be stored. A day proves nothing while its newest run was made before it was over, or had a statement
    without lines, unless such a file ``counts_lines``.
    """
    candidates = []
    for row_id, reference in engine.execute(SETTLEMENT["absent"]).fetchall():
        if row_id not in breaks or not is_reference_of(reference, row_id):
            continue
        created_at = created_at_of(row_id)
        last = last_day(contract, created_at)
        if last is not None and last <= day:
            candidates.append((row_id, reference, day_of(created_at), last))
    likely = _unlikely(connection, [breaks[row_id] for row_id, *_ in candidates])
    return [
        _absent(row_id, reference, breaks[row_id], first, last)
        for row_id, reference, first, last in candidates
        if breaks[row_id] in likely and _all_reconciled(connection, supplier, first, last, counts_lines=counts_lines)
    ]


def note_lines_elsewhere(
    engine: duckdb.DuckDBPyConnection, connection: Connection, supplier: str, breaks: Mapping[UUID, int]
) -> None:
    """Note with the break of each vend under way that a line has its reference and is not matched with it. So no later
    run takes it for absent. Once a break; safe to run again. To be called before `decided_by_absence`.
    """
    rows = engine.execute(SETTLEMENT["elsewhere"].format(found_rows=MATCHING["found_rows"])).fetchall()
    for row_id, reference, line_no, fingerprint in rows:
        if not is_reference_of(reference, row_id):
            continue
        note = {
            "break_id": breaks.get(row_id),
            "supplier": supplier,
            "fingerprint": fingerprint,
            "actor": ACTOR,
            "decision": str(Ground.ELSEWHERE),
            "reason": f"line {line_no} of the statement has its reference, and is not matched with it",
        }
        with connection.transaction():
            connection.execute(_AUDIT["lock_chain"])
            _write(connection, "note", note)


def last_day(contract: Contract, created_at: datetime) -> date | None:
    """The last Africa/Johannesburg day whose statement may have the purchase of a row. None when absence from
    statements proves nothing, because the supplier's do not have every purchase.
    """
    if contract.statement_absent_days is None:
        return None
    return day_of(created_at + contract.asked_again_within) + timedelta(days=contract.statement_absent_days)


def settle(
    connection: Connection, table: TieredTable, supplier: str, decided: Sequence[Decided], now: datetime | None = None
) -> Settled:
    """End every row, each with its record in a transaction of its own; one that fails stops no other. Safe to run
    again, and at the same time as anything else that ends rows.

    The connection must be in no transaction. Raises TransientError when PostgreSQL is gone.
    """
    settled = Settled()
    for decision in decided:
        try:
            _count(settled, decision, _end(connection, table, supplier, decision, now or datetime.now(UTC)))
        except (psycopg.Error, TreasuryError) as error:
            if connection.closed:
                raise
            settled.problems.append(_named(decision, error))
    return settled


def counts(decided: Sequence[Decided]) -> dict[str, int]:
    """Return how many rows end with each status, for the figures of a run."""
    return dict(sorted(Counter(str(decision.end.status) for decision in decided).items()))


def _count(settled: Settled, decision: Decided, ended: bool | None) -> None:
    if ended:
        settled.ended[decision.end.status] += 1
        settled.absent += decision.ground is Ground.ABSENT
    elif ended is None:
        settled.contradicted += 1
    else:
        settled.agreed += 1


def _end(connection: Connection, table: TieredTable, supplier: str, decision: Decided, now: datetime) -> bool | None:
    """Return whether this ended the row; None when its status is another one: then nothing is written, and its break
    stays.
    """
    with connection.transaction():
        connection.execute(_AUDIT["lock_chain"])  # first, as everybody who writes into the chain
        ended = finish_in(connection, table, decision.row_id, decision.end, now)
        if not ended and status_in(connection, table, decision.row_id) is not decision.end.status:
            return None
        record = {
            "break_id": decision.break_id,
            "supplier": supplier,
            "fingerprint": decision.fingerprint,
            "actor": ACTOR,
            "decision": str(decision.ground),
            "reason": decision.reason if ended else f"{decision.reason}; it had ended so already",
        }
        _write(connection, "record", record)
    return ended


def _write(connection: Connection, query: str, record: dict[str, Any]) -> None:
    """Write down a record for each break that the query finds, and its event. Raises NotStoredError."""
    wanted, made = fetch_one(connection, _QUERIES[query], record)
    if len(made) != wanted:
        raise not_stored(wanted, len(made), "recon_resolutions")
    for resolution_id in made:
        chain.record_resolution(connection, resolution_id)


def _named(decision: Decided, error: psycopg.Error | TreasuryError) -> TreasuryError:
    translated = translate(error) if isinstance(error, psycopg.Error) else error
    return combined([translated], f"{decision.row_id}: {translated}")


def _listed(contract: Contract, row: Sequence[Any]) -> Decided:
    row_id, reference, vas_type, product, amount, line_no, status, transaction_id, commission, fingerprint = row
    end = Status(status)
    booked = commission_of(contract, amount, product, vas_type, commission) if end is Status.COMPLETED else NOTHING
    line = f"line {line_no} of the statement" if line_no > 0 else f"the line of break {-line_no}"
    return Decided(
        row_id,
        Finish(end, reference, transaction_id, booked),
        Ground.LISTED,
        f"{line} says {status}: the internal row was ended as {end}",
        fingerprint=fingerprint,
    )


def commission_of(
    contract: Contract, amount: Decimal, product: str | None, vas_type: str, stated: Decimal | None
) -> Decimal:
    """Return what the statement says, to the cent, as long as it is a part of the amount; else the contract's share."""
    if stated is not None and 0 <= stated <= amount:
        return stated.quantize(_CENT, ROUND_HALF_UP)
    return share(amount, contract.commission_rate(product, vas_type))


def _absent(row_id: UUID, reference: str, break_id: int, first: date, last: date) -> Decided:
    reason = f"no statement from {first} to {last} has it: the internal row was ended as {Status.FAILED}"
    return Decided(row_id, Finish(Status.FAILED, reference), Ground.ABSENT, reason, break_id=break_id)


def _unlikely(connection: Connection, breaks: Sequence[int]) -> set[int]:
    """Of these breaks those that no line was suggested for, or went elsewhere."""
    wanted = {"breaks": list(breaks), "elsewhere": str(Ground.ELSEWHERE)}
    return {row[0] for row in connection.execute(_QUERIES["unlikely"], wanted)}


def _all_reconciled(connection: Connection, supplier: str, first: date, last: date, *, counts_lines: bool) -> bool:
    """Return whether every day has a run that proves what is absent."""
    wanted = {"without_lines": counts_lines, "declared": False, "early": False, "zone": ZONE}
    days = {"supplier": supplier, "first": first, "last": last} | wanted
    return connection.execute(_PERIODS["days_without_run"], days).fetchone() is None
