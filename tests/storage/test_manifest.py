"""The manifest is the truth about an archived month: one content has one text, and any other text is refused."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ledger.errors import DataError
from ledger.month_tree import Layout, TreeHead
from ledger.proof import MonthContent, Totals
from ledger.tables import TRANSACTIONS
from storage.manifest import Manifest, ManifestFile, ManifestRowGroup, ManifestTree, describe_month
from storage.store import StoredFile
from tests.storage.archived_rows import COLUMNS

INSTALLATION = UUID("01234567-89ab-4def-8123-456789abcdef")
KEY = "_treasury/manifests/transactions/2026-02/0123-1.manifest.json"
instants = st.datetimes(datetime(2026, 2, 1), datetime(2026, 2, 28), timezones=st.just(UTC))  # noqa: DTZ001
sums = st.integers(-(10**27), 10**27).map(lambda cents: Decimal(cents).scaleb(-2))
totals = st.builds(
    Totals,
    currency=st.sampled_from(["", "USD", "ZAR"]),
    type=st.none() | st.sampled_from(["payment", "fee"]),
    status=st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    rows=st.integers(1, 10**10),
    sums=st.tuples(sums, sums),
    first=instants,
    last=instants,
)
contents = st.builds(MonthContent, totals=st.lists(totals, max_size=4).map(tuple))
FILE = ManifestFile(
    key="transactions/month=2026-02/0123-1.parquet",
    size_bytes=123,
    sha256="ab" * 32,
    rows=2,
    row_groups=(ManifestRowGroup(rows=2, first_leaf=0),),
)
TREE = ManifestTree(
    key="_treasury/trees/transactions/2026-02/0123-1.tree", size_bytes=32, sha256="cd" * 32, leaves=3, root="00" * 32
)
SUMS = (Decimal("12.00"), Decimal("0.10"))
CONTENT = MonthContent((Totals("ZAR", "payment", "completed", 2, SUMS, *[datetime(2026, 2, 1, tzinfo=UTC)] * 2),))


def _manifest(content: MonthContent = CONTENT) -> Manifest:
    return describe_month(INSTALLATION, TRANSACTIONS, "2026-02", 1, COLUMNS, content, TREE, (FILE,))


@given(contents)
def test_a_manifest_is_read_back_as_it_was_written(found: MonthContent) -> None:
    manifest = _manifest(found)
    content = manifest.to_bytes()
    assert Manifest.from_bytes(content, KEY) == manifest
    assert Manifest.from_bytes(content, KEY).to_bytes() == content
    assert StoredFile.of(content) == StoredFile.of(manifest.to_bytes())


def test_its_bytes_are_sorted_and_without_spaces_and_hold_no_float() -> None:
    text = _manifest().to_bytes().decode()
    content = json.loads(text, parse_float=lambda number: pytest.fail(f"a float: {number}"))
    assert text == json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert content["totals"][0]["sums"] == {"amount": "12.00", "fee": "0.10"}


def test_it_says_all_that_is_needed_to_read_the_rows_without_this_project() -> None:
    content = json.loads(_manifest().to_bytes())
    assert content["columns"][6] == {
        "field_id": 7,
        "name": "amount",
        "kind": "decimal",
        "nullable": False,
        "precision": 18,
        "scale": 2,
    }
    assert (content["table"], content["month"], content["rows"]) == ("transactions", "2026-02", 2)
    assert (content["row_format"], content["digest_method"]) == ("row-v1", "sha256-rfc6962-file-order-v1")
    assert content["files"][0]["key"] == FILE.key
    assert content["policy"]["retention_months"] == 120


def test_columns_come_back_as_the_ledgers_own() -> None:
    manifest = Manifest.from_bytes(_manifest().to_bytes(), KEY)
    assert manifest.layout == Layout.of(TRANSACTIONS, COLUMNS)
    assert manifest.head == TreeHead(3, bytes(32))
    assert manifest.keys == [FILE.key, TREE.key]


def _changed(**changes: Any) -> bytes:
    content = {**json.loads(_manifest().to_bytes()), **changes}
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_the_change_that_the_next_test_makes_is_all_that_it_refuses() -> None:
    assert _changed() == _manifest().to_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"extra": 1},
        {"format": "treasury-manifest-v2"},
        {"row_format": "row-v2"},
        {"digest_method": "md5"},
        {"group_format": "group-v2"},
        {"tree": {**TREE.model_dump(), "root": "00" * 31}},
        {"tree": {**TREE.model_dump(), "root": "AB" * 32}},
        {"tree": {**TREE.model_dump(), "chunk_leaves": 128}},
        {"month": "2026-2"},
        {"installation": "0123"},
        {"installation": None},
        {"rows": "two"},
        {"rows": None},
        {"columns": [{"name": "id", "kind": "uuid"}]},
        {"columns": [{"name": "id", "kind": "float", "nullable": True, "precision": None, "scale": None}]},
        {"files": [{**FILE.model_dump(), "sha256": "x"}]},
        {"files": [{**FILE.model_dump(), "note": "x"}]},
        {"policy": {"hot_months": 13}},
    ],
    ids=str,
)
def test_an_unknown_format_field_or_value_is_refused_by_the_manifests_key(changes: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=f"{KEY} is not a manifest"):
        Manifest.from_bytes(_changed(**changes), KEY)


@pytest.mark.parametrize(
    "missing", ["installation", "table", "month", "tree", "columns", "rows", "totals", "files", "policy"]
)
def test_a_manifest_without_one_of_its_parts_is_refused(missing: str) -> None:
    content = {name: value for name, value in json.loads(_manifest().to_bytes()).items() if name != missing}
    with pytest.raises(DataError, match="is not a manifest"):
        Manifest.from_bytes(json.dumps(content).encode(), KEY)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"PAR1"])
def test_what_is_no_json_is_no_manifest(content: bytes) -> None:
    with pytest.raises(DataError, match="is not a manifest"):
        Manifest.from_bytes(content, KEY)


def test_the_same_content_in_any_other_text_is_refused() -> None:
    content = _manifest().to_bytes()
    values = json.loads(content)
    others = [
        content + b"\n",
        b" " + content,
        json.dumps(values, sort_keys=True).encode(),
        json.dumps(dict(reversed(values.items())), separators=(",", ":")).encode(),
        content.replace(b'"rows":2', b'"rows":2,"rows":2', 1),
        content.replace(b'"rows":2', b'"rows":"2"', 1),
        content.replace(b'"rows":2', b'"rows":2.0', 1),
    ]
    for other in others:
        assert other != content
        with pytest.raises(DataError, match=KEY):
            Manifest.from_bytes(other, KEY)


def test_a_manifest_cannot_be_changed_once_made() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        _manifest().rows = 3  # type: ignore[misc]  # the point of the test
