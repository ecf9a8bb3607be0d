"""Who may do what in PostgreSQL: the one declaration of every privilege, and how a database is brought to it.

Two roles in addition to the owner, as which commands and flows connect because only an owner attaches and drops
partitions. Roles belong to the whole cluster and privileges to a database. The roles are made once, without a password,
and are given theirs in every database that is prepared. A login is either the role itself, once it was allowed to log
in, or a member of it.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import closing, suppress
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg import errors
from psycopg.sql import SQL, Composed, Identifier, Literal

from config import Settings
from ledger.errors import ConfigError
from ledger.tables import BUILT_IN, VAS_TRANSACTIONS, TieredTable
from sql.connection import Connection, connect, connection_parameters
from sql.maintenance import MAINTENANCE_LOCK, run_ddl
from sql.queries import load
from sql.relations import Parents, Relation
from sql.views import find_view

API = "treasury_api"
AUDITOR = "treasury_auditor"
ROLES = (API, AUDITOR)
_PUBLIC = "public"  # as the query `held` calls it; no role can have this name
_QUERIES = load("roles")


class Access(NamedTuple):
    """What each role may do with a relation: ``SELECT`` or, for one column, ``UPDATE (status)``. Empty: nothing."""

    api: tuple[str, ...] = ()
    auditor: tuple[str, ...] = ()


_MOVE_STATUS = ("UPDATE (status)", "UPDATE (updated_at)")
# What raising, resolving and acknowledging change (sql/queries/alerts.sql).
_COUNT_ALERT = tuple(
    f"UPDATE ({column})"
    for column in (
        *("count", "event_ids", "first_seen", "last_seen", "severity", "title", "what_to_do", "evidence", "state"),
        *("resolved_at", "acknowledged_at", "acknowledged_by", "next_notice_at", "notice_taken_by", "notice_failures"),
    )
)

# Every table that the migrations make. One that is missing here fails a test: whoever adds a table decides.
# PUBLIC has nothing of any of them.
CATALOGUE: Mapping[str, Access] = {
    "alembic_version": Access(),
    "alerts": Access(api=("SELECT", "INSERT", *_COUNT_ALERT), auditor=("SELECT",)),
    "api_key_events": Access(auditor=("SELECT",)),
    "api_keys": Access(api=("SELECT",)),
    "archive_columns": Access(api=("SELECT",), auditor=("SELECT",)),
    "archive_events": Access(api=("SELECT",), auditor=("SELECT",)),
    "archive_filters": Access(api=("SELECT",), auditor=("SELECT",)),
    "archive_lookups": Access(api=("SELECT",), auditor=("SELECT",)),
    "archive_months": Access(api=("SELECT",), auditor=("SELECT",)),
    "archive_objects": Access(api=("SELECT",), auditor=("SELECT",)),
    "archive_records": Access(api=("SELECT", "INSERT"), auditor=("SELECT",)),
    "archive_verified": Access(api=("SELECT",), auditor=("SELECT",)),
    "archive_uploads": Access(api=("SELECT",), auditor=("SELECT",)),
    "daily_totals": Access(api=("SELECT",), auditor=("SELECT",)),
    "daily_totals_changes": Access(api=("SELECT",), auditor=("SELECT",)),
    "daily_totals_places": Access(api=("SELECT",), auditor=("SELECT",)),
    # A role that could change the other columns could lengthen a session or give it to another key.
    "dashboard_sessions": Access(api=("SELECT", "INSERT", "UPDATE (last_used_at)", "UPDATE (revoked_at)")),
    "deletion_decisions": Access(api=("SELECT",), auditor=("SELECT",)),
    "deletion_objects": Access(auditor=("SELECT",)),
    "deletion_requests": Access(api=("SELECT",), auditor=("SELECT",)),
    "deletions": Access(api=("SELECT",), auditor=("SELECT",)),
    "health_results": Access(api=("SELECT",), auditor=("SELECT",)),
    "former_objects": Access(api=("SELECT",), auditor=("SELECT",)),
    "hold_decisions": Access(api=("SELECT", "INSERT"), auditor=("SELECT",)),
    "holds": Access(api=("SELECT", "INSERT"), auditor=("SELECT",)),
    "idempotency_keys": Access(api=("SELECT", "INSERT")),
    "import_identities": Access(auditor=("SELECT",)),
    "import_sources": Access(auditor=("SELECT",)),
    "imports": Access(auditor=("SELECT",)),
    "installation": Access(api=("SELECT",), auditor=("SELECT",)),
    "installation_events": Access(auditor=("SELECT",)),
    "job_outcomes": Access(api=("SELECT",), auditor=("SELECT",)),
    "log_events": Access(api=("SELECT", "INSERT"), auditor=("SELECT",)),
    "log_state": Access(api=("SELECT",), auditor=("SELECT",)),
    "month_returns": Access(api=("SELECT",), auditor=("SELECT",)),
    "recon_breaks": Access(api=("SELECT", "UPDATE (state)", "UPDATE (period_day)"), auditor=("SELECT",)),
    "recon_closed_days": Access(api=("SELECT", "INSERT"), auditor=("SELECT",)),
    "recon_confirmations": Access(api=("SELECT", "INSERT"), auditor=("SELECT",)),
    "recon_day_changes": Access(api=("SELECT",), auditor=("SELECT",)),
    "recon_events": Access(api=("SELECT", "INSERT"), auditor=("SELECT",)),
    "recon_matches": Access(api=("SELECT",), auditor=("SELECT",)),
    "recon_period_proposals": Access(api=("SELECT", "INSERT"), auditor=("SELECT",)),
    "recon_periods": Access(api=("SELECT", "INSERT"), auditor=("SELECT",)),
    "recon_resolutions": Access(api=("SELECT", "INSERT"), auditor=("SELECT",)),
    "recon_runs": Access(api=("SELECT",), auditor=("SELECT",)),
    "recon_withdrawals": Access(api=("SELECT", "INSERT"), auditor=("SELECT",)),
    "archive_locks": Access(api=("SELECT", "INSERT", "UPDATE"), auditor=("SELECT",)),
    "archive_copies": Access(api=("SELECT",), auditor=("SELECT",)),
    "restored_months": Access(api=("SELECT",), auditor=("SELECT",)),
    "statement_absences": Access(api=("SELECT",), auditor=("SELECT",)),
    "statement_files": Access(api=("SELECT",), auditor=("SELECT",)),
    "stored_objects": Access(api=("SELECT",), auditor=("SELECT",)),
    "vend_failures": Access(api=("SELECT", "INSERT"), auditor=("SELECT",)),
    "watch_baselines": Access(auditor=("SELECT",)),
    "watch_findings": Access(auditor=("SELECT",)),
    "watch_horizons": Access(api=("SELECT",), auditor=("SELECT",)),
    "watch_progress": Access(auditor=("SELECT",)),
}
# The relations of each tiered table; the API reaches partitions through their parents only. An UPDATE of some columns
# alone has a second use: a role with UPDATE on the whole could lock everybody out with LOCK TABLE.
HOT = Access(api=("SELECT", "INSERT", *_MOVE_STATUS), auditor=("SELECT",))
WARM = Access(api=("SELECT", *_MOVE_STATUS), auditor=("SELECT",))
# What a purchase finds out about its row (tasks/vending/purchase.py).
_VENDED = tuple(
    f"UPDATE ({column})" for column in ("supplier_reference", "supplier_transaction_id", "commission", "processed_at")
)
VIEW = Access(auditor=("SELECT",))
PARTITION = Access(auditor=("SELECT",))

_API_TABLES = frozenset(table.name for table in BUILT_IN)


class _Privilege(NamedTuple):
    relation: Relation
    role: str
    kind: str
    column: str | None

    def statement(self, verb: str, direction: str) -> Composed:
        """``GRANT ... TO`` or ``REVOKE ... FROM``."""
        column = SQL("") if self.column is None else SQL(" ({})").format(Identifier(self.column))
        role = SQL("PUBLIC") if self.role == _PUBLIC else Identifier(self.role)
        parts = (SQL(verb), SQL(self.kind), column, self.relation.identifier, SQL(direction), role)
        return SQL("{} {}{} ON {} {} {}").format(*parts)


def prepare_roles(connection: Connection, settings: Settings) -> list[str]:
    """Make the roles that are missing and bring every privilege in this database to what is declared above.

    Returns what could not be done, a line each with the statements that a database administrator must run. Safe to
    run again (then it only looks), from several processes, and in several databases of a cluster at once.
    """
    problems = [*_make_roles(connection), *_shut_and_open(connection)]
    _settle(connection, settings, lambda: _wanted_of_catalogue(connection))
    for table in settings.registry.values():
        try:
            grant_table(connection, settings, table)
        except ConfigError as error:
            problems.append(f"table {table.name}: {error}")
    return problems


def grant_table(connection: Connection, settings: Settings, table: TieredTable) -> None:
    """Bring the privileges on a table's parents, view and partitions to what is declared. Safe to run again."""
    _open_schemas(connection, table)
    _settle(connection, settings, lambda: _wanted_of_table(connection, table))


