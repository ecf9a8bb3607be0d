"""Statements that have not come: when one is late, of which suppliers one is expected, and the alert about it."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

from config import Settings
from ledger.alerts import Alert, Severity
from ledger.business_days import bounds, day_of
from ledger.card_finder import mask_card_numbers
from ledger.errors import NotFoundError, TransientError
from ledger.masking import cut
from sql.connection import Connection, connect
from sql.queries import load
from suppliers.registry import definitions
from tasks.alerting.store import raise_alert, resolve_alert
from tasks.statements.alert_rules import LATE, LATE_AFTER_HOURS
from tasks.statements.sources import OtherNames, other_names, shown_place

_LOOK_BACK_DAYS = 14
_SHOWN_NAMES, _SHOWN_CHARACTERS = 5, 80
_QUERIES = load("statements")


def late_from(day: date) -> datetime:
    """The instant from which a day's statement is late, aware."""
    return bounds(day)[1] + timedelta(hours=LATE_AFTER_HOURS)


def require_statement(settings: Settings, supplier: str, day: date | None, url: str | None, now: datetime) -> None:
    """Say why `take_in` found no file: returns when the day has its statement from before.

    Raises TransientError while it may still come, NotFoundError when it is late, or when no day was asked for. Both
    name where was looked. ``now`` is aware.
    """
    place, others = shown_place(settings, supplier, url), other_names(settings, supplier, day, url)
    nothing = f"no statement was found at {place}" + (
        f"; {named(others)}" if others is not None and others.names else ""
    )
    if day is None:
        raise NotFoundError(f"{supplier}: {nothing}")
    with connect(settings.database_dsn, "statements") as connection:
        if connection.execute(_QUERIES["current_file"], {"supplier": supplier, "day": day}).fetchone() is not None:
            return
    late = late_from(day)
    missing, since = f"{supplier} {day}: {nothing}", f"{late:%Y-%m-%d %H:%M} in Johannesburg"
    if now < late:
        raise TransientError(f"{missing}; it counts as late from {since}")
    raise NotFoundError(f"{missing}; it counts as late since {since}")


def named(others: OtherNames) -> str:
    """The name that a statement must have, and some of the names that are there instead."""
    shown = ", ".join(repr(cut(mask_card_numbers(name), _SHOWN_CHARACTERS)) for name in others.names[:_SHOWN_NAMES])
    more = f" and {len(others.names) - _SHOWN_NAMES} more" if len(others.names) > _SHOWN_NAMES else ""
    return f"its name must be like {others.example}, and there are {shown}{more}"


def late_statements(settings: Settings, now: datetime) -> list[tuple[str, date]]:
    """Supplier and day of every statement that has not come 24 hours after its day's end, of the last 14 days.

    ``now`` is aware. Of the suppliers that are enabled and whose statements are fetched from somewhere.
    """
    with connect(settings.database_dsn, "statements") as connection:
        return list(_late(settings, connection, now))


def _late(settings: Settings, connection: Connection, now: datetime) -> Iterator[tuple[str, date]]:
    last = day_of(now) - timedelta(days=1)
    if now < late_from(last):
        last -= timedelta(days=1)
    for supplier in expected_suppliers(settings):
        days = {"supplier": supplier, "first": last - timedelta(days=_LOOK_BACK_DAYS - 1), "last": last}
        yield from ((supplier, day) for (day,) in connection.execute(_QUERIES["days_without"], days))


def expected_suppliers(settings: Settings) -> list[str]:
    """The enabled suppliers that statements are awaited of: they have a ``statement_url``, or a real API that gives
    them.
    """
    known = definitions(settings.suppliers)
    return [
        name
        for name, connection in settings.suppliers.connections.items()
        if connection.statement_url is not None
        or (connection.environment != "simulator" and known[name].statement().answer_name is not None)
    ]


def report_late(settings: Settings, now: datetime | None = None) -> list[tuple[str, date]]:
    """`late_statements` of now, with an alert for each. Safe to run again: a day's alert is opened once."""
    moment = now or datetime.now(UTC)
    with connect(settings.database_dsn, "statements") as connection:
        late = list(_late(settings, connection, moment))
        for supplier, day in late:
            raise_alert(connection, _late_alert(supplier, day), at=moment)
    return late


def resolve_late(connection: Connection, supplier: str, day: date) -> None:
    """Resolve the alert about a day whose statement has come. Safe to run again."""
    resolve_alert(connection, LATE, _subject(supplier, day))


def _late_alert(supplier: str, day: date) -> Alert:
    return Alert(
        LATE,
        _subject(supplier, day),
        Severity.WARNING,
        f"{supplier}'s statement of {day} has not come",
        "Ask the supplier for it, or see whether statement_url is the folder that it writes to.",
        {"supplier": supplier, "day": str(day)},
    )


def _subject(supplier: str, day: date) -> str:
    return f"{supplier}/{day}"
