"""Every type of the engine in every format of `treasury sql`: digits, ISO 8601, standard JSON, numbers in Parquet."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.answers import write_answer
from config import load_settings
from ledger.errors import DataError
from storage.engine import engine
from tasks.querying.query import Answer

_ID = "018df74f-8400-763f-b1b2-6f66afde9c64"
_HUGE = 10**38 - 1
# Type of DuckDB: SQL, text in CSV and in the table, value in JSON, value in Parquet.
_VALUES: dict[str, tuple[str, str, Any, Any]] = {
    "BOOLEAN": ("true", "True", True, True),
    "TINYINT": ("(-128)::TINYINT", "-128", -128, -128),
    "SMALLINT": ("(-32768)::SMALLINT", "-32768", -32768, -32768),
    "INTEGER": ("2147483647", "2147483647", 2147483647, 2147483647),
    "BIGINT": (f"{2**63 - 1}", f"{2**63 - 1}", 2**63 - 1, 2**63 - 1),
    "UTINYINT": ("255::UTINYINT", "255", 255, 255),
    "USMALLINT": ("65535::USMALLINT", "65535", 65535, 65535),
    "UINTEGER": ("4294967295::UINTEGER", "4294967295", 2**32 - 1, 2**32 - 1),
    "UBIGINT": (f"{2**64 - 1}::UBIGINT", f"{2**64 - 1}", 2**64 - 1, 2**64 - 1),
    "HUGEINT": (f"-{_HUGE}::HUGEINT", f"-{_HUGE}", -_HUGE, Decimal(-_HUGE)),
    "UHUGEINT": (f"{_HUGE}::UHUGEINT", f"{_HUGE}", _HUGE, Decimal(_HUGE)),
    "BIGNUM": (f"'-{10**45}'::BIGNUM", f"-{10**45}", -(10**45), f"-{10**45}"),
    "FLOAT": ("0.1::FLOAT", "0.1", 0.1, pytest.approx(0.1)),
    "DOUBLE": ("'-infinity'::DOUBLE", "-Infinity", "-Infinity", float("-inf")),
    "DECIMAL": ("-0.5::DECIMAL(38, 2)", "-0.50", "-0.50", Decimal("-0.50")),
    "VARCHAR": ("'a\"b'", 'a"b', 'a"b', 'a"b'),
    "BLOB": ("'\\xAA\\x00b'::BLOB", "\\xaa0062", "\\xaa0062", b"\xaa\x00b"),
    "BIT": ("'0101'::BIT", "0101", "0101", "0101"),
    "UUID": (f"'{_ID}'::UUID", _ID, _ID, UUID(_ID)),
    "ENUM": ("'a'::ENUM('b', 'a')", "a", "a", "a"),
    "DATE": ("DATE '2024-02-29'", "2024-02-29", "2024-02-29", "2024-02-29"),
    "TIME": ("TIME '10:20:30.5'", "10:20:30.500000", "10:20:30.500000", "10:20:30.500000"),
    "TIME_NS": ("'10:20:30.000000001'::TIME_NS", "10:20:30.000000001", "10:20:30.000000001", 37230000000001),
    "TIME WITH TIME ZONE": ("'24:00:00-02:30'::TIMETZ", "24:00:00-02:30", "24:00:00-02:30", "24:00:00-02:30"),
    "TIMESTAMP": (
        "TIMESTAMP '2026-03-01 01:02:03'",
        "2026-03-01T01:02:03",
        "2026-03-01T01:02:03",
        "2026-03-01 01:02:03",
    ),
    "TIMESTAMP_S": (
        "'1969-12-31 01:02:03'::TIMESTAMP_S",
        "1969-12-31T01:02:03",
        "1969-12-31T01:02:03",
        "1969-12-31 01:02:03",
    ),
    "TIMESTAMP_MS": (
        "'2026-03-01 01:02:03.5'::TIMESTAMP_MS",
        "2026-03-01T01:02:03.500000",
        "2026-03-01T01:02:03.500000",
        "2026-03-01 01:02:03.500000",
    ),
    "TIMESTAMP_NS": (
        "'1969-12-31 23:59:59.999999999'::TIMESTAMP_NS",
        "1969-12-31T23:59:59.999999999",
        "1969-12-31T23:59:59.999999999",
        -1,
    ),
    "TIMESTAMP WITH TIME ZONE": (
        "TIMESTAMPTZ '2026-03-01 01:02:03+02'",
        "2026-02-28T23:02:03+00:00",
        "2026-02-28T23:02:03+00:00",
        "2026-02-28 23:02:03+00:00",
    ),
    "INTERVAL": ("INTERVAL '14 months -3 days 0.5 seconds'", "P1Y2M-3DT0.5S", "P1Y2M-3DT0.5S", "P1Y2M-3DT0.5S"),
    "LIST": ("[1::HUGEINT, NULL]", "[1, null]", [1, None], [Decimal(1), None]),
    "ARRAY": ("array_value(INTERVAL '1 day', NULL)", '["P1D", null]', ["P1D", None], ["P1D", None]),
    "STRUCT": (
        "{'n': 1::UHUGEINT, 'd': 1.10}",
        '{"n": 1, "d": "1.10"}',
        {"n": 1, "d": "1.10"},
        {"n": 1, "d": Decimal("1.10")},
    ),
    "MAP": (
        "MAP {'k': ['nan'::DOUBLE]}",
        '{"k": ["NaN"]}',
        {"k": ["NaN"]},
        [("k", [pytest.approx(float("nan"), nan_ok=True)])],
    ),
    "UNION": ("union_value(num := 7::HUGEINT)", "7", 7, {"num": Decimal(7)}),
    "GEOMETRY": (
        "'POINT(1 2)'::GEOMETRY",
        "\\x0101000000000000000000f03f0000000000000040",
        "\\x0101000000000000000000f03f0000000000000040",
        bytes.fromhex("0101000000000000000000f03f0000000000000040"),
    ),
    "NULL": ("NULL", "", None, None),
}
_WITHOUT_A_FORM = {"VARIANT", "TYPE"}  # the engine cannot hand them on; `treasury sql` says to cast them
_MORE = {
    "sum of an integer": ("sum(1)", "1", 1, Decimal(1)),
    "count_if": ("count_if(true)", "1", 1, Decimal(1)),
    "sum of a length": ("sum(length('abc'))", "3", 3, Decimal(3)),
    "NaN": ("'nan'::DOUBLE", "NaN", "NaN", pytest.approx(float("nan"), nan_ok=True)),
    "no time at all": ("INTERVAL '0 days'", "PT0S", "PT0S", "PT0S"),
    "less than no time": (
        "-INTERVAL '26 hours 90.25 seconds'",
        "PT-26H-1M-30.25S",
        "PT-26H-1M-30.25S",
        "PT-26H-1M-30.25S",
    ),
    "the end of a day": ("TIME '24:00:00'", "24:00:00", "24:00:00", 86_400_000_000),
    "fields without names": ("row(1::HUGEINT, 'x')", '[1, "x"]', [1, "x"], {"1": Decimal(1), "2": "x"}),
    "keys that are not text": ("MAP {1: 'a'}", '[[1, "a"]]', [[1, "a"]], [(1, "a")]),
    "an empty map whose keys are not text": ("MAP {}::MAP(INTEGER, VARCHAR)", "[]", [], []),
    "an empty map": ("MAP {}::MAP(VARCHAR, INTEGER)", "{}", {}, []),
    "days as keys": (
        "MAP {DATE '2024-02-29': 1}",
        '[["2024-02-29", 1]]',
        [["2024-02-29", 1]],
        [(date(2024, 2, 29), 1)],
    ),
    "an ENUM as key": ("MAP {'a'::ENUM('a'): 1}", '{"a": 1}', {"a": 1}, [("a", 1)]),
    "lists in lists": ("[[1::HUGEINT], NULL, []]", "[[1], null, []]", [[1], None, []], [[Decimal(1)], None, []]),
    "JSON": ("'{\"a\": 1}'::JSON", '{"a": 1}', '{"a": 1}', '{"a": 1}'),
}
_CASES = {**_VALUES, **_MORE}


@pytest.fixture(scope="module")
def duck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    folder = tmp_path_factory.mktemp("types")
    with engine(load_settings(home=folder, archive_url=f"file://{folder}/archive")) as connection:
        yield connection


def _written(duck: duckdb.DuckDBPyConnection, sql: str, output_format: str, file: Path) -> bytes:
    rows = duck.execute(f"SELECT * FROM (SELECT 1 AS n, {sql} AS x UNION ALL BY NAME SELECT 2 AS n) ORDER BY n")
    write_answer(Answer(rows.to_arrow_reader(10), 0, 0), output_format, file)
    return file.read_bytes()


def _no_constant(name: str) -> NoReturn:
    raise AssertionError(f"{name} is not JSON")


def test_every_type_of_the_engine_is_looked_at(duck: duckdb.DuckDBPyConnection) -> None:
    found = {name for (name,) in duck.execute("SELECT DISTINCT logical_type FROM duckdb_types()").fetchall()}
    assert found == set(_VALUES) | _WITHOUT_A_FORM


@pytest.mark.parametrize("name", _CASES)
def test_csv_and_the_table_show_the_value(duck: duckdb.DuckDBPyConnection, tmp_path: Path, name: str) -> None:
    sql, text, _, _ = _CASES[name]
    rows = list(csv.DictReader(io.StringIO(_written(duck, sql, "csv", tmp_path / "a.csv").decode())))
    assert rows == [{"n": "1", "x": text}, {"n": "2", "x": ""}]
    assert text in _written(duck, sql, "table", tmp_path / "a.txt").decode()


@pytest.mark.parametrize("name", _CASES)
def test_json_is_standard_and_exact(duck: duckdb.DuckDBPyConnection, tmp_path: Path, name: str) -> None:
    sql, _, value, _ = _CASES[name]
    read = json.loads(_written(duck, sql, "json", tmp_path / "a.json"), parse_constant=_no_constant)
    assert read == [{"n": 1, "x": value}, {"n": 2, "x": None}]
    assert type(read[0]["x"]) is type(value)


@pytest.mark.parametrize("name", _CASES)
def test_parquet_has_the_value_in_a_type_that_pyarrow_knows(
    duck: duckdb.DuckDBPyConnection, tmp_path: Path, name: str
) -> None:
    sql, _, _, value = _CASES[name]
    _written(duck, sql, "parquet", tmp_path / "a.parquet")
    column = pq.read_table(tmp_path / "a.parquet").column("x")
    assert column.null_count == (2 if value is None else 1)
    found = column[0]
    if pa.types.is_temporal(column.type):
        found = pa.scalar(found.value, pa.int64()) if isinstance(value, int) else str(found.as_py())
    assert (found.as_py() if isinstance(found, pa.Scalar) else found) == value


@pytest.mark.parametrize("sql", [f"{2**127 - 1}::HUGEINT", f"{2**128 - 1}::UHUGEINT", f"[{2**127 - 1}::HUGEINT]"])
def test_an_integer_of_39_digits_is_exact_in_text_and_a_named_error_in_parquet(
    duck: duckdb.DuckDBPyConnection, tmp_path: Path, sql: str
) -> None:
    assert sql.partition("::")[0].strip("[") in _written(duck, sql, "csv", tmp_path / "a.csv").decode()
    with pytest.raises(DataError, match=r"SQL: x: .*38 digits.*CAST"):
        _written(duck, sql, "parquet", tmp_path / "a.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv"]
