"""Every row of the parents is read, whatever partition it is in; what is missing is refused by name."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from ledger.errors import DataError
from ledger.months import Month
from tasks.archiving.rollover import roll_table
from tasks.archiving.tiers import tier_rows
from tasks.health.context import Context
from tasks.health.months import partition_gaps
from tasks.querying import places
from tasks.querying.query import run_query
from tests.archives import Archives, month_in_each_tier
from tests.tasks.archiving.ledger import COLD, HOT, ROWS, TODAY, WARM, Ledger, make_row, moment

ALL = ROWS * 3
COUNT = "SELECT count(*) AS n, count(DISTINCT id) AS ids FROM transactions"


def _bounds(lower: str, upper: str) -> str:
    return f"FOR VALUES FROM ('{lower}') TO ('{upper}')"


def _of_month(month: Month) -> str:
    return _bounds(f"{month}-01 00:00+00", f"{month.plus(1)}-01 00:00+00")


def _add(ledger: Ledger, parent: str, rows: Sequence[dict[str, Any]]) -> None:
    names = list(rows[0])
    places = ", ".join(["%s"] * len(names))
    for row in rows:
        ledger.sql(f"INSERT INTO {parent} ({', '.join(names)}) VALUES ({places})", *row.values())


def _late(ledger: Ledger, month: Month, rows: int) -> list[dict[str, Any]]:
    """Rows of a month that are none of those that `Ledger.fill` makes."""
    return [make_row(ledger.table, month, 1000 + number) for number in range(rows)]


def _counted(ledger: Ledger, query: str = COUNT) -> tuple[int, int]:
    (row,) = ledger.ask(query)
    return row["n"], row["ids"]


def _notes(ledger: Ledger, query: str = COUNT) -> tuple[str, ...]:
    with run_query(ledger.settings, query) as answer:
        answer.batches.read_all()
        return answer.notes


@pytest.fixture
def tiers(ledger: Ledger, archives: Archives) -> Ledger:
    """A month in each tier."""
    archives.begin(ledger.settings, month_in_each_tier)
    return ledger


OTHERS = {
    "a default partition": ("transactions_partitioned", "DEFAULT", Month(2025, 8)),
    "a default partition of warm": ("transactions_archive_warm", "DEFAULT", Month(2025, 8)),
    "a quarter": ("transactions_partitioned", _bounds("2025-07-01 00:00+00", "2025-10-01 00:00+00"), Month(2025, 8)),
    "a month of another time zone": (
        "transactions_partitioned",
        _bounds("2025-08-01 00:00+02", "2025-09-01 00:00+02"),
        Month(2025, 8),
    ),
    "a month of the other parent": ("transactions_archive_warm", _of_month(HOT), HOT),
    "a month that no run has seen yet": ("transactions_partitioned", _of_month(Month(2025, 8)), Month(2025, 8)),
    "a cold month that somebody made again": ("transactions_partitioned", _of_month(COLD), COLD),
    "a cold month made again in warm": ("transactions_archive_warm", _of_month(COLD), COLD),
}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", OTHERS)
def test_rows_of_partitions_that_others_made_are_read_and_named(tiers: Ledger, name: str) -> None:
    parent, bound, month = OTHERS[name]
    tiers.sql(f"CREATE TABLE odd PARTITION OF {parent} {bound}")
    late = _late(tiers, month, 3)
    _add(tiers, parent, late)

    assert _counted(tiers) == (ALL + 3, ALL + 3)
    (one,) = tiers.ask(f"SELECT month, amount FROM transactions WHERE id = '{late[0]['id']}'")
    assert one == {"month": str(month), "amount": late[0]["amount"]}
    by_time = f"{COUNT} WHERE created_at >= '{month}-01' AND created_at < '{month.plus(1)}-01'"
    assert _counted(tiers, by_time)[0] == 3 + (ROWS if month in (COLD, HOT) else 0)
    is_unseen = name.startswith("a month that no run")
    assert [("odd" in note) for note in _notes(tiers)] == ([] if is_unseen else [True])
    rows = {row.month: row.rows for row in tier_rows(tiers.settings, [tiers.table]) if "odd" in row.note}
    assert list(rows.values()) == [3]
    problems = roll_table(tiers.settings, tiers.table, TODAY, today=TODAY).problems
    assert len(problems) == (0 if is_unseen else 1)


def test_rows_that_were_copied_back_from_the_archive_are_read_once(tiers: Ledger) -> None:
    tiers.sql(f"CREATE TABLE again PARTITION OF transactions_partitioned {_of_month(COLD)}")
    _add(tiers, "again", [make_row(tiers.table, COLD, number) for number in range(5)])
    _add(tiers, "again", _late(tiers, COLD, 2))
    assert _counted(tiers) == (ALL + 2, ALL + 2)
    tiers.sql("ALTER TABLE transactions_partitioned DETACH PARTITION again")
    tiers.sql("CREATE TABLE heap PARTITION OF transactions_partitioned DEFAULT")
    _add(tiers, "heap", [make_row(tiers.table, COLD, number) for number in range(5)])
    assert _counted(tiers) == (ALL, ALL)


def _again(tiers: Ledger, rows: Sequence[dict[str, Any]], late: int = 0) -> None:
    """Make the cold month again, with ``rows`` and with some that came late."""
    tiers.sql(f"CREATE TABLE again PARTITION OF transactions_partitioned {_of_month(COLD)}")
    _add(tiers, "again", [*rows, *_late(tiers, COLD, late)])


def test_rows_that_the_archive_has_with_other_values_are_left_out_and_named(tiers: Ledger) -> None:
    rows = [make_row(tiers.table, COLD, number) for number in range(4)]
    changed = rows[2] | {"amount": rows[2]["amount"] + 1}
    _again(tiers, [*rows[:2], changed], late=2)
    assert _counted(tiers) == (ALL + 2, ALL + 2)
    by_id = f"SELECT amount FROM transactions WHERE id = '{changed['id']}'"
    assert tiers.ask(by_id) == [{"amount": rows[2]["amount"]}]

    said = "of again that the archive has, by id and time"
    found = "1 of them has other values than the archive, which counts, such as"
    for query, count in ((COUNT, "3 rows"), (by_id, "1 row")):
        (note,) = (note for note in _notes(tiers, query) if note.startswith("left out"))
        assert note.startswith(f"left out {count} {said}: {found} {changed['id']}; see")
    assert any(said in note for note in _notes(tiers, "SELECT * FROM transactions_daily_totals"))
    assert not any(said in note for note in _notes(tiers, f"{COUNT} WHERE created_at >= '{HOT}-01'"))


@pytest.mark.parametrize("column", ["fee", "reference", "metadata", "updated_at"])
def test_any_other_value_counts(tiers: Ledger, column: str) -> None:
    values = {"metadata": '{"n": 2}', "fee": Decimal("0.5"), "updated_at": moment(COLD)}
    _again(tiers, [make_row(tiers.table, COLD, 3) | {column: values.get(column, "another")}])
    (note,) = (note for note in _notes(tiers) if note.startswith("left out"))
    assert "1 of them has other values" in note


def test_rows_that_are_equal_to_archived_ones_are_left_out_and_counted(tiers: Ledger) -> None:
    """Whatever has become of the columns since."""
    _again(tiers, [make_row(tiers.table, COLD, number) for number in range(5)])
    for parent in ("transactions_partitioned", "transactions_archive_warm"):
        tiers.sql(f"ALTER TABLE {parent} RENAME COLUMN description TO words")
        tiers.sql(f"ALTER TABLE {parent} ADD COLUMN colour text")
    equal = "left out 5 rows of again that the archive has, by id and time: each is equal to the archived one"
    assert [note for note in _notes(tiers) if note.startswith("left out")] == [equal]
    with_a_colour = make_row(tiers.table, COLD, 7) | {"colour": "red"}
    _add(tiers, "again", [{"words" if name == "description" else name: value for name, value in with_a_colour.items()}])
    assert "1 of them has other values" in "".join(_notes(tiers))


@pytest.mark.sampled(1)
@pytest.mark.parametrize("how", ["DETACH PARTITION {}", "DROP"])
def test_a_month_that_somebody_took_away_is_refused_by_name(tiers: Ledger, how: str) -> None:
    partition = tiers.table.partition(HOT)
    if how == "DROP":
        tiers.sql(f"DROP TABLE {partition}")
    else:
        tiers.sql(f"ALTER TABLE transactions_partitioned {how.format(partition)}")
    with pytest.raises(
        DataError, match=f"transactions {HOT} is hot by the catalogue, but transactions_partitioned has"
    ):
        tiers.ask(COUNT)
    assert _counted(tiers, f"{COUNT} WHERE month <> '{HOT}'") == (2 * ROWS, 2 * ROWS)
    (row,) = (row for row in tier_rows(tiers.settings, [tiers.table]) if row.month == HOT)
    assert (row.rows, "no partition of the month is attached" in row.note) == (None, True)
    assert roll_table(tiers.settings, tiers.table, TODAY, today=TODAY).problems == [
        f"missing: the partition of {HOT} is not where the catalogue says"
    ]


def _half_detach(ledger: Ledger, partition: str) -> None:
    """What an interrupted DETACH ... CONCURRENTLY leaves: attached, and out of the parent's sight."""
    dsn = ledger.settings.database_dsn
    with psycopg.connect(dsn) as reader, psycopg.connect(dsn, autocommit=True) as other:
        reader.execute("SELECT count(*) FROM transactions_partitioned")
        other.execute("SET statement_timeout = '500ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            other.execute(f"ALTER TABLE transactions_partitioned DETACH PARTITION {partition} CONCURRENTLY")
    assert ledger.sql("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhdetachpending") == [(partition,)]


def test_the_rows_of_a_partition_that_is_half_detached_are_read(tiers: Ledger) -> None:
    _half_detach(tiers, tiers.table.partition(HOT))
    assert tiers.sql("SELECT count(*) FROM transactions_partitioned") == [(0,)]
    assert _counted(tiers) == (ALL, ALL)
    (problem,) = roll_table(tiers.settings, tiers.table, TODAY, today=TODAY).problems
    assert problem.startswith(f"irregular: {tiers.table.partition(HOT)}")


@pytest.mark.sampled(1)
@pytest.mark.parametrize("is_known", [True, False])
def test_a_login_that_sees_it_through_the_parent_alone_is_refused(
    tiers: Ledger, is_known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = tiers.table.partition(HOT)
    if not is_known:
        tiers.sql(f"ALTER TABLE transactions_partitioned DETACH PARTITION {name}")
        name = "odd"
        tiers.sql(f"CREATE TABLE odd PARTITION OF transactions_partitioned {_of_month(HOT)}")
        tiers.sql("DELETE FROM archive_months WHERE month = %s", HOT.first_day)
    _half_detach(tiers, name)
    monkeypatch.setattr(places, "readable_partitions", lambda *_: set())
    with pytest.raises(DataError, match=f"SQL: {name} of transactions is half detached"):
        tiers.ask(COUNT)


def test_health_names_a_month_that_came_back(tiers: Ledger) -> None:
    tiers.sql(f"CREATE TABLE again PARTITION OF transactions_partitioned {_of_month(COLD)}")
    _add(tiers, "again", _late(tiers, COLD, 2))
    measure = partition_gaps(Context(tiers.settings, moment(Month.of(TODAY))))
    assert measure.value == 1
    assert "again (hot, FOR VALUES FROM" in measure.line
    assert "has 2 rows of a month that is archived" in measure.line


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", [name for name in OTHERS if "no run has seen" not in name])
def test_health_names_each_partition_that_others_made(tiers: Ledger, name: str) -> None:
    parent, bound, month = OTHERS[name]
    tiers.sql(f"CREATE TABLE odd PARTITION OF {parent} {bound}")
    _add(tiers, parent, _late(tiers, month, 2))
    measure = partition_gaps(Context(tiers.settings, moment(Month.of(TODAY))))
    assert measure.value == 1
    assert ("odd" if "other parent" not in name else f"{HOT} is in hot and in warm") in measure.line


def test_ids_that_are_not_of_their_time_are_found_in_every_tier(ledger: Ledger) -> None:
    """A partition that others made has no CHECK on the id: only what one proves may prune."""
    for month in (COLD, WARM, HOT):
        ledger.fill(month, rows=0)
        ledger.sql(
            f"ALTER TABLE {ledger.table.partition(month)} DROP CONSTRAINT {ledger.table.partition(month)}_bounds"
        )
    strangers = {month: uuid4() for month in (COLD, WARM, HOT)}
    for month, row_id in strangers.items():
        at = moment(month) + timedelta(microseconds=0)
        row = {**make_row(ledger.table, month, 7), "id": row_id, "created_at": at, "amount": Decimal(5)}
        _add(ledger, "transactions_partitioned", [row])
    ledger.night()

    assert [row.tier for row in tier_rows(ledger.settings, [ledger.table])] == ["cold", "warm", "hot"]
    assert _counted(ledger) == (3, 3)
    for month, row_id in strangers.items():
        assert ledger.ask(f"SELECT month FROM transactions WHERE id = '{row_id}'") == [{"month": str(month)}]
    assert ledger.catalogue(COLD)["keys_tell_month"] is False


def test_keys_that_are_proved_to_be_of_the_month_prune(tiers: Ledger) -> None:
    assert tiers.catalogue(COLD)["keys_tell_month"] is True
    row_id = make_row(tiers.table, WARM, 3)["id"]
    with run_query(tiers.settings, f"SELECT * FROM transactions WHERE id = '{row_id}'") as answer:
        assert (answer.batches.read_all().num_rows, answer.months_read, answer.months_known) == (1, 1, 3)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("is_valid", [False, True])
def test_a_check_counts_once_it_holds_for_every_row(tiers: Ledger, is_valid: bool) -> None:
    name = tiers.table.partition(HOT)
    (check,) = tiers.sql(f"SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = '{name}_bounds'")
    tiers.sql(f"ALTER TABLE {name} DROP CONSTRAINT {name}_bounds")
    tiers.sql(f"ALTER TABLE {name} ADD CONSTRAINT again {check[0]} NOT VALID")
    if is_valid:
        tiers.sql(f"ALTER TABLE {name} VALIDATE CONSTRAINT again")
    row_id = make_row(tiers.table, WARM, 3)["id"]
    with run_query(tiers.settings, f"SELECT * FROM transactions WHERE id = '{row_id}'") as answer:
        assert (answer.batches.read_all().num_rows, answer.months_read) == (1, 1 if is_valid else 2)
