"""The same rows four times: all hot, all warm, all cold, and a month in each tier; and again as plain PostgreSQL.

The rows, and what is odd about each placement, come from a seed: a partition of others, late rows, a renamed column.
"""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Any

import duckdb
import psycopg

from config import Settings
from ledger.identifiers import new_id
from ledger.months import Month, months_between
from ledger.policy import Tier
from sql.connection import Connection, connect
from sql.partitions import ensure_partition
from sql.preparation import prepare_table
from storage.archive_files import ArchiveFiles
from storage.branches import Branch, Described, Need
from storage.engine import engine
from storage.exact import register_exact
from storage.moment import fix_moment
from storage.object_reader import ObjectReader
from storage.pruning import Planner
from storage.views import create_views
from storage.wide_sums import register_checks
from tasks.archiving.late_rows import open_late_rows
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month
from tasks.querying.link import linked
from tasks.querying.objects import load_files
from tasks.querying.partition_rows import Live, rows_source
from tasks.querying.places import find_places
from tests.tasks.querying import questions

PLAIN, ALL_ODD = "plain", "all odd"
PLACES = ("hot", "warm", "cold", "mixed")
_MONTHS = {"q": list(months_between(Month(2026, 1), Month(2026, 3))), "p": [Month(2026, 2)]}
_TIERS = {
    "hot": (Tier.HOT,) * 3,
    "warm": (Tier.WARM,) * 3,
    "cold": (Tier.COLD,) * 3,
    "mixed": (Tier.COLD, Tier.WARM, Tier.HOT),  # of the smaller table, which has one month, the first
}
_ROWS = {"q": 40, "p": 24}
_DDL = """
    CREATE TABLE {name}_partitioned (
        id uuid NOT NULL, created_at timestamptz NOT NULL, wallet text NOT NULL, reference varchar(40),
        status text NOT NULL, amount numeric(18, 2), rate numeric(38, 10),
        whole numeric(20, 0), small smallint, {num} integer, big bigint,
        flag boolean, day date, stamp timestamptz, other uuid, meta jsonb, PRIMARY KEY (id, created_at)
    ) PARTITION BY RANGE (created_at);
    CREATE INDEX idx_{name}_wallet_created ON {name}_partitioned (wallet, created_at DESC);
"""
# As DuckDB has the columns: texts by their bytes, JSON as text, integers of 64 bits.
_REFERENCE = """
    CREATE TABLE {table}_ref AS SELECT id, created_at,
        wallet COLLATE "C" AS wallet, reference::text COLLATE "C" AS reference,
        amount, rate, whole, small::bigint, num::bigint, big, flag, day, stamp, other, meta::text COLLATE "C" AS meta,
        to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM') COLLATE "C" AS month
    FROM (SELECT * FROM {table}_hot_partitioned UNION ALL SELECT * FROM {table}_hot_archive_warm) AS rows
"""
# PostgreSQL's part of `storage.exact`: the fuzz asks both in the same words.
_JSON_EXACT = """
    CREATE FUNCTION json_exact(document text, VARIADIC keys text[]) RETURNS text LANGUAGE sql
    RETURN document::jsonb #>> keys
"""
_CONFIGURED: dict[str, Any] = {
    "money_columns": ["amount"],
    "currency_column": None,
    "cold_sort": ["wallet", "created_at"],
    "bloom_columns": ["id", "reference"],
    "warm_indexes": ["wallet_created"],
}
_WIDE = Context(prec=100)
Row = dict[str, Any]


@dataclass(frozen=True)
class Oddities:
    """What is odd about the months of a placement. By default nothing."""

    default: bool = False
    """The last month has no partition of its own: its rows lie in a DEFAULT partition, which others made."""
    late: bool = False
    """Rows of the first month came after it was archived; the part is where the placement has the last month."""
    copies: bool = False
    """Others made an archived month again, with copies of archived rows in it, and with none that is not archived."""
    renamed: bool = False
    """A column had another name while months moved."""


def oddities(seed: str, place: str) -> Oddities:
    """Those of a placement, by chance: `ALL_ODD` has all that it can have, `PLAIN` none."""
    chance = random.Random(f"{seed} {place}")  # noqa: S311  # made-up rows

    def some(is_possible: bool) -> bool:
        return is_possible and seed != PLAIN and (seed == ALL_ODD or chance.random() < 0.5)

    return Oddities(
        default=some(place in ("hot", "warm")),
        late=some(place in ("cold", "mixed")),
        copies=some(place == "cold"),
        renamed=some(True),
    )


