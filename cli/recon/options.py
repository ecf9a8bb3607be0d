"""Options that several commands of `treasury recon` share."""

from datetime import date, datetime
from typing import Annotated

import typer

from cli.days import DAY

First = Annotated[datetime | None, typer.Option(**DAY, help="First Africa/Johannesburg day")]
Last = Annotated[datetime | None, typer.Option(**DAY, help="Last Africa/Johannesburg day, included")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of entries")]


def date_of(moment: datetime | None) -> date | None:
    """Return the day of an option that may be left out."""
    return moment.date() if moment else None
