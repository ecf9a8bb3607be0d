"""What a file holds, read without any code of the import: by `csv` and by the text of the mapping alone."""

import csv
import gzip
import re
import tomllib
from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple


class Account(NamedTuple):
    """The lines of a file by kind, and of the records that are taken their number, amounts and fees."""

    skipped: int
    header: int
    record_lines: int
    footer: int
    taken: int
    amount: Decimal
    fee: Decimal


def plain(content: bytes) -> bytes:
    """The content of a file, decompressed."""
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content


def read_account(
    content: bytes, mapping: str, refused: Collection[int], records: Collection[str] = ()
) -> Account | None:
    """The account of a file whose lines ``refused`` are not taken. ``records`` are texts of lines that are records
    wherever they are. None where a record takes several lines or has quotes that `csv` reads otherwise: then only the
    import can say which lines are records.
    """
    sections = tomllib.loads(mapping)
    file: dict[str, Any] = sections.get("file", {})
    try:
        rows = list(_rows(plain(content), file.get("encoding", "utf-8"), file.get("delimiter", ",")))
    except csv.Error:
        return None
    skip, header = file.get("skip_lines", 0), 0 if "columns" in file else 1
    columns = file.get("columns") or [name.strip() for name in rows[skip][1]]
    numbered = list(enumerate(rows, start=1))
    read = numbered[skip + header :]
    end = next((at for at, (_, (text, _)) in enumerate(read) if _ends(text, file.get("until"))), len(read))
    taken = [dict(zip(columns, values, strict=True)) for number, (_, values) in read[:end] if number not in refused]
    known = {text for text in records if text.count(file.get("delimiter", ",")) == len(columns) - 1}
    skipped, footer = (
        sum(number not in refused and text not in known for number, (text, _) in left_out)
        for left_out in (numbered[:skip], read[end:])
    )
    amount, fee = (_sum(sections["fields"].get(name, {}), taken) for name in ("amount", "fee"))
    return Account(skipped, header, len(rows) - skipped - header - footer, footer, len(taken), amount, fee)


def _rows(content: bytes, encoding: str, delimiter: str) -> Iterator[tuple[str, list[str]]]:
    """The text and the values of each line. Raises csv.Error where a quote of a line is not closed on it."""
    for number, line in enumerate(content.splitlines(), start=1):
        text = line.decode(encoding, "replace")
        text = text.removeprefix("\ufeff") if number == 1 else text
        yield text, next(csv.reader([text], delimiter=delimiter, strict=True), [])


def _ends(text: str, until: str | None) -> bool:
    return until is not None and text.lstrip(' "').startswith(until)


def _sum(field: dict[str, Any], records: Sequence[dict[str, str]]) -> Decimal:
    """The amounts in the columns of a field, whatever their signs: of two columns one is empty or zero."""
    names = field.get("first_of") or [field["column"]] if field else []
    mark = field.get("decimal", ".")
    return sum((_value(record[name], mark) for record in records for name in names), Decimal(0))


def _value(text: str, mark: str) -> Decimal:
    whole, _, places = text.rpartition(mark) if mark in text else (text, "", "")
    return Decimal(f"{_digits(whole) or 0}.{_digits(places)}")


def _digits(text: str) -> str:
    return re.sub(r"[^0-9]", "", text)
