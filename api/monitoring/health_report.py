"""The health answer: the checks of `tasks.health`, run in a thread, as the command and the flow run them."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

import anyio.to_thread
from msgspec import Struct


class ComponentState(StrEnum):
    """The states of a component, from best to worst."""

    HEALTHY = "healthy"
    WARNING = "warning"
    CRITICAL = "critical"


_WORST_FIRST = (ComponentState.CRITICAL, ComponentState.WARNING, ComponentState.HEALTHY)


class Component(Struct, kw_only=True):
    """The result of one health check. ``to_do`` says what to do when the component is not healthy."""

    name: str
    state: ComponentState
    value: Decimal | None
    threshold: Decimal | None
    unit: str
    line: str
    to_do: str


class HealthReport(Struct, kw_only=True):
    """Every component and the worst state among them. Callers share one run; ``checked_at`` is its time."""

    state: ComponentState
    checked_at: datetime
    components: list[Component]


class HealthFinding(Protocol):
    """The outcome of one check, as `tasks.health.Result` has it."""

    @property
    def name(self) -> str: ...
    @property
    def state(self) -> StrEnum: ...
    @property
    def value(self) -> Decimal | None: ...
    @property
    def threshold(self) -> Decimal | None: ...
    @property
    def unit(self) -> str: ...
    @property
    def line(self) -> str: ...
    @property
    def to_do(self) -> str: ...


Checks = Callable[[], Sequence[HealthFinding]]


async def health_report(checks: Checks) -> HealthReport:
    """One run of ``checks``, which neither raise nor hang."""
    checked_at = datetime.now(UTC)
    components = [_component(finding) for finding in await anyio.to_thread.run_sync(checks)]
    return HealthReport(state=worst(components), checked_at=checked_at, components=components)


def worst(components: Sequence[Component]) -> ComponentState:
    """The worst state among ``components``; healthy when there are none."""
    states = {component.state for component in components}
    return next((state for state in _WORST_FIRST if state in states), ComponentState.HEALTHY)


def troubles(report: HealthReport) -> list[Component]:
    """The components that are not healthy, the worst first."""
    ill = [component for component in report.components if component.state is not ComponentState.HEALTHY]
    return sorted(ill, key=lambda component: _WORST_FIRST.index(component.state))


def _component(finding: HealthFinding) -> Component:
    return Component(
        name=finding.name,
        state=ComponentState(str(finding.state)),
        value=finding.value,
        threshold=finding.threshold,
        unit=finding.unit,
        line=finding.line,
        to_do=finding.to_do,
    )
