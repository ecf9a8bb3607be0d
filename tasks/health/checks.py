"""The one list of health checks: what each looks at, from where on it is bad, and what to do then."""

from collections.abc import Callable
from dataclasses import dataclass

from config import Settings
from config.health import HealthSettings
from tasks.health import (
    access,
    archive,
    log,
    months,
    notices,
    postgres,
    reconciliation,
    retention,
    schedules,
    servers,
    totals,
    verification,
)
from tasks.health.context import Context
from tasks.health.result import Limits, Measure

POSTGRES = "postgres"


@dataclass(frozen=True, slots=True)
class Check:
    """A named check. ``limits`` is None where no number decides; ``asks_postgres``: it needs PostgreSQL."""

    name: str
    description: str
    measure: Callable[[Context], Measure]
    to_do: str
    limits: Callable[[Settings], Limits | None] = lambda _: None
    asks_postgres: bool = False


def _pair(field: str, unit: str, falling: bool = False) -> Callable[[Settings], Limits]:
    """Limits from the settings: ``field`` is their name with a gap for `warning` and `critical`."""
    names = [field.replace("*", level) for level in ("warning", "critical")]
    assert all(name in HealthSettings.model_fields for name in names), field  # noqa: S101  # at import: a slip of this file

    def limits(settings: Settings) -> Limits:
        warning, critical = (getattr(settings.health, name) for name in names)
        return Limits(warning, critical, unit, falling)

    return limits


def _partitions(settings: Settings) -> Limits:
    """Where few partitions are made ahead, a month less is enough: a new month takes one until the night."""
    limits = settings.health
    enough = min(limits.partitions_warning_months, settings.partitions_ahead - 2)
    return Limits(enough, min(limits.partitions_critical_months, enough), "months", falling=True)


def _clock(settings: Settings) -> Limits:
    """Critical from where on nothing is stored, a warning from half of that."""
    return Limits(settings.clock_tolerance_s / 2, settings.clock_tolerance_s, "s")


