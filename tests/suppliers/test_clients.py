"""The clients against the simulators, over real HTTP: what goes well, what is refused, and what stays unknown."""

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from config.suppliers import SimulatorSettings
from ledger.errors import ConfigError, DataError, FieldError, TransientError
from ledger.transactions import VasType
from suppliers.errors import (
    BadCredentialsError,
    DeclinedError,
    SupplierAwayError,
    SupplierFailingError,
    WrongAddressError,
)
from suppliers.flash.client import Flash
from suppliers.mobilemart.client import MobileMart
from suppliers.peach.client import Peach
from suppliers.protocol import Outcome, Product, SupplierClient
from suppliers.simulation.credentials import MOBILEMART_NO_SALE
from suppliers.simulation.faults import DRAWN, Fault
from suppliers.tokens import Token
from suppliers.transport import SupplierAnswer, SupplierCall
from suppliers.verdicts import PurchaseState, Verdict
from tests.suppliers.conftest import NAMES, Simulated, request, serving, simulators

every_supplier = pytest.mark.parametrize("name", NAMES)
BEFORE = [Fault.BROKEN, Fault.CUT, Fault.PAGE]
AFTER = [Fault.BROKEN_AFTER, Fault.CUT_AFTER, Fault.PAGE_AFTER]


@every_supplier
def test_a_purchase_is_one_sale_at_the_supplier(simulated: Simulated, name: str) -> None:
    async def buy(supplier: SupplierClient) -> tuple[Outcome, str]:
        wanted = request(supplier)
        return await supplier.purchase(wanted), wanted.reference

    outcome, reference = simulated.ask(name, buy)
    (sale,) = simulated.purchases(name)
    assert outcome.state is PurchaseState.COMPLETED
    assert (outcome.supplier_transaction_id, outcome.supplier_reference) == (sale.transaction_id, reference)
    assert outcome.amount == Decimal(sale.amount_cents) / 100
    assert sale.reference == reference


@every_supplier
def test_asking_again_what_became_of_a_sale_finds_that_sale(simulated: Simulated, name: str) -> None:
    async def buy(supplier: SupplierClient) -> tuple[Outcome, list[Outcome]]:
        wanted = request(supplier)
        return await supplier.purchase(wanted), [await supplier.resolve(wanted) for _ in range(3)]

    sold, asked = simulated.ask(name, buy)
    assert {one.supplier_transaction_id for one in asked} == {sold.supplier_transaction_id}
    assert len(simulated.purchases(name)) == 1


@every_supplier
@pytest.mark.parametrize("fault", AFTER)
def test_a_sale_without_an_answer_is_found_and_never_made_twice(simulated: Simulated, name: str, fault: Fault) -> None:
    async def buy(supplier: SupplierClient) -> Outcome:
        wanted = request(supplier)
        await supplier.authenticate()
        simulated.plan(name, fault)
        first = await supplier.purchase(wanted)
        return first if first.state is PurchaseState.COMPLETED else await supplier.resolve(wanted)

    outcome = simulated.ask(name, buy)
    (sale,) = simulated.purchases(name)
    assert (outcome.state, outcome.supplier_transaction_id) == (PurchaseState.COMPLETED, sale.transaction_id)


@every_supplier
@pytest.mark.parametrize("fault", BEFORE)
def test_what_was_lost_on_the_way_is_never_reported_as_sold(simulated: Simulated, name: str, fault: Fault) -> None:
    async def buy(supplier: SupplierClient) -> tuple[Outcome, Any]:
        wanted = request(supplier)
        await supplier.authenticate()
        simulated.plan(name, fault)
        await supplier.purchase(wanted)
        return await supplier.resolve(wanted), supplier

    outcome, supplier = simulated.ask(name, buy)
    if name == "flash":  # the same reference was posted again, and that one sold
        assert outcome.state is PurchaseState.COMPLETED
        assert len(simulated.purchases(name)) == 1
    else:
        assert (outcome.state, outcome.verdict) == (PurchaseState.UNKNOWN, Verdict.ABSENT)
        assert not supplier.believes(outcome, timedelta(0))
        assert supplier.believes(outcome, timedelta(seconds=1))
        assert simulated.purchases(name) == []


