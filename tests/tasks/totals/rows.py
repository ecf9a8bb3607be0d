"""Totals as anybody would compute them: from the rows that the auditor's SQL shows, one by one."""

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal

from config import Settings
from ledger.tables import TieredTable
from ledger.totals import Question, TotalsGroup, Zone
from tasks.querying.query import run_query
from tasks.totals.answer import TotalsAnswer, TotalsReader, answer_totals

Rows = dict[tuple[object, ...], tuple[int, tuple[Decimal, ...]]]
ALWAYS = (date(2014, 1, 1), date(2035, 1, 1))
EVERYTHING = frozenset(TotalsGroup)
PLENTY = 1_000_000
READERS: dict[str, TotalsReader] = {}  # of a test, by database: each lives as long as the test


def answer(
    settings: Settings,
    table: TieredTable,
    zone: Zone = Zone.UTC,
    groups: frozenset[TotalsGroup] = frozenset(),
    client: str | None = None,
    days: tuple[date, date] = ALWAYS,
) -> TotalsAnswer:
    """The project's own answer: that of a new process, and of one that has answered before."""
    question = Question(*days, zone, groups, client)
    found = answer_totals(settings, table, question, PLENTY, timeout_s=60)
    reader = READERS.setdefault(settings.database_dsn, TotalsReader(settings))
    assert reader.answer(table, question, PLENTY, timeout_s=60) == found
    return found


def told(found: TotalsAnswer) -> Rows:
    """An answer as a mapping."""
    return {
        (one.day, one.currency, one.client_id, one.type, one.status, one.supplier): (one.rows, one.sums)
        for one in found.totals
    }


def counted(settings: Settings, table: TieredTable, zone: Zone = Zone.UTC, client: str | None = None) -> Rows:
    """Every group of every day, added up in Python."""
    columns = [table.currency_column, "client_id", table.type_column, table.status_column]
    columns += ["supplier" if table.name == "vas_transactions" else None]
    named = [name or "NULL" for name in columns]
    names = ", ".join([table.time_column, *named, *table.money_columns])
    found: dict[tuple[object, ...], list[object]] = defaultdict(lambda: [0, [Decimal(0)] * len(table.money_columns)])
    with run_query(settings, f"SELECT {names} FROM {table.name}") as answered:
        batch = answered.batches.read_all()
    for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
        (
            moment,
            *told_by,
        ) = values[: 1 + len(columns)]
        if client is not None and told_by[1] != client:
            continue
        day = (moment + timedelta(hours=2 if zone is Zone.JOHANNESBURG else 0)).date()
        group = found[(day, *told_by)]
        group[0] += 1  # type: ignore[operator]  # the number of rows
        group[1] = [a + (b or 0) for a, b in zip(group[1], values[1 + len(columns) :], strict=True)]  # type: ignore[call-overload]  # the sums
    return {key: (rows, tuple(sums)) for key, (rows, sums) in found.items()}  # type: ignore[misc, arg-type]  # as above


def daily(settings: Settings, table: TieredTable, zone: Zone, client: str | None = None) -> Rows:
    """The project's own answer with everything told apart, by days."""
    return told(answer(settings, table, zone, EVERYTHING - _without(table), client))


def _without(table: TieredTable) -> frozenset[TotalsGroup]:
    return frozenset() if table.name == "vas_transactions" else frozenset({TotalsGroup.SUPPLIER})


def check(settings: Settings, table: TieredTable) -> None:
    """Fail unless the totals are those of the rows, in both zones, to the cent."""
    for zone in Zone:
        assert daily(settings, table, zone) == counted(settings, table, zone), zone
