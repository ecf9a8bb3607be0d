"""What the tests of the import share: a small mapping, and an import of bytes that hands back its rejects."""

import csv
import gzip
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

from config import Settings
from tasks.importing import mapping_text as text
from tasks.importing.mapping_text import column, constant
from tasks.importing.run import ImportReport, ImportRequest, import_file

MAPPING = text.mapping_text(
    "shop",
    "transactions",
    ["no"],
    {
        "client_id": constant("shop"),
        "user_id": column("wallet"),
        "wallet_id": column("wallet"),
        "type": constant("payment"),
        "status": constant("completed"),
        "amount": column("amount"),
        "currency": constant("ZAR"),
        "reference": column("no"),
        "description": column("text"),
        "created_at": column("at", format="%Y-%m-%d"),
    },
)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Outcome(NamedTuple):
    """What an import gave back, and its rejects as (line, reason, field, text)."""

    report: ImportReport
    rejects: list[tuple[int, str, str, str]]

    @property
    def counts(self) -> tuple[int, int, int]:
        """Read, loaded, not loaded."""
        return self.report.read, self.report.loaded, len(self.rejects)

    @property
    def account(self) -> tuple[int, int, int, int, int]:
        """Read, loaded, known, different, rejected."""
        report = self.report
        return report.read, report.loaded, report.known, report.different, report.rejected


Run = Callable[..., Outcome]


def physical_lines(content: bytes) -> list[bytes]:
    """The lines of a file, plain or gzip: LF, CRLF and CR all end one."""
    return (gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content).splitlines()


@pytest.fixture
def mapping_text() -> str:
    return MAPPING


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def run(settings: Settings, tmp_path: Path) -> Run:
    """Import ``content`` by ``mapping`` (its text)."""

    def import_bytes(content: bytes, mapping: str = MAPPING, **options: Any) -> Outcome:
        file, mapping_file = tmp_path / "history.csv", tmp_path / "mapping.toml"
        file.write_bytes(content)
        mapping_file.write_text(mapping)
        progress = options.pop("progress", lambda *_: None)
        report = import_file(settings, ImportRequest(file, mapping_file, **options), progress, NOW)
        with report.rejects.open(encoding="utf-8", newline="") as rejects:
            header, *lines = csv.reader(rejects)
        assert header == ["line", "reason", "field", "text"]
        assert report.read == report.loaded + report.known + report.different + report.rejected
        assert report.read - report.loaded == len(lines)
        assert report.lines.all == len(physical_lines(content))
        return Outcome(report, [(int(line), reason, field, text) for line, reason, field, text in lines])

    return import_bytes


@pytest.fixture
def database(settings: Settings) -> Iterator[psycopg.Connection]:
    with psycopg.connect(settings.database_dsn, autocommit=True) as connection:
        yield connection