@every_supplier
def test_a_supplier_that_hangs_after_selling_is_given_up_after_the_time_limit(simulated: Simulated, name: str) -> None:
    settings = simulated.with_(name, call_timeout_s=0.3)

    async def buy(supplier: SupplierClient) -> tuple[Outcome, Outcome]:
        wanted = request(supplier)
        await supplier.authenticate()
        simulated.plan(name, *[Fault.HANG_AFTER] * 3)
        return await supplier.purchase(wanted), await supplier.resolve(wanted)

    first, second = simulated.ask(name, buy, settings)
    assert first.state is PurchaseState.UNKNOWN
    assert second.state is PurchaseState.COMPLETED
    assert len(simulated.purchases(name)) == 1


@every_supplier
def test_a_busy_supplier_is_asked_again_or_nothing_is_sold(simulated: Simulated, name: str) -> None:
    async def buy(supplier: SupplierClient) -> Outcome:
        await supplier.authenticate()
        simulated.plan(name, Fault.BUSY)
        return await supplier.purchase(request(supplier))

    if name == "mobilemart":  # it asks to stay away for a minute: nobody waits that long
        with pytest.raises(TransientError, match="asks to wait"):
            simulated.ask(name, buy)
        assert simulated.purchases(name) == []
    else:
        assert simulated.ask(name, buy).state is PurchaseState.COMPLETED
        assert len(simulated.purchases(name)) == 1


@every_supplier
def test_a_token_that_has_ended_is_replaced_once_and_unseen(simulated: Simulated, name: str) -> None:
    async def buy(supplier: SupplierClient) -> Outcome:
        await supplier.authenticate()
        httpx.post(f"{simulated.url}/{name}/_tokens/revoke").raise_for_status()
        await supplier.products()
        httpx.post(f"{simulated.url}/{name}/_tokens/revoke").raise_for_status()
        return await supplier.purchase(request(supplier))

    assert simulated.ask(name, buy).state is PurchaseState.COMPLETED
    assert len(simulated.purchases(name)) == 1


@every_supplier
def test_wrong_credentials_are_a_setting_to_mend_and_sell_nothing(simulated: Simulated, name: str) -> None:
    field = {"flash": "consumer_secret", "mobilemart": "client_secret", "peach": "password"}[name]
    settings = simulated.with_(name, **{field: SecretStr("wrong")})
    with pytest.raises(BadCredentialsError) as caught:
        simulated.ask(name, lambda supplier: supplier.purchase(request(supplier)), settings)
    assert isinstance(caught.value, ConfigError)
    assert "wrong" not in str(caught.value)
    assert simulated.purchases(name) == []


@every_supplier
def test_a_wrong_address_is_told_from_a_refusal(simulated: Simulated, name: str) -> None:
    wrong = {"flash": "base_url", "mobilemart": "base_url", "peach": "payments_url"}[name]
    settings = simulated.with_(name, **{wrong: f"{simulated.url}/{name}/elsewhere"})
    with pytest.raises(WrongAddressError, match="address"):
        simulated.ask(name, lambda supplier: supplier.purchase(request(supplier)), settings)


@every_supplier
def test_a_supplier_that_is_not_there_is_away_and_nothing_was_sent(simulated: Simulated, name: str) -> None:
    wrong = {"flash": "base_url", "mobilemart": "base_url", "peach": "payments_url"}[name]
    settings = simulated.with_(name, **{wrong: "http://127.0.0.1:9"})
    with pytest.raises(SupplierAwayError):
        simulated.ask(name, lambda supplier: supplier.purchase(request(supplier)), settings)


