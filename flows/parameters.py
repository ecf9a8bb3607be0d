"""The parameters of the archiving flows: one model, so that the Prefect UI shows one good form."""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from config import Settings, load_settings
from ledger.business_days import DAY_PATTERN
from ledger.tables import TieredTable
from tasks.archiving.outcome import MoveAction
from tasks.archiving.plan import ALL_MOVES

_MOVES = {"all": ALL_MOVES, "to_warm": frozenset({MoveAction.TO_WARM}), "to_cold": frozenset({MoveAction.TO_COLD})}


def only_days(schema: dict[str, Any]) -> None:
    """Say which texts are days: Prefect checks a pattern before a run starts, but not a format."""
    schema["anyOf"][0]["pattern"] = DAY_PATTERN


def _only_registered(schema: dict[str, Any]) -> None:
    """Offer the tables that are registered where the deployment is made."""
    schema["items"]["enum"] = list(load_settings().registry)


def only_suppliers(schema: dict[str, Any]) -> None:
    """Offer the suppliers that there are where the deployment is made: for one, one or none, or many."""
    place = schema["anyOf"][0] if "anyOf" in schema else schema.get("items", schema)
    place["enum"] = list(load_settings().suppliers.names)


def _known_supplier(name: str) -> str:
    known = load_settings().suppliers.names
    if name not in known:
        raise ValueError(f"must be one of {', '.join(known)}")
    return name


SupplierName = Annotated[str, AfterValidator(_known_supplier)]


class TableParameters(BaseModel):
    """Which day the policy is applied at, to which tables, and whether anything may change."""

    model_config = ConfigDict(extra="forbid")

    as_of: date | None = Field(
        None, description="UTC day that the policy is applied at; empty: today", json_schema_extra=only_days
    )
    tables: list[str] = Field(
        default_factory=list,
        description="Names of the tables; empty: every registered table",
        json_schema_extra=_only_registered,
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
    def allowed(self) -> frozenset[MoveAction]:
        """The moves as the plan wants them."""
        return _MOVES[self.moves]
