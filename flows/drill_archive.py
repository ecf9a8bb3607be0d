"""Every month: a random archived month is read by three independent readers and compared with the catalogue."""

from prefect import flow, get_run_logger

from config import load_settings
from flows.schedule import HOOKS
from tasks.proving.drill import Drill
from tasks.steps import drill_archive_step


@flow(name="drill-archive", **HOOKS)
def drill_archive() -> Drill | None:
    """Show that the archive is readable by others. Safe to run again at any time: it then takes another month."""
    done = drill_archive_step(load_settings())
    if done is None:
        get_run_logger().info("nothing is archived yet")
        return None
    get_run_logger().info("%s %s, part %d: %s read %d rows", *done.named, ", ".join(done.readers), done.rows)
    return done
