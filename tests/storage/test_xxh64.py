"""XXH64 of many values at once is that of the library."""

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from storage.xxh64 import xxh64


def _library(values: list[bytes]) -> list[int]:
    return [int(xxhash.xxh64_intdigest(value)) for value in values]


def _ours(values: list[bytes]) -> list[int]:
    rows = np.frombuffer(b"".join(values), np.uint8).reshape(len(values), -1 if values[0] else 0)
    found: list[int] = xxh64(rows).tolist()
    return found


@pytest.mark.parametrize("length", range(100))
def test_values_of_every_length_have_the_hash_of_the_library(length: int) -> None:
    random = np.random.default_rng(length)
    values = [b"\x00" * length, b"\xff" * length, *(random.bytes(length) for _ in range(8))]
    assert _ours(values) == _library(values)


@given(st.integers(1, 300).flatmap(lambda length: st.lists(st.binary(min_size=length, max_size=length), min_size=1)))
def test_so_have_any_values(values: list[bytes]) -> None:
    assert _ours(values) == _library(values)
