"""A canonical table as each supplier would write it: for tests, benchmarks and demonstrations.

What the parsers drop is written empty, and accounts as they are: masked. Set-based, a million lines in seconds.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from types import MappingProxyType
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from config.suppliers import PeachSettings
from suppliers.flash import statement as flash
from suppliers.mobilemart import statement as mobilemart
from suppliers.peach import statement as peach
from suppliers.statement_text import local_time

_FLASH_KINDS = {"purchase": "Purchase", "refund": "Refund", "reversal": "Reversal"}


def write_flash(table: pa.Table, day: date) -> tuple[str, bytes]:
    """Name and content of Flash's file. Seconds are lost: its lines have none."""
    fields = [
        local_time(_column(table, "occurred_at"), "%Y/%m/%d %H:%M"),
        *(_text(table, name) for name in ("reference", "supplier_transaction_id")),
        _reversed_words(_column(table, "kind"), _FLASH_KINDS),
        _text(table, "product_code"),
        _quoted(_text(table, "product_name")),
        _text(table, "account"),
        _empty(table),
        *(
            _column(table, name).cast(pa.decimal128(18, 4)).cast(pa.string())
            for name in ("amount", "fee", "commission", "net")
        ),
        _text(table, "raw_status"),
        _empty(table),
    ]
    lines = [";".join(flash.COLUMNS), *_joined(fields, ";")]
    return f"recon_{day:%Y%m%d}.csv", _file(lines)


def write_mobilemart(table: pa.Table, day: date, merchant: str = "DEMO") -> tuple[str, bytes]:
    """Name and content of MobileMart's file, as if made in the day's last second."""
    given: Mapping[str, pa.Array] = {
        "D": pa.repeat("D", table.num_rows),
        "vasType": _reversed_words(
            _column(table, "vas_type"), {ours: word for word, ours in mobilemart.VAS_TYPES.items()}
        ),
        "fulcrumTxnId": _text(table, "supplier_transaction_id"),
        "merchantTxnId": _text(table, "reference"),
        "txnType": _reversed_words(_column(table, "kind"), {ours: word for word, ours in mobilemart.KINDS.items()}),
        "txnStatus": _text(table, "raw_status"),
        "date": pa.repeat(f"{day:%Y%m%d}", table.num_rows),
        "time": local_time(_column(table, "occurred_at"), "%H%M%S"),
        "amount": _cents(_column(table, "amount")),
        "productName": _text(table, "product_name"),
        "msisdn": _text(table, "account"),
    }
    body = _joined([given.get(name, _empty(table)) for name in mobilemart.COLUMNS], "|")
    lines = [f"H|{mobilemart.VERSION}|{day:%Y%m%d}", *body, f"T|{table.num_rows + 2}"]
    return f"FULCRUM.MERCHANT.{merchant}.RECON.{day:%Y%m%d}235959.txt", _file(lines)


def write_peach(table: pa.Table, day: date, settings: PeachSettings | None = None) -> tuple[str, bytes]:
    """Name and content of Peach's answer."""
    names = (settings or PeachSettings()).statement_fields
    moments = pc.strftime(_column(table, "occurred_at").cast(pa.timestamp("ms")), "%Y-%m-%dT%H:%M:%S+00:00")
    settlement = _column(table, "payout_reference")
    optional = pc.if_else(
        pc.is_null(settlement),
        "null",
        pc.binary_join_element_wise('"', pc.coalesce(settlement, pa.scalar("")), '"', ""),
    )
    quoted = {
        "id": _text(table, "supplier_transaction_id"),
        "reference": _text(table, "reference"),
        "amount": _text(table, "amount"),
        "currency": _text(table, "currency"),
        "status": _text(table, "raw_status"),
        "occurred_at": moments,
    }
    parts: list[pa.Array | str] = ["{"]
    for name, column in quoted.items():
        parts += [f'"{names[name]}":"', column, '",']  # type: ignore[index]  # its keys are the fields
    parts += [f'"{names["settlement_reference"]}":', optional, "}"]
    rows = pc.binary_join_element_wise(*parts, "").to_pylist() if table.num_rows else []
    return peach.file_name(day), f"[{','.join(rows)}]".encode()


Writer = Callable[[pa.Table, date], tuple[str, bytes]]
WRITERS: Final[Mapping[str, Writer]] = MappingProxyType(
    {flash.NAME: write_flash, mobilemart.NAME: write_mobilemart, peach.NAME: write_peach}
)


def _column(table: pa.Table, name: str) -> pa.Array:
    return table[name].combine_chunks()


def _text(table: pa.Table, name: str) -> pa.Array:
    return pc.coalesce(_column(table, name).cast(pa.string()), pa.scalar(""))


def _empty(table: pa.Table) -> pa.Array:
    return pa.repeat("", table.num_rows)


def _reversed_words(ours: pa.Array, words: Mapping[str, str]) -> pa.Array:
    return pa.array(list(words.values()), pa.string()).take(pc.index_in(ours, pa.array(list(words), pa.string())))


def _quoted(text: pa.Array) -> pa.Array:
    doubled = pc.binary_join_element_wise('"', pc.replace_substring(text, '"', '""'), '"', "")
    return pc.if_else(pc.match_substring_regex(text, '[;"]'), doubled, text)


def _cents(amount: pa.Array) -> pa.Array:
    return pc.multiply(amount, pa.scalar(100, pa.decimal128(3, 0))).cast(pa.decimal128(38, 0)).cast(pa.string())


def _joined(fields: Sequence[pa.Array], delimiter: str) -> list[str]:
    lines: list[str] = pc.binary_join_element_wise(*fields, delimiter).to_pylist()
    return lines


def _file(lines: Sequence[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()
