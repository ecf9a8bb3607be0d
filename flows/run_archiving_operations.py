"""The night's work in one run: the partitions ahead, the keys past their time, then every month that is due."""

from collections.abc import Callable

from prefect import flow

from config import load_settings
from flows.archive_months import archive_months
from flows.futures import raise_together
from flows.parameters import ArchivingParameters, TableParameters
from flows.roll_partitions import roll_partitions
from ledger.errors import TreasuryError
from tasks.outcome import Outcome
from tasks.steps import purge_idempotency_keys_step


@flow(name="run-archiving-operations")
def run_archiving_operations(parameters: ArchivingParameters = ArchivingParameters()) -> list[Outcome]:
    """Roll the partitions, delete idempotency keys past their time, then archive.

    What fails before the archiving does not stop it; the run fails after it. Safe to run again at any time.
    """
    rollover = TableParameters(as_of=parameters.as_of, tables=parameters.tables, plan_only=parameters.plan_only)
    problems = _problems_of(lambda: roll_partitions(rollover))
    if not parameters.plan_only:
        problems += _problems_of(lambda: purge_idempotency_keys_step(load_settings()))
    outcomes = archive_months(parameters)
    raise_together(problems)
    return outcomes


def _problems_of(step: Callable[[], object]) -> list[Exception]:
    """Run a step that must not stop the ones after it; what it failed with is kept for the end of the run."""
    try:
        step()
    except TreasuryError as error:
        return [error]
    return []
