"""Two sides with the same leaves are equal in any order and any number of files; every difference is counted."""

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from storage import leaf_files
from storage.leaf_files import leaf_slices, only_on_one_side, read_leaves


def _leaf(number: int) -> bytes:
    """A leaf of few different beginnings, so that many share their first 64 bits."""
    return bytes([number % 3 * 100]) + bytes(7) + number.to_bytes(24, "big")


def _files(folder: Path, name: str, leaves: list[bytes], cuts: list[int]) -> list[Path]:
    edges = [0, *sorted(min(cut, len(leaves)) for cut in cuts), len(leaves)]
    files = [folder / f"{name}-{number}" for number in range(len(edges) - 1)]
    for file, start, stop in zip(files, edges, edges[1:], strict=False):
        file.write_bytes(b"".join(leaves[start:stop]))
    return files


numbers = st.lists(st.integers(0, 12), max_size=30)
cuts = st.lists(st.integers(0, 30), max_size=2)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(numbers, numbers, cuts, cuts, st.integers(1, 40))
def test_the_leaves_that_one_side_alone_has_are_counted(
    tmp_path: Path, here: list[int], there: list[int], first: list[int], second: list[int], in_a_part: int
) -> None:
    sides = [
        _files(tmp_path, name, [_leaf(number) for number in side], cut)
        for name, side, cut in (("here", here, first), ("there", there, second))
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leaf_files, "_PART_LEAVES", in_a_part)
        found = only_on_one_side(*sides)
    missing, extra = Counter(here) - Counter(there), Counter(there) - Counter(here)
    assert found == (missing.total(), extra.total())


def test_many_leaves_in_another_order_are_equal_and_one_bit_is_seen(tmp_path: Path) -> None:
    chance = random.Random(7)  # noqa: S311  # no secrets
    leaves = [chance.randbytes(32) for _ in range(50_000)]
    shuffled = chance.sample(leaves, len(leaves))
    here, there = _files(tmp_path, "here", leaves, [20_000]), _files(tmp_path, "there", shuffled, [])
    assert only_on_one_side(here, there) == (0, 0)
    changed = bytearray(there[0].read_bytes())
    changed[777_777] ^= 1
    there[0].write_bytes(changed)
    assert only_on_one_side(here, there) == (1, 1)


def test_slices_give_all_leaves_in_their_order(tmp_path: Path) -> None:
    leaves = [_leaf(number) for number in range(10)]
    files = _files(tmp_path, "all", leaves, [3, 3])
    for rows in (1, 2, 4, 100):
        slices = list(leaf_slices(files, rows))
        assert max(map(len, slices)) <= rows
        assert b"".join(one.tobytes() for one in slices) == b"".join(leaves)


def test_a_file_that_is_cut_within_a_hash_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(bytes(33))
    with pytest.raises(ValueError, match="reshape"):
        read_leaves(tmp_path / "cut")
    with pytest.raises(ValueError, match="reshape"):
        only_on_one_side([tmp_path / "cut"], [tmp_path / "cut"])
