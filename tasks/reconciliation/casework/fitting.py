"""What fits a break now: decisions that would be accepted, and what may be its other side. Only reads."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from psycopg.errors import QueryCanceled
from psycopg.sql import SQL, Identifier

from config import Settings
from ledger.business_days import ZONE, bounds
from ledger.errors import RefusalError
from ledger.statements import BreakClass
from sql.connection import Connection, connect
from sql.queries import load
from sql.relations import ledger_schema
from tasks.reconciliation.casework import lists, manual_settlement, suggestions
from tasks.reconciliation.casework.lists import BreakRecord
from tasks.reconciliation.runs.internal_rows import TABLE
from tasks.reconciliation.vocabulary import BreakState, Decision

_BREAKS = load("reconciliation_breaks")
_ALWAYS = (Decision.OURS_IS_RIGHT, Decision.THEIRS_IS_RIGHT, Decision.WRITE_OFF)
_SHOWN = 5
_LIMIT = SQL("SET LOCAL statement_timeout = '1s'")
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Candidate:
    """What may be the other side of a break: an internal row, a line, or both as the break ``record`` has them.

    ``record`` is None for an internal row without a break of its own.
    """

    row_id: UUID | None
    record: BreakRecord | None


@dataclass(frozen=True, slots=True)
class KnownMatch:
    """Another internal row with the identifiers of a break, and its match: the line of a run. PostgreSQL does not have
    the plain matches of a day, so ``run_id`` and what follows are None for those.
    """

    row_id: UUID
    status: str
    run_id: int | None
    line_no: int | None
    method: str | None


@dataclass(frozen=True, slots=True)
class Fitting:
    """What fits a break. ``matches`` are those of a break that is matched twice, of rows in hot and warm; None where
    they were not found in time. ``together`` are the other breaks that a proposal is about.
    """

    decisions: frozenset[Decision]
    candidates: tuple[Candidate, ...]
    matches: tuple[KnownMatch, ...] | None
    together: tuple[BreakRecord, ...]


def read_fitting(settings: Settings, record: BreakRecord) -> Fitting:
    """What fits a break now; the functions that record a decision have the last word.

    Raises the errors of `connect`.
    """
    with connect(settings.database_dsn, "reconciliation") as connection:
        return Fitting(
            frozenset(_decisions(connection, settings, record)),
            tuple(_candidates(connection, record)),
            _matches(connection, settings, record) if BreakClass.DUPLICATE in record.issues else (),
            tuple(_together(connection, record)),
        )


def _decisions(connection: Connection, settings: Settings, record: BreakRecord) -> Iterator[Decision]:
    yield from _ALWAYS
    with suppress(RefusalError):
        suggestions.suggested(connection, record.break_id)
        yield Decision.SAME_TRANSACTION
    for ending in manual_settlement.STATUSES:
        with suppress(RefusalError):
            contents = (record.issues, record.line, record.own)
            manual_settlement.planned(connection, settings, record.break_id, contents, ending)
            yield ending


def _candidates(connection: Connection, record: BreakRecord) -> Iterator[Candidate]:
    """The internal rows that may belong to a line alone, or the lines that may belong to a row alone."""
    asked = {"break_id": record.break_id, "zone": ZONE}
    if record.own is None:
        for own_id, _, _, own_break, _ in connection.execute(_BREAKS["suggested_rows"], asked).fetchall()[:_SHOWN]:
            yield Candidate(own_id, None if own_break is None else lists.find_break(connection, own_break))
    elif record.line is None:
        for (line_break,) in connection.execute(_BREAKS["suggested_lines"], asked).fetchall()[:_SHOWN]:
            yield Candidate(None, lists.find_break(connection, line_break))


def _together(connection: Connection, record: BreakRecord) -> Iterator[BreakRecord]:
    match = suggestions.proposed(connection, record.break_id) if record.state == BreakState.PROPOSED else None
    for number in () if match is None else match.breaks:
        other = None if number == record.break_id else lists.find_break(connection, number)
        if other is not None:
            yield other


def _matches(connection: Connection, settings: Settings, record: BreakRecord) -> tuple[KnownMatch, ...] | None:
    """The rows that have the identifiers of the break, and the lines that they were matched with."""
    side: dict[str, Any] = record.line or record.own or {}
    table = settings.table(TABLE)
    schema = ledger_schema(connection, table)
    query = SQL(_BREAKS["known_matches"]).format(
        hot=Identifier(schema, table.hot_parent), warm=Identifier(schema, table.warm_parent)
    )
    around = (settings.reconciliation.margin_days + 1) * _ONE_DAY
    asked = {
        "supplier": record.supplier,
        "transaction": side.get("supplier_transaction_id"),
        "reference": side.get("reference"),
        "first": bounds(record.day - around)[0],
        "last": bounds(record.day + around)[1],
        "own_id": (record.own or {}).get("id"),
        "limit": _SHOWN,
    }
    try:
        with connection.transaction():
            connection.execute(_LIMIT)  # no index has the identifiers, and the page is of use without the match
            return tuple(KnownMatch(*row) for row in connection.execute(query, asked))
    except QueryCanceled:
        return None
