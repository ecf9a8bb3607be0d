"""Publish the waiting events of the public log every five minutes. Those of archived months are published at once."""

from prefect import flow, get_run_logger

from config import load_settings
from flows.schedule import HOOKS
from tasks.steps import publish_log_step
from tasks.transparency.publish import Published


@flow(name="publish-log", **HOOKS)
def publish_log() -> Published | None:
    """Publish what waits, and complete what a killed run left. Safe to run again at any time."""
    published = publish_log_step(load_settings())
    logger = get_run_logger()
    if published is None:
        logger.info("no event was ever recorded")
        return None
    logger.info("%d events published; the log has %d", published.events, published.size)
    if published.shortfall:
        logger.warning(published.shortfall)
    return published
