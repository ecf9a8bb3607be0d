"""Publish the waiting events of the public log every five minutes. Those of archived months are published at once."""

from prefect import flow, get_run_logger

from config import load_settings
from flows.console import explained, finished
from flows.schedule import HOOKS
from ledger.counts import counted
from tasks.steps import publish_log_step
from tasks.transparency.publish import Published


@flow(name="publish-log", **HOOKS)
@explained("publish-log")
def publish_log() -> Published | None:
    """Publish what waits, and complete what a killed run left. Safe to run again at any time."""
    published = publish_log_step(load_settings())
    if published is None:
        return finished(published, "public log: nothing to publish, no event was ever recorded")
    if published.shortfall:
        get_run_logger().warning(published.shortfall)
    done = f"{counted(published.events, 'event')} published" if published.events else "nothing to publish"
    return finished(published, f"public log: {done}; it has {published.size}")
