"""Rows that came after their month was archived: a further part of the month, which has a proof of its own.

The archived part is never touched. The new part is a partition like any other. It takes rows, is read with the month,
and moves to the archive by the same steps. No row of it may be archived already.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from psycopg.types.json import Jsonb

from config import Settings
from ledger.counts import counted
from ledger.errors import ConflictError, DataError, NotFoundError
from ledger.fields import matched
from ledger.months import Month
from ledger.policy import Tier
from ledger.tables import TieredTable
from sql.catalog import columns_of
from sql.connection import Connection, connect
from sql.fields import read_fields
from sql.maintenance import run_ddl
from sql.partitions import create_partition, monthly_partitions
from sql.preparation import prepare_table
from sql.queries import load
from sql.relations import Parents, Relation, find_relation
from sql.storing import check_stored
from storage.engine import engine, identifier, literal
from tasks.archiving.catalogue import count_rows, gone_text, month_states
from tasks.querying.link import linked, linked_relation, translated
from tasks.querying.objects import ArchivedObject, objects_of, reading_checked, source_of

_QUERIES = load("tiers")


@dataclass(frozen=True, slots=True)
class OpenedPart:
    """The part of a month that takes late rows: its number, its partition, and the rows that are there already."""

    part: int
    tier: Tier
    partition: Relation
    rows: int


def open_late_rows(settings: Settings, table: TieredTable, month: Month) -> OpenedPart:
    """Open an archived month for rows that came late, and take over a partition of it that somebody made.

    Safe to run again: a part that is open is returned as it is. Raises NotFoundError for a month that no tier has,
    ConflictError for one that has not left PostgreSQL, DataError when the partition holds archived rows.
    """
    with connect(settings.database_dsn, "late rows") as connection:
        prepare_table(connection, settings, table)
        states = [state for state in month_states(connection, table) if state.month == month]
        if not states:
            raise NotFoundError(f"{table.name} {month}: no tier has this month; an import makes its partition")
        if gone := gone_text(states):
            raise ConflictError(f"{table.name} {month} {gone}. It takes no rows any more")
        newest = states[-1]
        if newest.catalogue.part == 1 and not newest.is_archived:
            raise ConflictError(f"{table.name} {month} is {newest.tier}: there is nothing to open")
        if newest.is_archived:
            for partition in _attached(connection, table, month).values():
                refuse_archived(connection, settings, table, month, partition)
            run_ddl(connection, settings, lambda: _open(connection, table, month))
        return _opened(connection, table, month)


def _attached(connection: Connection, table: TieredTable, month: Month) -> dict[Tier, Relation]:
    """The partitions of a month, by the tier of their parent."""
    parents = Parents.of(connection, table)
    partitions = {
        tier: monthly_partitions(connection, parent).get(month)
        for tier, parent in ((Tier.HOT, parents.hot), (Tier.WARM, parents.warm))
    }
    return {tier: partition for tier, partition in partitions.items() if partition is not None}


def _open(connection: Connection, table: TieredTable, month: Month) -> None:
    attached = _attached(connection, table, month)
    if len(attached) > 1:
        raise DataError(f"{table.name} {month}: both parents have a partition of it: detach one of them")
    tier = next(iter(attached), Tier.HOT)
    row = {"table": table.name, "month": month.first_day, "tier": tier}
    opened = connection.execute(_QUERIES["open_part"], row).fetchone()
    if opened is None:
        return  # another process came first
    hot = Parents.of(connection, table).hot
    if not attached and hot is not None:
        create_partition(connection, table, hot, month)
    event = row | {"event": "opened", "detail": Jsonb({"part": opened[0]})}
    check_stored(connection.execute(_QUERIES["add_event"], event), 1, "archive_events")


def _opened(connection: Connection, table: TieredTable, month: Month) -> OpenedPart:
    state = [state for state in month_states(connection, table) if state.month == month][-1]
    part = state.catalogue.part
    if state.partition is None:
        raise DataError(f"{table.name} {month}: part {part} is {state.tier} by the catalogue, but has no partition")
    partition = state.partition.relation
    return OpenedPart(part, state.tier, partition, count_rows(connection, partition))


def refuse_archived(
    connection: Connection, settings: Settings, table: TieredTable, month: Month, partition: Relation
) -> None:
    """Raise DataError when a row of ``partition`` is in an archived part of ``month`` already. Reads only."""
    objects, kept = _archived(connection, settings, table, month)
    if kept:
        with (
            engine(settings) as duck,
            linked(duck, settings, links=1),
            translated(settings),
            reading_checked(duck, connection, settings, objects),
        ):
            query = _in_both(table, linked_relation(0, partition), kept)
            _refuse(duck.execute(query).fetchall()[0], table, month, str(partition))


def refuse_archived_file(
    connection: Connection, settings: Settings, table: TieredTable, month: Month, file: Path
) -> None:
    """As `refuse_archived`, for the rows that were exported after the seal: nothing comes after them."""
    objects, kept = _archived(connection, settings, table, month)
    if kept:
        with engine(settings) as duck, reading_checked(duck, connection, settings, objects):
            query = _in_both(table, f"read_parquet({literal(str(file))})", kept)
            _refuse(duck.execute(query).fetchall()[0], table, month, table.partition(month))


def _archived(
    connection: Connection, settings: Settings, table: TieredTable, month: Month
) -> tuple[Mapping[str, ArchivedObject], Sequence[str]]:
    """The objects of the archived parts of a month, by their addresses, and FROM items of them, with the key and the
    time under their present names.
    """
    states = [state for state in month_states(connection, table) if state.month == month and state.is_archived]
    if not states:
        return {}, ()
    hot = find_relation(connection, table.hot_parent)
    columns = read_fields(connection, table, hot).numbered(columns_of(connection, hot))
    wanted = [column for column in columns if column.name in (table.key_column, table.time_column)]
    names = [matched(wanted, state.catalogue.archived_columns) for state in states]
    sources = [source_of(settings, state, columns) for state, columns in zip(states, names, strict=True)]
    return objects_of(settings, table.name, states), sources


def _in_both(table: TieredTable, source: str, kept: Sequence[str]) -> str:
    key, time_column = identifier(table.key_column), identifier(table.time_column)
    everything = " UNION ALL ".join(f"SELECT {key}, {time_column} FROM {item}" for item in kept)
    return (
        f"SELECT count(*), min({key}::VARCHAR) FROM {source} JOIN ({everything}) AS kept USING ({key}, {time_column})"
    )


def _refuse(in_both: tuple[int, str | None], table: TieredTable, month: Month, where: str) -> None:
    rows, first = in_both
    if rows:
        raise DataError(
            f"{table.name} {month}: {where} has {counted(rows, 'row')} that the archive has already, such as {first}: "
            "take them out; a row is kept once"
        )
