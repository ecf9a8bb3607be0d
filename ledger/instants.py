"""Texts that are an instant: one strict reading, for the API, imports, webhooks and supplier statements.

The profile is RFC 3339, 5.6: date, time with seconds and offset. Nothing else of ISO 8601 is read: no week, no ordinal
date, no basic format, no missing minutes, no comma, no second 60.
"""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

# What RFC 3339 and Python reach. PostgreSQL also has years BC, years after 9999, and infinity.
FIRST_INSTANT = datetime.min.replace(tzinfo=UTC)
LAST_INSTANT = datetime.max.replace(tzinfo=UTC)
INSTANT_RULE = "must be a date and time with an offset as in RFC 3339, like 2026-03-01T09:30:00Z"
LOCAL_RULE = "must be a date and time as in RFC 3339, like 2026-03-01T09:30:00Z, or the same without an offset"
# What `parse_instant` reads, but for the days that a month has, for readers of whole columns.
INSTANT_PATTERN = (
    r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
    r"([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
)
_PARTS = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)([Tt ])(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)?\Z", re.ASCII
)
_MICROSECOND_PLACES = 6


def parse_instant(text: str) -> datetime:
    """The instant of an RFC 3339 date and time, aware, UTC, exact. The ``T`` and the ``Z`` may be small letters.

    Raises ValueError with `INSTANT_RULE` for every other text. Others are one whose offset or seconds are missing, and
    a day that no calendar has. More than six places of a second are refused as well: no bound would keep them exactly.
    """
    parts = _PARTS.match(text)
    if parts is None or parts[9] is None or parts[4] == " " or len(parts[8] or "") > _MICROSECOND_PLACES:
        raise ValueError(INSTANT_RULE)
    return _moment(parts, None, INSTANT_RULE)


def parse_local_instant(text: str, local: tzinfo) -> datetime:
    """As `parse_instant`, for records of other systems: aware, in the text's own offset or else in the zone ``local``.

    A space may be in place of the ``T`` (RFC 3339 allows it), and of nine places of a second six are kept.
    Raises ValueError with `LOCAL_RULE`.
    """
    parts = _PARTS.match(text)
    if parts is None:
        raise ValueError(LOCAL_RULE)
    return _moment(parts, local, LOCAL_RULE)


def _moment(parts: re.Match[str], local: tzinfo | None, rule: str) -> datetime:
    year, month, day, _, hour, minute, second, fraction, offset = parts.groups()
    zone = local if offset is None else _zone(offset)
    microsecond = int((fraction or "").ljust(_MICROSECOND_PLACES, "0")[:_MICROSECOND_PLACES])
    try:
        moment = datetime(
            int(year), int(month), int(day), int(hour), int(minute), int(second), microsecond, tzinfo=zone
        )
        moment.astimezone(UTC)  # the year 1 east of Greenwich is not an instant
    except (ValueError, OverflowError):
        raise ValueError(rule) from None
    return moment if offset is None else moment.astimezone(UTC)


def _zone(offset: str) -> tzinfo:
    if offset in {"Z", "z"}:
        return UTC
    minutes = int(offset[1:3]) * 60 + int(offset[4:])
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))


def exists(moment: datetime) -> bool:
    """Return whether a local time (aware, in a zone of `zoneinfo`) exists: clocks leave an hour out in spring."""
    return moment.astimezone(UTC).astimezone(moment.tzinfo).replace(tzinfo=None) == moment.replace(tzinfo=None)


def occurs_twice(moment: datetime) -> bool:
    """Return whether a local time that exists occurs twice: so in the hour that clocks repeat in autumn."""
    return moment.replace(fold=0).utcoffset() != moment.replace(fold=1).utcoffset()
