"""Texts that a spreadsheet or a program has made of a number, or of a formula that failed. None of them is a key."""

import re

from ledger.errors import FieldError

# Spreadsheets write 1.23457E+14. Python, pandas, R and JavaScript write 1.2345e+17, and Java 1.2345678E7 from there on.
_SHORTENED = re.compile(r"[+-]?[0-9](?:[.,][0-9]+[Ee]\+?(?:[7-9]|[0-9]{2,3})|[Ee]\+[0-9]{2,3})\Z")
_FAILED = re.compile(r"#(?:N/A|REF!|VALUE!|NAME\?|DIV/0!|NUM!|NULL!|SPILL!|CALC!|#+)\Z")


def refuse_remains(field: str, text: str) -> str:
    """``text``, which identifies something. Raises FieldError for ``1.23457E+14``, which other numbers become, too, and
    for ``#REF!`` and its like.
    """
    if ("E" in text or "e" in text) and _SHORTENED.match(text.strip()):
        raise FieldError(field, f"{text} is what a spreadsheet shows of a longer number: export the column as text")
    if "#" in text and _FAILED.match(text.strip()):
        raise FieldError(field, f"{text} is what a spreadsheet shows of a value that it has not")
    return text