def grant_partition(connection: Connection, partition: Relation) -> None:
    """Give a partition that was just made to those who read it directly, within the caller's transaction."""
    roles = _existing_roles(connection, ROLES)
    for privilege in _expand({partition: PARTITION}):
        if privilege.role in roles:
            connection.execute(privilege.statement("GRANT", "TO"))


def grant_copy(connection: Connection, copy: Relation) -> None:
    """Give a copy of an archived month, and the schema that it is in, to those who read all rows."""
    roles = _existing_roles(connection, ROLES)
    for privilege in _expand({copy: PARTITION}):
        if privilege.role in roles:
            schema, role = Identifier(copy.schema), Identifier(privilege.role)
            connection.execute(SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, role))
            connection.execute(privilege.statement("GRANT", "TO"))


def ensure_login(owner_dsn: str, login_dsn: str) -> None:
    """Let the role named in ``login_dsn`` log in with the password there; made first where it is missing.

    For a server that is this project's own: ``owner_dsn`` must be a superuser's. The password is sent as its
    SCRAM verifier. Safe to run again, and at the same time as others on the same database.
    """
    parts = urlsplit(login_dsn)
    role, password = unquote(parts.username or ""), unquote(parts.password or "")
    with connect(owner_dsn, "roles") as connection:
        is_there = role in _existing_roles(connection, (role,))  # first: the server logs who fails to log in
        if is_there and _can_log_in(login_dsn):
            return
        _set_login(connection, role, password)


