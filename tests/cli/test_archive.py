"""`treasury tiers`, `treasury sql` and `treasury run`, as a user types them."""

import csv
import io
import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from config import Settings
from ledger.errors import ConfigError, DataError
from tests.archives import Archives, month_in_each_tier
from tests.cli.conftest import Treasury
from tests.tasks.archiving.ledger import COLD, HOT, PROJECT, ROWS, TODAY, WARM, Ledger, make_row

AS_OF = ("--as-of", TODAY.isoformat())


@pytest.fixture
def tiers(ledger: Ledger, archives: Archives) -> Ledger:
    """A month in each tier."""
    archives.begin(ledger.settings, month_in_each_tier)
    return ledger


def test_tiers_as_json_say_what_is_where_and_what_it_sums_to(tiers: Ledger, treasury_here: Treasury) -> None:
    answer = treasury_here("tiers", "--json", "--table", "transactions")
    assert answer.returncode == 0, answer.stderr
    rows = {row["month"]: row for row in json.loads(answer.stdout)}
    assert {month: (row["tier"], row["rows"]) for month, row in rows.items()} == {
        str(COLD): ("cold", ROWS),
        str(WARM): ("warm", ROWS),
        str(HOT): ("hot", ROWS),
    }
    totals = {month: sum(Decimal(sums["amount"]) for sums in row["sums"].values()) for month, row in rows.items()}
    assert totals == {month: total for month, (_, total) in tiers.content().items()}
    known = tiers.catalogue(COLD)
    cold = rows[str(COLD)]
    assert (cold["digest"], cold["bytes"]) == (known["digest"].hex(), known["object_bytes"])
    assert (rows[str(WARM)]["digest"], rows[str(HOT)]["moved_at"]) == (None, None)


@pytest.mark.heavy("the same months are tested as JSON")
def test_tiers_for_people_name_every_month_and_the_trouble(ledger: Ledger, treasury: Treasury) -> None:
    ledger.fill(COLD, description="a unit separator \x1f in a text")
    ledger.night()
    answer = treasury("tiers", "--table", "transactions", COLUMNS="200")
    assert answer.returncode == 0, answer.stderr
    assert str(COLD) in answer.stdout
    assert "warm" in answer.stdout
    assert "holds U+001E or U+001F" in answer.stdout


def test_tiers_of_an_unknown_table_name_it(treasury_here: Treasury) -> None:
    answer = treasury_here("tiers", "--table", "ghosts")
    assert answer.returncode == ConfigError.exit_code
    assert answer.stderr == "error: unknown table 'ghosts'; known: transactions, vas_transactions\n"


def test_sql_answers_over_every_tier_to_a_pipe(tiers: Ledger, treasury: Treasury) -> None:
    question = "SELECT tier, count(*) AS n, sum(amount) AS total FROM transactions GROUP BY tier ORDER BY tier"
    answer = treasury("sql", question, "--format", "csv")
    assert answer.returncode == 0, answer.stderr
    expected = {tier: (str(rows), str(total)) for (_, tier), (rows, total) in tiers.whole().items()}
    assert {row["tier"]: (row["n"], row["total"]) for row in csv.DictReader(io.StringIO(answer.stdout))} == expected
    assert answer.stderr == "read 3 of 3 months\n"


@pytest.mark.heavy("test_streamed_answers.py tests the formats")
def test_sql_writes_a_file_that_programs_can_read(tiers: Ledger, treasury_here: Treasury, tmp_path: Path) -> None:
    file = tmp_path / "answer.parquet"
    answer = treasury_here("sql", "SELECT id, amount FROM transactions", "-f", "parquet", "-o", str(file))
    assert (answer.returncode, answer.stdout) == (0, "")
    assert pq.read_table(file).num_rows == 3 * ROWS


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "question", ["DELETE FROM transactions", "SELECT 1; SELECT 2", "SELECT colour FROM transactions", "SELECT (", ""]
)
def test_sql_that_is_no_question_ends_with_the_code_of_bad_data(treasury_here: Treasury, question: str) -> None:
    assert treasury_here("setup").returncode == 0
    answer = treasury_here("sql", question)
    assert answer.returncode == DataError.exit_code
    assert answer.stdout == ""
    assert answer.stderr.startswith("error: SQL: ")
    assert "Traceback" not in answer.stderr


@pytest.mark.heavy("the flow plans only in its own test, and a wrong table starts the same process")
def test_run_with_plan_only_shows_what_would_move_and_moves_nothing(
    ledger: Ledger, treasury: Treasury, prefect_url: str
) -> None:
    ledger.fill(COLD)
    answer = treasury("run", "archive_months", *AS_OF, "--plan-only", TREASURY_PREFECT_API_URL=prefect_url)
    assert answer.returncode == 0, answer.stderr
    assert f"{COLD}" in answer.stdout
    assert "planned" in answer.stdout
    assert answer.stderr.endswith("next: run the same without --plan-only to do this\n")
    answer = treasury("run", "archive_months", *AS_OF, "--plan-only", "--json", TREASURY_PREFECT_API_URL=prefect_url)
    assert {(move["table"], move["month"], move["result"]) for move in json.loads(answer.stdout)} == {
        ("transactions", str(COLD), "planned")
    }
    assert ledger.tier(COLD) == "hot"


