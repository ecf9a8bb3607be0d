"""A number and its noun, for people."""


def counted(number: int, singular: str, many: str = "") -> str:
    """`1 month`, `12,000 months`. ``many`` is what follows every number but 1; default: ``singular`` and an s."""
    return f"{number:,} {singular if number == 1 else many or f'{singular}s'}"
