"""The settings of the watch: what is refused, and that the documents name each of them."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from config.watch_transactions import RuleSettings, WatchTransactions

TEXT = (Path(__file__).parents[3] / "docs" / "settings.md").read_text(encoding="utf-8")


def _fields() -> list[str]:
    found = []
    for name, field in WatchTransactions.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += [f"{name}.{one}" for one in kind.model_fields if one not in RuleSettings.model_fields]
        else:
            found.append(name)
    return found


@pytest.mark.parametrize("field", _fields())
def test_every_setting_of_the_watch_is_described(field: str) -> None:
    section = TEXT.partition("## The watch over transactions")[2].partition("\n## ")[0]
    assert f"`{field}`" in section


@pytest.mark.parametrize(
    "wrong",
    [
        {"single": {"amounts": {"ZAR": "0"}}},
        {"single": {"amounts": {"rand": "1"}}},
        {"single": {"amounts": {"ZAR": "1.001"}}},
        {"daily": {"types": ["fee"]}},
        {"cash_threshold": {"lowest": {"ZAR": "25000"}}},
        {"cash_threshold": {"lowest": {"USD": "1"}}},
        {"zone": "Mars/Olympus"},
        {"unusual": {"factor": "1"}},
        {"singel": {}},
    ],
    ids=str,
)
def test_a_figure_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        WatchTransactions.model_validate(wrong)
