"""Objects that must be restored before they are read: which months they are, and the command for each."""

from collections.abc import Iterable, Sequence

from ledger.months import Month
from storage.layout import month_of_key

MOVED = (
    "must be restored before it is read: a lifecycle rule of the bucket, or somebody, moved it into another storage "
    "class. Only objects with rows may be moved: restore it in the store, and copy it back into the standard class"
)
_COMMANDS = 20  # more of them would bury the message


def unreadable_text(keys: Iterable[str]) -> str:
    """What to say of objects that cannot be read now, by their keys: each month, and the commands that restore them."""
    months, others = set[tuple[str, Month]](), []
    for key in keys:
        place = month_of_key(key)
        if place is None:
            others.append(key)
        else:
            months.add((place[0], Month.parse(place[1])))
    spans = [(table, first, last) for table in _tables(months) for first, last in _spans(table, months)]
    named = [*(f"{table} {_span(first, last)}" for table, first, last in spans), *sorted(others)]
    commands = [f"`treasury restore-request {table} {_span(first, last)}`" for table, first, last in spans]
    what = f"run {' and '.join(commands[:_COMMANDS])}" if commands else "restore it in the store"
    return (
        f"{', '.join(named)}: in a storage class that must be restored before it is read: {what}, and repeat this "
        "when the store has restored it"
    )


def _tables(months: Iterable[tuple[str, Month]]) -> list[str]:
    return sorted({table for table, _ in months})


def _spans(table: str, months: Iterable[tuple[str, Month]]) -> list[tuple[Month, Month]]:
    """The months of a table as spans without gaps, oldest first."""
    return spans_of(sorted(month for name, month in months if name == table))


def spans_of(months: Sequence[Month]) -> list[tuple[Month, Month]]:
    """Sorted months as spans without gaps."""
    spans: list[tuple[Month, Month]] = []
    for month in months:
        if spans and spans[-1][1].plus(1) == month:
            spans[-1] = (spans[-1][0], month)
        else:
            spans.append((month, month))
    return spans


def _span(first: Month, last: Month) -> str:
    return str(first) if first == last else f"{first}..{last}"
