"""Secrets, PINs and people's numbers appear in no log, no error and no text of any value, whatever goes wrong."""

import asyncio
import logging
from typing import Any

import pytest

from config import load_settings
from config.suppliers import SimulatorSettings
from ledger.errors import TreasuryError
from ledger.transactions import VasType
from suppliers.masking import masked
from suppliers.registry import open_suppliers
from suppliers.simulation import credentials
from tests.suppliers.conftest import NAMES, SALES, Simulated, request, simulators

METER = "04123456789"
SECRETS = (
    credentials.FLASH_SECRET,
    credentials.MOBILEMART_SECRET,
    credentials.PEACH_SECRET,
    credentials.PEACH_PASSWORD,
    credentials.PEACH_WEBHOOK_SECRET,
)
POWER = {"flash": (VasType.ELECTRICITY, "301", "20.00"), "mobilemart": (VasType.ELECTRICITY, "4001", "20.00")}
VOUCHER = {"flash": (VasType.VOUCHER_TOPUP, "311", "20.00"), "mobilemart": (VasType.VOUCHER_TOPUP, "3001", "20.00")}


@pytest.mark.heavy("test_masking.py tests what logs mask")
def test_a_full_run_with_faults_logs_no_secret_no_token_no_pin_and_no_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "stamina", "treasury", "purgatory", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    tokens: list[str] = []
    texts: list[str] = []
    with simulators(SimulatorSettings(faults=0.3, seed=7, hang_s=5), call_timeout_s=0.2) as running:

        async def everything() -> None:
            async with open_suppliers(running.settings) as suppliers:
                for name, supplier in suppliers.items():
                    for sale in (SALES[name], POWER.get(name), VOUCHER.get(name)) * 4:
                        await one(supplier, sale)
                    tokens.append(await supplier._tokens.get())  # type: ignore[attr-defined]

        async def one(supplier: Any, sale: Any) -> None:
            wanted = request(supplier, sale, meter_number=METER)
            texts.append(repr(wanted))
            try:
                sold = await supplier.purchase(wanted)
                texts.append(repr(sold))
                await supplier.products()
                texts.append(repr(await supplier.resolve(wanted)))
            except TreasuryError as error:
                texts.extend((repr(error), repr(error.__cause__), repr(error.__context__)))

        asyncio.run(everything())
        pins = _pins(running)
    logged = "\n".join(f"{record.getMessage()} {record.exc_text or ''} {record.args}" for record in caplog.records)
    assert "HTTP Request" in logged
    shown = logged + "\n".join(texts)
    assert len(pins) > 4
    for secret in (*SECRETS, *tokens, *pins, METER, "831234567", "Basic Zmxhc2", "authentication.password"):
        assert secret not in shown, secret


def _pins(running: Simulated) -> list[str]:
    """Every PIN and token that the simulators have handed out."""
    import json

    answers = [json.loads(sale.answer) for sale in running.book.all("flash") if sale.answer]
    found = [answer["voucher"]["pin"] for answer in answers if "voucher" in answer]
    found += [answer["tokens"][0]["token"] for answer in answers if "tokens" in answer]
    sales = [sale for sale in running.book.all("mobilemart") if sale.kind == "purchase"]
    return found + [f"{int(sale.transaction_id[:8], 16):016d}" for sale in sales]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (
            "GET https://h/v1/utility/prevend?meterNumber=04123456789&x=1 HTTP/1.1",
            "GET https://h/v1/utility/prevend?*** HTTP/1.1",
        ),
        ("Authorization: Bearer abc.def-ghi", "Authorization: *** ***"),
        ("Basic dXNlcjpwYXNz", "Basic ***"),
        ("call +27831234567 now", "call *** now"),
        ("status 200 in 12 ms", "status 200 in 12 ms"),
    ],
)
def test_what_may_be_secret_is_masked_and_the_rest_is_kept(text: str, kept: str) -> None:
    assert masked(text) == kept


def test_settings_show_no_secret_but_a_child_process_gets_them(
    simulated: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(suppliers=simulated.settings)
    for text in (str(settings), repr(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert not any(secret in text for secret in SECRETS)
    environment = settings.environment()
    assert all(secret in environment["TREASURY_SUPPLIERS"] for secret in SECRETS)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert load_settings().suppliers == settings.suppliers


@pytest.mark.parametrize("name", NAMES)
def test_a_secret_over_an_unencrypted_line_is_refused(name: str) -> None:
    field = "payments_url" if name == "peach" else "base_url"
    with pytest.raises(
        TreasuryError, match=f"TREASURY_SUPPLIERS__{name.upper()}__{field.upper()}: must start with https"
    ):
        load_settings(suppliers={name: {field: "http://example.com"}})


@pytest.mark.parametrize("name", NAMES)
def test_a_real_supplier_without_credentials_is_refused_by_the_names_that_are_missing(name: str) -> None:
    with pytest.raises(TreasuryError, match=rf"TREASURY_SUPPLIERS__{name.upper()}: .*needed in sandbox"):
        load_settings(suppliers={name: {"environment": "sandbox"}})


def test_a_sweep_that_would_overtake_a_purchase_is_refused() -> None:
    with pytest.raises(TreasuryError, match="settle_after_s: must be more than vend_timeout_s"):
        load_settings(suppliers={"settle_after_s": 100})


def test_one_field_is_set_by_a_variable_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREASURY_SUPPLIERS__FLASH__CALL_TIMEOUT_S", "12")
    monkeypatch.setenv("TREASURY_SUPPLIERS__MOBILEMART__COMMISSION", '{"airtime": "0.0325"}')
    suppliers = load_settings().suppliers
    assert suppliers.flash.call_timeout_s == 12
    assert str(suppliers.mobilemart.commission_rate(None, "airtime")) == "0.0325"