@every_supplier
def test_after_enough_failures_nothing_is_sent_for_a_while(simulated: Simulated, name: str) -> None:
    settings = simulated.with_(name, breaker_failures=3, attempts=1, breaker_pause_s=0.3)

    async def buy(supplier: SupplierClient) -> Outcome:
        await supplier.authenticate()
        simulated.plan(name, *[Fault.BROKEN] * 9)
        for _ in range(3):
            assert (await supplier.purchase(request(supplier))).state is PurchaseState.UNKNOWN
        with pytest.raises(SupplierAwayError, match="a pause"):
            await supplier.purchase(request(supplier))
        simulated.plan(name)
        deadline = time.monotonic() + 20
        while True:
            try:
                return await supplier.purchase(request(supplier))
            except SupplierAwayError:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)

    assert simulated.ask(name, buy, settings).state is PurchaseState.COMPLETED


@every_supplier
def test_an_unknown_vas_type_is_refused_before_anything_is_sent(simulated: Simulated, name: str) -> None:
    unsold = {"flash": VasType.BILL_PAYMENT, "mobilemart": VasType.CASH_OUT, "peach": VasType.AIRTIME}[name]
    with pytest.raises(FieldError, match="vas_type"):
        simulated.ask(name, lambda supplier: supplier.purchase(request(supplier, vas_type=unsold)))


@every_supplier
def test_a_missing_number_is_refused_before_anything_is_sent(simulated: Simulated, name: str) -> None:
    with pytest.raises(FieldError, match="mobile_number"):
        simulated.ask(name, lambda supplier: supplier.purchase(request(supplier, mobile_number=None)))
    assert simulated.book.all(name) == []


def test_many_callers_share_one_token(simulated: Simulated) -> None:
    asked: list[int] = []

    async def buy(supplier: SupplierClient) -> list[Outcome]:
        assert isinstance(supplier, Flash)
        fetch = supplier._tokens._fetch

        async def counted() -> Token:
            asked.append(1)
            return await fetch()

        supplier._tokens._fetch = counted
        return await asyncio.gather(*(supplier.purchase(request(supplier)) for _ in range(40)))

    outcomes = simulated.ask("flash", buy)
    assert len(asked) == 1
    assert len({one.supplier_transaction_id for one in outcomes}) == 40


def test_a_token_is_renewed_before_it_ends() -> None:
    with simulators(SimulatorSettings(token_life_s=2), token_early_s=60) as running:

        async def buy(supplier: SupplierClient) -> set[str]:
            assert isinstance(supplier, Flash)
            tokens = {await supplier._tokens.get()}
            deadline = time.monotonic() + 20
            while len(tokens) < 2 and time.monotonic() < deadline:
                await asyncio.sleep(0.05)
                tokens.add(await supplier._tokens.get())
                assert (await supplier.purchase(request(supplier))).state is PurchaseState.COMPLETED
            return tokens

        assert len(running.ask("flash", buy)) == 2


def test_calls_are_spread_over_the_rate_that_is_set(simulated: Simulated) -> None:
    settings = simulated.with_("flash", calls_per_s=10)

    async def buy(supplier: SupplierClient) -> float:
        started = time.monotonic()
        await asyncio.gather(*(supplier.purchase(request(supplier)) for _ in range(14)))
        return time.monotonic() - started

    assert simulated.ask("flash", buy, settings) >= 0.4  # 15 calls: ten at once, five at a tenth of a second each


def test_flash_answers_another_body_under_the_same_reference_with_a_doubt(simulated: Simulated) -> None:
    async def buy(supplier: SupplierClient) -> Outcome:
        wanted = request(supplier)
        await supplier.purchase(wanted)
        return await supplier.purchase(request(supplier, reference=wanted.reference, amount=Decimal("51.00")))

    outcome = simulated.ask("flash", buy)
    assert (outcome.state, outcome.verdict) == (PurchaseState.UNKNOWN, Verdict.DUPLICATE)
    assert len(simulated.purchases("flash")) == 1