@pytest.mark.heavy("test_main.py tests the exit codes")
def test_run_with_a_wrong_table_ends_with_the_code_of_a_wrong_setting(treasury: Treasury, prefect_url: str) -> None:
    answer = treasury("run", "archive_months", "--table", "ghosts", TREASURY_PREFECT_API_URL=prefect_url)
    assert answer.returncode == ConfigError.exit_code
    assert answer.stderr.endswith("error: unknown table 'ghosts'; known: transactions, vas_transactions\n")


@pytest.mark.slow
def test_the_jobs_former_names_do_what_they_did(ledger: Ledger, treasury: Treasury, prefect_url: str) -> None:
    vas = ledger.settings.table("vas_transactions")
    ledger.fill(COLD)
    ledger.fill(COLD, table=vas)
    in_vas = Ledger(ledger.settings, ledger.store)
    in_vas.table = vas

    def run(job: str) -> tuple[str, str]:
        answer = treasury("run", job, *AS_OF, TREASURY_PREFECT_API_URL=prefect_url)
        assert answer.returncode == 0, answer.stderr
        return ledger.tier(COLD), in_vas.tier(COLD)

    assert run("archive_transactions_to_warm") == ("warm", "hot")
    assert run("archive_transactions_to_cold") == ("cold", "hot")
    assert run("archive_vas_transactions") == ("cold", "cold")
    assert run("run_archiving_operations") == ("cold", "cold")
    assert {rows for rows, _ in (*ledger.content().values(), *in_vas.content().values())} == {ROWS}


@pytest.mark.heavy("the roles are tested in tests/sql/test_roles.py")
def test_an_auditor_needs_no_login_but_the_auditor_s(ledger: Ledger, settings: Settings, tmp_path: Path) -> None:
    ledger.fill(HOT)
    given = settings.environment() | {"TREASURY_HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"]}
    owner, _ = given.pop("TREASURY_DATABASE_URL"), given.pop("TREASURY_API_DATABASE_URL")
    argv = [sys.executable, "-m", "cli.main", "sql", "SELECT count(*) AS n FROM transactions", "--format", "csv"]

    def ask(**environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            argv, env=given | environment, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=120
        )

    alone = ask()
    assert (alone.returncode, alone.stdout.split()) == (0, ["n", str(ROWS)]), alone.stderr
    assert "owner" not in alone.stderr
    del given["TREASURY_AUDITOR_DATABASE_URL"]
    as_owner = ask(TREASURY_DATABASE_URL=owner)
    assert as_owner.stdout == alone.stdout
    assert "TREASURY_AUDITOR_DATABASE_URL is not set" in as_owner.stderr


def test_csv_ends_its_lines_with_lf_on_standard_output_and_in_a_file(ledger: Ledger, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "cli.main", "sql", "SELECT 1 AS n, 'a\r\nb' AS text", "--format", "csv"]
    environment = dict(os.environ) | ledger.settings.environment()
    shown = subprocess.run(argv, env=environment, cwd=PROJECT, capture_output=True, check=True, timeout=120).stdout
    file = tmp_path / "answer.csv"
    subprocess.run([*argv, "--output", str(file)], env=environment, cwd=PROJECT, check=True, timeout=120)
    assert shown == file.read_bytes() == b'n,text\n1,"a\r\nb"\n'


@pytest.mark.heavy("test_late_rows.py tests the rule")
def test_late_rows_open_an_archived_month_and_sql_names_what_no_run_has_seen(
    tiers: Ledger, treasury_here: Treasury
) -> None:
    bounds = f"FROM ('{COLD}-01 00:00+00') TO ('{COLD.plus(1)}-01 00:00+00')"
    tiers.sql(f"CREATE TABLE again PARTITION OF transactions_partitioned FOR VALUES {bounds}")
    row = make_row(tiers.table, COLD, 1000)
    tiers.sql(f"INSERT INTO again ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})", *row.values())
    question = ("sql", "SELECT count(*) AS n FROM transactions", "--format", "csv")
    answer = treasury_here(*question)
    assert (answer.returncode, answer.stdout.split()) == (0, ["n", str(3 * ROWS + 1)])
    assert "also read again (hot, FOR VALUES FROM" in answer.stderr

    opened = treasury_here("late-rows", "transactions", str(COLD))
    assert (opened.returncode, opened.stdout.strip()) == (0, f"transactions {COLD}: part 2 is hot, again has 1 row")
    answer = treasury_here(*question)
    assert (answer.stdout.split(), "also read" in answer.stderr) == (["n", str(3 * ROWS + 1)], False)
    refused = treasury_here("late-rows", "transactions", "2001-01")
    assert (refused.returncode, "no tier has this month" in refused.stderr) == (66, True)
