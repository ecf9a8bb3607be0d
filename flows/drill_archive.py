"""Every month: a random archived month is read by three independent readers and compared with the catalogue."""

from prefect import flow, get_run_logger

from config import load_settings
from flows.console import explained, finished
from flows.schedule import HOOKS
from ledger.counts import counted
from tasks.steps import drill_archive_step
from tasks.verifying.drill import Drill


@flow(name="drill-archive", **HOOKS)
@explained("drill-archive")
def drill_archive() -> Drill | None:
    """Show that the archive is readable by others. Safe to run again at any time: it then takes another month."""
    done = drill_archive_step(load_settings())
    if done is None:
        return finished(done, "drill: nothing to read")
    table, month, part = done.named
    line = f"{table} {month}, part {part}: {', '.join(done.readers)} read {counted(done.rows, 'row')}"
    get_run_logger().info(line)
    return finished(done, f"drill {line}")
