"""The settings of reconciliation: tolerances, scores, and the breaks that it resolves by itself."""

from decimal import Decimal
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Pass = Literal["supplier_transaction_id", "reference", "supplier_reference", "scored"]
_ROUNDING = 1e-9
# Ours before the client's: a client may give a row any reference, that of another row's purchase too.
PASSES: tuple[Pass, ...] = ("supplier_transaction_id", "supplier_reference", "reference", "scored")


class ReconciliationSettings(BaseModel):
    """Every figure that reconciliation decides by. Money is in the currency of the line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    passes: tuple[Pass, ...] = Field(PASSES, min_length=1, description="What lines are matched by, in this order")
    margin_days: int = Field(1, ge=0, le=7, description="Days either side in which own rows are looked for too")
    carry_limit: int = Field(10_000, ge=0, le=100_000, description="Open breaks of earlier days looked at again")
    closed_days_checked: int = Field(
        31, ge=0, le=400, description="Newest closed days that each run compares with what they were at closing"
    )
    time_tolerance_s: int = Field(300, ge=0, le=86_400)
    amount_tolerance: Decimal = Field(Decimal("0.00"), ge=0, max_digits=18, decimal_places=2)
    commission_tolerance: Decimal = Field(Decimal("0.01"), ge=0, max_digits=18, decimal_places=4)
    check_own_commission: bool = Field(True, description="Compare the commission in our own rows too")

    weight_amount: float = Field(0.40, gt=0, lt=1)
    weight_time: float = Field(0.30, gt=0, lt=1)
    weight_product: float = Field(0.30, gt=0, lt=1)
    threshold: float = Field(0.85, gt=0.5, le=1, description="Score from which two rows are taken for the same")
    tie_margin: float = Field(0.02, ge=0, le=0.5, description="A second best nearer than this makes it a suggestion")
    amount_span: Decimal = Field(Decimal("1.00"), gt=0, max_digits=18, decimal_places=2)
    time_window_s: int = Field(1800, ge=1, le=86_400)
    neighbours: int = Field(
        6, ge=1, le=64, description="Nearest own rows, either way in time, that a line is scored on"
    )
    suggestion_limit: int = Field(
        20_000, ge=0, le=200_000, description="Lines, or rows, left over up to which look-alikes are suggested"
    )
    component_limit: int = Field(64, ge=2, le=1024, description="Rows of a tangle that is still solved as a whole")

    auto_time_s: int = Field(300, ge=0, le=86_400)
    auto_rounding: Decimal = Field(Decimal("0.10"), ge=0, max_digits=18, decimal_places=2)
    auto_commission: Decimal = Field(Decimal("1.00"), ge=0, max_digits=18, decimal_places=4)
    escalate_above: Decimal = Field(Decimal("100.00"), ge=0, max_digits=18, decimal_places=2)
    escalate_issues: int = Field(3, ge=2, le=9)
    four_eyes_above: Decimal = Field(Decimal("1000.00"), ge=0, max_digits=18, decimal_places=2)

    pass_matched: Decimal = Field(Decimal("0.99"), gt=0, le=1)
    pass_variance: Decimal = Field(Decimal("1000.00"), ge=0, max_digits=18, decimal_places=2)
    critical_matched: Decimal = Field(Decimal("0.95"), gt=0, le=1)

    vat_rate: Decimal = Field(Decimal("0.15"), ge=0, lt=1, max_digits=7, decimal_places=6)
    memory_mb: int = Field(640, ge=128, description="Memory of the set-based engine for one run; it spills beyond")

    @field_validator("passes")
    @classmethod
    def _once_each(cls, value: tuple[Pass, ...]) -> tuple[Pass, ...]:
        if len(set(value)) != len(value):
            raise ValueError("names a pass twice")
        return value

    @model_validator(mode="after")
    def _figures_fit(self) -> Self:
        if abs(self.weight_amount + self.weight_time + self.weight_product - 1) > _ROUNDING:
            raise ValueError("weight_amount, weight_time and weight_product must add up to 1")
        if self.critical_matched > self.pass_matched:
            raise ValueError("critical_matched must not be above pass_matched")
        return self
