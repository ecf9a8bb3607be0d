"""Generated months: the same for the same seed, plausible, whole or not there."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from uuid import UUID

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pydantic import ValidationError

from config import Settings
from ledger.currencies import CURRENCIES
from ledger.identifiers import created_at_of
from ledger.months import Month
from ledger.tables import BUILT_IN, TRANSACTIONS, VAS_TRANSACTIONS, TieredTable
from ledger.transactions import field_names, new_transaction
from sql.connection import connect
from sql.warm import move_to_warm
from tasks.synthetic import payments as synthetic
from tasks.synthetic.generate import GeneratedMonth, GenerateParameters, generate
from tasks.synthetic.payments import MonthPlan, World, month_tables

UNTIL = date(2026, 11, 23)
CONTENT = "SELECT sha256(string_agg(t::text, chr(10) ORDER BY id)::bytea) FROM {} AS t"


def parameters(**changes: object) -> GenerateParameters:
    return GenerateParameters.model_validate(
        {"months": 5, "rows_per_month": 300, "vas_rows_per_month": 200, "until": UNTIL, "seed": 7} | changes
    )


def make(settings: Settings, **changes: object) -> list[GeneratedMonth]:
    return generate(settings, parameters(**changes), lambda *_: None)


def month(table: TieredTable, rows: int = 5_000, seed: int = 7, **changes: object) -> pa.Table:
    values = {"before": datetime(2027, 1, 1, tzinfo=UTC)} | changes
    plan = MonthPlan(table, Month(2026, 3), rows, **values)  # type: ignore[arg-type]
    return pa.concat_tables(month_tables(World(seed, 1_000), plan))


@pytest.fixture
def database(settings: Settings) -> Iterator[psycopg.Connection]:
    with psycopg.connect(settings.database_dsn, autocommit=True) as connection:
        yield connection


def content(database: psycopg.Connection) -> list[object]:
    return [database.execute(CONTENT.format(table.name)).fetchone() for table in BUILT_IN]


@pytest.mark.parametrize("table", BUILT_IN, ids=lambda table: table.name)
def test_every_row_keeps_the_ledger_s_rules(table: TieredTable) -> None:
    rows = month(table).to_pylist()
    for row in rows:
        given = {name: row[name] for name in field_names(table) if name in row and name != "metadata"}
        money = {name: str(given[name]) for name in table.money_columns}
        checked = new_transaction(table, given | money)
        assert {name: checked[name] for name in given} == given
        assert created_at_of(UUID(row["id"])) == row["created_at"]
        assert Month.of(row["created_at"]) == Month(2026, 3)
        assert row["updated_at"] >= row["created_at"]
        assert row["currency"] in CURRENCIES
    assert len({row["id"] for row in rows}) == len(rows) == 5_000
    assert [row["created_at"] for row in rows] == sorted(row["created_at"] for row in rows)


def test_the_same_seed_makes_the_same_rows_and_another_makes_others() -> None:
    assert month(TRANSACTIONS).equals(month(TRANSACTIONS))
    assert not month(TRANSACTIONS).equals(month(TRANSACTIONS, seed=8))


@pytest.mark.heavy("rules of every row are tested beside it")
def test_a_month_s_rows_do_not_depend_on_which_other_months_are_made(
    settings: Settings, database: psycopg.Connection
) -> None:
    make(settings, months=1, until=date(2026, 10, 1))
    alone = database.execute(CONTENT.format("transactions")).fetchone()
    make(settings, months=4, until=date(2026, 10, 1))
    among = database.execute(CONTENT.format("transactions") + " WHERE created_at >= '2026-09-01Z'").fetchone()
    assert among == alone


def test_few_wallets_make_most_of_the_rows_and_nights_are_quiet() -> None:
    rows = month(TRANSACTIONS, rows=20_000)
    busiest = sorted((count.as_py() for count in pc.value_counts(rows["wallet_id"]).field("counts")), reverse=True)
    assert sum(busiest[:100]) > 0.5 * rows.num_rows
    hours = pc.hour(pc.local_timestamp(pc.assume_timezone(rows["created_at"].cast(pa.timestamp("ms")), "UTC")))
    night = pc.sum(pc.is_in(hours, pa.array([22, 23, 0, 1]))).as_py()  # midnight to four in South Africa
    assert night < 0.02 * rows.num_rows


def test_most_rows_are_completed_and_in_rand() -> None:
    rows = month(TRANSACTIONS, rows=20_000)
    assert 0.93 < pc.mean(pc.equal(rows["status"], "completed")).as_py() < 0.97
    assert 0.95 < pc.mean(pc.equal(rows["currency"], "ZAR")).as_py() < 0.99


def test_mobile_numbers_are_well_formed_and_nobody_s() -> None:
    numbers = pc.unique(pc.drop_null(month(VAS_TRANSACTIONS)["mobile_number"])).to_pylist()
    assert numbers
    assert all(len(number) == 11 and number.startswith("27000") for number in numbers)


def test_the_last_month_ends_before_until(settings: Settings, database: psycopg.Connection) -> None:
    made = make(settings)
    last = database.execute("SELECT max(created_at) FROM transactions").fetchone()
    assert last is not None
    assert last[0] < datetime(2026, 11, 23, tzinfo=UTC)
    by_month = {(one.table, str(one.month)): one.rows for one in made}
    assert by_month["transactions", "2026-10"] == 300
    assert 150 < by_month["transactions", "2026-11"] < 300


def test_every_row_is_finished_but_for_those_asked_for(settings: Settings, database: psycopg.Connection) -> None:
    make(settings, rows_per_month=3_000, unfinished=4)
    open_rows: dict[str, int] = dict(
        database.execute(
            """SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM'), count(*) FROM transactions
               WHERE status IN ('pending', 'processing') GROUP BY 1"""
        ).fetchall()
    )
    assert open_rows == {"2026-07": 4}


def test_made_again_everything_is_left_alone(settings: Settings, database: psycopg.Connection) -> None:
    make(settings)
    before = content(database)
    again = make(settings, seed=8)
    assert {one.skipped for one in again} == {"has rows already"}
    assert sum(one.rows for one in again) == 0
    assert content(database) == before


@pytest.mark.heavy("months that are made again are tested beside it")
def test_a_warm_month_is_filled_and_one_that_left_postgresql_is_skipped(
    settings: Settings, database: psycopg.Connection
) -> None:
    make(settings, rows_per_month=0, vas_rows_per_month=10)
    with connect(settings.database_dsn, "test") as connection:
        assert make(settings, months=1, rows_per_month=10)[0].rows > 0
        for table in BUILT_IN:
            move_to_warm(connection, settings, table, Month(2026, 11))
    database.execute("UPDATE archive_months SET tier = 'deleted', certificate = 'DEL-1' WHERE month = '2026-10-01'")
    made = {(one.table, str(one.month)): one for one in make(settings, months=2, rows_per_month=10)}
    assert made["vas_transactions", "2026-10"].skipped == "is deleted"
    assert made["vas_transactions", "2026-11"].skipped == "has rows already"
    assert made["transactions", "2026-10"].rows == 10


def test_a_month_is_there_as_a_whole_or_not_at_all(
    settings: Settings, database: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "SLAB_ROWS", 100)

    def stop(done: int, _: int) -> None:
        if done >= 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(settings, parameters(months=1, vas_rows_per_month=0), stop)
    assert database.execute("SELECT count(*) FROM transactions").fetchone() == (0,)
    assert make(settings, months=1, vas_rows_per_month=0)[0].rows > 200


@pytest.mark.parametrize("wrong", [{"months": 0}, {"rows_per_month": -1}, {"wallets": 1}, {"colour": 1}])
def test_wrong_parameters_are_named(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        parameters(**wrong)
