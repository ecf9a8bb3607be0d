"""Our rows of days as they are: a digest, a count and sums of each day, and what differs from the rows as they were.

A run keeps a line of each row that it read (`OWN_ROWS`, in the archive). Read again, from whichever tier the rows are
in, the same rows give the same digest. Where it is another one, the lines show which rows came in, changed, ended or
went.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from config import Settings
from ledger.business_days import OFFSET_MS, day_start
from ledger.counts import counted
from ledger.money import add_exactly, plain
from sql.connection import connect
from sql.queries import load
from sql.relations import lock_parents
from storage.engine import engine
from storage.parquet import even_row_groups
from tasks.querying.link import linked, translated
from tasks.querying.objects import reading_checked
from tasks.reconciliation.runs.internal_rows import (
    TABLE,
    Window,
    make_own_rows,
    objects_in,
    read_months,
    sources_of_parents,
)

OWN_ROWS = "own.parquet"
_QUERIES = load("internal_days", __package__)
_BATCH_ROWS = 50_000
_SHOWN = 20
_FIGURES = ("rows", "amount", "value", "commission", "under_way")
# Of each row: enough to say what became of it, and 64 bits that stand for everything that is compared.
_KEPT = pa.schema(
    [
        ("id", pa.string()),
        ("created_at", pa.timestamp("us", tz="UTC")),
        ("status", pa.string()),
        ("amount", pa.decimal128(18, 2)),
        ("currency", pa.string()),
        ("value", pa.decimal128(18, 2)),
        ("fingerprint", pa.uint64()),
    ]
)


@dataclass(frozen=True, slots=True)
class OwnDay:
    """A day's rows of ours. ``digest`` is SHA-256 in hex. ``sums`` are by currency, money as decimal text: ``rows``,
    ``amount`` of all of them, ``value`` that moved, ``commission``, and ``under_way``, how many have not ended.
    """

    rows: int
    digest: str
    sums: dict[str, dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """As it is in the figures of a run."""
        return {"rows": self.rows, "digest": self.digest, "sums": self.sums}

    def text(self) -> str:
        """The count and the money for people."""
        money = ", ".join(f"{item['value']} {currency}" for currency, item in self.sums.items())
        return f"{counted(self.rows, 'row')} ({money})" if money else counted(self.rows, "row")


@dataclass(frozen=True, slots=True)
class DayChange:
    """What became of a day's rows in one currency: how many came in, changed, ended and are gone. ``moved`` is by how
    much the money that moved grew, ``amount`` the sum of the amounts of all these rows, the larger one of each.
    """

    currency: str
    came: int
    changed: int
    ended: int
    gone: int
    moved: Decimal
    amount: Decimal
    examples: tuple[str, ...] = ()

    def text(self) -> str:
        """The counts that are not 0, for people."""
        changes = {"came in": self.came, "changed": self.changed, "ended": self.ended, "are gone": self.gone}
        counts = ", ".join(f"{count} {what}" for what, count in changes.items() if count)
        return counts or "rows are not as they were, and no record of those is left"


class OwnDays:
    """The days of the engine's table ``own_rows``. Not safe for two threads."""

    def __init__(self, duck: duckdb.DuckDBPyConnection) -> None:
        self._duck = duck
        duck.execute(f"SET VARIABLE offset_ms = {OFFSET_MS}")
        duck.execute(_QUERIES["create_day_row"])

    def read(self, days: Sequence[date], keep: Path | None = None) -> dict[date, OwnDay]:
        """Every one of ``days``, also those without a row. The rows of all go into the Parquet file ``keep``."""
        digests = {day: hashlib.sha256() for day in days}
        counts = dict.fromkeys(days, 0)
        with _kept(keep) as write:
            for day, batch in self._batches(days):
                counts[day] += batch.num_rows
                for content in joined(batch["text"]):
                    digests[day].update(content)
                write(batch)
        sums: dict[date, dict[str, dict[str, Any]]] = {day: {} for day in days}
        for day, currency, *figures in self._duck.execute(_QUERIES["day_sums"], {"days": list(days)}).fetchall():
            sums[day][currency] = dict(zip(_FIGURES, figures, strict=True))
        return {day: OwnDay(counts[day], digests[day].hexdigest(), sums[day]) for day in days}

    def keep(self, day: date, target: Path) -> None:
        """Write the rows of one day into a Parquet file: the same bytes for the same rows."""
        self.read([day], target)

    def compare(self, day: date, was: Path) -> list[tuple[str, str]]:
        """Find what differs from the rows that the file ``was`` has; returns id and supplier reference of the rows that
        only ended. `changes` gives the rest.
        """
        self._duck.execute(_QUERIES["create_day_change"], {"file": str(was), "day": day})
        return self._duck.execute(_QUERIES["ended_rows"]).fetchall()

    def changes(self, explained: Sequence[str]) -> list[DayChange]:
        """What `compare` has found, by currency, without the rows that are ``explained``."""
        if explained:
            self._duck.execute(_QUERIES["leave_out"], {"ids": list(explained)})
        rows = self._duck.execute(_QUERIES["changes"]).fetchall()
        return [replace(DayChange(*row), examples=tuple(self._examples(row[0]))) for row in rows]

    def _examples(self, currency: str) -> Iterator[str]:
        asked = {"currency": currency, "most": _SHOWN}
        for row_id, kind, was_status, was_amount, now_status, now_amount in self._duck.execute(
            _QUERIES["examples"], asked
        ).fetchall():
            was = "nothing" if was_status is None else f"{was_status} {was_amount}"
            now = "nothing" if now_status is None else f"{now_status} {now_amount}"
            yield f"{row_id} {kind}: {was}, now {now}"

    def _batches(self, days: Sequence[date]) -> Iterator[tuple[date, pa.RecordBatch]]:
        """The rows in order; no batch has rows of two days."""
        for batch in self._duck.execute(_QUERIES["day_texts"], {"days": list(days)}).to_arrow_reader(_BATCH_ROWS):
            days_of_batch = pc.unique(batch["day"]).to_pylist()
            for day in days_of_batch:
                whole = len(days_of_batch) == 1
                yield day, batch if whole else batch.filter(pc.equal(batch["day"], pa.scalar(day, pa.date32())))


