"""`treasury setup`, and what the other commands say of a database that was not set up: nothing is made by looking."""

import json

import psycopg
import pytest

from config import Settings
from tests.cli.conftest import Treasury
from tests.cli.in_process import run_here
from tests.tasks.archiving.ledger import PROJECT

RELATIONS = """
    SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' ORDER BY 1
"""
READING = (
    "tiers",
    "sql 'SELECT 1'",
    "key list",
    "key events",
    "key create acme",
    "alert list",
    "recon verify --chain-only",
    "verify",
    "recon runs",
    "recon breaks",
    "recon periods",
    "statements list",
    "installation show",
    "watch run",
)


@pytest.fixture
def company(empty: Settings, capsys: pytest.CaptureFixture[str]) -> Treasury:
    """Run a command on a company's database that has tables of its own."""
    with psycopg.connect(empty.database_dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE alerts (theirs int); CREATE TABLE transactions (theirs int)")

    def run(*arguments: str, **environment: str):  # type: ignore[no-untyped-def]  # as Treasury says
        return run_here(capsys, PROJECT, empty.environment() | environment, *arguments)

    return run


def _relations(settings: Settings) -> list[str]:
    with psycopg.connect(settings.database_dsn) as connection:
        return [name for (name,) in connection.execute(RELATIONS)]


@pytest.mark.parametrize("command", READING)
def test_a_command_that_reads_makes_nothing_and_names_the_one_that_sets_up(
    empty: Settings, company: Treasury, command: str
) -> None:
    before = _relations(empty)
    words = command.split(" ", 1) if "SELECT" in command else command.split()
    answer = company(*(word.strip("'") for word in words))
    assert answer.returncode == 78, answer.stderr
    assert "no tables of Treasury in its schema treasury: `treasury setup` sets it up" in answer.stderr
    assert _relations(empty) == before == ["public.alerts", "public.transactions"]


def test_health_of_a_database_that_was_not_set_up_says_so_and_makes_nothing(empty: Settings, company: Treasury) -> None:
    answer = company("health", "--json")
    found = {one["name"]: one["line"] for one in json.loads(answer.stdout)["checks"]}
    assert "`treasury setup` sets it up" in found["months_overdue"]
    assert _relations(empty) == ["public.alerts", "public.transactions"]


def test_setup_names_what_is_taken_and_the_rest_works(empty: Settings, company: Treasury) -> None:
    answer = company("setup")
    assert answer.returncode == 78
    assert "table transactions: the database has a table called transactions" in answer.stderr
    assert {name.partition(".")[0] for name in _relations(empty)} == {"public", "treasury"}
    assert company("tiers").returncode == 0
    with psycopg.connect(empty.database_dsn, autocommit=True) as connection:
        connection.execute("ALTER TABLE transactions RENAME TO their_transactions")
    answer = company("setup")
    assert (answer.returncode, answer.stderr) == (0, "next: start the servers with `treasury up`\n")
    assert "the database is set up" in answer.stdout
