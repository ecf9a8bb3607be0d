"""The views of daily totals in the auditor's SQL: the figures of `treasury totals`, wherever the rows are."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from ledger.errors import DataError
from ledger.months import Month
from ledger.totals import TotalsGroup, Zone
from storage.conditions import Asked, Condition
from tasks.querying.query import Querier
from tasks.totals.keeping import keep_daily_totals
from tasks.totals.views import FIRST, LAST, asked_days
from tests.archives import Archives, month_in_each_tier
from tests.tasks.archiving.ledger import COLD, HOT, Ledger, make_row
from tests.tasks.totals.rows import Rows, answer, counted, told

VIEW, JOHANNESBURG = "transactions_daily_totals", "transactions_daily_totals_johannesburg"
GROUPS = frozenset(TotalsGroup) - {TotalsGroup.SUPPLIER}


@pytest.fixture
def tiers(ledger: Ledger, archives: Archives) -> Ledger:
    """A month in each tier."""
    archives.begin(ledger.settings, month_in_each_tier)
    return ledger


def insert(ledger: Ledger, number: int, month: Month = HOT, **changes: Any) -> None:
    row = make_row(ledger.table, month, number) | changes
    with psycopg.connect(ledger.settings.database_dsn) as connection:
        ledger.insert(connection, ledger.table, [row])


def rows_of(ledger: Ledger, view: str, where: str = "true") -> Rows:
    """A view as the command's answers are compared."""
    found = ledger.ask(f"SELECT * FROM {view} WHERE {where}")
    names = ("day", "currency", "client_id", "type", "status")
    return {(*(one[name] for name in names), None): (one["rows"], (one["amount"], one["fee"])) for one in found}


def test_the_views_have_the_figures_of_the_command_before_and_after_totals_are_kept(tiers: Ledger) -> None:
    for _ in range(2):
        for view, zone in ((VIEW, Zone.UTC), (JOHANNESBURG, Zone.JOHANNESBURG)):
            found = rows_of(tiers, view)
            assert found == told(answer(tiers.settings, tiers.table, zone, GROUPS))
            assert found == counted(tiers.settings, tiers.table, zone)
        keep_daily_totals(tiers.settings, [tiers.table])


def test_a_write_to_a_month_whose_totals_are_kept_is_in_the_next_answer(tiers: Ledger) -> None:
    keep_daily_totals(tiers.settings, [tiers.table])
    with Querier(tiers.settings) as querier:
        for number in (700, 701):
            insert(tiers, number)
            with querier.answer(f"SELECT sum(rows)::BIGINT AS n FROM {VIEW}") as found:
                ((n,),) = [tuple(row.values()) for row in found.batches.read_all().to_pylist()]
                assert f"{VIEW}: from kept totals of 2 months, and from the rows of 1" in found.notes
            assert n == tiers.ask("SELECT count(*) AS n FROM transactions")[0]["n"]


def test_days_that_are_asked_for_leave_out_other_months(tiers: Ledger) -> None:
    with Querier(tiers.settings) as querier:
        for where, months in (
            ("day BETWEEN '2026-10-01' AND '2026-10-31'", 1),
            ("day >= DATE '2026-02-01'", 2),
            ("day = '2024-03-05' OR day = '2026-10-05'", 3),
            ("day IN ('2024-03-05', '2024-03-06')", 1),
            ("day < '2020-01-01'", 0),
            ("rows > 0", 3),
        ):
            with querier.answer(f"SELECT * FROM {VIEW} WHERE {where}") as found:
                rows = found.batches.read_all().to_pylist()
                assert f"and from the rows of {months}" in found.notes[0], where
            whole = tiers.ask(f"WITH t AS MATERIALIZED (SELECT * FROM {VIEW}) SELECT * FROM t WHERE {where}")
            assert sorted(map(str, rows)) == sorted(map(str, whole)), where


