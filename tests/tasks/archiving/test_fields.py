"""A column is known by its number: it keeps its archived values under a new name, and never gets another's."""

import json
from typing import Any

import pyarrow.parquet as pq
import pytest

from config import Settings
from ledger.months import Month
from tasks.archiving.tiers import tier_rows
from tasks.archiving.to_cold import archive_month
from tests.archives import Archives
from tests.tasks.archiving.ledger import COLD, HOT, ROWS, WARM, Ledger

PARENTS = ("transactions_partitioned", "transactions_archive_warm")


def _alter(ledger: Ledger, change: str) -> None:
    for parent in PARENTS:
        ledger.sql(f"ALTER TABLE {parent} {change}")


def _drop_view(ledger: Ledger) -> None:
    ledger.sql("DROP VIEW IF EXISTS transactions")  # it hangs on the columns


@pytest.fixture
def tiers(ledger: Ledger, archives: Archives) -> Ledger:
    """A month in each tier, the description of every row known."""
    archives.begin(ledger.settings, _described_months)
    return ledger


def _described_months(settings: Settings) -> None:
    ledger = Ledger(settings, settings.home)
    for month in (COLD, WARM, HOT):
        ledger.fill(month, description="as it was")
    ledger.night()
    _drop_view(ledger)


def _values(ledger: Ledger, column: str) -> dict[str, set[Any]]:
    found: dict[str, set[Any]] = {}
    for row in ledger.ask(f"SELECT tier, {column} AS value FROM transactions"):
        found.setdefault(row["tier"], set()).add(row["value"])
    return found


def _fields(ledger: Ledger) -> dict[str, int]:
    query = "SELECT name, field_id FROM archive_columns WHERE table_name = 'transactions' AND dropped_at IS NULL"
    return dict(ledger.sql(query))


def test_every_parquet_column_has_the_number_that_manifest_and_postgresql_have(tiers: Ledger) -> None:
    month = tiers.catalogue(COLD)
    schema = pq.read_schema(tiers.store / month["object_key"])
    in_file = {name: int(schema.field(name).metadata[b"PARQUET:field_id"]) for name in schema.names}
    manifest = json.loads((tiers.store / month["manifest_key"]).read_bytes())
    assert in_file == {column["name"]: column["field_id"] for column in manifest["columns"]}
    assert in_file == {column["name"]: column["field_id"] for column in month["columns"]}
    assert in_file == _fields(tiers)
    assert sorted(in_file.values()) == list(range(1, 16))


@pytest.mark.heavy("months under each name answer together beside it")
def test_a_renamed_column_answers_to_both_names_in_every_tier(tiers: Ledger) -> None:
    _alter(tiers, "RENAME COLUMN description TO narrative")
    everywhere = {tier: {"as it was"} for tier in ("hot", "warm", "cold")}
    assert _values(tiers, "narrative") == everywhere
    tiers.fill(HOT.plus(-1), rows=0)  # writes the new name down
    assert _values(tiers, "narrative") == everywhere
    assert _values(tiers, "description") == everywhere
    assert tiers.ask("SELECT count(*) AS n FROM transactions WHERE description = 'as it was'") == [{"n": 3 * ROWS}]


def test_months_archived_under_each_name_answer_together(tiers: Ledger) -> None:
    number = _fields(tiers)["description"]
    _alter(tiers, "RENAME COLUMN description TO narrative")
    archive_month(tiers.settings, tiers.table, WARM)
    assert _fields(tiers)["narrative"] == number
    assert _values(tiers, "narrative") == {tier: {"as it was"} for tier in ("hot", "cold")}
    assert _values(tiers, "description") == {tier: {"as it was"} for tier in ("hot", "cold")}


def test_a_dropped_column_still_answers_for_archived_months(tiers: Ledger) -> None:
    _alter(tiers, "DROP COLUMN description")
    assert _values(tiers, "description") == {"hot": {None}, "warm": {None}, "cold": {"as it was"}}


def test_a_column_made_again_under_the_name_of_a_dropped_one_gets_none_of_its_values(tiers: Ledger) -> None:
    number = _fields(tiers)["description"]
    _alter(tiers, "DROP COLUMN description")
    _alter(tiers, "ADD COLUMN description text DEFAULT 'another'")
    expected = {"hot": {"another"}, "warm": {"another"}, "cold": {None}}
    assert _values(tiers, "description") == expected
    tiers.fill(HOT.plus(-1), rows=0)
    assert _values(tiers, "description") == expected
    assert _values(tiers, f"description_field_{number}") == {"hot": {None}, "warm": {None}, "cold": {"as it was"}}
    assert _fields(tiers)["description"] == 16


def test_a_name_that_changes_its_capitals_only_is_one_column(tiers: Ledger) -> None:
    _alter(tiers, 'RENAME COLUMN description TO "Description"')
    tiers.fill(HOT.plus(-1), rows=0)
    assert _values(tiers, "description") == {tier: {"as it was"} for tier in ("hot", "warm", "cold")}


@pytest.mark.heavy("months under each name answer together beside it")
def test_two_columns_that_exchange_their_names_keep_their_values(tiers: Ledger) -> None:
    _alter(tiers, "RENAME COLUMN description TO kept")
    _alter(tiers, "RENAME COLUMN reference TO description")
    _alter(tiers, "RENAME COLUMN kept TO reference")
    assert _values(tiers, "reference") == {tier: {"as it was"} for tier in ("hot", "warm", "cold")}
    assert "as it was" not in _values(tiers, "description")["cold"]


def test_a_renamed_money_column_keeps_its_sums(tiers: Ledger) -> None:
    before = {row.month: row.sums for row in tier_rows(tiers.settings, [tiers.table])}
    _alter(tiers, "RENAME COLUMN fee TO charge")
    table = tiers.table.model_copy(update={"money_columns": ("amount", "charge")})
    after = {row.month: row.sums for row in tier_rows(tiers.settings, [table])}
    assert set(after[COLD]["ZAR"]) == {"amount", "charge"}
    for month, sums in before.items():
        assert {code: list(values.values()) for code, values in after[month].items()} == {
            code: list(values.values()) for code, values in sums.items()
        }


def test_a_restored_dump_keeps_the_numbers_by_name(tiers: Ledger) -> None:
    before = _fields(tiers)
    tiers.sql("UPDATE archive_columns SET database_oid = 1, attribute = 1")  # the numbers of another database
    assert _values(tiers, "description")["cold"] == {"as it was"}
    tiers.fill(HOT.plus(-1), rows=0)
    assert _fields(tiers) == before
    (own,) = tiers.sql("SELECT count(*) FROM archive_columns WHERE database_oid <> 1")[0]
    assert own == len(before)


def test_a_number_is_never_given_twice(tiers: Ledger) -> None:
    for turn in range(3):
        _alter(tiers, f"ADD COLUMN extra text DEFAULT '{turn}'")
        tiers.fill(Month(2026, 9 - turn), rows=0)
        _drop_view(tiers)
        _alter(tiers, "DROP COLUMN extra")
        tiers.fill(Month(2026, 9 - turn), rows=0)
    query = "SELECT field_id FROM archive_columns WHERE table_name = 'transactions' ORDER BY 1"
    assert [number for (number,) in tiers.sql(query)] == list(range(1, 19))
