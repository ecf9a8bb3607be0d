"""A superuser with the guards switched off alters a sealed month: the archive refuses it and PostgreSQL keeps it."""

import psycopg
import pytest

from ledger.errors import VerificationError
from tasks.archiving.outcome import MoveResult
from tasks.archiving.to_cold import Step, archive_month
from tests.tasks.archiving.ledger import COLD, Ledger

PARTITION = "transactions_2024_03"
FIRST = f"id = (SELECT id FROM {PARTITION} ORDER BY id LIMIT 1)"
ALTERATIONS = {
    "an amount": f"UPDATE {PARTITION} SET amount = amount + 1 WHERE {FIRST}",
    "a text": f"UPDATE {PARTITION} SET user_id = 'user-x' WHERE {FIRST}",
    "nothing but the row's version": f"UPDATE {PARTITION} SET amount = amount WHERE {FIRST}",
    "a row less": f"DELETE FROM {PARTITION} WHERE {FIRST}",
    "a row more": f"INSERT INTO {PARTITION} SELECT (overlay(id::text placing 'ffff' from 33))::uuid, "
    "client_id, user_id, wallet_id, counterparty_wallet_id, type, status, amount, fee, currency, reference, "
    f"description, metadata, created_at, updated_at FROM {PARTITION} WHERE {FIRST}",
}


def alter(ledger: Ledger, statement: str) -> None:
    """Run a statement with every trigger of the partition off, and leave no trace of that."""
    with psycopg.connect(ledger.settings.database_dsn) as connection:
        connection.execute(f"ALTER TABLE {PARTITION} DISABLE TRIGGER ALL")
        assert connection.execute(statement).rowcount == 1
        connection.execute(f"ALTER TABLE {PARTITION} ENABLE TRIGGER ALL")
        for trigger in ("treasury_sealed_rows", "treasury_sealed_truncate"):
            connection.execute(f"ALTER TABLE {PARTITION} ENABLE ALWAYS TRIGGER {trigger}")


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("step", "name"),
    [
        *((step, "a text") for step in (Step.EXPORTED, Step.UPLOADED, Step.VERIFIED)),
        *((Step.DESCRIBED, name) for name in ALTERATIONS),
    ],
)
def test_rows_altered_under_the_seal_are_found_before_anything_is_dropped(
    ledger: Ledger, step: Step, name: str
) -> None:
    ledger.warm(COLD)
    altered = []

    def harm(at: Step) -> None:
        if at is step:
            alter(ledger, ALTERATIONS[name])
            altered.append(ledger.content())

    with pytest.raises(VerificationError):
        archive_month(ledger.settings, ledger.table, COLD, harm)
    assert [ledger.content()] == altered
    assert ledger.tier(COLD) == "warm"

    assert [outcome.result for outcome in ledger.night()] == [MoveResult.MOVED]
    assert [ledger.content()] == altered
    ledger.check_archive()


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "breaking",
    [
        f"DROP TRIGGER treasury_sealed_rows ON {PARTITION}",
        f"ALTER TABLE {PARTITION} DISABLE TRIGGER treasury_sealed_rows",
        f"ALTER TABLE {PARTITION} ENABLE TRIGGER treasury_sealed_truncate",  # origin only: a replica's writes get by
    ],
)
def test_a_seal_that_was_broken_before_the_drop_keeps_the_month(ledger: Ledger, breaking: str) -> None:
    ledger.warm(COLD)
    before = ledger.content()

    def harm(at: Step) -> None:
        if at is Step.DESCRIBED:
            ledger.sql(breaking)

    with pytest.raises(VerificationError, match="the seal was broken"):
        archive_month(ledger.settings, ledger.table, COLD, harm)
    assert ledger.content() == before
    assert ledger.tier(COLD) == "warm"
    assert [outcome.result for outcome in ledger.night()] == [MoveResult.MOVED]
    assert ledger.content() == before
    ledger.check_archive()


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "statement",
    [
        f"INSERT INTO {PARTITION} SELECT * FROM {PARTITION} LIMIT 1",
        f"UPDATE {PARTITION} SET amount = 1",
        f"DELETE FROM {PARTITION}",
        f"TRUNCATE {PARTITION}",
        "TRUNCATE transactions_archive_warm",
        f"SET session_replication_role = replica; DELETE FROM {PARTITION}",
    ],
)
def test_a_sealed_month_takes_no_write_from_anyone(ledger: Ledger, statement: str) -> None:
    ledger.warm(COLD)
    refused = []

    def try_it(at: Step) -> None:
        if at is Step.SEALED:
            with pytest.raises(psycopg.Error) as raised:
                ledger.sql(statement)
            refused.append(raised.value.sqlstate)

    archive_month(ledger.settings, ledger.table, COLD, try_it)
    assert refused in (["TR001"], ["TR002"])  # history is guarded first, then the seal
