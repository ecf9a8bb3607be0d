"""Amounts, references and numbers at the edge: converted exactly or refused."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import DataError, FieldError
from ledger.identifiers import new_id
from suppliers.mobilemart.messages import SALE
from suppliers.money import from_cents, from_rand, share, to_cents, to_text
from suppliers.numbers import international, local
from suppliers.references import id_range, plain_reference, short_reference

CENTS = st.integers(-(10**15), 10**15)
MOMENTS = st.integers(0, 10**9).map(lambda second: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=second))


@given(CENTS)
def test_cents_and_rand_are_the_same_money(cents: int) -> None:
    rand = from_cents(cents)
    assert to_cents(rand) == cents
    assert from_rand(to_text(rand)) == rand
    assert rand.as_tuple().exponent == -2


@given(CENTS.filter(lambda cents: cents >= 0))
def test_a_decimal_amount_goes_out_and_comes_back_as_the_very_digits(cents: int) -> None:
    sent = msgspec.json.Encoder(decimal_format="number").encode({"amount": from_cents(cents)})
    assert SALE.decode(sent).amount == from_cents(cents)


@pytest.mark.parametrize("text", ["0.001", "1e400", "NaN", "Infinity", "12,50", "", "1" * 30])
def test_what_is_not_money_is_refused(text: str) -> None:
    with pytest.raises(DataError):
        from_rand(text)


def test_a_part_of_a_cent_is_refused_on_the_way_out() -> None:
    with pytest.raises(DataError):
        to_cents(Decimal("1.005"))


def test_further_places_that_are_zero_are_no_loss() -> None:
    assert from_rand("150.0000") == Decimal("150.00")


def test_a_commission_is_rounded_half_up_to_the_cent() -> None:
    assert share(Decimal("0.50"), Decimal("0.03")) == Decimal("0.02")
    assert share(Decimal("100.00"), Decimal("0.035")) == Decimal("3.50")


@given(MOMENTS, st.integers(0, 2**74 - 1))
def test_a_short_reference_leads_back_to_its_row(moment: datetime, bits: int) -> None:
    row_id = new_id(moment, lambda _: bits)
    reference = short_reference(row_id)
    first, last = id_range(reference)
    assert first <= row_id <= last
    assert len(reference) == 16
    assert reference.isascii()
    assert reference.isalnum()


def test_references_of_rows_of_one_millisecond_differ() -> None:
    now = datetime.now(UTC)
    ids = [new_id(now, random.getrandbits) for _ in range(10_000)]
    assert len({short_reference(row_id) for row_id in ids}) == len(ids)


def test_short_references_are_in_the_order_of_their_rows() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    references = [
        short_reference(new_id(start + timedelta(seconds=second), random.getrandbits)) for second in range(99)
    ]
    assert references == sorted(references)


def test_a_plain_reference_fits_everywhere() -> None:
    assert len(plain_reference(UUID(int=0))) == 36


@pytest.mark.parametrize("reference", ["", "short", "0KNGhgOri0aWapf!", "z" * 16, "0" * 17, "order00000012345"])
def test_a_text_that_is_no_reference_leads_nowhere(reference: str) -> None:
    with pytest.raises(DataError):
        id_range(reference)


@pytest.mark.parametrize("number", ["0831234567", "27831234567", "+27831234567"])
def test_a_number_is_written_as_each_supplier_wants_it(number: str) -> None:
    assert (international(number), local(number)) == ("27831234567", "0831234567")


@pytest.mark.parametrize(
    "number", [None, "", "831234567", "+44831234567", "08312345678", "0831234567\n", "\u0660831234567"]
)
def test_a_number_from_elsewhere_is_refused_without_being_repeated(number: str | None) -> None:
    with pytest.raises(FieldError) as caught:
        local(number)
    assert not number or number not in str(caught.value)
