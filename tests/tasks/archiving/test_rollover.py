"""Rollover makes the months ahead and reports what is not as it should be; it mends nothing in silence."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date

import psycopg
import pytest

from ledger.errors import ConfigError
from ledger.months import Month, months_between
from tasks.archiving.rollover import RolloverReport, roll_table
from tests.tasks.archiving.ledger import COLD, TODAY, Ledger, make_row, moment

THIS_MONTH = Month.of(TODAY)
AHEAD = tuple(months_between(THIS_MONTH, THIS_MONTH.plus(12)))


def roll(ledger: Ledger, as_of: date = TODAY, plan_only: bool = False) -> RolloverReport:
    return roll_table(ledger.settings, ledger.table, as_of, plan_only, today=TODAY)


def test_this_month_and_twelve_more_are_made_and_then_left_alone(ledger: Ledger) -> None:
    first, again = roll(ledger), roll(ledger)
    assert (first.created, first.findings) == (AHEAD, [])
    assert (again.created, again.wanted, again.findings) == ((), (), [])


def test_a_plan_makes_nothing(ledger: Ledger) -> None:
    report = roll(ledger, plan_only=True)
    assert (report.created, report.wanted) == ((), AHEAD)
    assert ledger.sql("SELECT count(*) FROM archive_months") == [(0,)]


def test_a_day_later_only_what_is_new_is_made(ledger: Ledger) -> None:
    roll(ledger)
    assert roll(ledger, as_of=THIS_MONTH.plus(1).first_day).created == (THIS_MONTH.plus(13),)


def test_four_at_once_make_every_month_once(ledger: Ledger) -> None:
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: roll(ledger), range(4)))
    assert sorted(month for report in reports for month in report.created) == list(AHEAD)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("zone", ["Africa/Johannesburg", "America/St_Johns", "Pacific/Kiritimati"])
def test_bounds_are_utc_whatever_the_session_s_zone(ledger: Ledger, zone: str) -> None:
    database = psycopg.conninfo.conninfo_to_dict(ledger.settings.database_dsn)["dbname"]
    ledger.sql(f"ALTER DATABASE {database} SET timezone = '{zone}'")
    assert roll(ledger).created == AHEAD
    assert roll(ledger).findings == []
    ledger.fill(THIS_MONTH)  # its first and its last instant among the rows
    partition = ledger.table.partition(THIS_MONTH)
    assert ledger.sql(f"SELECT count(DISTINCT tableoid), count(*) FILTER (WHERE tableoid = '{partition}'::regclass) "
                      "FROM transactions_partitioned") == [(1, 40)]  # fmt: skip


def test_a_row_outside_every_partition_is_refused_by_the_database(ledger: Ledger) -> None:
    roll(ledger)
    with pytest.raises(psycopg.errors.CheckViolation, match="no partition of relation"):
        ledger.sql(
            "INSERT INTO transactions_partitioned (id, client_id, user_id, wallet_id, type, status, amount, currency,"
            " created_at, updated_at) VALUES (gen_random_uuid(), 'a', 'b', 'c', 'payment', 'completed', 1, 'ZAR', %s,"
            " now())",
            moment(COLD),
        )


def test_gaps_are_reported_as_ranges(ledger: Ledger) -> None:
    ledger.fill(Month(2026, 1), rows=0)
    ledger.fill(Month(2026, 6), rows=0)
    report = roll(ledger)
    assert report.findings == ["gap: no tier has 2026-02 to 2026-05", "gap: no tier has 2026-07 to 2026-10"]
    assert report.problems == []


def test_a_partition_of_other_bounds_is_irregular(ledger: Ledger) -> None:
    roll(ledger)
    ledger.sql(
        "CREATE TABLE odd PARTITION OF transactions_partitioned"
        " FOR VALUES FROM ('2026-10-10 00:00+00') TO ('2026-11-01 00:00+00')"
    )
    (problem,) = roll(ledger).problems
    assert problem.startswith("irregular: odd FOR VALUES FROM ('2026-10-10")


_ROW = """
    INSERT INTO transactions_partitioned (id, client_id, user_id, wallet_id, type, status, amount, currency, created_at,
        updated_at)
    VALUES (gen_random_uuid(), 'a', 'b', 'c', 'payment', 'completed', 1, 'ZAR', %s, now())
