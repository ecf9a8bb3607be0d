"""Partitions and objects that others made: what keeps a month from moving is found in the plan, and stops it alone."""

import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from config import Settings
from ledger.errors import ConfigError, TransientError
from ledger.months import Month
from sql.connection import connect
from sql.partition_checks import ensure_bounds_check
from sql.preparation import prepare_table
from sql.relations import Parents
from sql.warm import move_to_warm
from tasks.admin.setup import prepare_database
from tasks.archiving.catalogue import register_months
from tasks.archiving.outcome import MoveResult
from tasks.archiving.plan import plan_table
from tasks.archiving.rollover import roll_table
from tasks.archiving.tiers import tier_rows
from tasks.archiving.to_cold import Step, archive_month, record_failure
from tasks.archiving.to_warm import warm_month
from tasks.health import run_checks
from tasks.health.context import Context
from tasks.health.months import partition_gaps
from tests.relations import relation
from tests.tasks.archiving.ledger import COLD, HOT, ROWS, TODAY, WARM, Ledger, moment

THEIRS = "theirs_1"
TOTAL = "total numeric(18,2)"
CHECKS = """
    SELECT conname::text, convalidated FROM pg_constraint
    WHERE conrelid = %s::regclass AND contype = 'c' AND conname LIKE '%%bounds'
"""


def _make_theirs(ledger: Ledger, month: Month, rows: int = 30) -> None:
    """A partition as others make them: by PARTITION OF, under a name of their own, without a CHECK."""
    ledger.fill(month, 0)
    ledger.sql(f"DROP TABLE {ledger.table.partition(month)}")
    ledger.sql("DELETE FROM archive_months WHERE month = %s", month.first_day)
    ledger.sql(
        f"CREATE TABLE {THEIRS} PARTITION OF transactions_partitioned"
        f" FOR VALUES FROM ('{month.lower:%Y-%m-%d} 00:00+00') TO ('{month.upper:%Y-%m-%d} 00:00+00')"
    )
    ledger.sql(
        f"INSERT INTO {THEIRS} SELECT gen_random_uuid(), 'c', 'u', 'w', NULL, 'payment', 'completed', 1, 0, 'ZAR',"
        " NULL, NULL, '{}', %s + n * interval '1 minute', %s FROM generate_series(1, %s) AS n",
        month.lower, month.lower, rows,
    )  # fmt: skip


def _attach_messages(ledger: Ledger, work: Callable[[Settings], object]) -> str:
    """What PostgreSQL says at DEBUG1 while ``work`` runs."""
    options = ledger.settings.model_copy()
    said: list[str] = []
    original = psycopg.Connection.connect

    def listening(*arguments: object, **parameters: object) -> psycopg.Connection:
        connection = original(*arguments, **parameters)  # type: ignore[arg-type]
        connection.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
        connection.execute("SET client_min_messages = debug1")
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg, "connect", listening)
        work(options)
    return "\n".join(said)


def test_a_partition_that_others_made_gets_its_check_when_it_is_registered(ledger: Ledger) -> None:
    _make_theirs(ledger, WARM)
    assert ledger.sql(CHECKS, THEIRS) == []
    roll_table(ledger.settings, ledger.table, TODAY)
    assert ledger.sql(CHECKS, THEIRS) == [("treasury_bounds", True)]
    assert ledger.sql(CHECKS, ledger.table.partition(Month.of(TODAY))) == [("transactions_2026_11_bounds", True)]


def test_no_attach_looks_at_the_rows_of_a_partition_that_others_made(ledger: Ledger) -> None:
    _make_theirs(ledger, WARM)
    with connect(ledger.settings.database_dsn, "tests") as connection:
        register_months(connection, ledger.table)
    said = _attach_messages(ledger, lambda settings: warm_month(settings, ledger.table, WARM))
    assert f'partition constraint for table "{THEIRS}" is implied by existing constraints' in said
    assert ledger.tier(WARM) == "warm"


