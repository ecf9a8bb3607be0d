"""The night's work in one run: the partitions ahead, then every month that is due."""

from prefect import flow

from flows.archive_months import archive_months
from flows.parameters import ArchivingParameters, TableParameters
from flows.roll_partitions import roll_partitions
from ledger.errors import TreasuryError
from tasks.outcome import Outcome


@flow(name="run-archiving-operations")
def run_archiving_operations(parameters: ArchivingParameters = ArchivingParameters()) -> list[Outcome]:  # noqa: B008  # frozen in effect: Prefect copies parameters
    """Roll the partitions, then archive. A rollover with findings does not stop the archiving; the run fails after.

    Safe to run again at any time.
    """
    rollover = TableParameters(as_of=parameters.as_of, tables=parameters.tables, plan_only=parameters.plan_only)
    finding: TreasuryError | None = None
    try:
        roll_partitions(rollover)
    except TreasuryError as error:
        finding = error
    outcomes = archive_months(parameters)
    if finding is not None:
        raise finding
    return outcomes
