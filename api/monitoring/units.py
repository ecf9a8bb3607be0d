"""The units of the monitoring answers.

A duration has its unit in its name, a share is from 0 to 1, a time is UTC. A number without a measurement is null,
never 0.
"""

from typing import Annotated

from msgspec import Meta

Share = Annotated[float, Meta(ge=0, le=1)]