def test_a_check_whose_validation_was_killed_is_validated_by_the_next(ledger: Ledger) -> None:
    _make_theirs(ledger, WARM)
    ledger.sql(
        f"ALTER TABLE {THEIRS} ADD CONSTRAINT treasury_bounds CHECK (created_at IS NOT NULL AND created_at >="
        " '2026-02-01 00:00:00+00'::timestamptz AND created_at < '2026-03-01 00:00:00+00'::timestamptz) NOT VALID"
    )
    with connect(ledger.settings.database_dsn, "tests") as connection:
        hot = Parents.of(connection, ledger.table).hot
        assert hot is not None
        partition = relation(connection, THEIRS)
        arguments = (connection, ledger.settings, ledger.table, WARM, partition, hot)
        assert ensure_bounds_check(*arguments)
        assert not ensure_bounds_check(*arguments)
    assert ledger.sql(CHECKS, THEIRS) == [("treasury_bounds", True)]


ODD = {
    "to infinity": "FROM ('2200-01-01') TO ('infinity')",
    "from before Christ": "FROM ('0044-01-01 BC') TO ('1900-01-01')",
    "from 1900": "FROM ('1900-01-01') TO ('1900-02-01')",
    "from MINVALUE": "FROM (MINVALUE) TO ('1900-01-01')",
    "to MAXVALUE": "FROM ('2300-01-01') TO (MAXVALUE)",
    "beyond the year 9999": "FROM ('9998-01-01') TO ('12000-01-01')",
}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("what", ODD)
def test_an_odd_partition_is_named_and_everything_else_goes_on(ledger: Ledger, what: str) -> None:
    ledger.fill(COLD)
    ledger.fill(HOT)
    ledger.sql(f"CREATE TABLE odd PARTITION OF transactions_partitioned FOR VALUES {ODD[what]}")
    assert prepare_database(ledger.settings) == []
    report = roll_table(ledger.settings, ledger.table, TODAY)
    assert [line for line in report.problems if line.startswith("irregular: odd FOR VALUES FROM")]
    assert [outcome.result for outcome in ledger.night()] == [MoveResult.MOVED, MoveResult.MOVED]
    assert ledger.content()[str(HOT)][0] == ROWS
    assert {row.month for row in tier_rows(ledger.settings, [ledger.table])} >= {COLD, HOT}


def test_a_column_of_an_unsupported_type_concerns_its_table_alone(ledger: Ledger) -> None:
    ledger.fill(HOT)
    for parent in ("vas_transactions_partitioned", "vas_transactions_archive_warm"):
        ledger.sql(f"ALTER TABLE IF EXISTS {parent} ADD COLUMN place point")
    ledger.sql(
        "CREATE TABLE vas_transactions_archive_warm (LIKE vas_transactions_partitioned) PARTITION BY RANGE (created_at)"
    )
    (problem,) = prepare_database(ledger.settings)
    assert "vas_transactions_partitioned.place: the archive cannot keep a column of type point" in problem
    assert ledger.content() == {str(HOT): ledger.content()[str(HOT)]}
    with pytest.raises(ConfigError, match=r"SQL: table vas_transactions cannot be read: .*place: .* type point"):
        ledger.ask("SELECT count(*) FROM vas_transactions")
    measure = partition_gaps(Context(ledger.settings, moment(Month.of(TODAY))))
    assert "vas_transactions: unfit: vas_transactions_partitioned.place: the archive cannot keep" in measure.line


