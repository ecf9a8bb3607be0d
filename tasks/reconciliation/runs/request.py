"""The request for a run."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ledger.people import SYSTEM
from tasks.reconciliation.engine.tieout import FloatMovement


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The request to reconcile a supplier's Africa/Johannesburg day against the canonical statement at ``statement``, a
    local path or a key of the archive. ``output`` is a folder that gets the reports too; a dry run writes nothing else.
    """

    supplier: str
    day: date
    statement: str
    actor: str = SYSTEM
    movement: FloatMovement | None = None
    dry_run: bool = False
    output: Path | None = None
