"""The forms of values on pages: sizes, numbers, money, shares, times and durations. Pure.

Digits are in groups of three with a thin space that does not break. Times are UTC. What was not measured is a dash.
"""

from datetime import UTC, date, datetime
from decimal import Decimal

from markupsafe import Markup, escape

from ledger.money import shown
from ledger.sizes import scaled

THIN = "\u202f"
NOTHING = "\u2013"  # a dash
MINUS = "\u2212"
_CENT = Decimal("0.01")
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def size(size_bytes: float | None) -> str:
    """Bytes as `417 KiB`: one decimal place below ten, none above."""
    if size_bytes is None:
        return NOTHING
    amount, unit = scaled(size_bytes, 0)
    places = 1 if unit != "B" and abs(amount) < 9.95 else 0
    return f"{_grouped(f'{amount:.{places}f}')}{THIN}{unit}"


def number(value: float | Decimal | None, places: int | None = None) -> str:
    """A number, with ``places`` decimal places; by default with those that it has, a float with one at most."""
    if value is None:
        return NOTHING
    if places is None and isinstance(value, float):
        places = 0 if value == int(value) or abs(value) >= 100 else 1
    return _grouped(f"{value}" if places is None else f"{value:.{places}f}")


def money(amount: Decimal | str | None, currency: str) -> str:
    """An amount with the decimal places of its currency, and every further one that is not zero."""
    if amount is None:
        return NOTHING
    return f"{_grouped(shown(Decimal(amount), currency))}{THIN}{currency}"


def cost(amount: Decimal | None) -> str:
    """A price to the cent, without its currency; below a cent with two digits that count."""
    if amount is None:
        return NOTHING
    places = 1 - amount.adjusted() if 0 < abs(amount) < _CENT else 2
    return _grouped(f"{amount:.{places}f}")


def percent(share: float | Decimal | None) -> str:
    """A share from 0 to 1 as `0.4 %`: one decimal place below ten, none above; never 0 or 100 for what is not."""
    if share is None:
        return NOTHING
    value = 100 * share
    if 0 < value < 0.1:
        return f"<{THIN}0.1{THIN}%"
    if 99.9 < value < 100:
        return f">{THIN}99.9{THIN}%"
    return f"{value:.{0 if value in (0, 100) or 10 <= value < 99 else 1}f}{THIN}%"


def milliseconds(value_ms: float | None) -> str:
    """A short time as `3.2 ms`, from a second on as `duration`."""
    if value_ms is None:
        return NOTHING
    if value_ms >= 1000:
        return duration(value_ms / 1000)
    return f"{value_ms:.{1 if value_ms < 10 else 0}f}{THIN}ms"


def duration(seconds: float | None) -> str:
    """A time as its two largest units: `4 s`, `3 min 20 s`, `2 h 5 min`, `3 days 4 h`."""
    if seconds is None:
        return NOTHING
    if seconds < 10:
        return f"{seconds:.1f}{THIN}s".replace(".0", "")
    whole = round(seconds)
    if whole < _MINUTE_S:
        return f"{whole}{THIN}s"
    if whole < _HOUR_S:
        return _two(whole, _MINUTE_S, "min", 1, "s")
    if whole < _DAY_S:
        return _two(whole, _HOUR_S, "h", _MINUTE_S, "min")
    return _two(whole, _DAY_S, "day" if whole < 2 * _DAY_S else "days", _HOUR_S, "h")


def moment(value: datetime | None) -> Markup | str:
    """An instant as a `<time>` to the minute, UTC."""
    if value is None:
        return NOTHING
    utc = value.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        utc.isoformat(timespec="seconds"), f"{utc:%Y-%m-%d %H:%M}{THIN}UTC"
    )


def instant(value: datetime | None) -> Markup | str:
    """An instant as a `<time>` with every digit that it has, down to microseconds, UTC."""
    if value is None:
        return NOTHING
    utc = value.astimezone(UTC)
    digits = f".{utc.microsecond:06d}".removesuffix("000") if utc.microsecond else ""
    text = utc.replace(microsecond=0, tzinfo=None).isoformat(" ")  # strftime writes the year 1 without its zeros
    return Markup('<time datetime="{}">{}</time>').format(utc.isoformat(), f"{text}{digits}{THIN}UTC")


def day(value: date | None) -> Markup | str:
    """A day as a `<time>`."""
    return NOTHING if value is None else Markup('<time datetime="{0}">{0}</time>').format(value.isoformat())


def age(value: datetime | None, now: datetime) -> Markup | str:
    """How long ago an instant was, or how far ahead it is, as a `<time>` whose title has the instant itself."""
    if value is None:
        return NOTHING
    utc = value.astimezone(UTC)
    seconds = (now - utc).total_seconds()
    text = f"{_rough(seconds)} ago" if seconds >= 0 else f"in {_rough(-seconds)}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        utc.isoformat(timespec="seconds"), f"{utc:%Y-%m-%d %H:%M:%S} UTC", text
    )


def prose(text: str) -> Markup:
    """A sentence of the project, in which a command between backticks is shown as code."""
    parts = str(text).split("`")
    if len(parts) % 2 == 0:  # a backtick without another one is a character like any other
        return escape(text)
    pieces = (Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts))
    return Markup().join(pieces)


def _rough(seconds: float) -> str:
    """One unit is enough for an age."""
    whole = round(seconds)
    for unit_s, singular, plural in (
        (_DAY_S, "day", "days"),
        (_HOUR_S, "hour", "hours"),
        (_MINUTE_S, "minute", "minutes"),
    ):
        if whole >= unit_s:
            count = whole // unit_s
            return f"{count} {singular if count == 1 else plural}"
    return f"{whole} {'second' if whole == 1 else 'seconds'}"


def _two(whole: int, large_s: int, large: str, small_s: int, small: str) -> str:
    rest = whole % large_s // small_s
    first = f"{whole // large_s}{THIN}{large}"
    return f"{first} {rest}{THIN}{small}" if rest else first


def _grouped(text: str) -> str:
    """The digits before the point in groups of three."""
    sign, digits = (MINUS, text[1:]) if text.startswith("-") else ("", text)
    whole, point, rest = digits.partition(".")
    grouped = f"{int(whole):,}".replace(",", THIN) if whole.isdecimal() else whole
    return f"{sign}{grouped}{point}{rest}"