_REFERRING = "CREATE TABLE theirs (id uuid, at timestamptz,"
DEPENDENTS = {
    "a view": ("CREATE VIEW theirs AS SELECT id FROM {0}", "view theirs"),
    "a materialized view": ("CREATE MATERIALIZED VIEW theirs AS SELECT id FROM {0}", "materialized view theirs"),
    "a view of its rows as one value": ("CREATE VIEW theirs AS SELECT t FROM {0} AS t", "view theirs"),
    "a foreign key": (
        f"{_REFERRING} CONSTRAINT to_month FOREIGN KEY (id, at) REFERENCES {{0}} (id, created_at))",
        "foreign key to_month of table theirs",
    ),
    "a foreign key to the parent": (
        f"{_REFERRING} CONSTRAINT to_all FOREIGN KEY (id, at) REFERENCES transactions_partitioned (id, created_at))",
        "foreign key to_all of table theirs to transactions_partitioned",
    ),
    "a function": (
        "CREATE FUNCTION theirs() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM {0}; END",
        "function theirs()",
    ),
    "a function of its row type": (
        "CREATE FUNCTION theirs({0}) RETURNS int LANGUAGE sql RETURN 1",
        "function theirs({0})",
    ),
    "a column of its row type": ("CREATE TABLE theirs (of {0})", "column of of table theirs"),
    "a default by its sequence": (
        "CREATE SEQUENCE numbers OWNED BY {0}.reference; CREATE TABLE theirs (n bigint DEFAULT nextval('numbers'))",
        "default value for column n of table theirs",
    ),
    "a rule of another table": (
        "CREATE TABLE theirs (id uuid); CREATE RULE through AS ON DELETE TO theirs DO ALSO SELECT id FROM {0}",
        "a rule of theirs",
    ),
}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("what", DEPENDENTS)
def test_what_depends_on_a_partition_is_named_in_the_plan_and_nothing_is_sealed(ledger: Ledger, what: str) -> None:
    statement, told = (text.format(ledger.table.partition(COLD)) for text in DEPENDENTS[what])
    ledger.fill(COLD)
    ledger.fill(COLD.plus(1))
    ledger.sql(statement)
    moves = plan_table(ledger.settings, ledger.table, TODAY, TODAY)
    held = {move.month: move.held_back for move in moves if move.refused}
    assert f"{ledger.table.partition(COLD)} cannot leave its table: {told}; drop or change" in held[COLD]
    if "to the parent" not in what:
        assert set(held) == {COLD}
    first, *_ = ledger.night()
    assert (first.month, first.result) == (COLD, MoveResult.FAILED)
    assert ledger.catalogue(COLD)["step"] == "idle"
    assert told in ledger.catalogue(COLD)["last_error"]
    ledger.sql("DROP TABLE IF EXISTS theirs CASCADE" if "CREATE TABLE" in statement else _dropping(statement))
    assert {outcome.result for outcome in ledger.night()} == {MoveResult.MOVED}
    assert (ledger.tier(COLD), ledger.tier(COLD.plus(1))) == ("cold", "cold")


def _dropping(statement: str) -> str:
    kind = statement.split(" theirs", maxsplit=1)[0].removeprefix("CREATE ")
    return f"DROP {kind} theirs"


def test_what_hangs_on_a_partition_and_goes_with_it_stops_nothing(ledger: Ledger) -> None:
    ledger.fill(COLD)
    partition = ledger.table.partition(COLD)
    for statement in (
        f"CREATE INDEX ON {partition} (amount)",
        f"ALTER TABLE {partition} ADD CONSTRAINT once UNIQUE (id)",
        f"ALTER TABLE {partition} ADD CHECK (amount > 0)",
        f"CREATE STATISTICS theirs ON user_id, wallet_id FROM {partition}",
        f"CREATE PUBLICATION theirs FOR TABLE {partition}",
        f"ALTER TABLE {partition} ALTER description SET DEFAULT 'x'",
        "CREATE TABLE customers (id varchar(64) PRIMARY KEY)",
        f"ALTER TABLE {partition} ADD FOREIGN KEY (reference) REFERENCES customers NOT VALID",
    ):
        ledger.sql(statement)
    assert {outcome.result for outcome in ledger.night()} == {MoveResult.MOVED}
    assert ledger.tier(COLD) == "cold"


def test_a_unique_constraint_of_a_warm_month_stays_and_the_month_is_tidied(ledger: Ledger) -> None:
    ledger.fill(WARM)
    ledger.sql(f"ALTER TABLE {ledger.table.partition(WARM)} ADD CONSTRAINT once UNIQUE (id)")
    assert {outcome.result for outcome in ledger.night()} == {MoveResult.MOVED}
    assert ledger.catalogue(WARM)["tidied_at"] is not None
    assert ledger.sql("SELECT conname FROM pg_constraint WHERE conname = 'once'") == [("once",)]


