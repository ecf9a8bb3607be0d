"""A month that was sealed and not archived takes writes again."""

from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Placeholder

from ledger.errors import DataError, NotFoundError
from ledger.months import Month
from sql.connection import connect
from tasks.archiving.outcome import MoveResult
from tasks.archiving.to_cold import Step, archive_month
from tasks.health import CHECKS, run_checks
from tasks.importing.loading import MonthTargets
from tasks.restoring.unseal import unseal_month
from tests.tasks.archiving.ledger import COLD, HOT, ROWS, Ledger, make_row


class KilledError(Exception):
    """Stands for the end of a process."""


def stopped_after(ledger: Ledger, step: Step) -> None:
    """An archiving that was killed after a step."""

    def on_step(done: Step) -> None:
        if done is step:
            raise KilledError(step)

    with pytest.raises(KilledError):
        archive_month(ledger.settings, ledger.table, COLD, on_step)


def unseal(ledger: Ledger, month: Month = COLD) -> None:
    unseal_month(ledger.settings, ledger.table, month, "anna", "a row must be corrected")


@pytest.mark.parametrize("step", [Step.SEALED, Step.UPLOADED, Step.DESCRIBED])
def test_a_sealed_month_takes_writes_again_and_is_archived_later(ledger: Ledger, step: Step) -> None:
    ledger.warm(COLD)
    stopped_after(ledger, step)
    with pytest.raises(psycopg.Error, match="is sealed"):
        ledger.sql("TRUNCATE transactions_2024_03")
    unseal(ledger)
    late = make_row(ledger.table, COLD, 900)
    with connect(ledger.settings.database_dsn, "tests") as connection:
        names = SQL(", ").join(map(Identifier, late))
        marks = SQL(", ").join(map(Placeholder, late))
        connection.execute(SQL("INSERT INTO transactions_2024_03 ({}) VALUES ({})").format(names, marks), late)
    assert ledger.catalogue(COLD)["step"] == "idle"
    ((detail,),) = ledger.sql("SELECT detail FROM archive_events WHERE event = 'unsealed'")
    assert detail == {"actor": "anna", "reason": "a row must be corrected"}
    archive_month(ledger.settings, ledger.table, COLD)
    assert ledger.tier(COLD) == "cold"
    assert ledger.content()[str(COLD)][0] == ROWS + 1


def test_a_sealed_month_that_is_claimed_again_in_vain_stays_sealed_for_everybody(ledger: Ledger) -> None:
    """The claim begins the steps again, and the seal is still on the partition."""
    ledger.warm(COLD)
    stopped_after(ledger, Step.UPLOADED)
    hurried = ledger.settings.model_copy(update={"lock_attempts": 1, "lock_timeout_ms": 20})
    with psycopg.connect(ledger.settings.database_dsn) as writer:
        writer.execute("LOCK TABLE transactions_2024_03 IN ROW EXCLUSIVE MODE")
        (outcome,) = Ledger(hurried, ledger.store).night()
    assert (outcome.result, ledger.catalogue(COLD)["step"]) == (MoveResult.FAILED, "claimed")
    (check,) = [check for check in CHECKS if check.name == "months_overdue"]
    (result,) = run_checks(ledger.settings, [check], datetime.now(UTC))
    assert result.line.startswith("1 month takes no writes: a move failed after the seal, transactions 2024-03: ")
    with connect(ledger.settings.database_dsn, "tests") as connection:
        target = MonthTargets(connection, ledger.settings, ledger.table).target(COLD.index)
    assert target.refusal == "month 2024-03 is sealed: it takes no more rows"
    unseal(ledger)
    ledger.sql("TRUNCATE transactions_2024_03")
    with connect(ledger.settings.database_dsn, "tests") as connection:
        assert MonthTargets(connection, ledger.settings, ledger.table).target(COLD.index).parent is not None


def test_only_a_sealed_warm_month_is_unsealed(ledger: Ledger) -> None:
    ledger.warm(COLD)
    ledger.fill(HOT, rows=2)
    with pytest.raises(DataError, match="transactions 2024-03 is not sealed: it takes writes"):
        unseal(ledger)
    with pytest.raises(DataError, match="transactions 2026-10 is hot: only a warm month"):
        unseal(ledger, HOT)
    with pytest.raises(NotFoundError, match="has no month 2011-01"):
        unseal(ledger, Month(2011, 1))
    archive_month(ledger.settings, ledger.table, COLD)
    with pytest.raises(DataError, match="transactions 2024-03 is cold"):
        unseal(ledger)
