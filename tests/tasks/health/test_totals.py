"""The check of daily totals: months whose totals are kept, are not kept, and do not hold any more."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from config import Settings
from ledger.errors import TransientError
from tasks.health import CHECKS, CheckResult, HealthState, run_checks
from tasks.totals.keeping import keep_daily_totals
from tests.tasks.archiving.ledger import HOT, WARM, Ledger, make_row
from tests.tasks.health.conftest import at_port

KEPT = "the totals of every month that has ended are kept"


@pytest.fixture
def months(bare: Settings, tmp_path: Path) -> Ledger:
    """A warm and a hot month that have ended, known to the catalogue."""
    made = Ledger(bare, tmp_path)
    for month in (WARM, HOT):
        made.fill(month, rows=3)
    made.fill(HOT, rows=0, table=bare.table("vas_transactions"))
    made.night()
    return made


def look(ledger: Ledger, in_days: float = 0) -> CheckResult:
    """What the check says in so many days."""
    (check,) = [one for one in CHECKS if one.name == "daily_totals"]
    (result,) = run_checks(ledger.settings, [check], datetime.now(UTC) + timedelta(days=in_days))
    return result


def test_a_ledger_without_months_has_nothing_to_keep(bare: Settings, tmp_path: Path) -> None:
    result = look(Ledger(bare, tmp_path))
    assert (result.state, result.line) == (HealthState.HEALTHY, KEPT)


def test_months_without_totals_are_counted_and_the_one_that_waits_longest_is_named(months: Ledger) -> None:
    states = {days: look(months, days) for days in (0.5, 3, 8)}
    assert [one.state for one in states.values()] == [HealthState.HEALTHY, HealthState.WARNING, HealthState.CRITICAL]
    assert states[3].line == f"3 months without totals that hold, transactions {HOT} for 3 days"
    assert "treasury totals --keep" in states[3].to_do
    assert {one.error for one in keep_daily_totals(months.settings)} == {None}
    assert (look(months, 8).state, look(months, 8).line) == (HealthState.HEALTHY, KEPT)


def test_a_month_that_somebody_has_written_to_counts_from_when_its_totals_were_kept_last(months: Ledger) -> None:
    keep_daily_totals(months.settings)
    months.sql("UPDATE daily_totals_places SET kept_at = kept_at + interval '2 days'")
    row = make_row(months.table, HOT, 77)
    names, gaps = ", ".join(row), ", ".join(["%s"] * len(row))
    months.sql(f"INSERT INTO transactions_partitioned ({names}) VALUES ({gaps})", *row.values())
    line = f"1 month without totals that hold, transactions {HOT} for 3 days"
    assert (look(months, 5).line, look(months, 5).state) == (line, HealthState.WARNING)
    keep_daily_totals(months.settings)
    assert look(months, 5).line == KEPT


def test_without_postgresql_the_check_says_so(bare: Settings, tmp_path: Path) -> None:
    result = look(Ledger(at_port(bare, 1), tmp_path))
    assert result.state is HealthState.CRITICAL
    assert result.line != KEPT
    with pytest.raises(TransientError):
        keep_daily_totals(at_port(bare, 1))
