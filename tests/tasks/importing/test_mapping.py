"""A mapping is read strictly: what is wrong in it is named before anything moves."""

import codecs
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import Settings
from ledger.errors import ConfigError
from ledger.tables import TRANSACTIONS
from tasks.importing.mapping import Mapping, check_table, read_mapping
from tasks.importing.mapping_text import column, constant, mapping_text

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def read(tmp_path: Path, text: str) -> Mapping:
    file = tmp_path / "m.toml"
    file.write_text(text)
    return read_mapping(file)[0]


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*-transactions.toml")), ids=lambda path: path.stem)
def test_the_examples_fit_their_tables(settings: Settings, example: Path) -> None:
    mapping, digest = read_mapping(example)
    assert mapping.table is not None
    check_table(mapping, settings.table(mapping.table))
    assert len(digest) == 32


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("[fields]", "colour = 1\n[fields]"), "colour"),
        (('name = "shop"', 'name = ""'), "name"),
        (
            ('amount = { column = "amount" }', 'amount = { column = "a", constant = "b" }'),
            "fields.amount: needs exactly",
        ),
        (('amount = { column = "amount" }', "amount = { colum = 'a' }"), "fields.amount.colum"),
        (('"%Y-%m-%d"', '"%d %B %Y"'), "fields.created_at.format: %B"),
        (('"%Y-%m-%d"', '"%Y-%m"'), "fields.created_at.format"),
        (('"%Y-%m-%d"', '"%Y-%m-%d", timezone = "Mars/Olympus"'), "fields.created_at.timezone"),
        (("[fields]", '[file]\nencoding = "utf-16"\n[fields]'), "file.encoding"),
        (("[fields]", '[file]\nencoding = "klingon"\n[fields]'), "file.encoding"),
        (("[fields]", '[file]\nencoding = "idna"\n[fields]'), "file.encoding"),
        (("[fields]", '[file]\nencoding = "punycode"\n[fields]'), "file.encoding"),
        (("[fields]", '[file]\nencoding = "utf-7"\n[fields]'), "file.encoding"),
        (("[fields]", '[file]\nencoding = "iso2022_jp"\n[fields]'), "file.encoding"),
        (("[fields]", '[file]\nencoding = "hz"\n[fields]'), "file.encoding"),
        (("[fields]", '[file]\nencoding = "unicode_escape"\n[fields]'), "file.encoding"),
        (("[fields]", '[file]\nencoding = "rot13"\n[fields]'), "file.encoding"),
        (('{ column = "no" }', '{ template = "{no" }'), "fields.reference: template"),
        (('{ column = "no" }', '{ template = "no}" }'), "fields.reference: template"),
        (('{ column = "no" }', '{ template = "{no{wallet}}" }'), "fields.reference: template"),
        (('{ column = "no" }', '{ template = "{}" }'), "fields.reference: template"),
        (("[fields]", '[file]\ndelimiter = "\\""\n[fields]'), "file: delimiter and quote"),
        (('{ column = "amount" }', '{ column = "amount", symbols = ["R", ""] }'), "fields.amount.symbols"),
        (('{ column = "amount" }', '{ column = "amount", signs = { " " = "-" } }'), "fields.amount.signs"),
        (("[fields]", "earliest = 1969-12-31\n[fields]"), "earliest"),
        (("created_at", "made_at"), "fields.created_at is missing"),
        (('status = { constant = "completed" }', ""), "map status: "),
        (("[fields]", "[fields"), "m.toml"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, mapping_text: str, change: tuple[str, str], named: str) -> None:
    with pytest.raises(ConfigError, match="mapping") as error:
        read(tmp_path, mapping_text.replace(*change))
    assert named in str(error.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (('currency = { constant = "ZAR" }', ""), "fields.currency is missing"),
        (('currency = { constant = "ZAR" }', 'currncy = { constant = "ZAR" }'), "fields.currncy"),
        (('{ column = "wallet" }', '{ column = "wallet", unit = "minor" }'), "fields.user_id.unit"),
        (('{ column = "no" }', '{ column = "no", format = "iso" }'), "fields.reference.format"),
        (("[fields]", '[fields]\nmobile_number = { column = "no" }'), "fields.mobile_number"),
    ],
)
def test_what_does_not_fit_the_table_is_named(
    tmp_path: Path, mapping_text: str, change: tuple[str, str], named: str
) -> None:
    mapping = read(tmp_path, mapping_text.replace(*change))
    with pytest.raises(ConfigError) as error:
        check_table(mapping, TRANSACTIONS)
    assert named in str(error.value)


def test_a_mapping_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.toml: No such file"):
        read_mapping(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "encoding", ["utf-8", "latin-1", "cp1252", "cp852", "iso8859-15", "cp932", "gb18030", "koi8-r"]
)
def test_an_encoding_whose_first_half_is_ascii_is_taken(tmp_path: Path, mapping_text: str, encoding: str) -> None:
    text = mapping_text.replace("[fields]", f'[file]\nencoding = "{encoding}"\n[fields]')
    assert read(tmp_path, text).file.encoding == codecs.lookup(encoding).name


@given(texts=st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=3, max_size=3))
def test_a_mapping_text_reads_back_as_it_was_meant(texts: list[str]) -> None:
    name, value, heading = texts
    fields = {"client_id": constant(value), "reference": column(heading), "created_at": column("at", format="%Y-%m-%d")}
    text = mapping_text("shop", "transactions", ["reference"], fields, {name: column(heading)})
    decoded = tomllib.loads(text)
    assert decoded["fields"]["client_id"] == {"constant": value}
    assert decoded["fields"]["reference"] == {"column": heading}
    assert decoded["metadata"] == {name: {"column": heading}}
