"""The night's work in one run: the partitions ahead, the keys past their time, then every month that is due."""

from prefect import flow

from config import load_settings
from flows.archive_months import archive_months
from flows.parameters import ArchivingParameters, TableParameters
from flows.roll_partitions import roll_partitions
from ledger.errors import TreasuryError
from tasks.outcome import Outcome
from tasks.steps import purge_idempotency_keys_step


@flow(name="run-archiving-operations")
def run_archiving_operations(parameters: ArchivingParameters = ArchivingParameters()) -> list[Outcome]:
    """Roll the partitions, delete idempotency keys past their time, then archive.

    A rollover with problems does not stop the archiving; the run fails after it. Safe to run again at any time.
    """
    rollover = TableParameters(as_of=parameters.as_of, tables=parameters.tables, plan_only=parameters.plan_only)
    finding: TreasuryError | None = None
    try:
        roll_partitions(rollover)
    except TreasuryError as error:
        finding = error
    if not parameters.plan_only:
        purge_idempotency_keys_step(load_settings())
    outcomes = archive_months(parameters)
    if finding is not None:
        raise finding
    return outcomes
