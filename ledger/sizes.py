"""Sizes in bytes for people."""

GIGABYTE = 10**9
"""The unit that prices are given for."""

_STEP = 1024
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def scaled(size_bytes: float, places: int) -> tuple[float, str]:
    """A number of bytes in its binary unit: below 1024 of it also when it is rounded to ``places``."""
    amount, unit = float(size_bytes), 0
    while round(abs(amount), places) >= _STEP and unit < len(_UNITS) - 1:
        amount, unit = amount / _STEP, unit + 1
    return amount, _UNITS[unit]


def human_bytes(size_bytes: float) -> str:
    """A number of bytes with a binary unit and, from a KiB on, one decimal place."""
    amount, unit = scaled(size_bytes, 1)
    return f"{amount:.{0 if unit == _UNITS[0] else 1}f} {unit}"