def test_a_check_that_the_warm_parent_has_and_the_month_has_not_is_named_in_the_plan(ledger: Ledger) -> None:
    ledger.fill(WARM)
    ledger.sql("ALTER TABLE transactions_archive_warm ADD CONSTRAINT theirs CHECK (amount < 1000000000)")
    (move,) = plan_table(ledger.settings, ledger.table, TODAY, TODAY)
    assert move.refused
    assert "lacks constraints of transactions_archive_warm (theirs)" in move.held_back


INDEXES = """
    SELECT substring(pg_get_indexdef(indexrelid) FROM ' (USING .*)$'), indisvalid FROM pg_index
    WHERE indrelid = %s::regclass AND NOT indisprimary AND pg_get_indexdef(indexrelid) ~ '\\((reference|user_id, id)\\)'
    ORDER BY 1
"""


def _built(ledger: Ledger, relation: str) -> list[tuple[object, ...]]:
    return ledger.sql(INDEXES, relation)


def test_an_index_that_only_the_warm_parent_has_is_built_before_a_parent_is_locked(ledger: Ledger) -> None:
    ledger.fill(WARM)
    for columns in ("(reference)", "(user_id, id)"):
        ledger.sql(f"CREATE INDEX ON transactions_archive_warm {columns}")
    few = ledger.settings.model_copy(update={"lock_attempts": 1})
    with psycopg.connect(ledger.settings.database_dsn) as reader:
        reader.execute("LOCK TABLE ONLY transactions_partitioned IN ACCESS SHARE MODE")
        with pytest.raises(TransientError, match="no lock within 1 tries"):
            warm_month(few, ledger.table, WARM)
        built = _built(ledger, ledger.table.partition(WARM))
    assert built == [("USING btree (reference)", True), ("USING btree (user_id, id)", True)]
    files = "SELECT array_agg(indexrelid ORDER BY indexrelid) FROM pg_index WHERE indrelid = %s::regclass"
    before = ledger.sql(files, ledger.table.partition(WARM))
    assert warm_month(ledger.settings, ledger.table, WARM, tidy=False)
    assert ledger.sql(files, ledger.table.partition(WARM)) == before


def test_what_a_killed_build_left_is_built_again(ledger: Ledger) -> None:
    ledger.fill(WARM)
    ledger.sql("CREATE INDEX ON transactions_archive_warm (reference)")
    few = ledger.settings.model_copy(update={"lock_attempts": 1})
    with psycopg.connect(ledger.settings.database_dsn) as reader:
        reader.execute("LOCK TABLE ONLY transactions_partitioned IN ACCESS SHARE MODE")
        with pytest.raises(TransientError):
            warm_month(few, ledger.table, WARM)
    partition = ledger.table.partition(WARM)
    ledger.sql("UPDATE pg_index SET indisvalid = false WHERE indrelid = %s::regclass AND NOT indisprimary", partition)
    assert _built(ledger, partition) == [("USING btree (reference)", False)]
    assert warm_month(ledger.settings, ledger.table, WARM)
    assert _built(ledger, partition) == [("USING btree (reference)", True)]


def test_an_index_that_the_warm_parent_got_meanwhile_is_seen_under_the_locks(ledger: Ledger) -> None:
    ledger.fill(WARM)
    ledger.sql("CREATE INDEX ON transactions_archive_warm (reference)")
    with (
        connect(ledger.settings.database_dsn, "tests") as connection,
        pytest.raises(
            TransientError, match=r"transactions_2026_02 lacks indexes of transactions_archive_warm \(.*reference_idx"
        ),
    ):
        move_to_warm(connection, ledger.settings, ledger.table, WARM)
    assert ledger.tier(WARM) == "hot"


