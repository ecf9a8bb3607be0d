"""The account of an import is PostgreSQL's: what a trigger drops is rejected, what it changes stops the import."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import psycopg
import pytest

from config import Settings
from ledger.errors import NotStoredError
from ledger.tables import TRANSACTIONS
from sql.connection import connect
from sql.preparation import prepare_table
from tasks.synthetic.generate import GenerateParameters, generate
from tests.tasks.importing.conftest import Run

HEADER = b"no,wallet,amount,text,at\n"
TWO = HEADER + b"1,w1,1.50,,2024-05-17\n2,w2,2.50,,2024-05-17\n"
DROPS = "BEGIN IF NEW.wallet_id = 'w2' THEN RETURN NULL; END IF; RETURN NEW; END"
SENDS_ELSEWHERE = (
    "BEGIN IF NEW.wallet_id = 'w2' THEN INSERT INTO aside VALUES (NEW.id); RETURN NULL; END IF; RETURN NEW; END"
)
CHANGES = {
    "an amount": "NEW.amount := NEW.amount + 1",
    "the wallet": "NEW.wallet_id := 'w3'",
    "the key": "NEW.id := overlay(NEW.id::text placing 'ffff' from 33)::uuid",
}


def interfere(database: psycopg.Connection[Any], body: str, table: str = "transactions_partitioned") -> None:
    database.execute(f"CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $${body}$$")
    database.execute(f"CREATE TRIGGER meddle BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION meddle()")


def wallets(database: psycopg.Connection[Any]) -> list[str]:
    return [name for (name,) in database.execute("SELECT wallet_id FROM transactions ORDER BY 1")]


@pytest.mark.parametrize("body", [DROPS, SENDS_ELSEWHERE], ids=["drops", "sends elsewhere"])
def test_a_row_that_a_trigger_drops_is_rejected_with_its_name(
    run: Run, database: psycopg.Connection, body: str
) -> None:
    database.execute("CREATE TABLE aside (id uuid)")
    interfere(database, body)
    outcome = run(TWO)
    assert outcome.counts == (2, 1, 1)
    ((line, reason, _, text),) = outcome.rejects
    assert (line, text) == (3, "2,w2,2.50,,2024-05-17")
    assert "PostgreSQL did not store the row" in reason
    assert "trigger meddle on transactions_partitioned" in reason
    assert wallets(database) == ["w1"]
    assert run(TWO).counts == (2, 0, 2)
    database.execute("DROP FUNCTION meddle() CASCADE")
    assert run(TWO).counts == (2, 1, 1)
    assert wallets(database) == ["w1", "w2"]


def test_a_trigger_that_is_made_after_the_tables_were_looked_at_is_counted_too(
    run: Run, database: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sql import storing
    from tasks.importing import loading

    looked: Iterator[list[str]] = iter([[]])  # the first look is before the trigger, every later one after it
    really = storing.alterers
    interfere(database, DROPS)
    monkeypatch.setattr(loading, "alterers", lambda *given: next(looked, None) or really(*given))
    assert run(TWO).counts == (2, 1, 1)


@pytest.mark.parametrize("name", CHANGES)
def test_a_trigger_that_changes_rows_stops_the_import_and_loads_none_of_them(
    run: Run, database: psycopg.Connection, name: str
) -> None:
    interfere(database, f"BEGIN IF NEW.wallet_id = 'w2' THEN {CHANGES[name]}; END IF; RETURN NEW; END")
    with pytest.raises(NotStoredError, match="trigger meddle on transactions_partitioned changes rows"):
        run(TWO)
    assert wallets(database) == []
    database.execute("DROP FUNCTION meddle() CASCADE")
    assert run(TWO).counts == (2, 2, 0)


def test_a_trigger_that_changes_nothing_is_none_of_the_imports_business(run: Run, database: psycopg.Connection) -> None:
    interfere(database, "BEGIN RETURN NEW; END")
    assert run(TWO).counts == (2, 2, 0)
    assert run(TWO).counts == (2, 0, 2)


def test_a_rule_in_place_of_the_insert_does_not_shorten_the_account(run: Run, database: psycopg.Connection) -> None:
    database.execute("CREATE RULE meddle AS ON INSERT TO transactions_partitioned DO INSTEAD NOTHING")
    with pytest.raises(NotStoredError, match="a rule takes the place"):
        run(TWO)
    assert wallets(database) == []


def test_a_table_with_the_name_of_the_staging_table_is_not_written_to(run: Run, database: psycopg.Connection) -> None:
    database.execute("CREATE TABLE import_staging (line bigint, LIKE transactions_partitioned)")
    assert run(TWO).counts == (2, 2, 0)
    assert run(TWO).counts == (2, 0, 2)
    assert database.execute("SELECT count(*) FROM import_staging").fetchone() == (0,)


def test_made_up_rows_are_counted_by_postgresql(settings: Settings, database: psycopg.Connection) -> None:
    with connect(settings.database_dsn, "tests") as connection:
        prepare_table(connection, settings, TRANSACTIONS)
    interfere(database, "BEGIN RETURN NULL; END")
    parameters = GenerateParameters(months=1, rows_per_month=30, until=date(2024, 5, 1), wallets=10)
    with pytest.raises(NotStoredError, match="transactions_partitioned: 30 rows were sent and PostgreSQL stored 0"):
        generate(settings, parameters, lambda *_: None)
