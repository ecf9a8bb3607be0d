"""Sizes in bytes for people."""

GIGABYTE = 10**9
"""The unit that prices are given for."""

_STEP = 1024
_UNITS = ("B", "KiB", "MiB", "GiB")


def human_bytes(size: float) -> str:
    """A number of bytes with a binary unit and, from a KiB on, one decimal place."""
    for unit in _UNITS:
        if size < _STEP:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= _STEP
    return f"{size:.1f} TiB"
