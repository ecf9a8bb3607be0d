"""A filter never denies a value that a column has, and denies nearly all others."""

from uuid import UUID, uuid4

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.filters import BLOCK_BYTES, Value, block_number, hash_of, hashes_of_column, make_filter, may_have

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def _column(values: list[Value]) -> pa.Array:
    if values and isinstance(values[0], UUID):
        return pa.array([value.bytes for value in values if isinstance(value, UUID)], pa.uuid())
    return pa.array(values, pa.string())


def _may_have(content: bytes, value: Value) -> bool:
    number = block_number(hash_of(value), len(content) // BLOCK_BYTES)
    return may_have(content[BLOCK_BYTES * number : BLOCK_BYTES * (number + 1)], hash_of(value))


@given(st.lists(texts, max_size=60) | st.lists(st.uuids(), max_size=60), st.integers(1, 64))
def test_a_value_of_the_column_is_never_denied(values: list[Value], bits: int) -> None:
    content = make_filter(hashes_of_column([_column(values[:20]), _column(values[20:])]), bits)
    assert len(content) % BLOCK_BYTES == 0
    assert all(_may_have(content, value) for value in values)


def test_nearly_every_other_value_is_denied() -> None:
    content = make_filter(hashes_of_column([_column([uuid4() for _ in range(20_000)])]), 12)
    assert len(content) <= 20_000 * 12 / 8 + BLOCK_BYTES
    wrong = sum(_may_have(content, uuid4()) for _ in range(20_000))
    assert wrong < 20_000 * 0.02  # the specification gives 1 % for 10.5 bits


def test_a_column_without_values_denies_all() -> None:
    content = make_filter(hashes_of_column([pa.array([None, None], pa.string())]), 12)
    assert content == bytes(BLOCK_BYTES)
    assert not _may_have(content, "")
    assert make_filter(hashes_of_column([]), 12) == content


def test_its_blocks_are_those_that_parquet_specifies() -> None:
    """By the definition in BloomFilter.md, without the arrays."""
    salts = (0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D, 0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31)
    values: list[Value] = [f"wallet-{number}" for number in range(500)]
    blocks = -(-500 * 12 // 256)
    words = np.zeros((blocks, 8), np.uint32)
    for value in values:
        hashed = hash_of(value)
        for word, salt in enumerate(salts):
            bit = ((hashed & 0xFFFFFFFF) * salt % 2**32) >> 27
            words[((hashed >> 32) * blocks) >> 32, word] |= np.uint32(1 << bit)
    assert make_filter(hashes_of_column([_column(values)]), 12) == words.astype("<u4").tobytes()


def test_many_runs_in_many_pieces_make_the_filter_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    values: list[Value] = [f"wallet-{number % 7000}" for number in range(20_000)]
    whole = make_filter(hashes_of_column([_column(values)]), 12)
    monkeypatch.setattr("storage.filters._RUN_HASHES", 500)
    monkeypatch.setattr("storage.filters._PIECE_HASHES", 300)
    runs = hashes_of_column(_column(values[start : start + 170]) for start in range(0, len(values), 170))
    assert len(runs) > 20
    assert make_filter(runs, 12) == whole


def test_texts_and_uuids_are_hashed_as_parquet_stores_them() -> None:
    assert hash_of("") == 0xEF46DB3751D8E999  # published for XXH64 of nothing, seed 0
    assert hash_of("abc") == 0x44BC2CF5AD770999
    assert hash_of(UUID(int=0x616263)) == hash_of((UUID(int=0x616263)).bytes.decode())


def test_a_block_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a block of a filter has 31 bytes"):
        may_have(bytes(31), 1)
