"""Texts in files that people open in a spreadsheet."""

# What a spreadsheet takes for the start of a formula, by OWASP ("CSV Injection"); the last four are full-width.
_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def safe_text(text: str) -> str:
    """Text that no spreadsheet takes for a formula: a quote before what could start one, also behind blanks."""
    return f"'{text}" if text.startswith(_RISKY) or text.lstrip().startswith(_RISKY) else text
