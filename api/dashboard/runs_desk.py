"""The newest run of each flow, for the pages *Now* and *Life of the data*.

Prefect is asked in a thread, and a Prefect that is silent delays nobody.
"""

from dataclasses import dataclass
from typing import Final

import anyio.to_thread

from api.monitoring.shared_answer import SharedAnswer
from config import Settings
from ledger.errors import TreasuryError
from tasks.prefect.recent_runs import RecentRun, newest_runs, ui_url

PATIENCE_S, WHOLE_S = 1.0, 3.0
# The sign beside a run, by Prefect's type of its state.
RUN_SIGNS = {"COMPLETED": "good", "FAILED": "bad", "CRASHED": "bad", "CANCELLED": "warning", "CANCELLING": "warning"}
_FRESH_S, _STALE_S = 20.0, 60.0  # a request for each flow, or two


@dataclass(frozen=True, slots=True)
class RunsAnswer:
    """The runs as `newest_runs` orders them; or why there are none to show. ``ui`` is the address of the Prefect UI, if
    known.
    """

    runs: tuple[RecentRun, ...]
    trouble: str
    ui: str

    def of(self, *flows: str) -> RecentRun | None:
        """The newest run of some flows together."""
        runs = [run for run in self.runs if run.flow in flows]
        return max(runs, key=lambda run: str(run.started_at), default=None)


class RunsDesk:
    """The runs as of some seconds ago. Never raises what Prefect or its settings are the cause of."""

    def __init__(self, settings: Settings) -> None:
        self._settings: Final = settings
        self._answer = SharedAnswer(self._ask, _FRESH_S)

    async def recent(self) -> RunsAnswer:
        """The answer; the first one waits for Prefect, `WHOLE_S` at most, and `PATIENCE_S` where it is silent."""
        return await self._answer.recent(_FRESH_S, _STALE_S)

    async def _ask(self) -> RunsAnswer:
        return await anyio.to_thread.run_sync(self._runs, abandon_on_cancel=True)

    def _runs(self) -> RunsAnswer:
        ui = ""
        try:
            ui = ui_url(self._settings)
            return RunsAnswer(tuple(newest_runs(self._settings, PATIENCE_S, WHOLE_S)), "", ui)
        except TreasuryError as error:
            return RunsAnswer((), str(error), ui)
