"""Days on the command line: one rule for every command, the same as for the parameters of deployments."""

from datetime import datetime
from typing import Any

import typer

from ledger.business_days import DAY_RULE, parse_day
from ledger.errors import ConfigError


def _as_typed(text: str) -> str:
    """Nothing is read before the name of the option is known."""
    return text


def _read(parameter: typer.CallbackParam, text: str | None) -> datetime | None:
    """Midnight of a day, without an offset. Raises ConfigError naming the option or the argument."""
    if text is None:
        return None
    try:
        return datetime.combine(parse_day(text), datetime.min.time())
    except ValueError:
        raise ConfigError(f"{parameter.opts[0]}: {text!r} {DAY_RULE}") from None


# For `typer.Option` and `typer.Argument` of a parameter that is a datetime.
DAY: dict[str, Any] = {"parser": _as_typed, "callback": _read, "metavar": "YYYY-MM-DD"}
