"""Peach's webhooks: only genuine ones count."""

from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import DataError
from suppliers.peach.webhooks import SIGNATURE, read, sign
from suppliers.protocol import SignatureError
from suppliers.simulation.credentials import PEACH_WEBHOOK_SECRET
from suppliers.verdicts import PurchaseState, Verdict
from tests.suppliers.conftest import Simulated, request

SECRET = "a secret for one test"
START = datetime(2026, 2, 3, 7, 15, tzinfo=UTC)
FIELDS = {
    "id": "0" * 32,
    "checkoutId": "1" * 32,
    "merchantTransactionId": "ORD0001234567890",
    "amount": "250.00",
    "currency": "ZAR",
    "result.code": "000.100.110",
    "timestamp": START.isoformat(),
}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def body(secret: str = SECRET, **changes: str) -> bytes:
    fields = {**FIELDS, **{name.replace("__", "."): value for name, value in changes.items()}}
    return urlencode({**fields, SIGNATURE: sign(fields, secret)}).encode()


def test_the_signature_is_over_keys_and_values_in_the_order_of_the_keys() -> None:
    # printf 'a1b2c3' | openssl dgst -sha256 -hmac key
    expected = "b6da436bcca486317d836991f62eb6021f00c6ac6a0c395537c996d914a3bce0"
    assert sign({"b": "2", "c": "3", "a": "1"}, "key") == expected
    assert sign({"a": "1", SIGNATURE: "itself is left out", "b": "2", "c": "3"}, "key") == expected


def test_a_genuine_webhook_is_read() -> None:
    found = read(body(), SECRET)
    assert (found.reference, found.verdict, found.amount) == ("ORD0001234567890", Verdict.SUCCESS, Decimal("250.00"))
    assert found.timestamp == START
    assert read(body(), SECRET) == found


@given(st.dictionaries(TEXTS, TEXTS, max_size=6))
def test_any_payload_that_is_signed_with_the_secret_passes_the_signature(extra: dict[str, str]) -> None:
    fields = {**extra, **FIELDS}
    fields.pop(SIGNATURE, None)
    assert read(urlencode({**fields, SIGNATURE: sign(fields, SECRET)}).encode(), SECRET).reference


@given(st.data())
def test_a_changed_byte_is_noticed(data: st.DataObject) -> None:
    genuine = body()
    place = data.draw(st.integers(0, len(genuine) - 1))
    changed = bytearray(genuine)
    changed[place] = data.draw(st.integers(32, 126).filter(lambda byte: byte != genuine[place]))
    try:
        found = read(bytes(changed), SECRET)
    except DataError:
        return
    assert found == read(genuine, SECRET)  # another way to write the same: %3a for %3A, say


@pytest.mark.parametrize("signature", ["", "0" * 64, "é", "ab" * 32])
def test_a_bad_signature_is_refused_before_anything_else(signature: str) -> None:
    wrong = urlencode({**FIELDS, "amount": "not money", SIGNATURE: signature}).encode()
    with pytest.raises(SignatureError):
        read(wrong, SECRET)
    with pytest.raises(SignatureError):
        read(body("another secret"), SECRET)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (body(result__code=""), "result.code"),
        (body(timestamp="yesterday"), "timestamp"),
        (body(timestamp="2026-02-03 10.15"), "timestamp must be a date and time with an offset"),
        (body(timestamp="2026-02-03T10:15:00"), "timestamp must be a date and time with an offset"),
        (body(timestamp="20260203101"), "timestamp must be a date and time with an offset"),
        (body(amount="1.234"), "amount"),
        (body(merchantTransactionId=""), "merchantTransactionId"),
        (body() + b"&amount=1.00", "twice"),
        (b"\xff\xfe", "form encoded"),
        (b"a=" + b"x" * (64 << 10), "bytes"),
        (b"&".join(b"k%d=v" % number for number in range(300)), "form encoded"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(wrong: bytes, named: str) -> None:
    with pytest.raises(DataError, match=named):
        read(wrong, SECRET)


def test_the_simulators_webhooks_come_shuffled_and_repeated_and_the_newest_says_what_the_book_does(
    simulated: Simulated,
) -> None:
    async def pay(supplier):  # type: ignore[no-untyped-def]
        wanted = request(supplier, amount=Decimal("9900.01"))
        await supplier.purchase(wanted)
        return wanted, [await supplier.resolve(wanted) for _ in range(2)][-1]

    wanted, end = simulated.ask("peach", pay)
    assert end.state is PurchaseState.COMPLETED
    for seed in range(5):
        bodies = httpx.get(f"{simulated.url}/peach/_webhooks", params={"seed": seed}).json()
        webhooks = [read(one.encode(), PEACH_WEBHOOK_SECRET) for one in bodies]
        assert len(webhooks) > len(set(webhooks))
        found = max(webhooks, key=lambda webhook: webhook.timestamp)
        assert (found.reference, found.verdict) == (wanted.reference, Verdict.SUCCESS)
        assert found.payment_id == end.supplier_transaction_id
