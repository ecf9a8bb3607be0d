"""Every night: the public log, the presence of all objects, every row of what was read longest ago, and the locks."""

from prefect import flow, get_run_logger

from config import load_settings
from flows.console import explained, finished
from flows.futures import raise_together
from flows.schedule import HOOKS
from ledger.counts import counted
from ledger.errors import TreasuryError
from ledger.sizes import human_bytes
from tasks.steps import check_locks_step, drill_again_step, publish_log_step, verify_archive_step
from tasks.verifying.reverification import Night


@flow(name="verify-archive", **HOOKS)
@explained("verify-archive")
def verify_archive() -> Night:
    """Verify a part of the archive and publish that it was; compare the store's locks with what it was asked to keep.

    Safe to run again at any time. The run fails where something is wrong: its message names all of it, and an alert is
    open.
    """
    settings, logger = load_settings(), get_run_logger()
    problems: list[Exception] = []
    try:
        night = verify_archive_step(settings)
    except TreasuryError as error:
        problems.append(error)
    else:
        logger.info("%d parts of months read again: %d rows, %d bytes", night.parts, night.rows, night.size_bytes)
    try:
        locks = check_locks_step(settings)
    except TreasuryError as error:
        problems.append(error)
    else:
        done = (locks.objects, locks.locked, locks.held, locks.released)
        logger.info("%d objects compared with their locks: %d locked, %d held, %d released", *done)
    for step in (drill_again_step, publish_log_step):
        try:
            step(settings)
        except TreasuryError as error:
            problems.append(error)
    raise_together(problems)
    if not night.parts:
        return finished(night, "verify: nothing to read")
    line = f"{counted(night.parts, 'part')} read, {counted(night.rows, 'row')}, {human_bytes(night.size_bytes)}"
    return finished(night, f"verify: {line}")