def _rows(seed: str, table: str, month: Month) -> list[Row]:
    chance = random.Random(f"{seed} {table} {month}")  # noqa: S311  # made-up rows
    span_s = int((month.upper - month.lower).total_seconds())
    offsets_ms = [0, span_s * 1000 - 1, *(chance.randrange(span_s) * 1000 for _ in range(_ROWS[table] - 2))]
    return [_row(chance, month.lower + timedelta(milliseconds=offset)) for offset in offsets_ms]


def _row(chance: random.Random, moment: datetime) -> Row:
    def some(values: list[str], nulls: float = 0.25) -> str | None:
        return None if chance.random() < nulls else chance.choice(values).replace("''", "'")

    meta = some(questions.METAS)
    return {
        "id": new_id(moment, chance.getrandbits),
        "created_at": moment,
        "wallet": some(questions.WALLETS, 0),
        "reference": some(questions.REFERENCES),
        "status": "completed",
        "amount": some(questions.AMOUNTS),
        "rate": some(questions.RATES),
        "whole": some(questions.WHOLES),
        "small": some(questions.SMALLS),
        "num": some(questions.NUMS),
        "big": some(questions.BIGS),
        "flag": chance.choice([None, True, False]),
        "day": some(questions.DAYS),
        "stamp": some(questions.ATS),
        "other": some(questions.OTHERS),
        "meta": meta,
    }


class Placements:
    """Asks one question of every placement, with an engine that is kept, through the product's own parts."""

    def __init__(self, settings: Settings, connection: Connection, duck: duckdb.DuckDBPyConnection) -> None:
        self.settings = settings
        self._connection = connection
        self._duck = duck
        self._schemas: dict[str, str] = {}
        self._moment = datetime.now(UTC)
        self._reader = ObjectReader(settings)
        files = ArchiveFiles(self._reader)
        files.register(duck)
        with connection.transaction():
            self._places = find_places(connection, settings)
            for objects in self._places.objects.values():
                load_files(connection, files, objects.values())
        self._arms = {place: self._planned(place) for place in PLACES}
        found = connection.execute("SELECT id::text FROM q_ref ORDER BY id LIMIT 12").fetchall()
        self.ids = [row[0] for row in found] + ["00000000-0000-7000-8000-000000000000"]

    def _planned(self, place: str) -> tuple[list[Described], Planner]:
        names = {f"q_{place}", f"p_{place}"}
        described = [(table, columns) for table, columns in self._places.tables if table.name in names]
        branches = [branch for branch in self._places.branches if branch.table.name in names]
        assert {table.name for table, _ in described} == names
        planning = duckdb.connect(config={"threads": "1", "memory_limit": "256MB"})
        planning.execute("SET TimeZone = 'UTC'")
        return described, Planner(planning, described, branches)

    def asked(self, place: str, sql: str) -> list[str]:
        """What the months of a placement are asked with: the table expressions that their rows are read from."""
        plan = self._arms[place][1].plan(_over(sql, place), self._moment)
        return [self._source(need) for need in plan.needs]

    def _source(self, need: Need) -> str:
        attached = self._places.attached.get(need.branch.source)
        return need.branch.source if attached is None else rows_source(self._connection, Live(need, attached))

    def answer(self, place: str, sql: str) -> list[tuple[Any, ...]]:
        """The rows that `treasury sql` would give, as Python has them."""
        described, planner = self._arms[place]
        query = _over(sql, place)
        plan = planner.plan(query, self._moment)
        arms = [(need.branch, self._source(need)) for need in plan.needs]
        named = [(table, columns) for table, columns in described if table.name in query]
        self._use_views(named, arms)
        return self._duck.execute(plan.query).fetchall()

    def _use_views(self, described: list[Described], arms: list[tuple[Branch, str]]) -> None:
        """Make the views in a schema of their own, or use them again: to make them takes longer than to ask."""
        key = repr(([table.name for table, _ in described], [source for _, source in arms]))
        if key not in self._schemas:
            self._schemas[key] = f"views_{len(self._schemas)}"
            self._duck.execute(f"CREATE SCHEMA {self._schemas[key]}; USE {self._schemas[key]}")
            create_views(self._duck, described, arms)
        self._duck.execute(f"SET search_path = '{self._schemas[key]},main'")

    def plain(self, sql: str) -> list[tuple[Any, ...]]:
        """PostgreSQL's own answer."""
        return self._connection.execute(_over(sql, "ref")).fetchall()