def test_flash_is_not_asked_again_about_a_purchase_that_it_may_have_forgotten(simulated: Simulated) -> None:
    old = datetime.now(UTC) - timedelta(hours=25)
    outcome = simulated.ask("flash", lambda supplier: supplier.resolve(request(supplier, requested_at=old)))
    assert (outcome.state, outcome.detail) == (
        PurchaseState.UNKNOWN,
        "too old to be posted again: the statement decides",
    )
    assert simulated.book.all("flash") == []


def test_flash_in_doubt_takes_no_refusal_of_the_moment_for_an_end(simulated: Simulated) -> None:
    magic = (VasType.VOUCHER_TOPUP, "999", "20.03")  # out of funds
    outcome = simulated.ask("flash", lambda supplier: supplier.resolve(request(supplier, magic)))
    assert outcome.state is PurchaseState.UNKNOWN


def test_mobilemart_sends_a_catalogue_that_has_not_changed_only_once(
    simulated: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses: list[int] = []

    async def read(supplier: SupplierClient) -> tuple[Sequence[Product], Sequence[Product]]:
        assert isinstance(supplier, MobileMart)
        exchange = supplier._http._exchange

        async def watched(call: SupplierCall) -> SupplierAnswer:
            answer = await exchange(call)
            statuses.append(answer.status)
            return answer

        monkeypatch.setattr(supplier._http, "_exchange", watched)
        return await supplier.products(), await supplier.products()

    first, second = simulated.ask("mobilemart", read)
    assert list(first) == list(second)
    assert statuses == [200] * 6 + [304] * 5  # a token, then five kinds twice


def test_mobilemart_airtime_without_an_answer_waits_for_the_statement(simulated: Simulated) -> None:
    async def buy(supplier: SupplierClient) -> Outcome:
        wanted = request(supplier, (VasType.AIRTIME, "1001", "10.00"))
        await supplier.authenticate()
        simulated.plan("mobilemart", Fault.CUT_AFTER)
        assert (await supplier.purchase(wanted)).state is PurchaseState.UNKNOWN
        outcome = await supplier.resolve(wanted)
        assert not supplier.believes(outcome, timedelta(days=365))
        return outcome

    assert simulated.ask("mobilemart", buy).state is PurchaseState.UNKNOWN
    assert len(simulated.purchases("mobilemart")) == 1


def test_mobilemart_sells_electricity_by_a_prevend_and_for_its_amount(simulated: Simulated) -> None:
    power = (VasType.ELECTRICITY, "4001", "123.45")
    outcome = simulated.ask(
        "mobilemart", lambda supplier: supplier.purchase(request(supplier, power, meter_number="04000000011"))
    )
    assert (outcome.state, outcome.amount) == (PurchaseState.COMPLETED, Decimal("123.45"))


@pytest.mark.parametrize(
    ("amount", "first", "later", "believed"),
    [
        ("9900.01", PurchaseState.PENDING, PurchaseState.COMPLETED, False),
        ("9900.02", PurchaseState.PENDING, PurchaseState.COMPLETED, False),
        ("9900.03", PurchaseState.UNKNOWN, PurchaseState.COMPLETED, False),
        ("9900.05", PurchaseState.UNKNOWN, PurchaseState.COMPLETED, False),
        ("9900.07", PurchaseState.PENDING, PurchaseState.PENDING, False),
        ("9900.08", PurchaseState.PENDING, PurchaseState.PENDING, True),
    ],
)
def test_a_payment_s_story_is_followed_to_its_end(
    simulated: Simulated, amount: str, first: PurchaseState, later: PurchaseState, believed: bool
) -> None:
    async def pay(supplier: SupplierClient) -> tuple[Outcome, Outcome, bool]:
        wanted = request(supplier, amount=Decimal(amount))
        sold = await supplier.purchase(wanted)
        asked = [await supplier.resolve(wanted) for _ in range(3)][-1]
        assert not supplier.believes(asked, timedelta(hours=23))
        return sold, asked, supplier.believes(asked, timedelta(hours=25))

    sold, asked, final = simulated.ask("peach", pay)
    assert (sold.state, asked.state, final) == (first, later, believed)


def test_what_can_be_reversed_is_and_only_once(simulated: Simulated) -> None:
    vouchers = {"flash": (VasType.VOUCHER_TOPUP, "311", "20.00"), "peach": (VasType.VOUCHER_TOPUP, "PAYSHAP", "20.00")}

    async def undo(supplier: SupplierClient) -> tuple[Outcome, Outcome]:
        wanted = request(supplier, vouchers[supplier.name])
        sold = await supplier.purchase(wanted)
        first, second = (request(supplier).reference for _ in range(2))
        return await supplier.reverse(wanted, sold, first), await supplier.reverse(wanted, sold, second)

    for name in vouchers:
        first, second = simulated.ask(name, undo)
        assert (first.state, second.state) == (PurchaseState.COMPLETED, PurchaseState.FAILED)

    async def undo_another(supplier: SupplierClient) -> Outcome:
        sold = await supplier.purchase(request(supplier))
        return await supplier.reverse(request(supplier), sold, "x")

    with pytest.raises(DeclinedError):
        simulated.ask("flash", undo_another)


def test_peach_gives_a_south_african_day_and_is_asked_once_a_second() -> None:
    day = (datetime.now(UTC) + timedelta(hours=2)).date()

    async def fetch(supplier: SupplierClient) -> list[bytes | None]:
        sold = await supplier.purchase(request(supplier))
        bodies = [await supplier.fetch_statement(one) for one in (day, day - timedelta(days=1))]
        assert bodies[0] is not None
        assert str(sold.supplier_transaction_id).encode() in bodies[0]
        return bodies

    with simulators(SimulatorSettings(recon_calls_per_s=1)) as running:
        assert running.ask("peach", fetch)[1] == b"[]"


def test_peach_opens_a_checkout_and_finds_its_payment_later(simulated: Simulated) -> None:
    async def open_one(supplier: SupplierClient) -> tuple[Outcome, Outcome]:
        assert isinstance(supplier, Peach)
        wanted = request(supplier)
        checkout_id = await supplier.open_checkout(wanted)
        before = await supplier.resolve(wanted)
        httpx.post(f"{simulated.url}/peach/_shopper/{checkout_id}").raise_for_status()
        return before, await supplier.resolve(wanted)

    before, after = simulated.ask("peach", open_one)
    assert (before.verdict, after.state) == (Verdict.ABSENT, PurchaseState.COMPLETED)


async def _elsewhere(request: Request) -> Response:
    return RedirectResponse("http://127.0.0.1:9/")


async def _endless(request: Request) -> Response:
    return Response(b'{"responseCode": 0, "x": "' + b"x" * 5000 + b'"}', media_type="application/json")


async def _garbage(request: Request) -> Response:
    return Response(b'{"responseCode": ', media_type="application/json")


async def _of_another(request: Request) -> Response:
    return JSONResponse({"responseCode": 0, "reference": "another", "transactionId": 1, "amount": 5000})


async def _nameless(request: Request) -> Response:
    return JSONResponse({"responseCode": 0, "amount": 5000})


async def _token(request: Request) -> Response:
    return JSONResponse({"access_token": "t", "expires_in": 3600})


@pytest.mark.parametrize("answer", [_elsewhere, _endless, _garbage, _of_another, _nameless])
def test_an_answer_that_proves_nothing_leaves_the_outcome_unknown(simulated: Simulated, answer: Any) -> None:
    routes = [Route("/token", _token, methods=["POST"]), Route("/{path:path}", answer, methods=["GET", "POST"])]
    with serving(Starlette(routes=routes)) as url:
        settings = simulated.with_("flash", base_url=url, answer_limit_bytes=1024, attempts=2)
        outcome = simulated.ask("flash", lambda supplier: supplier.purchase(request(supplier)), settings)
        assert outcome.state is PurchaseState.UNKNOWN
        if answer in (_elsewhere, _endless, _garbage):
            with pytest.raises(SupplierFailingError):
                simulated.ask("flash", lambda supplier: supplier.products(), settings)


def _answering(status: int, body: Any, media_type: str = "application/json") -> Any:
    """A supplier that gives tokens, and this answer to everything else."""

    async def answer(request: Request) -> Response:
        return Response(json.dumps(body), status, media_type=media_type)

    tokens = [Route(path, _token, methods=["POST"]) for path in ("/token", "/connect/token")]
    return Starlette(routes=[*tokens, Route("/{path:path}", answer, methods=["GET", "POST"])])


def _asked(simulated: Simulated, name: str, status: int, body: Any, **changes: Any) -> Outcome:
    """What `resolve` makes of an answer."""
    with serving(_answering(status, body)) as url:
        field = "payments_url" if name == "peach" else "base_url"
        settings = simulated.with_(name, **{field: url}, attempts=1, **changes)
        return simulated.ask(name, lambda supplier: supplier.resolve(request(supplier, reference=REFERENCE)), settings)


REFERENCE = "0123456789ABCDEF"
QUESTION_REFUSED = [
    (400, {"fulcrumErrorCode": 1010}),  # a field is missing: of the question
    (400, {"fulcrumErrorCode": 1001}),
    (400, {"fulcrumErrorCode": 1050}),
    (404, {"fulcrumErrorCode": 1099}),
    (404, {"title": "Not found"}),
    (409, {"fulcrumErrorCode": 1016}),
    (200, {"requestId": "another", "transactionId": "1"}),
    (200, {}),
]


@pytest.mark.parametrize(("status", "body"), QUESTION_REFUSED)
def test_mobilemart_refusing_the_question_does_not_fail_the_sale(
    simulated: Simulated, status: int, body: dict[str, Any]
) -> None:
    outcome = _asked(simulated, "mobilemart", status, body)
    assert (outcome.state, outcome.verdict) == (PurchaseState.UNKNOWN, Verdict.UNCERTAIN)


def test_mobilemart_without_a_known_code_never_says_that_there_is_no_sale(simulated: Simulated) -> None:
    none = {"fulcrumErrorCode": MOBILEMART_NO_SALE}
    assert _asked(simulated, "mobilemart", 404, none, reprint_absent=()).verdict is Verdict.UNCERTAIN
    assert _asked(simulated, "mobilemart", 404, none).verdict is Verdict.ABSENT


@pytest.mark.parametrize("name", ["flash", "mobilemart"])
def test_a_token_that_is_refused_says_nothing_about_the_sale(simulated: Simulated, name: str) -> None:
    if name == "flash":
        assert _asked(simulated, name, 401, {}).state is PurchaseState.UNKNOWN
    else:
        with pytest.raises(BadCredentialsError):
            _asked(simulated, name, 401, {})


PAYMENT = {"id": "1" * 32, "paymentType": "DB", "amount": "120.50", "timestamp": "2026-02-03T09:00:00Z"}
SOLD, PENDING, DECLINED = (
    PAYMENT | {"id": digit * 32, "result": {"code": code}, "timestamp": f"2026-02-03T09:0{digit}:00Z"}
    for digit, code in (("1", "000.000.000"), ("2", "000.200.000"), ("3", "800.100.152"))
)
NO_PAYMENT = {"result": {"code": "700.400.580"}}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"result": {"code": "200.300.404"}}),
        (200, {"result": {"code": "200.300.404"}}),
        (200, {"result": {"code": "200.300.404"}, "payments": []}),
        (400, {"result": {"code": "000.000.000"}, "payments": [SOLD]}),
        (404, {"result": {"code": "800.100.152"}}),
        (404, {}),
        (200, {}),
        (200, {"result": {"code": "000.000.000"}}),
        (404, SOLD),
        (200, {"payments": [SOLD | {"merchantTransactionId": "another"}]}),
        (200, {"payments": [{"result": {"code": "800.100.152"}}]}),
        (200, {"payments": [SOLD | {"amount": "1.234"}]}),
        (200, {"payments": [SOLD | {"amount": 120.505}]}),
        (200, {"payments": [SOLD | {"amount": "much"}]}),
    ],
)
def test_peach_refusing_the_look_up_does_not_fail_the_payment(
    simulated: Simulated, status: int, body: dict[str, Any]
) -> None:
    with pytest.raises(SupplierFailingError):
        _asked(simulated, "peach", status, body)


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (404, NO_PAYMENT, Verdict.ABSENT),
        (200, NO_PAYMENT, Verdict.ABSENT),
        (404, NO_PAYMENT | {"payments": []}, Verdict.ABSENT),
        (200, {"payments": []}, Verdict.ABSENT),
        (200, {"result": {"code": "000.000.100"}, "payments": [DECLINED, SOLD]}, Verdict.SUCCESS),
        (200, {"payments": [PENDING, DECLINED]}, Verdict.PENDING),
        (200, {"payments": [DECLINED]}, Verdict.DECLINED),
        (200, {"payments": [SOLD | {"paymentType": "RF"}]}, Verdict.ABSENT),
        (200, SOLD, Verdict.SUCCESS),
        (200, SOLD | {"amount": 120.5}, Verdict.SUCCESS),
        (200, SOLD | {"amount": 120}, Verdict.SUCCESS),
        (402, DECLINED, Verdict.DECLINED),
    ],
)
def test_peach_is_believed_about_a_payment(
    simulated: Simulated, status: int, body: dict[str, Any], verdict: Verdict
) -> None:
    assert _asked(simulated, "peach", status, body).verdict is verdict


