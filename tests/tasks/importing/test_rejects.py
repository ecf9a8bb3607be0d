"""The rejects file shows the line, never a card number."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.card_numbers import Search, mask_card_numbers, passes_luhn
from ledger.errors import ConfigError
from tasks.importing.rejects import Reject, open_rejects

CARD = "4111111111111111"  # the test number of every card scheme's documentation; belongs to nobody


def mask_cards(text: str) -> str:
    """``text`` as the rejects file shows it."""
    return mask_card_numbers(text, Search.RAW, 4)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"1;{CARD};9", "1;************1111;9"),
        ("4111 1111 1111 1111 12", "**** **** **** 1111 12"),
        ("12 4111-1111-1111-1111", "12 ****-****-****-1111"),
        ("378282246310005", "***********0005"),
        ("4111111111111112", "4111111111111112"),
        ("2026-02-03 09:15;150.00", "2026-02-03 09:15;150.00"),
        ("", ""),
    ],
)
def test_card_numbers_are_masked_and_other_numbers_stay(text: str, masked: str) -> None:
    assert mask_cards(text) == masked


@given(st.text("0123456789", min_size=12, max_size=18), st.text("ab ;,-", max_size=4), st.text("ab ;,-", max_size=4))
def test_no_card_number_comes_through_whole(digits: str, before: str, after: str) -> None:
    card = next(f"{digits}{check}" for check in range(10) if passes_luhn(f"{digits}{check}"))
    shown = mask_cards(f"{before}{card}{after}")
    assert card not in shown
    assert shown.startswith(before)
    assert shown.endswith(card[-4:] + after)


def test_two_imports_write_no_rejects_file_together(tmp_path: Path) -> None:
    path = tmp_path / "bank.csv.rejects.csv"
    with open_rejects(path) as first:
        first.write([Reject(2, "is empty", "", "one")])
        with (
            pytest.raises(ConfigError, match=r"another import writes it; name another with --rejects"),
            open_rejects(path),
        ):
            pass
        first.write([Reject(3, "is empty", "", "two")])
        first.finish()
    assert path.read_text().splitlines() == ["line,reason,field,text", "2,is empty,,one", "3,is empty,,two"]


def test_a_rejects_file_replaces_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "bank.csv.rejects.csv"
    for texts in (["one", "two"], []):
        with open_rejects(path) as rejects:
            rejects.write([Reject(2, "is empty", "", text) for text in texts])
            rejects.finish()
    assert path.read_text().splitlines() == ["line,reason,field,text"]


def test_only_its_owner_reads_a_rejects_file(tmp_path: Path) -> None:
    """It has whole lines of customers."""
    path = tmp_path / "bank.csv.rejects.csv"
    with open_rejects(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_rejects_are_not_written_through_a_link_that_somebody_put_there(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("theirs")
    path = tmp_path / "bank.csv.rejects.csv"
    path.symlink_to(other)
    with pytest.raises(ConfigError, match="is a link; name another with --rejects"), open_rejects(path):
        pass
    assert other.read_text() == "theirs"
    with open_rejects(path, chosen=path):
        assert path.is_symlink()
    assert other.read_text() == "line,reason,field,text\n"


def test_rejects_may_go_to_a_device(tmp_path: Path) -> None:
    with open_rejects(Path(os.devnull)) as first, open_rejects(Path(os.devnull)) as second:
        for rejects in (first, second):
            rejects.write([Reject(2, "is empty", "", "one")])
            rejects.finish()
