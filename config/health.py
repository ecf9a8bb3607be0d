"""The settings of the health checks and of the notices of alerts: thresholds, time limits, where notices go."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator


class HealthSettings(BaseModel):
    """The limits of the health checks, a pair of fields for each: warning and critical. Times and sizes carry their
    unit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    check_timeout_s: float = Field(8.0, ge=1, le=12, description="How long one check may take; all run at once")
    keep_days: int = Field(30, ge=1, le=3650, description="How long results are kept")

    postgres_warning_ms: int = Field(1000, ge=1, description="Connecting to PostgreSQL and a first answer")
    postgres_critical_ms: int = Field(4000, ge=1)
    connections_warning_percent: int = Field(75, ge=1, le=100, description="Share of the allowed connections in use")
    connections_critical_percent: int = Field(90, ge=1, le=100)
    transaction_warning_minutes: int = Field(10, ge=1, description="Age of the oldest open transaction")
    transaction_critical_minutes: int = Field(60, ge=1)
    lock_warning_s: int = Field(10, ge=1, description="Longest wait for a lock")
    lock_critical_s: int = Field(60, ge=1)
    redis_warning_ms: int = Field(250, ge=1, description="Writing, reading and deleting one key")
    redis_critical_ms: int = Field(2000, ge=1)
    store_warning_ms: int = Field(3000, ge=1, description="Writing, reading and deleting one object")
    store_critical_ms: int = Field(7000, ge=1)
    late_runs_warning: int = Field(1, ge=1, description="Flow runs that did not start on time")
    late_runs_critical: int = Field(10, ge=1)
    workers_warning: int = Field(0, ge=0, description="Workers of the pool that are online, up to which it is bad")
    workers_critical: int = Field(0, ge=0)
    schedule_warning_minutes: int = Field(
        15, ge=1, description="Since a scheduled flow should have ended well; or a twelfth of its interval, if longer"
    )
    schedule_critical_minutes: int = Field(60, ge=1, description="The same; or a whole interval, if longer")
    schedules_off: tuple[str, ...] = Field((), description="Deployments that need not run by themselves")
    partitions_warning_months: int = Field(6, ge=1, description="Months ahead that have a partition, at least")
    partitions_critical_months: int = Field(1, ge=0)
    gaps_warning: int = Field(1, ge=1, description="Partitions that are missing, doubled or not where they belong")
    gaps_critical: int = Field(1, ge=1)
    overdue_warning_hours: int = Field(26, ge=1, description="How long a month may be due and not moved")
    overdue_critical_hours: int = Field(96, ge=1)
    held_back_warning_days: int = Field(3, ge=1, description="How long unfinished rows may hold back a month")
    held_back_critical_days: int = Field(21, ge=1)
    pending_warning_hours: int = Field(24, ge=1, description="Age of the oldest row in an unfinished status")
    pending_critical_hours: int = Field(168, ge=1)
    archive_warning_hours: int = Field(26, ge=1, description="Since the nightly run last succeeded")
    archive_critical_hours: int = Field(50, ge=1)
    verification_warning_days: int = Field(40, ge=1, description="Since an archived month was last verified")
    verification_critical_days: int = Field(100, ge=1)
    unverified_warning_days: int = Field(91, ge=1, description="Since the oldest byte of the archive was last read")
    unverified_critical_days: int = Field(100, ge=1)
    totals_warning_days: int = Field(2, ge=1, description="Since totals that are not kept should have been")
    totals_critical_days: int = Field(7, ge=1)
    log_warning_minutes: int = Field(10, ge=1, description="Age of the oldest event that the public log lacks")
    log_critical_minutes: int = Field(60, ge=1)
    reconciliation_warning_hours: int = Field(
        48, ge=1, description="Since the oldest day of a supplier that is not reconciled began"
    )
    reconciliation_critical_hours: int = Field(96, ge=1)
    reconciliation_days: int = Field(400, ge=1, le=4000, description="Days back that must be reconciled, every one")
    holds_warning_days: int = Field(1, ge=1, description="Since the review date of an open legal hold")
    holds_critical_days: int = Field(30, ge=1)
    deletions_warning_hours: int = Field(30, ge=1, description="Since a deletion should have had its certificate")
    deletions_critical_hours: int = Field(96, ge=1)
    disk_warning_percent: int = Field(15, ge=1, le=99, description="Free space of the home's and the spool's disks")
    disk_critical_percent: int = Field(5, ge=1, le=99)
    growth_warning_days: int = Field(30, ge=1, description="Until a local database fills its disk, as it grows now")
    growth_critical_days: int = Field(7, ge=1)

    @model_validator(mode="after")
    def _pairs_are_in_order(self) -> Self:
        for name in type(self).model_fields:
            if "_warning_" not in f"{name}_":
                continue
            other = name.replace("_warning", "_critical")
            warning, critical = getattr(self, name), getattr(self, other)
            falling = name.split("_")[0] in _SMALL_IS_BAD
            if (warning < critical) if falling else (warning > critical):
                raise ValueError(f"{name} must be reached before {other}, got {warning} and {critical}")
        return self


_SMALL_IS_BAD = frozenset({"partitions", "disk", "growth", "workers"})


class AlertUrls(BaseModel):
    """The targets of notices, by severity: URLs of apprise (https://github.com/caronc/apprise), secrets inside."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    critical: tuple[SecretStr, ...] = Field((), max_length=20)
    warning: tuple[SecretStr, ...] = Field((), max_length=20)


class AlertRepeatMinutes(BaseModel):
    """The interval at which the notice of an open alert without an acknowledgement is repeated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    critical: int = Field(60, ge=5, le=10_080)
    warning: int = Field(1440, ge=5, le=10_080)
