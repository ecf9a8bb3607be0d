"""Texts in files that people open in a spreadsheet."""

_RISKY = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the start of a formula, by OWASP


def safe_text(text: str) -> str:
    """Text that no spreadsheet takes for a formula: a quote before what could start one."""
    return f"'{text}" if text.startswith(_RISKY) else text
