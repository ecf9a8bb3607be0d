"""Days on the command line: one rule for every command, the same as for the parameters of deployments."""

from datetime import datetime
from typing import Any

import click

from ledger.business_days import DAY_RULE, parse_day
from ledger.errors import ConfigError


class _Day(click.DateTime):
    """A day as YYYY-MM-DD. Raises ConfigError naming the option or argument: nothing starts with another."""

    def __init__(self) -> None:
        super().__init__(["%Y-%m-%d"])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Midnight of the day, without an offset."""
        try:
            return value if isinstance(value, datetime) else datetime.combine(parse_day(value), datetime.min.time())
        except ValueError:
            name = param.opts[0] if param is not None else "day"
            raise ConfigError(f"{name}: {value!r} {DAY_RULE}") from None


DAY = _Day()
