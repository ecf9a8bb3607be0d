"""The parameters of the flows, each a type that says what its field of Prefect's form shows and takes.

A flow has plain parameters, so that the form has no box in a box. Prefect checks each before a run starts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, GetJsonSchemaHandler, StringConstraints
from pydantic_core import CoreSchema

from config import load_settings
from ledger.business_days import DAY_PATTERN
from tasks.archiving.outcome import MoveAction
from tasks.archiving.plan import ALL_MOVES
from tasks.restoring.back_to_warm import WORK_DAYS
from tasks.restoring.restore import COPY_DAYS, MOST_DAYS

_MONTH_PATTERN = r"^[0-9]{4}-(0[1-9]|1[0-2])$"
_FLOAT_PATTERN = r"^-?[0-9]+([.][0-9]{1,2})?(,-?[0-9]+([.][0-9]{1,2})?){2}(,(net|gross)(,[A-Z]{3})?)?$"
_MOVES = {
    "all": ALL_MOVES,
    "to_warm": frozenset({MoveAction.TO_WARM}),
    "to_cold": frozenset({MoveAction.TO_COLD}),
    "to_deep": frozenset({MoveAction.TO_DEEP}),
}


@dataclass(frozen=True, slots=True)
class FormField:
    """The text below a field of the form, and what else its schema says. Prefect drops pydantic's own descriptions."""

    description: str
    complete: Callable[[dict[str, Any]], None] | None = None

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core_schema) | {"description": self.description}
        if self.complete is not None:
            self.complete(schema)
        return schema


def _only_days(schema: dict[str, Any]) -> None:
    """Say which texts are days: Prefect checks a pattern before a run starts, but not a format."""
    schema["anyOf"][0]["pattern"] = DAY_PATTERN


def _only_registered(schema: dict[str, Any]) -> None:
    """Offer the tables that are registered where the deployment is made."""
    schema.get("items", schema)["enum"] = list(load_settings().registry)


def _only_suppliers(schema: dict[str, Any]) -> None:
    """Offer the suppliers that there are where the deployment is made: for one, one or none, or many."""
    place = schema["anyOf"][0] if "anyOf" in schema else schema.get("items", schema)
    place["enum"] = list(load_settings().suppliers.names)


def _known_supplier(name: str) -> str:
    known = load_settings().suppliers.names
    if name not in known:
        raise ValueError(f"must be one of {', '.join(known)}")
    return name


_Supplier = Annotated[str, AfterValidator(_known_supplier)]
_Month = Annotated[str, StringConstraints(pattern=_MONTH_PATTERN)]

AsOf = Annotated[
    date | None, FormField("UTC day that the policy is applied at, such as 2026-11-30; empty: today", _only_days)
]
Tables = Annotated[tuple[str, ...], FormField("Names of the tables; empty: every registered table", _only_registered)]
PlanOnly = Annotated[bool, FormField("Show exactly what would happen, and change nothing")]
Moves = Annotated[
    Literal["all", "to_warm", "to_cold", "to_deep"],
    FormField("Hot to warm, warm to cold, cold to deep, or all of them"),
]
WaitHours = Annotated[
    Annotated[float, Field(ge=0, le=168)] | None,
    FormField("Hours to wait for approvals, 0 to 168; empty: TREASURY_RETENTION__APPROVAL_WAIT_HOURS"),
]

Table = Annotated[str, FormField("The table", _only_registered)]
FirstMonth = Annotated[_Month, FormField("The first month, such as 2024-01")]
LastMonth = Annotated[_Month | None, FormField("The last month, included, such as 2024-03; empty: the first")]
Place = Annotated[
    Literal["copy", "warm"],
    FormField("copy: into the schema of restored months; warm: back into the table, to be worked on"),
]
Actor = Annotated[str, StringConstraints(min_length=1, max_length=128), FormField("Your name; recorded")]
Reason = Annotated[
    str, StringConstraints(min_length=1, max_length=1000), FormField("Why the months are needed; recorded")
]

Supplier = Annotated[_Supplier, FormField("The supplier", _only_suppliers)]
OneSupplier = Annotated[
    _Supplier | None, FormField("Empty: every supplier whose statements are awaited", _only_suppliers)
]
Suppliers = Annotated[tuple[_Supplier, ...], FormField("Empty: every supplier that is enabled", _only_suppliers)]
ReconciledDay = Annotated[
    date | None,
    FormField(
        "Africa/Johannesburg day, such as 2026-11-29; empty: yesterday, and earlier ones whose statement no run has"
        " seen",
        _only_days,
    ),
]
LastDay = Annotated[date | None, FormField("Last day of a range, such as 2026-11-30; empty: one day only", _only_days)]
Statement = Annotated[
    str | None, FormField("Path or archive key of the canonical statement; empty: the one taken in for the day")
]
SupplierFloat = Annotated[
    Annotated[str, StringConstraints(pattern=_FLOAT_PATTERN)] | None,
    FormField(
        "OPENING,DEPOSITS,CLOSING[,net or gross[,CURRENCY]] by the supplier, such as 5000.00,0.00,4100.00,net;"
        " empty: the float is not compared"
    ),
]
DryRun = Annotated[bool, FormField("Show what would be found, and write nothing down")]
StatementUrl = Annotated[
    str | None, FormField("File or folder; empty: the supplier's statement_url, or the supplier's API")
]
StatementDay = Annotated[
    date | None,
    FormField(
        "Africa/Johannesburg day, such as 2026-11-29; empty: yesterday, and earlier ones whose statement is late",
        _only_days,
    ),
]
DaysKept = Annotated[
    Annotated[int, Field(ge=1, le=MOST_DAYS)] | None,
    FormField(
        "Days, 1 to 366, after which copies are dropped, or a month in warm is archived again; empty: "
        f"{COPY_DAYS}, with warm {WORK_DAYS}"
    ),
]
Replace = Annotated[bool, FormField("Take another content of a day that has a statement")]


def allowed_moves(moves: str) -> frozenset[MoveAction]:
    """The moves of the form as the plan wants them."""
    return _MOVES[moves]
