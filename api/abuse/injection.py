"""Attacks that are written into requests: what is looked for, where, and what an alert may contain of it.

Few patterns, which honest requests to this API do not contain. A text that a person typed (a description, a reference)
is never looked at. Only paths, queries, some headers, and the names of refused fields are.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

_LONGEST_TEXT = 2048
_LONGEST_EXCERPT = 64
_HEADER = "header "
_HEADERS = frozenset({b"user-agent", b"referer", b"origin", b"x-forwarded-for", b"x-forwarded-host", b"forwarded"})
# Letters, digits and the marks that paths, times, ids and cursors are made of: nothing can be hidden in them.
_PLAIN = re.compile(rb"[A-Za-z0-9/_\-=&:,~]*(?:\.[A-Za-z0-9/_\-=&:,~]+)*\Z")
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A kind of attack. What a careless client may send is not an ``attack``: it raises an alert and nothing more."""

    name: str
    text: re.Pattern[str]
    attack: bool = True
    in_headers: bool = True


@dataclass(frozen=True, slots=True)
class Sign:
    """A pattern that was found, where, and the matching characters: bounded, digits masked."""

    pattern: str
    place: str
    excerpt: str
    attack: bool


def _pattern(name: str, *parts: str, attack: bool = True, in_headers: bool = True) -> Pattern:
    return Pattern(name, re.compile("|".join(parts), re.IGNORECASE), attack, in_headers)


PATTERNS = (
    _pattern(
        "sql",
        r"\bunion(?:\s|/\*)[^a-z]{0,20}(?:all\s{1,5})?select\b",
        r"['\")]\s{0,5}(?:or|and)\s{1,5}['\"(]?\w{1,20}['\")]?\s{0,5}(?:=|like\b)",
        r"['\"]?\s{0,5};\s{0,5}(?:drop|delete|insert|update|alter|truncate|exec)\s",
        r"\b(?:pg_sleep|benchmark|xp_cmdshell|load_file)\s{0,5}\(",
        r"\bwaitfor\s{1,5}delay\b",
        r"\binformation_schema\b",
        r"'\s{0,5}--",
    ),
    _pattern("traversal", r"(?:^|[/\\=])\.\.(?:[/\\]|\Z)", r"/etc/(?:passwd|shadow)\b", r"\bwin\.ini\b", r"\x00"),
    _pattern(
        "script", r"<\s{0,5}(?:script|iframe|svg|object)\b", r"\bjavascript\s{0,5}:", r"\bon(?:error|load)\s{0,5}="
    ),
    _pattern("lookup", r"\$\{(?:jndi|env|sys|lower|upper|:)", r"<%[=@!]", r"#\{[^}]{0,80}\("),
    _pattern(
        "shell",
        r"(?:;|\||&&|`|\$\()\s{0,5}(?:cat|wget|curl|bash|sh|nc|whoami|powershell)\b",
        in_headers=False,  # "(compatible; curl)" is how a client names itself
    ),
    _pattern("shell", r"\(\)\s{0,5}\{\s{0,5}:;"),
    _pattern("line-break", r"\r\n[\w-]{1,40}:", r"\n\s{0,5}\{?\"?(?:level|time|status)\b"),
    # A client that forgot to fill in its own placeholder looks just like this.
    _pattern("template", r"\{\{[^}]{0,80}\}\}", r"\$\{[^}]{0,80}\}", attack=False),
)


def in_request(path: bytes, query: bytes, headers: Iterable[tuple[bytes, bytes]]) -> Sign | None:
    """The first sign in a request, as it came over the wire; None for a request that is like others."""
    if not _PLAIN.match(path):
        sign = _in_encoded(path, "path")
        if sign is not None:
            return sign
    if query and not _PLAIN.match(query):
        sign = _in_encoded(query.replace(b"+", b" "), "query")
        if sign is not None:
            return sign
    for name, value in headers:
        if name in _HEADERS:
            sign = _in_header(name, value[:_LONGEST_TEXT])
            if sign is not None:
                return sign
    return None


def in_text(text: str, place: str) -> Sign | None:
    """The first sign in ``text``; only its beginning is looked at."""
    shown = text[:_LONGEST_TEXT]
    for pattern in PATTERNS:
        match = pattern.text.search(shown)
        if match is not None and (pattern.in_headers or not place.startswith(_HEADER)):
            return Sign(pattern.name, place, _mask(match[0]), pattern.attack)
    return None


def _in_encoded(raw: bytes, place: str) -> Sign | None:
    """Decoded once, as the server does, and once more, as a careless one behind it might."""
    once = unquote(raw[:_LONGEST_TEXT].decode("latin-1"), errors="replace")
    return in_text(once, place) or (in_text(unquote(once, errors="replace"), place) if "%" in once else None)


@lru_cache(2048)
def _in_header(name: bytes, value: bytes) -> Sign | None:
    return _in_encoded(value, f"{_HEADER}{name.decode('latin-1')}")


def _mask(text: str) -> str:
    """Return what may be kept: no digits, which may be of a card, a phone or a wallet, and nothing unprintable."""
    printable = text[:_LONGEST_EXCERPT].encode("unicode_escape", errors="replace").decode("ascii")
    return _DIGIT.sub("#", printable)[:_LONGEST_EXCERPT]