@contextmanager
def own_days(settings: Settings, supplier: str, first: date, last: date) -> Iterator[OwnDays]:
    """Our rows of the Africa/Johannesburg days from ``first`` to ``last``, as they are now, each row once.

    PostgreSQL is read through the parents of the table, so whoever may read those may do this. The parents are locked
    against moves while they are read. Raises TransientError when PostgreSQL or the archive does not answer, DataError
    for a month that is not what was archived, and as `tasks.reconciliation.runs.internal_rows.make_own_rows`.
    """
    table = settings.table(TABLE)
    window = Window(supplier, day_start(first), day_start(last + timedelta(days=1)))
    with engine(settings.model_copy(update={"archive_memory_mb": settings.reconciliation.memory_mb})) as duck:
        with connect(settings.database_dsn, "reconciliation") as connection, connection.transaction():
            connection.execute("SET TRANSACTION READ ONLY")
            parents = lock_parents(connection, table)
            months = read_months(connection, table)
            sources = sources_of_parents(settings, parents, months, window)
            objects = objects_in(settings, months, sources)
            with (
                linked(duck, settings, links=1),
                translated(settings),
                reading_checked(duck, connection, settings, objects),
            ):
                make_own_rows(duck, sources)
        yield OwnDays(duck)


def sums_of(days: Mapping[date, OwnDay]) -> dict[str, dict[str, Any]]:
    """The sums of all days together."""
    total: dict[str, dict[str, Any]] = {}
    for day in days.values():
        for currency, figures in day.sums.items():
            before = total.get(currency, {})
            total[currency] = {name: _added(before.get(name), value) for name, value in figures.items()}
    return dict(sorted(total.items()))


def _added(value: int | str | None, other: int | str) -> int | str:
    if value is None:
        return other
    if isinstance(other, int):
        return int(value) + other
    return plain(add_exactly(Decimal(value), Decimal(other)))


def joined(texts: pa.Array) -> Iterator[memoryview]:
    """The bytes of a column of texts one after another, without making a Python object of each."""
    wide = texts.cast(pa.large_string())
    offsets, content = wide.buffers()[1:3]
    places = memoryview(offsets).cast("q")[wide.offset : wide.offset + len(wide) + 1]
    if content is not None and len(wide):
        yield memoryview(content)[places[0] : places[-1]]


@contextmanager
def _kept(target: Path | None) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """What takes batches of rows for the file; nothing at all without one."""
    if target is None:
        yield lambda batch: None
        return
    with even_row_groups(target, _KEPT, dictionary=["status", "currency"]) as write:
        yield lambda batch: write(batch.select(_KEPT.names))
