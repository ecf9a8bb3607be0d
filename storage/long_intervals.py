"""INTERVALs that the engine hands on changed: Arrow has their time in nanoseconds, and 64 bits of them wrap around."""

from collections.abc import Sequence

import duckdb

from storage.engine import identifier, literal

_MOST_HOURS = str(2**63 // (3600 * 10**9))  # whole hours that fit
_HOURS = f"'([0-9]{{{len(_MOST_HOURS)},}}):[0-9]{{2}}:[0-9]{{2}}'"  # of an INTERVAL as text, itself or within a list
_IS_LONG = f"length(hours) > {len(_MOST_HOURS)} OR hours >= '{_MOST_HOURS}'"


def checked_intervals(query: str, columns: Sequence[tuple[str, str]]) -> str:
    """``query``, whose ``columns`` have these names and types, with an error for an INTERVAL too long for Arrow.

    The names of its columns are others where one has an INTERVAL.
    """
    if not any("INTERVAL" in kind for _, kind in columns):
        return query
    places = [identifier(str(number)) for number in range(len(columns))]
    shown = ", ".join(
        _checked(place, name) if "INTERVAL" in kind else place
        for place, (name, kind) in zip(places, columns, strict=True)
    )
    return f"SELECT {shown} FROM (\n{_without_end(query)}\n) AS answer({', '.join(places)})"


def _checked(place: str, name: str) -> str:
    message = f"{name}: an INTERVAL of {_MOST_HOURS} hours or more: use CAST({name} AS VARCHAR)"
    long_hours = f"list_filter(regexp_extract_all({place}::VARCHAR, {_HOURS}, 1), lambda hours: {_IS_LONG})"
    return f"CASE WHEN len({long_hours}) > 0 THEN error({literal(message)}) ELSE {place} END AS {place}"


def _without_end(query: str) -> str:
    """The statement without the semicolons behind it, and what follows them."""
    text = query.encode()
    for place, _ in reversed(duckdb.tokenize(query)):  # by bytes, without comments
        if text[place : place + 1] != b";":
            break
        text = text[:place]
    return text.decode()