def _set_login(connection: Connection, role: str, password: str) -> None:
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (MAINTENANCE_LOCK,))
        if role not in _existing_roles(connection, (role,)):
            connection.execute(SQL("CREATE ROLE {}").format(Identifier(role)))
        verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
        change = SQL("ALTER ROLE {} LOGIN PASSWORD {}")
        connection.execute(change.format(Identifier(role), Literal(verifier)))


def _can_log_in(dsn: str) -> bool:
    try:
        with closing(psycopg.connect(dsn, **connection_parameters(dsn, "login"))):
            return True
    except psycopg.OperationalError:
        return False


def _make_roles(connection: Connection) -> list[str]:
    missing = [role for role in ROLES if role not in _existing_roles(connection, ROLES)]
    refused = []
    for role in missing:
        statement = SQL("CREATE ROLE {} NOLOGIN").format(Identifier(role))
        try:
            connection.execute(statement)
        except (errors.DuplicateObject, errors.UniqueViolation):
            continue  # another database of the cluster was prepared at the same moment
        except errors.InsufficientPrivilege:
            refused.append(statement.as_string())
    return _by_hand(refused)


def _shut_and_open(connection: Connection) -> list[str]:
    """Take from PUBLIC what it has, let the roles in. A REVOKE that may not is only a warning: it is looked again."""

    def needed() -> list[str]:
        shut = connection.execute(_QUERIES["closing"]).fetchall()
        let_in = connection.execute(_QUERIES["opening"], {"roles": list(ROLES), "api": API}).fetchall()
        return [statement for (statement,) in (*shut, *let_in)]

    for statement in needed():
        try:
            connection.execute(SQL(statement))
        except (errors.InsufficientPrivilege, errors.UniqueViolation, errors.InternalError_):
            continue  # reported below, unless another database of the cluster was prepared at the same moment
    return _by_hand(needed())


def _by_hand(statements: Iterable[str]) -> list[str]:
    together = "; ".join(statements)
    return [f"TREASURY_DATABASE_URL: its role may not do this, an administrator must: {together}"] if together else []


def _existing_roles(connection: Connection, wanted: Collection[str]) -> set[str]:
    return {role for (role,) in connection.execute(_QUERIES["existing"], {"roles": list(wanted)})}


def own_relations(connection: Connection) -> list[Relation]:
    """The tables of this project's own that are there; not those of the ledger."""
    there = connection.execute(_QUERIES["relations"], {"relations": list(CATALOGUE)}).fetchall()
    return [Relation(*row) for row in there]


