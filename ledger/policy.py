"""The tier that a month belongs in on a given day. Ages are whole calendar months since the month ended."""

from datetime import date
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ledger.months import Month


class Tier(StrEnum):
    """The place of a month, from the most expensive one to none."""

    HOT = "hot"
    WARM = "warm"
    COLD = "cold"
    DEEP = "deep"
    DELETED = "deleted"

    @property
    def is_in_postgres(self) -> bool:
        """Whether the rows are in PostgreSQL."""
        return self in (Tier.HOT, Tier.WARM)

    @property
    def is_archived(self) -> bool:
        """Whether the rows are in the archive."""
        return self in (Tier.COLD, Tier.DEEP)


class TierPolicy(BaseModel):
    """The ages, in whole months since a month ended, at which it leaves each tier.

    With the defaults and ``as_of`` 2026-11-23: November back to August are hot, July 2026 back to November 2025 warm.
    October 2025 back to November 2019 are cold, three more years deep, and older ones may be deleted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hot_months: int = Field(3, ge=1, strict=True, description="Full months kept hot in addition to the current one")
    warm_months: int = Field(12, ge=1, strict=True, description="Age at which a month leaves warm for cold")
    cold_months: int = Field(84, ge=1, strict=True, description="Age at which a month leaves cold for deep")
    retention_months: int = Field(120, ge=1, strict=True, description="Age from which a month may be deleted")

    @model_validator(mode="after")
    def _in_order(self) -> "TierPolicy":
        ages = [self.hot_months, self.warm_months, self.cold_months, self.retention_months]
        if ages != sorted(ages) or len(set(ages)) != len(ages):
            raise ValueError(
                "hot_months < warm_months < cold_months < retention_months is required, "
                f"got {self.hot_months}, {self.warm_months}, {self.cold_months}, {self.retention_months}"
            )
        return self

    def tier_of(self, month: Month, as_of: date) -> Tier:
        """The tier that ``month`` belongs in on the UTC day ``as_of``. A month to come is hot."""
        age = age_months(month, as_of)
        if age < self.hot_months:
            return Tier.HOT
        if age < self.warm_months:
            return Tier.WARM
        if age < self.cold_months:
            return Tier.COLD
        if age < self.retention_months:
            return Tier.DEEP
        return Tier.DELETED

    def archived_from(self, month: Month) -> date:
        """The first day, UTC, on which ``month`` is due to go cold."""
        return month.plus(self.warm_months + 1).first_day


def age_months(month: Month, as_of: date) -> int:
    """Whole calendar months between the end of ``month`` and the month of ``as_of``; negative until it has ended."""
    return Month.of(as_of).index - month.index - 1
