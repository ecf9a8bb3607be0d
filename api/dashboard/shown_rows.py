"""How the values of rows are shown and written for people: what a page and a downloaded file have in common. Pure.

Names, references and amounts are as the API gives them. Of a mobile number, only the last digits are shown. A
description and metadata are shown without what looks like a secret, a card number or a mobile number.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ledger.masking import mask_forms, masked

_SHOWN_DIGITS = 4
MASKED = ("mobile_number", "description", "metadata")  # the columns that `shown` changes


def shown(name: str, value: Any) -> Any:
    """The value of the column ``name`` as people may see it."""
    if value is None or name not in MASKED:
        return value
    if name == "mobile_number":
        return mask_mobile(str(value))
    return mask_forms(str(value)) if name == "description" else mask_metadata(str(value))


def mask_mobile(number: str) -> str:
    """A mobile number of which the last four digits are left."""
    return f"***{number[-_SHOWN_DIGITS:]}" if len(number) > 2 * _SHOWN_DIGITS else "***"


def mask_metadata(text: str) -> str:
    """JSON with its secrets replaced, by their names and their forms; what is not JSON is masked as text."""
    try:
        value = json.loads(text, parse_float=Decimal)
    except ValueError:
        return mask_forms(text)
    return json.dumps(masked(value), ensure_ascii=False)


def words(name: str) -> str:
    """A column or a value in words: `supplier_product_id` as `Supplier product id`."""
    text = name.replace("_", " ")
    return "VAS" + text[3:] if text.startswith("vas ") else text[:1].upper() + text[1:]


def filled(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a row that have a value, as people may see them."""
    return {name: shown(name, value) for name, value in row.items() if value is not None}