@contextmanager
def placements(settings: Settings, seed: str) -> Iterator[Placements]:
    """Fill the tables and place their months, with the rows and the oddities of a seed."""
    names = [f"{table}_{place}" for table in _ROWS for place in PLACES]
    own = Settings.model_validate(settings.model_dump() | {"tables": dict.fromkeys(names, _CONFIGURED)})
    for table in _ROWS:
        for place in PLACES:
            _Filling(own, seed, table, place).fill()
    with ExitStack() as stack:
        connection = stack.enter_context(connect(own.database_dsn, "tests"))
        connection.execute(_JSON_EXACT)
        for table in _ROWS:
            connection.execute(_REFERENCE.format(table=table))
        duck = stack.enter_context(engine(own))
        duck.execute("SET parquet_metadata_cache = true")
        stack.enter_context(linked(duck, own, links=1))
        fix_moment(duck, datetime.now(UTC))
        register_checks(duck)
        register_exact(duck)
        yield Placements(own, connection, duck)


class _Filling:
    """One table of one placement."""

    def __init__(self, settings: Settings, seed: str, name: str, place: str) -> None:
        self._settings, self._place, self._odd = settings, place, oddities(seed, place)
        self._table = settings.table(f"{name}_{place}")
        self._months = dict(zip(_MONTHS[name], _TIERS[place], strict=False))
        self._rows = {month: _rows(seed, name, month) for month in self._months}

    def fill(self) -> None:
        """Make the table, store the rows, move the months."""
        first, last = min(self._months), max(self._months)
        self._sql(_DDL.format(name=self._table.name, num=self._num))
        with connect(self._settings.database_dsn, "tests") as connection:
            prepare_table(connection, self._settings, self._table)
            for month in self._months:
                if not self._is_of_others(month):
                    ensure_partition(connection, self._settings, self._table, month)
        late = self._rows[first][::4] if self._odd.late else []
        for month, tier in self._months.items():
            if not self._is_of_others(month):
                self._store([row for row in self._rows[month] if row not in late])
                self._move(month, tier)
        if late:
            open_late_rows(self._settings, self._table, first)
            self._store(late)
            self._move(first, self._months[last])
        if self._is_of_others(last):
            parent = self._table.warm_parent if self._place == "warm" else self._table.hot_parent
            self._sql(f"CREATE TABLE {self._table.name}_heap PARTITION OF {parent} DEFAULT")
            self._store(self._rows[last], parent)
        if self._odd.copies:
            bounds = f"FOR VALUES FROM ('{last}-01 00:00+00') TO ('{last.plus(1)}-01 00:00+00')"
            self._sql(f"CREATE TABLE {self._table.name}_again PARTITION OF {self._table.hot_parent} {bounds}")
            self._store(self._rows[last][::3])
        if self._odd.renamed:
            for parent in (self._table.hot_parent, self._table.warm_parent):
                self._sql(f"ALTER TABLE {parent} RENAME COLUMN {self._num} TO num")
            with connect(self._settings.database_dsn, "tests") as connection:
                prepare_table(connection, self._settings, self._table)

    @property
    def _num(self) -> str:
        return "former_name" if self._odd.renamed else "num"

    def _is_of_others(self, month: Month) -> bool:
        return self._odd.default and len(self._months) > 1 and month == max(self._months)

    def _sql(self, statement: str) -> None:
        with psycopg.connect(self._settings.database_dsn) as connection:
            connection.execute(statement)

    def _store(self, rows: list[Row], parent: str | None = None) -> None:
        marks = ", ".join(f"%({column})s" for column in rows[0])
        with psycopg.connect(self._settings.database_dsn) as connection, connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {parent or self._table.hot_parent} VALUES ({marks})", rows)

    def _move(self, month: Month, tier: Tier) -> None:
        if tier is not Tier.HOT:
            assert warm_month(self._settings, self._table, month)
        if tier is Tier.COLD:
            archive_month(self._settings, self._table, month)


def _over(sql: str, place: str) -> str:
    return sql.replace("{q}", f"q_{place}").replace("{p}", f"p_{place}")


def comparable(rows: list[tuple[Any, ...]], is_ordered: bool) -> list[str]:
    """The rows so that equal answers are equal texts, whoever gave them."""
    texts = [repr(tuple(_comparable(value) for value in row)) for row in rows]
    return texts if is_ordered else sorted(texts)


def _comparable(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | Decimal):
        return format(_WIDE.normalize(Decimal(value)), "f") if value else "0"
    if isinstance(value, float):
        return f"{value:.9e}"
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
