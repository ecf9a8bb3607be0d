"""A short name for a browser, from its User-Agent: enough to recognise a session of one's own in a list. Pure."""

import re

from ledger.masking import cut, mask_forms

_LONGEST = 80
# The first that fits: browsers name those that they descend from, too.
_BROWSERS = (
    ("Edge", re.compile(r"Edg(?:e|A|iOS)?/(\d{1,4})")),
    ("Opera", re.compile(r"OPR/(\d{1,4})")),
    ("Firefox", re.compile(r"(?:Firefox|FxiOS)/(\d{1,4})")),
    ("Chrome", re.compile(r"(?:Chrome|Chromium|HeadlessChrome|CriOS)/(\d{1,4})")),
    ("Safari", re.compile(r"Version/(\d{1,4})[\d.]* (?:Mobile/\w{1,16} )?Safari/")),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iOS"),
    ("iPad", "iPadOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def browser_name(user_agent: str) -> str:
    """The browser and its system, such as `Firefox 140 on Linux`; the masked beginning of what is not recognised."""
    agent = user_agent[:512]
    browser = next((f"{name} {match[1]}" for name, form in _BROWSERS if (match := form.search(agent))), None)
    if browser is None:
        return (
            cut(mask_forms("".join(character if character.isprintable() else " " for character in agent)), _LONGEST)
            or "unknown"
        )
    system = next((name for mark, name in _SYSTEMS if mark in agent), "an unknown system")
    return f"{browser} on {system}"