CHECKS: tuple[Check, ...] = (
    Check(
        POSTGRES,
        "PostgreSQL answers and accepts writes",
        postgres.postgres,
        "Start PostgreSQL, or correct TREASURY_DATABASE_URL; `treasury status` shows whether the embedded one runs.",
        _pair("postgres_*_ms", "ms"),
    ),
    Check(
        "clock",
        "The clock of this machine agrees with PostgreSQL's",
        postgres.clock,
        "Correct the clock that is wrong (NTP, `timedatectl`): beyond TREASURY_CLOCK_TOLERANCE_S nothing is stored.",
        _clock,
        asks_postgres=True,
    ),
    Check(
        "connections",
        "Share of the allowed connections in use",
        postgres.connections,
        "Find who holds them in pg_stat_activity; lower TREASURY_API_POOL_SIZE or the number of processes, or raise "
        "max_connections.",
        _pair("connections_*_percent", "%"),
        asks_postgres=True,
    ),
    Check(
        "long_transactions",
        "Age of the oldest open transaction",
        postgres.long_transactions,
        "Ask its owner, or end it with pg_terminate_backend(pid), a prepared one with ROLLBACK PREPARED: it holds up "
        "moves, and dead rows are not cleaned.",
        _pair("transaction_*_minutes", "minutes"),
        asks_postgres=True,
    ),
    Check(
        "locks",
        "Longest wait for a lock",
        postgres.locks,
        "Look at the session in front with pg_blocking_pids(); end it with pg_terminate_backend(pid) if it must go, a "
        "prepared transaction with COMMIT or ROLLBACK PREPARED.",
        _pair("lock_*_s", "s"),
        asks_postgres=True,
    ),
    Check(
        "collations",
        "The server orders texts as it did when their indexes were made",
        postgres.collations,
        "Stop what posts, REINDEX DATABASE, then record the version (ALTER DATABASE ... REFRESH COLLATION VERSION): "
        "until then a key or a row may not be found.",
        lambda _: Limits(1, 1, "collations"),
        asks_postgres=True,
    ),
    Check(
        postgres.DATABASE_SIZE,
        "Size of the database in bytes; database_growth judges it",
        postgres.database_size,
        "Nothing: this is a figure.",
        asks_postgres=True,
    ),
    Check(
        "database_growth",
        "Days until a local database fills its disk",
        postgres.database_growth,
        "Make room: archive what is due (`treasury run archive_months`), or give the disk more space.",
        _pair("growth_*_days", "days", falling=True),
        asks_postgres=True,
    ),
    Check(
        "redis",
        "Redis stores, returns and deletes a key",
        servers.redis,
        "Start Redis, or correct TREASURY_REDIS_URL; where it answers slowly, look at the load of its machine. The API "
        "works on without it, but slower.",
        _pair("redis_*_ms", "ms"),
    ),
    Check(
        "object_store",
        "The object store stores, returns and deletes an object",
        servers.object_store,
        "Look at the store, its bucket and the credentials. No month can be archived, and no archived one read.",
        _pair("store_*_ms", "ms"),
    ),
    Check(
        "archive_owner",
        "The archive belongs to this database",
        archive.archive_owner,
        "Run `treasury installation show`, then what it names: `treasury installation continue` or `separate`.",
        lambda _: Limits(1, 1, "findings"),
        asks_postgres=True,
    ),
    Check(
        "log",
        "Age of the oldest event that is not in the public log",
        log.log,
        "Run `treasury log publish`: it says what is in the way. Look at the flow publish-log in Prefect.",
        _pair("log_*_minutes", "minutes"),
        asks_postgres=True,
    ),
    Check(
        "prefect",
        "The Prefect server answers and its flow runs start on time",
        servers.prefect_runs,
        "Start the server, or see in its UI why runs wait: no worker, a limit that is taken, a paused queue.",
        _pair("late_runs_*", "runs"),
    ),
    Check(
        "prefect_workers",
        "A worker takes the runs of the pool",
        servers.prefect_workers,
        "Start a worker (`treasury up`, or `prefect worker start --pool treasury`): no flow runs without one.",
        _pair("workers_*", "workers", falling=True),
    ),
    Check(
        "processes",
        "The processes of `treasury up` run, and none has ended by itself",
        servers.processes,
        "Read the end of the named log and the kernel's log; one that is left down needs `treasury down` and `up`.",
        lambda _: Limits(1, 1, "processes"),
    ),
    Check(
        "schedules",
        "Every scheduled flow succeeded in time",
        schedules.schedules,
        "See the named deployments and their last runs in the Prefect UI. `treasury up` makes missing ones, frees "
        "slots that a crash left, and starts a worker.",
        asks_postgres=True,
    ),
    Check(
        "partitions_ahead",
        "Months ahead for which rows can be stored",
        months.partitions_ahead,
        "Run `treasury run roll_partitions`, and see why it did not run at night.",
        _partitions,
        asks_postgres=True,
    ),
    Check(
        "partition_gaps",
        "Every month has one partition, where the catalogue says",
        months.partition_gaps,
        "Compare archive_months with the partitions (\\d+ of the parent): somebody changed them by hand.",
        _pair("gaps_*", "findings"),
        asks_postgres=True,
    ),
    Check(
        "row_access",
        "Nothing hides rows from this project's logins or changes them",
        access.row_access,
        "Take the policy or trigger away, or give the login BYPASSRLS; docs/operations.md says what must be allowed.",
        asks_postgres=True,
    ),
    Check(
        "months_overdue",
        "How long a month has been due without being moved",
        months.months_overdue,
        "Run `treasury run run_archiving_operations` and read its summary: it names what failed.",
        _pair("overdue_*_hours", "hours"),
        asks_postgres=True,
    ),
    Check(
        "months_held_back",
        "How long unfinished rows have held back a month",
        months.months_held_back,
        "Find the rows (`treasury sql`, status pending or processing) and let their owner finish or cancel them.",
        _pair("held_back_*_days", "days"),
        asks_postgres=True,
    ),
    Check(
        "pending_rows_ageing",
        "Age of the oldest row in an unfinished status",
        months.pending_rows_ageing,
        "Find the rows (`treasury sql`, status pending or processing) and let their owner finish or cancel them.",
        _pair("pending_*_hours", "hours"),
        asks_postgres=True,
    ),
    Check(
        "last_archive",
        "Time since the nightly run last succeeded",
        months.last_archive,
        "Run `treasury run run_archiving_operations`; see in Prefect why the nightly run failed or did not start.",
        _pair("archive_*_hours", "hours"),
        asks_postgres=True,
    ),
    Check(
        "last_verification",
        "Time since an archived month was last verified",
        months.last_verification,
        "Run `treasury run archive_months` for what is due; if a proof failed, `treasury verify` says what is wrong.",
        _pair("verification_*_days", "days"),
        asks_postgres=True,
    ),
    Check(
        "verification",
        "Time since the longest unread part of the archive was read",
        verification.verification,
        "Start the flow verify-archive in Prefect (Quick run), and see why it failed or did not start at night.",
        _pair("unverified_*_days", "days"),
        asks_postgres=True,
    ),
    Check(
        "daily_totals",
        "Daily totals of months that have ended are kept; time since the oldest month without them could have had them",
        totals.daily_totals,
        "Run `treasury totals --keep`: it says what failed. Answers are right meanwhile, and slow: the rows are read.",
        _pair("totals_*_days", "days"),
        asks_postgres=True,
    ),
    Check(
        "holds",
        "Time since the review date of an open legal hold passed",
        retention.holds,
        "Ask the owner of the matter; release the hold (`treasury hold release`, two people), or place one with a "
        "later review date and release this one.",
        _pair("holds_*_days", "days"),
        asks_postgres=True,
    ),
    Check(
        "deletions",
        "Time since an approved deletion should have had its certificate",
        retention.deletions,
        "Run `treasury delete run`: it says what is in the way. Revoke a request whose plan changed (`treasury delete "
        "revoke`).",
        _pair("deletions_*_hours", "hours"),
        asks_postgres=True,
    ),
    Check(
        "reconciliation",
        "Age of the oldest supplier's day that is not reconciled",
        reconciliation.reconciliation,
        "See whether the statements of the named days came (`treasury statements list`) and why they were not "
        "reconciled. `treasury recon run` reconciles one, `treasury statements none` records that a day has "
        "no statement.",
        _pair("reconciliation_*_hours", "hours"),
        asks_postgres=True,
    ),
    Check(
        "notices",
        "Every target of notices is valid and takes its notices",
        notices.notices,
        "Correct TREASURY_ALERT_URLS, then send a test notice: `treasury alert test`.",
        lambda _: Limits(1, 1, "alerts"),
        asks_postgres=True,
    ),
    Check(
        "disk",
        "Free space of the disks of the home and the spool",
        servers.disk,
        "Make room: the spool may be emptied when nothing runs; move TREASURY_HOME to a larger disk.",
        _pair("disk_*_percent", "%", falling=True),
    ),
)
