"""The text of a statement, fit to be shown: on one line, without comments and without any value. Pure."""

import re

_LONGEST = 400
_PARTS = re.compile(
    r"""
      (?P<comment> --[^\n]* | /\* .*? (?:\*/|\Z) )
    | (?P<name>    "(?:[^"]|"")*" )
    | (?P<value>   '(?:[^']|'')*(?:'|\Z) | \$(?P<tag>[A-Za-z_]\w*|)\$ .*? (?:\$(?P=tag)\$|\Z) | (?<![\w$.])\d[\w.]* )
    """,
    re.VERBOSE | re.DOTALL,
)


def without_values(text: str) -> str:
    """``text`` with a ``?`` for every string and number that is still in it, at most 400 characters.

    pg_stat_statements has taken the values out already, but under pressure it may keep a text as it was sent.
    """
    return " ".join(_PARTS.sub(_shown, text).split())[:_LONGEST]


def _shown(part: re.Match[str]) -> str:
    if part["name"] is not None:
        return part["name"]
    return " " if part["comment"] is not None else "?"