RULES = {
    "a unique index": "CREATE UNIQUE INDEX theirs ON {} (wallet_id, id, created_at)",
    "a unique constraint": "ALTER TABLE {} ADD CONSTRAINT theirs UNIQUE (wallet_id, id, created_at)",
    "a foreign key": "ALTER TABLE {} ADD CONSTRAINT theirs FOREIGN KEY (reference) REFERENCES customers",
}


@pytest.mark.parametrize("what", RULES)
def test_a_rule_whose_rows_attach_would_look_at_is_named_in_the_plan(ledger: Ledger, what: str) -> None:
    ledger.fill(WARM)
    ledger.sql("CREATE TABLE customers (id varchar(64) PRIMARY KEY)")
    ledger.sql("INSERT INTO customers SELECT DISTINCT reference FROM transactions WHERE reference IS NOT NULL")
    ledger.sql(RULES[what].format("transactions_archive_warm"))
    (move,) = plan_table(ledger.settings, ledger.table, TODAY, TODAY)
    assert move.refused
    assert "lacks constraints of transactions_archive_warm (theirs)" in move.held_back
    ledger.sql(RULES[what].format(ledger.table.partition(WARM)).replace("theirs", "ours"))
    (move,) = plan_table(ledger.settings, ledger.table, TODAY, TODAY)
    assert not move.refused
    assert warm_month(ledger.settings, ledger.table, WARM)


def test_generated_columns_stop_neither_new_partitions_nor_moves(ledger: Ledger) -> None:
    ledger.sql(
        "ALTER TABLE transactions_partitioned ADD COLUMN total numeric(18,2) GENERATED ALWAYS AS (amount + fee) STORED"
    )
    ledger.fill(COLD)
    assert {outcome.result for outcome in ledger.night()} == {MoveResult.MOVED}
    (row,) = ledger.ask("SELECT count(*) AS n, sum(total) = sum(amount + fee) AS same FROM transactions")
    assert row == {"n": ROWS, "same": True}


def test_generated_columns_that_the_warm_parent_has_not_are_refused_by_name(ledger: Ledger) -> None:
    ledger.fill(COLD)
    ledger.sql(
        "ALTER TABLE transactions_partitioned ADD COLUMN total numeric(18,2) GENERATED ALWAYS AS (amount + fee) STORED"
    )
    ledger.sql("ALTER TABLE transactions_archive_warm ADD COLUMN total numeric(18,2)")
    with (
        connect(ledger.settings.database_dsn, "tests") as connection,
        pytest.raises(ConfigError, match="generated columns"),
    ):
        prepare_table(connection, ledger.settings, ledger.table)