"""


def test_rows_in_a_default_partition_are_counted_by_month(ledger: Ledger) -> None:
    roll(ledger)
    ledger.sql("CREATE TABLE heap PARTITION OF transactions_partitioned DEFAULT")
    assert roll(ledger).problems == []
    times = ("infinity", "-infinity", "1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z", "0044-03-15T12:00:00Z BC")
    for at in (moment(COLD), moment(COLD), moment(COLD.plus(1)), *times):
        ledger.sql(_ROW, at)
    assert roll(ledger).problems == [
        f"outside: 2 rows of {COLD} in the DEFAULT partition heap",
        f"outside: 1 row of {COLD.plus(1)} in the DEFAULT partition heap",
        "outside: 5 rows of no month in the DEFAULT partition heap",
    ]


def test_a_month_that_gets_no_partition_stops_no_other_month(ledger: Ledger) -> None:
    """Rows of it in a DEFAULT partition, a partition of two months, a relation of its name."""
    defaults, quarter, taken = AHEAD[2], AHEAD[5:7], AHEAD[9]
    ledger.sql("CREATE TABLE heap PARTITION OF transactions_partitioned DEFAULT")
    with psycopg.connect(ledger.settings.database_dsn) as connection:
        ledger.insert(connection, ledger.table, [make_row(ledger.table, defaults, 1)])
    ledger.sql(
        "CREATE TABLE odd PARTITION OF transactions_partitioned"
        f" FOR VALUES FROM ('{quarter[0].lower}') TO ('{quarter[1].upper}')"
    )
    ledger.sql(f"CREATE TABLE {ledger.table.partition(taken)} ()")
    report = roll(ledger)
    assert report.created == tuple(month for month in AHEAD if month not in (defaults, *quarter, taken))
    blocked = [problem for problem in report.problems if problem.startswith("blocked: ")]
    assert [problem.split()[1] for problem in blocked] == [str(month) for month in (defaults, *quarter, taken)]
    assert "default partition" in blocked[0]
    assert 'would overlap partition "odd"' in blocked[1]
    assert "is in the way" in blocked[3]
    ledger.sql("ALTER TABLE transactions_partitioned DETACH PARTITION heap")
    assert roll(ledger).created == (defaults,)
    ledger.sql("INSERT INTO transactions_partitioned SELECT * FROM heap; DROP TABLE heap")
    assert ledger.sql(f"SELECT count(*) FROM {ledger.table.partition(defaults)}") == [(1,)]


def test_a_month_in_both_parents_is_an_overlap(ledger: Ledger) -> None:
    roll(ledger)
    ledger.sql(
        "CREATE TABLE twice PARTITION OF transactions_archive_warm"
        " FOR VALUES FROM ('2026-11-01 00:00+00') TO ('2026-12-01 00:00+00')"
    )
    assert roll(ledger).problems == ["overlap: 2026-11 is in hot and in warm"]


def test_a_partition_that_is_gone_is_missed(ledger: Ledger) -> None:
    roll(ledger)
    ledger.sql(f"DROP TABLE {ledger.table.partition(THIS_MONTH.plus(2))}")
    assert roll(ledger).problems == ["missing: the partition of 2027-01 is not where the catalogue says"]


def test_partitions_that_were_there_before_are_taken_over_by_their_bounds(ledger: Ledger) -> None:
    ledger.sql(
        "CREATE TABLE whatever_name PARTITION OF transactions_partitioned"
        " FOR VALUES FROM ('2026-11-01 00:00+00') TO ('2026-12-01 00:00+00')"
    )
    report = roll(ledger)
    assert report.created == AHEAD[1:]
    assert report.findings == []
    assert ledger.tier(THIS_MONTH) == "hot"


def test_a_day_of_another_decade_makes_no_partition(ledger: Ledger) -> None:
    roll(ledger)
    before = ledger.sql("SELECT * FROM archive_months ORDER BY month")
    with pytest.raises(ConfigError, match="as_of"):
        roll(ledger, as_of=date(2062, 11, 23))
    assert ledger.sql("SELECT * FROM archive_months ORDER BY month") == before
