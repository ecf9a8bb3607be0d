"""Sizes have the unit that keeps them short."""

import pytest

from ledger.sizes import human_bytes


@pytest.mark.parametrize(("size", "written"), [
    (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (417 * 1024, "417.0 KiB"), (5 << 30, "5.0 GiB"),
    (3 << 50, "3072.0 TiB"),
])  # fmt: skip
def test_a_size_has_a_binary_unit(size: int, written: str) -> None:
    assert human_bytes(size) == written
