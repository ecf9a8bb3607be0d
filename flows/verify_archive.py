"""Every night: the public log, the presence of all objects, and every row of what was read longest ago."""

from prefect import flow, get_run_logger

from config import load_settings
from flows.schedule import HOOKS
from tasks.proving.reverification import Night
from tasks.steps import publish_log_step, verify_archive_step


@flow(name="verify-archive", **HOOKS)
def verify_archive() -> Night:
    """Verify a part of the archive and publish that it was. Safe to run again at any time.

    The run fails where something is wrong: its message names all of it, and an alert is open.
    """
    settings = load_settings()
    night = verify_archive_step(settings)
    publish_log_step(settings)
    get_run_logger().info("%d parts of months read again: %d rows, %d bytes", night.parts, night.rows, night.size_bytes)
    return night
