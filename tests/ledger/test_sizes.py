"""Sizes have the unit that keeps them short."""

import pytest

from ledger.sizes import human_bytes


@pytest.mark.parametrize(("size", "written"), [
    (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (417 * 1024, "417.0 KiB"), (5 << 30, "5.0 GiB"),
    (3 << 50, "3.0 PiB"), (1 << 60, "1024.0 PiB"), (1_048_524, "1023.9 KiB"), (1_048_570, "1.0 MiB"),
])  # fmt: skip
def test_a_size_has_a_binary_unit(size: int, written: str) -> None:
    assert human_bytes(size) == written
