"""The tier map of a process that asks many questions: made again only when PostgreSQL's catalogues have changed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Lock

import duckdb

from config import Settings
from ledger.errors import ConfigError
from ledger.tables import TieredTable
from sql.connection import Connection, fetch_one
from sql.queries import load
from sql.relations import lock_parents
from storage.branches import Need, Plan, PlanWatch
from storage.outline import Outline
from storage.pruning import Planner
from tasks.querying.places import Places, find_places

_QUERIES = load("tiers")


class Map:
    """The places of all rows at one state of the catalogues, and what plans over them. Thread-safe."""

    def __init__(self, places: Places, config: Mapping[str, str]) -> None:
        self.places = places
        self._config = config
        self._outline = Outline(places.tables, config)
        self._planner: tuple[duckdb.DuckDBPyConnection, Planner] | None = None
        self._lock = Lock()
        self.is_broken = False

    def plan(self, query: str, moment: datetime, watch: PlanWatch) -> Plan:
        """What a query needs when it is ``moment`` (aware). ``watch`` ends what takes too long. Raises duckdb.Error for
        an invalid query.
        """
        try:
            outlined = self._outline.plan(query, moment, self.places.branches, watch)
            if outlined.is_whole:
                return outlined.plan
            return replace(outlined.plan, needs=self._looked_at(query, moment, outlined.plan.needs, watch))
        except (duckdb.InternalException, duckdb.FatalException):
            self.is_broken = True  # an engine that failed within itself answers nothing any more
            raise

    def _looked_at(self, query: str, moment: datetime, needs: Sequence[Need], watch: PlanWatch) -> list[Need]:
        """Those of ``needs`` that a plan over a stand-in of each month keeps."""
        with self._lock:
            if self._planner is None:
                connection = duckdb.connect(config=dict(self._config))
                connection.execute("SET TimeZone = 'UTC'")
                self._planner = (connection, Planner(connection, self.places.tables, self.places.branches))
            connection, planner = self._planner
            with watch(connection):
                planned_needs = planner.plan(query, moment).needs
        possible = {id(need.branch) for need in needs}
        return [need for need in planned_needs if id(need.branch) in possible]


@dataclass(frozen=True, slots=True)
class _Known:
    version: str
    map: Map


class TierMap:
    """Gives the map as it is now. Thread-safe; keeps the last one."""

    def __init__(self, settings: Settings, config: Mapping[str, str]) -> None:
        self._settings, self._config = settings, config
        self._known: _Known | None = None

    def read(self, connection: Connection) -> Map:
        """The map, in the transaction of ``connection``: the parents of every table are locked first, so that it stays
        true until its end.
        """
        version = map_version(connection, self._settings.registry.values())
        known = self._known
        if known is not None and version is not None and known.version == version and not known.map.is_broken:
            return known.map
        made = Map(find_places(connection, self._settings), self._config)
        is_kept = version is not None and made.places.is_lasting and not made.places.refused
        self._known = _Known(version, made) if is_kept and version is not None else None
        return made


def map_version(connection: Connection, tables: Iterable[TieredTable]) -> str | None:
    """What the places of ``tables`` follow from, as a short text, once their parents are locked against moves; None
    where some table cannot be read.
    """
    parents = []
    for table in tables:
        try:
            locked_parents = lock_parents(connection, table).found
        except ConfigError:
            return None
        parents += [parent.oid for parent in locked_parents]
    return str(fetch_one(connection, _QUERIES["map_version"], {"parents": parents})[0])
