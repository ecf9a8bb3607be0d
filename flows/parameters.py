"""The parameters of the archiving flows: one model, so that the Prefect UI shows one good form."""

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from config import Settings
from ledger.tables import TieredTable
from tasks.outcome import Action
from tasks.plan import ALL_MOVES

_MOVES = {"all": ALL_MOVES, "to_warm": frozenset({Action.TO_WARM}), "to_cold": frozenset({Action.TO_COLD})}


class TableParameters(BaseModel):
    """Which day the policy is applied at, to which tables, and whether anything may change."""

    model_config = ConfigDict(extra="forbid")

    as_of: date | None = Field(None, description="UTC day that the policy is applied at; empty: today")
    tables: list[str] = Field(
        default_factory=list, description="Names of the tables, as in transactions; empty: every registered table"
    )
    plan_only: bool = Field(False, description="Show exactly what would happen, and change nothing")

    def chosen(self, settings: Settings) -> list[TieredTable]:
        """The tables meant, in the order of the registry. Raises ConfigError for a name that is not registered."""
        names = {settings.table(name).name for name in self.tables} or set(settings.registry)
        return [table for name, table in settings.registry.items() if name in names]


class ArchivingParameters(TableParameters):
    """Which day the policy is applied at, to which tables, which moves may be made, and whether anything may change."""

    moves: Literal["all", "to_warm", "to_cold"] = Field("all", description="Hot to warm, warm to cold, or both")

    @property
    def allowed(self) -> frozenset[Action]:
        """The moves as the plan wants them."""
        return _MOVES[self.moves]
