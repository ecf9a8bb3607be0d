"""The check of the public log: whether what was recorded is in the archive, with its witnesses and its timestamp."""

from datetime import datetime

from ledger.counts import counted
from sql.installation import read_installation
from sql.log import LogRow, count_waiting, read_log
from tasks.health.context import Context
from tasks.health.result import HealthState, Limits, Measure


def log(context: Context) -> Measure:
    """Every event is in the log. Value: minutes since the oldest one that is not was recorded, 0 without one.

    A warning, too, where the last publication failed or had to do without witnesses or a timestamp.
    """
    with context.connect() as connection:
        installation = read_installation(connection)
        if installation is None:
            return Measure("nothing was archived yet, so there is no log", 0)
        row = read_log(connection, installation.installation_id)
        waiting, oldest = count_waiting(connection, installation.installation_id)
    minutes = max(0.0, (context.now - oldest).total_seconds() / 60) if oldest else 0
    line = "; ".join(part for part in (_published(row), _waiting(waiting, oldest), _others(row)) if part)
    return Measure(line, minutes, _state(context, row, minutes))


def _published(row: LogRow | None) -> str:
    if row is None or row.published_at is None:
        return "the log was not published yet"
    events = counted(row.published_size, "event is", "events are")
    return f"{events} published, the last at {row.published_at:%Y-%m-%d %H:%M} UTC"


def _waiting(count: int, oldest: datetime | None) -> str:
    return f"{count} wait since {oldest:%Y-%m-%d %H:%M} UTC" if oldest else ""


def _others(row: LogRow | None) -> str:
    parts = (row.shortfall, row.witnessed, row.timestamped) if row else ()
    return "; ".join(part for part in parts if part)


def _state(context: Context, row: LogRow | None, minutes: float) -> HealthState | None:
    """None where the number decides."""
    limits = context.settings.health
    judged = Limits(limits.log_warning_minutes, limits.log_critical_minutes, "minutes").judge(minutes)
    return HealthState.WARNING if row and row.shortfall and judged is HealthState.HEALTHY else None
