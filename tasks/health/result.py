"""The result of a health check: a state, the value that it was judged by, a line that says what is, and what to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

Number = int | float | Decimal


class HealthState(StrEnum):
    """The state of a component, from good to bad."""

    HEALTHY = "healthy"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0, 1, 2: also the exit code of `treasury health`."""
        return list(HealthState).index(self)


@dataclass(frozen=True, slots=True)
class Limits:
    """From which value on a check warns, and from which it is critical; up to which when ``falling``."""

    warning: Number
    critical: Number
    unit: str
    falling: bool = False

    def judge(self, value: Number) -> HealthState:
        """The state that a value stands for."""
        for state, limit in ((HealthState.CRITICAL, self.critical), (HealthState.WARNING, self.warning)):
            if (value <= limit) if self.falling else (value >= limit):
                return state
        return HealthState.HEALTHY

    def __str__(self) -> str:
        sign = "<=" if self.falling else ">="
        return f"warning {sign} {self.warning} {self.unit}, critical {sign} {self.critical} {self.unit}"


@dataclass(frozen=True, slots=True)
class Measure:
    """The measurement of one check. ``state`` is for what no number decides; else the value is judged by the check's
    limits.
    """

    line: str
    value: Number | None = None
    state: HealthState | None = None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one check in one run.

    ``threshold`` is the limit that was passed, or the next one. ``to_do`` is empty while healthy. ``caused_by`` names
    another check of the same run whose trouble is the whole reason of this one: it is reported there.
    """

    name: str
    state: HealthState
    value: Decimal | None
    threshold: Decimal | None
    unit: str
    line: str
    to_do: str
    took_ms: int
    caused_by: str = ""

    def as_json(self) -> dict[str, Any]:
        """The result in JSON's types; numbers stay decimal text."""
        return {
            "name": self.name,
            "state": str(self.state),
            "value": None if self.value is None else str(self.value),
            "threshold": None if self.threshold is None else str(self.threshold),
            "unit": self.unit,
            "line": self.line,
            "to_do": self.to_do,
            "took_ms": self.took_ms,
            "caused_by": self.caused_by,
        }


def worst(results: Iterable[CheckResult]) -> HealthState:
    """The worst state of a run; healthy when there are no results."""
    return max((result.state for result in results), key=lambda state: state.rank, default=HealthState.HEALTHY)


def exact(value: Number) -> Decimal:
    """A measured number with at most one decimal place."""
    return Decimal(value) if isinstance(value, int) else Decimal(str(value)).quantize(Decimal("0.1"))