@pytest.mark.parametrize("status", [400, 404, 422])
def test_flash_not_understanding_a_repeated_post_does_not_fail_the_first(simulated: Simulated, status: int) -> None:
    foreign = {"responseCode": 4711}
    assert _asked(simulated, "flash", status, foreign).state is PurchaseState.UNKNOWN
    with serving(_answering(status, foreign)) as url:
        settings = simulated.with_("flash", base_url=url, attempts=1)
        first = simulated.ask("flash", lambda supplier: supplier.purchase(request(supplier)), settings)
    assert (first.state, first.verdict) == (PurchaseState.FAILED, Verdict.INVALID)  # nothing was sent before it


def test_every_fault_that_can_be_drawn_is_tried_here() -> None:
    assert set(DRAWN) == {*BEFORE, *AFTER, Fault.BUSY, Fault.HANG, Fault.HANG_AFTER}


def test_an_unknown_supplier_is_told_with_the_known_ones(simulated: Simulated) -> None:
    with pytest.raises(ConfigError, match="unknown or disabled supplier 'vodacom'; enabled: flash, mobilemart, peach"):
        simulated.ask("vodacom", lambda supplier: supplier.products())


def test_a_supplier_without_an_address_is_a_setting_to_mend() -> None:
    from config.suppliers import Suppliers

    with pytest.raises(ConfigError, match="TREASURY_SUPPLIERS: flash"):
        Simulated("", None, Suppliers()).ask("flash", lambda supplier: supplier.products())  # type: ignore[arg-type]


def test_a_statement_that_peach_refuses_is_an_error_of_data(simulated: Simulated) -> None:
    settings = simulated.with_("peach", reconciliation_url=f"{simulated.url}/flash/_tokens")
    with pytest.raises((DataError, ConfigError)):
        simulated.ask("peach", lambda supplier: supplier.fetch_statement(datetime.now(UTC).date()), settings)