def _wanted_of_catalogue(connection: Connection) -> Mapping[Relation, Access]:
    return {relation: CATALOGUE[relation.name] for relation in own_relations(connection)}


def _wanted_of_table(connection: Connection, table: TieredTable) -> Mapping[Relation, Access]:
    """What is declared for the relations of a table that are there, partitions of other schemas included."""
    vended = _VENDED if table.name == VAS_TRANSACTIONS.name else ()
    hot, warm = HOT._replace(api=(*HOT.api, *vended)), WARM._replace(api=(*WARM.api, *vended))
    parents = _real_parents(connection, table)
    view = None if parents.hot is None else find_view(connection, table, parents.hot.schema, parents)
    wanted = {
        relation: access if table.name in _API_TABLES else access._replace(api=())
        for relation, access in ((parents.hot, hot), (parents.warm, warm), (view, VIEW))
        if relation is not None
    }
    return wanted | dict.fromkeys(_partitions(connection, parents), PARTITION)


def _real_parents(connection: Connection, table: TieredTable) -> Parents:
    """The parents without what only has the name of one: nobody's privileges on that are changed."""
    parents = Parents.of(connection, table)
    question = {"relations": [parent.oid for parent in parents.found], "time_column": table.time_column}
    real = {oid for (oid,) in connection.execute(_QUERIES["parents"], question)}
    hot, warm = (parent if parent and parent.oid in real else None for parent in (parents.hot, parents.warm))
    return Parents(hot, warm)


def _partitions(connection: Connection, parents: Parents) -> list[Relation]:
    oids = [parent.oid for parent in parents.found]
    return [Relation(*row) for row in connection.execute(_QUERIES["partitions"], {"parents": oids})]


def _open_schemas(connection: Connection, table: TieredTable) -> None:
    """Let the roles into the schemas that a table's parents and partitions lie in, where this role may do so.

    Where it may not, PostgreSQL itself refuses each reader and says so.
    """
    parents = _real_parents(connection, table)
    schemas = sorted({relation.schema for relation in (*parents.found, *_partitions(connection, parents))})
    needed = connection.execute(_QUERIES["schema_usage"], {"schemas": schemas, "roles": list(ROLES)}).fetchall()
    for (statement,) in needed:
        with suppress(errors.InsufficientPrivilege):
            connection.execute(SQL(statement))


def _expand(wanted: Mapping[Relation, Access]) -> set[_Privilege]:
    """Every single privilege of a declaration."""
    expanded = set()
    for relation, access in wanted.items():
        for role, privileges in ((API, access.api), (AUDITOR, access.auditor)):
            for privilege in privileges:
                kind, _, column = privilege.partition(" (")
                expanded.add(_Privilege(relation, role, kind, column.rstrip(")") or None))
    return expanded


def _settle(connection: Connection, settings: Settings, wanted: Callable[[], Mapping[Relation, Access]]) -> None:
    """Grant what is missing and revoke what is too much, on the relations that ``wanted`` names and that exist."""

    def differences() -> tuple[set[_Privilege], set[_Privilege]]:
        declared = wanted()
        held = _held(connection, declared)
        should = _possible(connection, _expand(declared))
        return should - held, held - should

    def settle() -> None:
        missing, excess = differences()  # once more: only under the maintenance lock is the answer final
        for privilege in sorted(excess, key=str):
            connection.execute(privilege.statement("REVOKE", "FROM"))
        for privilege in sorted(missing, key=str):
            connection.execute(privilege.statement("GRANT", "TO"))

    if not any(differences()):
        return
    try:
        run_ddl(connection, settings, settle)
    except errors.InsufficientPrivilege as error:
        message = f"TREASURY_DATABASE_URL: its role must own every table: {error.diag.message_primary}"
        raise ConfigError(message) from error


def _held(connection: Connection, relations: Collection[Relation]) -> set[_Privilege]:
    by_oid = {relation.oid: relation for relation in relations}
    rows = connection.execute(_QUERIES["held"], {"relations": list(by_oid), "roles": list(ROLES)})
    return {_Privilege(by_oid[oid], *rest) for oid, *rest in rows}


def _possible(connection: Connection, wanted: set[_Privilege]) -> set[_Privilege]:
    """Without the roles that are not there (reported elsewhere)."""
    roles = _existing_roles(connection, ROLES)
    return {privilege for privilege in wanted if privilege.role in roles}