def test_totals_and_rows_are_asked_together(tiers: Ledger) -> None:
    keep_daily_totals(tiers.settings, [tiers.table])
    (row,) = tiers.ask(
        f"SELECT (SELECT sum(amount) FROM {VIEW}) AS kept, (SELECT sum(amount) FROM transactions) AS read,"
        f" (SELECT count(*) FROM {VIEW} v JOIN {JOHANNESBURG} j USING (day, client_id, type, status, currency)) AS both"
    )
    assert row["kept"] == row["read"]
    assert row["both"] > 0


def test_days_that_conditions_allow() -> None:
    day, other = date(2026, 10, 5), date(2026, 10, 9)

    def asked(*conditions: tuple[str, *tuple[date, ...]]) -> Asked:
        return Asked(None, (tuple(Condition("day", comparison, tuple(days)) for comparison, *days in conditions),))

    assert asked_days(Asked()) == (FIRST, LAST)
    assert asked_days(asked(("=", day))) == (day, day)
    assert asked_days(asked(("=", other, day))) == (day, other)
    assert asked_days(asked((">", day), ("<=", other))) == (day, other)
    assert asked_days(asked((">=", other), ("<", day))) == (other, other)  # nothing: the engine judges the rows
    assert asked_days(asked(("=", date.max))) == (LAST, LAST)
    assert asked_days(asked((">=", date.max))) == (LAST, LAST)
    assert asked_days(asked(("=", date.min))) == (FIRST, FIRST)
    both = Asked(None, (*asked(("=", day)).alternatives, *asked((">=", other)).alternatives))
    assert asked_days(both) == (day, LAST)


def test_a_row_on_no_day_is_refused_by_name_unless_days_are_asked_for(tiers: Ledger) -> None:
    tiers.sql("CREATE TABLE endless PARTITION OF transactions_partitioned FOR VALUES FROM ('2200-01-01') TO (MAXVALUE)")
    insert(tiers, 800, created_at="infinity")
    with pytest.raises(DataError, match="1 row with a created_at outside the years 1 to 9999"):
        tiers.ask(f"SELECT * FROM {VIEW}")
    assert rows_of(tiers, VIEW, "day <= '2026-12-31'") == told(
        answer(tiers.settings, tiers.table, Zone.UTC, GROUPS, days=(COLD.first_day, HOT.first_day + timedelta(days=60)))
    )


def test_the_last_day_of_the_calendar_can_be_asked_for(tiers: Ledger) -> None:
    for view in (VIEW, JOHANNESBURG):
        for day in (date.max, date.min):
            assert rows_of(tiers, view, f"day = DATE '{day.isoformat()}'") == {}
    tiers.sql("CREATE TABLE endless PARTITION OF transactions_partitioned FOR VALUES FROM ('2200-01-01') TO (MAXVALUE)")
    insert(tiers, 800, created_at=datetime(9999, 12, 31, 12, tzinfo=UTC))
    with pytest.raises(DataError, match="1 row with a created_at outside"):  # an answer without it would look whole
        rows_of(tiers, VIEW, "day = DATE '9999-12-31'")


def test_a_month_that_somebody_took_away_is_refused_by_name(tiers: Ledger) -> None:
    keep_daily_totals(tiers.settings, [tiers.table])
    tiers.sql("ALTER TABLE transactions_partitioned DETACH PARTITION transactions_2026_10")
    with pytest.raises(DataError, match="2026-10"):
        tiers.ask(f"SELECT sum(rows) FROM {VIEW}")
    assert tiers.ask(f"SELECT sum(rows)::BIGINT AS n FROM {VIEW} WHERE day < '2024-04-01'")[0]["n"] > 0


def test_a_query_cannot_reach_what_is_behind_a_view(tiers: Ledger) -> None:
    with pytest.raises(DataError):
        tiers.ask("SELECT * FROM daily_totals")
    with pytest.raises(DataError):
        tiers.ask(f"SELECT no_such_column FROM {VIEW}")
    assert tiers.ask(f"SELECT count(*) AS n FROM {VIEW.upper()} WHERE status = 'no such status'") == [{"n": 0}]