@pytest.fixture
def eager_vacuum(server_settings: Settings) -> Iterator[None]:
    """A server whose autovacuum looks every second."""
    with psycopg.connect(server_settings.database_dsn, autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET autovacuum_naptime = '1s'")
        admin.execute("SELECT pg_reload_conf()")
        yield
        admin.execute("ALTER SYSTEM RESET autovacuum_naptime")
        admin.execute("SELECT pg_reload_conf()")


def _make_dead_rows(ledger: Ledger, partition: str) -> None:
    """Give autovacuum something to do in a partition, which it does not look at yet."""
    ledger.sql(f"ALTER TABLE {partition} SET (autovacuum_enabled = false)")
    ledger.sql(f"ALTER TABLE {partition} DISABLE TRIGGER ALL")
    ledger.sql(f"UPDATE {partition} SET description = repeat(md5(random()::text), 4)")
    ledger.sql(f"ALTER TABLE {partition} ENABLE TRIGGER ALL")


def _begin_vacuum(ledger: Ledger, partition: str) -> None:
    """Let autovacuum begin with a partition, so slowly that it would take hours; returns when it is at work."""
    ledger.sql(
        f"ALTER TABLE {partition} SET (autovacuum_enabled, autovacuum_vacuum_threshold = 0,"
        " autovacuum_vacuum_insert_threshold = 0, autovacuum_vacuum_scale_factor = 0,"
        " autovacuum_vacuum_insert_scale_factor = 0,"
        " autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)"
    )
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE %s"
    deadline = time.monotonic() + 120
    while ledger.sql(query, f"autovacuum:%{partition}%") == [(0,)]:
        assert time.monotonic() < deadline, "autovacuum did not begin"
        time.sleep(0.1)


@pytest.mark.heavy("test_plan.py waits for other locks")
def test_an_autovacuum_of_a_partition_gives_way_to_its_move(ledger: Ledger, eager_vacuum: None) -> None:
    ledger.fill(WARM, 2000)
    partition = ledger.table.partition(WARM)
    _make_dead_rows(ledger, partition)
    _begin_vacuum(ledger, partition)
    before = ledger.content()
    few = ledger.settings.model_copy(update={"lock_attempts": 3})
    assert warm_month(few, ledger.table, WARM, tidy=False)
    assert ledger.tier(WARM) == "warm"
    assert ledger.content() == before


@pytest.mark.heavy("a move to warm is tested beside it, and test_plan.py waits for other locks")
@pytest.mark.parametrize("at", ["the seal", "the drop"])
def test_an_autovacuum_of_a_partition_gives_way_to_its_seal_and_to_its_drop(
    ledger: Ledger, eager_vacuum: None, at: str
) -> None:
    ledger.warm(COLD, rows=2000)
    partition = ledger.table.partition(COLD)
    _make_dead_rows(ledger, partition)
    before = ledger.content()
    begun = []

    def on_step(step: Step) -> None:
        if step is Step.LOCKED:
            _begin_vacuum(ledger, partition)
            begun.append(step)

    few = ledger.settings.model_copy(update={"lock_attempts": 3})
    if at == "the seal":
        _begin_vacuum(ledger, partition)
    archive_month(few, ledger.table, COLD, on_step if at == "the drop" else lambda step: None)
    assert len(begun) == (at == "the drop")
    assert ledger.tier(COLD) == "cold"
    ledger.check_no_partition(COLD)
    assert ledger.content() == before


def test_while_a_move_waits_for_a_vacuum_writers_go_on(ledger: Ledger) -> None:
    """Whoever holds the lock of a vacuum: the mover waits for it and holds neither parent."""
    ledger.fill(WARM)
    partition = ledger.table.partition(WARM)
    with psycopg.connect(ledger.settings.database_dsn) as vacuum:
        vacuum.execute(f"LOCK TABLE {partition} IN SHARE UPDATE EXCLUSIVE MODE")
        mover = threading.Thread(target=warm_month, args=(ledger.settings, ledger.table, WARM))
        mover.start()
        # Copies of one template have the same oids, and other tests' databases are on this server.
        locks = (
            "SELECT count(*) FROM pg_locks"
            " WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        waiting = f"{locks} AND NOT granted AND relation = %s::regclass"
        while ledger.sql(waiting, partition) == [(0,)]:
            time.sleep(0.01)
        parents = ["transactions_partitioned", "transactions_archive_warm", partition]
        held = f"{locks} AND granted AND mode = 'AccessExclusiveLock'"
        assert ledger.sql(f"{held} AND relation = ANY(%s::regclass[])", parents) == [(0,)]
        ledger.sql("SET lock_timeout = 200; UPDATE transactions_partitioned SET updated_at = updated_at WHERE false")
        vacuum.rollback()
    mover.join(60)
    assert ledger.tier(WARM) == "warm"


def test_a_month_that_failed_after_the_seal_says_so_in_health(ledger: Ledger) -> None:
    ledger.warm(COLD)

    class Stop(Exception):  # noqa: N818  # no error of the project's own
        pass

    def stop(step: Step) -> None:
        if step is Step.SEALED:
            raise Stop

    with pytest.raises(Stop):
        archive_month(ledger.settings, ledger.table, COLD, stop)
    record_failure(ledger.settings, ledger.table, COLD, "DataError: a text has U+001E")
    found = {one.name: one for one in run_checks(ledger.settings)}
    line = found["months_overdue"].line
    assert "1 month takes no writes: a move failed after the seal, transactions 2024-03: DataError" in line
