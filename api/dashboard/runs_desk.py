"""The newest flow runs for the page *Now*: Prefect is asked in a thread, and a Prefect that is silent delays nobody."""

from dataclasses import dataclass
from typing import Final

import anyio.to_thread

from api.monitoring.shared_answer import SharedAnswer
from config import Settings
from ledger.errors import TreasuryError
from tasks.prefect.recent_runs import RecentRun, recent_runs, ui_url

MOST_RUNS = 10
PATIENCE_S = 1.0
_FRESH_S, _STALE_S = 10.0, 60.0


@dataclass(frozen=True, slots=True)
class RunsAnswer:
    """The runs, newest first; or why there are none to show. ``ui`` is the address of the Prefect UI, if known."""

    runs: tuple[RecentRun, ...]
    trouble: str
    ui: str


class RunsDesk:
    """The runs as of some seconds ago. Never raises what Prefect or its settings are the cause of."""

    def __init__(self, settings: Settings) -> None:
        self._settings: Final = settings
        self._answer = SharedAnswer(self._ask, _FRESH_S)

    async def recent(self) -> RunsAnswer:
        """The answer; the first one takes two requests to Prefect, each `PATIENCE_S` at most."""
        return await self._answer.recent(_FRESH_S, _STALE_S)

    async def _ask(self) -> RunsAnswer:
        return await anyio.to_thread.run_sync(self._runs, abandon_on_cancel=True)

    def _runs(self) -> RunsAnswer:
        ui = ""
        try:
            ui = ui_url(self._settings)
            return RunsAnswer(tuple(recent_runs(self._settings, MOST_RUNS, PATIENCE_S)), "", ui)
        except TreasuryError as error:
            return RunsAnswer((), str(error), ui)
