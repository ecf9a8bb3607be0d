"""Keeping secrets and personal data out of what is stored beside the ledger: alerts, their evidence, their notices.

A value is recognised by the name that it has, or by its form. Wallets, users and ids of transactions stay:
without them nobody could look into an alert.
"""

import json
import re
from collections.abc import Collection, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any

from ledger.card_finder import LONGEST_CHARACTERS, MASK, holds_long_number, mask_card_numbers

TEXT_LIMIT = 500
ITEMS_LIMIT = 50
NODES_LIMIT = 400
DEPTH_LIMIT = 5
SIZE_LIMIT_BYTES = 16 << 10
_NAME_LIMIT = 64
_CARD_BITS = 64  # 19 digits take no more, and a number of thousands of digits cannot be written out

_SECRET_NAME = re.compile(
    r"passw|secret|token|authori[sz]ation|cookie|api.?key|\bpin\b|_pin\b|^pin_|voucher|cvv|cvc|card|account.?n",
    re.IGNORECASE,
)
_KEY = re.compile(r"\btrk_[0-9a-z]{1,16}_[\w-]+", re.IGNORECASE)
_CREDENTIAL = re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]+", re.IGNORECASE)
# Repetitions are bounded: a text that somebody made for it must not cost more than its length. A password goes to the
# last @ of the word: it may hold a slash or an @ that nobody has escaped.
_URL_PASSWORD = re.compile(r"(\b[a-z][a-z0-9+.-]{0,20}://[^\s:/@]{0,100}):[^\s]{1,200}@", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"\b((?:\w*(?:password|passwd|secret|pepper|token)|authorization|pwd|pin)[\"']?\s*[=:]\s*[\"']?)"
    r"(?!bearer |basic )[^\s\"',;&]+",
    re.IGNORECASE,
)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[a-z]{2,24}", re.IGNORECASE)
_MOBILE = re.compile(r"(?<![\w.-])(?:(?:\+?27|0)[6-8]\d{4}|\+[1-9]\d{5,10})(\d{4})(?![\w-])")
# Most texts hold nothing of the kind: they are looked through once.
_SUSPICIOUS = re.compile(r"trk_|@|[=:]|\d{5}|bearer|basic", re.IGNORECASE)
_DROPPED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def masked(value: Any) -> Any:
    """``value`` with secrets and personal data replaced, in JSON's types and of a bounded size. Never raises.

    Mappings and sequences are gone through; instants, decimals and all else become text. What is too deep, too long or
    too much is cut and says so. The work is bounded, too, since what is masked may be what an attacker sent.
    """
    if isinstance(value, str):
        return mask_text(value)
    return _bounded(_Walk().mask(value, 0))


class _Walk:
    """One walk through a value. ``left`` is how many more items it looks at."""

    def __init__(self) -> None:
        self.left = NODES_LIMIT

    def mask(self, value: Any, depth: int) -> Any:
        self.left -= 1
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return mask_number(value)
        if depth >= DEPTH_LIMIT or self.left < 0:
            return "…"
        if isinstance(value, Mapping):
            return self._mapping(value, depth + 1)
        if isinstance(value, list | tuple | set | frozenset):
            return self._sequence(value, depth + 1)
        return str(mask_number(value)) if isinstance(value, Decimal) else mask_text(str(value))

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for name, item in islice(value.items(), ITEMS_LIMIT):
            if self.left <= 0:
                break
            text = cut(str(name), _NAME_LIMIT)
            is_secret = _SECRET_NAME.search(text) is not None
            shown[cut(mask_text(str(name)), _NAME_LIMIT)] = MASK if is_secret else self.mask(item, depth)
        return shown if len(shown) == len(value) else shown | {"…": f"{len(value) - len(shown)} more"}

    def _sequence(self, value: Collection[Any], depth: int) -> list[Any]:
        shown: list[Any] = []
        for item in islice(value, ITEMS_LIMIT):
            if self.left <= 0:
                break
            shown.append(self.mask(item, depth))
        return shown if len(shown) == len(value) else [*shown, f"… {len(value) - len(shown)} more"]


def mask_text(text: str) -> str:
    """A text of bounded length without what `mask_forms` knows.

    It is masked before it is cut: the beginning of a card number looks like any other number.
    """
    return cut(mask_forms(cut(text, TEXT_LIMIT + LONGEST_CHARACTERS)), TEXT_LIMIT)


def mask_forms(text: str) -> str:
    """``text`` without keys, credentials, passwords, e-mail addresses, card numbers and most of telephone numbers."""
    if not (_SUSPICIOUS.search(text) or holds_long_number(text)):
        return text
    text = _KEY.sub(MASK, text)
    text = _CREDENTIAL.sub(rf"\1 {MASK}", text)
    text = _URL_PASSWORD.sub(rf"\1:{MASK}@", text)
    text = _ASSIGNED.sub(rf"\1{MASK}", text)
    text = _EMAIL.sub(MASK, text)
    text = mask_card_numbers(text)
    return _MOBILE.sub(rf"{MASK}\1", text)


def mask_keys(text: str) -> str:
    """``text`` with every whole API key replaced, id and secret."""
    return _KEY.sub(MASK, text) if "_" in text else text


def cut(text: str, limit: int) -> str:
    """At most ``limit`` characters, without those that PostgreSQL's text or a terminal must not get."""
    clean = _DROPPED.sub("\ufffd", text[: limit + 1].encode("utf-8", "replace").decode())
    return clean if len(clean) <= limit else f"{clean[: limit - 1]}…"


def mask_number(value: float | Decimal) -> float | Decimal | str:
    """The number, or its text with the digits masked if they may be a card's."""
    if isinstance(value, int) and value.bit_length() > _CARD_BITS:
        return value
    text = str(value)
    shown = mask_card_numbers(text)
    return value if shown == text else shown


def _bounded(value: Any) -> Any:
    """The value, or the beginning of its text when it is larger than an alert may keep."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text.encode()) <= SIZE_LIMIT_BYTES:
        return value
    return {"cut": cut(text, SIZE_LIMIT_BYTES // 8)}
