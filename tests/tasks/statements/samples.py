"""Invented statements for the tests: one line or a few of each supplier, as text and as tables."""

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from config.suppliers import FlashSettings, MobileMartSettings, PeachSettings
from suppliers.flash.statement import COLUMNS, STATUSES
from suppliers.flash.statement import parse as parse_flash
from suppliers.mobilemart.statement import parse as parse_mobilemart
from suppliers.peach.statement import parse as parse_peach
from suppliers.statement import STATEMENT_SCHEMA, ParsedStatement

DAY = date(2026, 2, 3)
START = datetime(2026, 2, 2, 22, tzinfo=UTC)  # of the day in Johannesburg
CARD = "4111" + "1" * 12  # a well-known number of no card
FLASH_NAME = "recon_20260203.csv"
MOBILEMART_NAME = "FULCRUM.MERCHANT.DEMO.RECON.20260203235959.txt"
PEACH_NAME = "transactions-recon-2026-02-03.json"
NAMES = {"flash": FLASH_NAME, "mobilemart": MOBILEMART_NAME, "peach": PEACH_NAME}
FLASH_HEADER = ";".join(COLUMNS)
FLASH_LINE = (
    "2026/02/03 09:15;ORD-1001;700000123;Purchase;311;1Voucher;0000-1111-2222-3333;Demo;150.0000;0.0000;4.5000;"
    '145.5000;Success;"{""storeID"":""77""}"'
)
FLASH = f"{FLASH_HEADER}\n{FLASH_LINE}\n"
MOBILEMART_LINE = (
    "D|Airtime|Pinless|MTN|0a1b2c3d-0000-4000-8000-000000000001|MM1001|Purchase|Successful|20260203|091501|Wallet|1500||"
    f"MTN R15||0830012300|||||||{'{}'}"
).replace("{}", f"|{CARD}")
MOBILEMART = f"H|1|20260203\n{MOBILEMART_LINE}\nT|3\n"
PEACH_RECORD = (
    '{"id":"0123456789abcdef0123456789abcdef","merchantTransactionId":"ORD00012345","amount":"250.00","currency":"ZAR",'
    '"settlementStatus":"SETTLED","settlementReference":"PEACH0402202600","timestamp":"2026-02-03T09:15:01.123+02:00",'
    '"further":{"unknown":1}}'
)
PEACH = f"[{PEACH_RECORD}]"
TEXTS = {"flash": FLASH, "mobilemart": MOBILEMART, "peach": PEACH}


def parse(supplier: str, text: str | bytes, name: str | None = None, **changes: Any) -> ParsedStatement:
    """Parse a text as ``supplier``'s, with settings changed."""
    content = text.encode() if isinstance(text, str) else text
    name = name or NAMES[supplier]
    if supplier == "flash":
        return parse_flash(content, name, FlashSettings(**changes))
    if supplier == "mobilemart":
        return parse_mobilemart(content, name, MobileMartSettings(**changes))
    return parse_peach(content, name, PeachSettings(**changes))


def table_of(supplier: str, rows: int, seed: int = 1) -> pa.Table:
    """A canonical table that the supplier's format can carry without loss."""
    chance = random.Random(seed)  # noqa: S311  # made-up rows, no secrets
    return pa.Table.from_pylist([_row(supplier, number, chance) for number in range(rows)], schema=STATEMENT_SCHEMA)


def _row(supplier: str, number: int, chance: random.Random) -> dict[str, Any]:
    amount = Decimal(chance.randint(1, 500_000)).scaleb(-2)
    row = {
        "line_no": number + (1 if supplier == "peach" else 2),
        "supplier": supplier,
        "supplier_transaction_id": f"{7 * 10**8 + number}" if supplier == "flash" else f"{number:032x}",
        "reference": f"ORD{number:08d}",
        "kind": "purchase",
        "occurred_at": START + timedelta(minutes=chance.randrange(1440)),
        "settlement_date": DAY,
        "currency": "ZAR",
        "amount": amount,
    }
    return row | {"flash": _flash, "mobilemart": _mobilemart, "peach": _peach}[supplier](amount, number, chance)


def _flash(amount: Decimal, number: int, chance: random.Random) -> dict[str, Any]:
    raw = chance.choice(list(STATUSES))
    commission = amount * Decimal(chance.randint(0, 500)).scaleb(-4)
    commission, fee = commission.quantize(Decimal("0.0001")), Decimal(chance.randint(0, 9)).scaleb(-1)
    money = {"fee": fee, "commission": commission, "net": amount - commission - fee}
    product = {"product_code": "311", "product_name": chance.choice(["1Voucher", 'Voucher; "big"', None, "Krag é"])}
    return {"status": STATUSES[raw], "raw_status": raw, "account": "***3333", **money, **product}


def _mobilemart(amount: Decimal, number: int, chance: random.Random) -> dict[str, Any]:
    binned = number % 9 == 0
    back = number % 7 == 0
    return {
        "status": "reversed" if binned else "completed",
        "raw_status": "Binned" if binned else "Successful",
        "kind": "reversal" if back else "purchase",
        "amount": -amount if back else amount,
        "occurred_at": START + timedelta(seconds=chance.randrange(86_400)),
        "vas_type": chance.choice(["airtime", "data", "electricity", "bill_payment", "voucher_topup"]),
        "product_name": "MTN R15",
        "account": chance.choice(["***2300", None]),
    }


def _peach(amount: Decimal, number: int, chance: random.Random) -> dict[str, Any]:
    raw, status = chance.choice([("SETTLED", "completed"), ("PENDING", "pending"), ("FAILED", "failed")])
    back = number % 7 == 0
    return {
        "status": status,
        "raw_status": raw,
        "kind": "refund" if back else "purchase",
        "amount": -amount if back else amount,
        "occurred_at": START + timedelta(milliseconds=chance.randrange(86_400_000)),
        "payout_reference": f"PEACH{number:012d}" if status == "completed" else None,
    }
