"""Intake on the real servers: each file once, whole or not at all, where reconciliation finds it."""

import bz2
import gzip
import hashlib
import lzma
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import paramiko
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from config import Settings
from config.suppliers import Suppliers
from ledger.errors import ConfigError, DataError, NotFoundError, OwnershipError, TransientError
from servers.s3 import executable
from sql.connection import connect
from sql.preparation import prepare_table
from storage.store import ObjectStore
from suppliers.registry import definitions
from suppliers.statement import StatementError
from tasks.reconciliation.audit.chain import verify_chain
from tasks.reconciliation.runs.request import RunRequest
from tasks.reconciliation.runs.run import reconcile_day
from tasks.reconciliation.runs.statements import fetch_statement, statement_of
from tasks.statements import intake as statements
from tasks.statements.contents import has_same_lines
from tasks.statements.intake import IntakeResult, days_to_reconcile, list_statements, take_in
from tasks.statements.lateness import late_statements, report_late, require_statement
from tasks.statements.sources import StatementFile
from tests.packing import in_tar, in_zip
from tests.tasks.archiving.copies import Copier
from tests.tasks.archiving.ledger import Ledger
from tests.tasks.reconciliation.books import Books
from tests.tasks.statements.samples import (
    CARD,
    DAY,
    FLASH,
    FLASH_HEADER,
    FLASH_LINE,
    FLASH_NAME,
    MOBILEMART,
    MOBILEMART_LINE,
    MOBILEMART_NAME,
    NAMES,
    PEACH_RECORD,
    TEXTS,
    parse,
)


@dataclass
class Desk:
    """A folder of statements and what takes them in."""

    settings: Settings
    folder: Path

    def put(self, text: str, name: str = FLASH_NAME) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def take(self, supplier: str = "flash", day: date | None = None, **options: Any) -> list[tuple[str, str]]:
        options = {"url": str(self.folder), "actor": "test"} | options
        return [(one.name, str(one.result)) for one in take_in(self.settings, supplier, day, **options)]

    def rows(self, query: str) -> list[Any]:
        with psycopg.connect(self.settings.database_dsn) as connection:
            return connection.execute(query).fetchall()

    def execute(self, query: str, *parameters: Any) -> None:
        with psycopg.connect(self.settings.database_dsn) as connection:
            connection.execute(query, parameters)

    def with_(self, supplier: str, **changes: Any) -> Settings:
        """The settings with fields of one supplier changed."""
        one = getattr(self.settings.suppliers, supplier).model_copy(update=changes)
        suppliers = self.settings.suppliers.model_copy(update={supplier: one})
        return self.settings.model_copy(update={"suppliers": suppliers})


@pytest.fixture
def books(settings: Settings, tmp_path: Path) -> Books:
    """Empty books for rows of ours."""
    with connect(settings.database_dsn, "tests") as connection:
        prepare_table(connection, settings, settings.table("vas_transactions"))
    return Books(settings, tmp_path)


@pytest.fixture
def desk(settings: Settings, tmp_path: Path) -> Desk:
    folder = tmp_path / "statements"
    folder.mkdir()
    ObjectStore(settings)  # its bucket is there
    return Desk(settings, folder)


def test_a_taken_file_is_where_reconciliation_looks_for_it(desk: Desk, tmp_path: Path) -> None:
    desk.put(FLASH)
    assert desk.take() == [(FLASH_NAME, "taken")]
    path = fetch_statement(desk.settings, statement_of(desk.settings, "flash", DAY), tmp_path)
    assert pq.read_table(path).equals(parse("flash", FLASH).table)
    (record,) = list_statements(desk.settings)
    assert (record.supplier, record.day, record.state, record.line_count) == ("flash", DAY, "taken", 1)
    assert record.sha256 == hashlib.sha256(FLASH.encode()).digest()
    assert record.sums is not None
    assert record.sums[0]["net"] == "145.5000"


def test_a_file_is_taken_once_whatever_it_is_called(desk: Desk) -> None:
    path = desk.put(FLASH)
    desk.take()
    assert desk.take() == [(FLASH_NAME, "known")]
    assert desk.take(url=str(path)) == [(FLASH_NAME, "known")]
    assert len(list_statements(desk.settings)) == 1


def test_a_bad_file_is_quarantined_whole_with_its_reason_and_an_alert(desk: Desk) -> None:
    desk.put(FLASH.replace("Success", "Sucess"))
    assert desk.take() == [(FLASH_NAME, "quarantined")]
    assert desk.take() == [(FLASH_NAME, "quarantined")]
    (record,) = list_statements(desk.settings)
    assert (record.state, record.object_key) == ("quarantined", None)
    assert record.error == f"{FLASH_NAME}: line 2: Status: must be one of Success, Pending, Failed, Reversed"
    assert desk.rows("SELECT rule, subject, count, state FROM alerts") == [
        ("statement-quarantined", f"flash/{FLASH_NAME}", 1, "open")
    ]
    with pytest.raises(DataError, match="no statement has been taken in"):
        statement_of(desk.settings, "flash", DAY)


def test_a_right_file_ends_the_alert_of_the_bad_one(desk: Desk) -> None:
    desk.put(FLASH.replace("Success", "Sucess"))
    desk.take()
    desk.put(FLASH)
    assert desk.take() == [(FLASH_NAME, "taken")]
    assert desk.rows("SELECT state FROM alerts") == [("resolved",)]


def test_what_was_refused_is_read_again_when_a_setting_was_wrong(desk: Desk) -> None:
    desk.put(FLASH.replace("Purchase", "Sale"))
    assert desk.take() == [(FLASH_NAME, "quarantined")]
    desk.settings = desk.with_("flash", statement_kinds={"Sale": "purchase"})
    assert desk.take() == [(FLASH_NAME, "quarantined")]
    assert desk.take(retry=True) == [(FLASH_NAME, "taken")]


def test_another_content_of_a_day_is_refused_unless_it_is_to_replace(desk: Desk) -> None:
    desk.put(FLASH)
    desk.take()
    first = statement_of(desk.settings, "flash", DAY)
    desk.put(FLASH.replace("ORD-1001", "ORD-1002"))
    assert desk.take() == [(FLASH_NAME, "quarantined")]
    assert statement_of(desk.settings, "flash", DAY) == first
    assert desk.take(replace=True) == [(FLASH_NAME, "taken")]
    assert statement_of(desk.settings, "flash", DAY) != first
    assert [one.state for one in list_statements(desk.settings)] == ["taken", "quarantined", "superseded"]


def test_a_superseded_statement_counts_again_when_it_alone_is_to_replace(desk: Desk) -> None:
    path = desk.put(FLASH)
    desk.take()
    first = statement_of(desk.settings, "flash", DAY)
    (desk.folder / "later").mkdir()
    second = desk.put(FLASH.replace("ORD-1001", "ORD-1002"), f"later/{FLASH_NAME}")
    assert desk.take(url=str(second), replace=True) == [(FLASH_NAME, "taken")]
    (known,) = take_in(desk.settings, "flash", url=str(path), actor="test")
    assert (known.result, known.day) == (IntakeResult.KNOWN, DAY)
    assert known.why.startswith(f"another statement of its day has replaced it; `recon run --statement {first}`")
    desk.put(FLASH.replace("02/03", "02/04"), "recon_20260204.csv")
    assert desk.take(replace=True) == [(FLASH_NAME, "known"), ("recon_20260204.csv", "taken")]  # nobody said which
    assert statement_of(desk.settings, "flash", DAY) != first

    (again,) = take_in(desk.settings, "flash", url=str(path), actor="somebody", replace=True)
    assert (again.result, again.day, again.line_count) == (IntakeResult.TAKEN, DAY, 1)
    assert statement_of(desk.settings, "flash", DAY) == first
    assert desk.take(url=str(path), replace=True) == [(FLASH_NAME, "known")]  # it counts
    records = [(one.state, one.actor) for one in list_statements(desk.settings, "flash", DAY)]
    assert records == [("taken", "somebody"), ("superseded", "test"), ("superseded", "test")]
    with psycopg.connect(desk.settings.database_dsn) as connection:
        assert verify_chain(connection).event_no == 4

    desk.execute(
        "INSERT INTO recon_periods (supplier, first_day, last_day, actor, reason) VALUES ('flash', %s, %s, 'x', 'x')",
        DAY, DAY,
    )  # fmt: skip
    (closed,) = take_in(desk.settings, "flash", url=str(second), actor="test", replace=True)
    assert (closed.result, closed.day) == (IntakeResult.KNOWN, DAY)
    assert closed.why == f"{FLASH_NAME}: {DAY} has a statement, and its period {DAY} to {DAY} is closed"
    assert statement_of(desk.settings, "flash", DAY) == first


def _take_early(desk: Desk) -> str:
    """Take in a statement, as if at noon of its day; returns its object's key."""
    assert desk.take() == [(FLASH_NAME, "taken")]
    desk.execute("ALTER TABLE statement_files DISABLE TRIGGER USER")
    desk.execute("UPDATE statement_files SET taken_at = day + interval '10 hours'")
    desk.execute("ALTER TABLE statement_files ENABLE TRIGGER USER")
    return str(statement_of(desk.settings, "flash", DAY))


def test_a_statement_of_half_a_day_gives_way_to_that_of_the_whole(desk: Desk) -> None:
    desk.put(FLASH)
    half = _take_early(desk)
    desk.put(FLASH.replace("ORD-1001", "ORD-1002"))
    assert desk.take() == [(FLASH_NAME, "taken")]
    assert statement_of(desk.settings, "flash", DAY) != half
    assert [one.state for one in list_statements(desk.settings)] == ["taken", "superseded"]
    desk.put(FLASH.replace("ORD-1001", "ORD-1003"))
    assert desk.take() == [(FLASH_NAME, "quarantined")]  # the second was taken after the day


def test_a_statement_of_half_a_day_gives_way_to_its_equal_in_another_order(desk: Desk) -> None:
    desk.put(FLASH)
    _take_early(desk)
    desk.put(FLASH.replace("\n", "\r\n"))
    assert desk.take() == [(FLASH_NAME, "taken")]
    assert desk.take() == [(FLASH_NAME, "known")]


def test_the_same_bytes_count_for_the_whole_day_when_somebody_says_so(desk: Desk) -> None:
    path = desk.put(FLASH)
    half = _take_early(desk)
    (known,) = take_in(desk.settings, "flash", url=str(path), actor="test")
    assert known.result is IntakeResult.KNOWN
    assert known.why.startswith("was taken before its day was over, so what it lacks proves nothing")
    assert desk.take(url=str(path), replace=True) == [(FLASH_NAME, "taken")]
    assert statement_of(desk.settings, "flash", DAY) == half
    (known,) = take_in(desk.settings, "flash", url=str(path), actor="test", replace=True)
    assert (known.result, known.why) == (IntakeResult.KNOWN, "")


def test_a_statement_without_lines_is_told_and_gives_way_to_one_with_some(desk: Desk) -> None:
    """A small supplier may have sold nothing; a header alone may be all that was left of a file."""
    desk.put(FLASH_HEADER + "\n")
    (empty,) = take_in(desk.settings, "flash", url=str(desk.folder), actor="test")
    assert (empty.result, empty.line_count) == (IntakeResult.TAKEN, 0)
    assert empty.why.startswith("has no lines: if anything was sold")
    desk.put(FLASH)
    assert desk.take() == [(FLASH_NAME, "taken")]
    assert [one.state for one in list_statements(desk.settings)] == ["taken", "superseded"]
    desk.put(FLASH_HEADER + "\n\n")
    assert desk.take() == [(FLASH_NAME, "quarantined")]  # a blank line
    desk.put(FLASH_HEADER + "\r\n")
    assert desk.take() == [(FLASH_NAME, "quarantined")]  # no lines take no place


def test_a_statement_without_lines_is_of_its_own_day_however_many_days_have_the_same(desk: Desk) -> None:
    """A header alone has the same bytes every day: no other day may know it, or get it back."""
    path = desk.put(FLASH_HEADER + "\n")
    assert desk.take() == [(FLASH_NAME, "taken")]
    desk.put(FLASH)
    assert desk.take() == [(FLASH_NAME, "taken")]
    full = statement_of(desk.settings, "flash", DAY)
    path.unlink()
    desk.put(FLASH_HEADER + "\n", "recon_20260204.csv")
    (next_day,) = take_in(desk.settings, "flash", url=str(desk.folder), actor="test", replace=True)
    assert (next_day.result, next_day.day, next_day.line_count) == (IntakeResult.TAKEN, DAY + timedelta(days=1), 0)
    assert desk.take(replace=True) == [("recon_20260204.csv", "known")]
    assert statement_of(desk.settings, "flash", DAY) == full


def test_a_superseded_statement_under_the_name_of_another_day_counts_for_none(desk: Desk) -> None:
    desk.put(FLASH)
    desk.take()
    desk.put(FLASH.replace("ORD-1001", "ORD-1002"))
    desk.take(replace=True)
    current = statement_of(desk.settings, "flash", DAY)
    wrong = desk.put(FLASH, "recon_20260205.csv")
    (refused,) = take_in(desk.settings, "flash", url=str(wrong), actor="test", replace=True)
    assert refused.result is IntakeResult.KNOWN
    assert "another day" in refused.why
    assert statement_of(desk.settings, "flash", DAY) == current


def test_a_bad_file_stops_no_other(desk: Desk) -> None:
    desk.put(FLASH)
    desk.put(FLASH.replace("02/03", "02/05"), "recon_20260204.csv")
    desk.put(FLASH.replace("02/03", "02/05"), "recon_20260205.csv")
    desk.put("not ours", "notes.txt")
    assert [result for _, result in desk.take()] == ["taken", "quarantined", "taken"]


def test_what_is_no_file_is_reported_once_and_stops_no_other(desk: Desk) -> None:
    odd = [f"recon_2026020{number}.csv" for number in (4, 5, 6, 7, 8)]
    (desk.folder / odd[0]).symlink_to("nothing")
    (desk.folder / odd[1]).mkdir()
    os.mkfifo(desk.folder / odd[2])
    (desk.folder / odd[3]).symlink_to(odd[3])
    (desk.folder / odd[4]).symlink_to(odd[2])
    desk.put(FLASH, "elsewhere")
    (desk.folder / FLASH_NAME).symlink_to("elsewhere")
    found = [(FLASH_NAME, "taken"), *((name, "quarantined") for name in odd)]
    assert desk.take() == found
    assert desk.take() == [(FLASH_NAME, "known"), *found[1:]]
    assert desk.rows("SELECT subject, count FROM alerts ORDER BY subject") == [(f"flash/{name}", 1) for name in odd]
    assert [one.name for one in list_statements(desk.settings)] == [FLASH_NAME]
    (pipe,) = take_in(desk.settings, "flash", url=str(desk.folder / odd[2]), actor="test")
    assert pipe.why == f"{odd[2]}: is not a file: a folder, a pipe, a device, or a link that leads to none"


def test_only_the_files_of_a_day_are_looked_at(desk: Desk) -> None:
    desk.put(FLASH)
    desk.put(FLASH.replace("02/03", "02/05"), "recon_20260205.csv")
    assert desk.take(day=DAY) == [(FLASH_NAME, "taken")]
    made_next_day = MOBILEMART_NAME.replace("20260203", "20260204")
    desk.put(MOBILEMART, made_next_day)
    assert desk.take("mobilemart", DAY) == [(made_next_day, "taken")]


def test_a_card_number_is_nowhere_after_a_file_was_taken_or_refused(desk: Desk) -> None:
    desk.put(MOBILEMART, MOBILEMART_NAME)
    desk.take("mobilemart")
    desk.put(MOBILEMART.replace("Airtime", CARD), MOBILEMART_NAME)
    assert desk.take("mobilemart", retry=True) == [(MOBILEMART_NAME, "quarantined")]
    assert CARD not in str(desk.rows("SELECT f::text FROM statement_files f UNION ALL SELECT a::text FROM alerts a"))
    key = statement_of(desk.settings, "mobilemart", DAY)
    assert CARD.encode() not in ObjectStore(desk.settings).read_bytes(key)


def test_an_intake_that_dies_before_its_row_is_done_by_the_next(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.put(FLASH)
    with monkeypatch.context() as broken:
        broken.setattr(statements, "resolve_alert", _dies)
        with pytest.raises(TransientError):
            desk.take()
    assert list_statements(desk.settings) == []
    assert desk.take() == [(FLASH_NAME, "taken")]


def _dies(*_: Any) -> None:
    raise TransientError("killed")


def test_rows_of_the_catalogue_are_only_added(desk: Desk) -> None:
    desk.put(FLASH)
    desk.take()
    for change in ("UPDATE statement_files SET name = 'x'", "DELETE FROM statement_files", "TRUNCATE statement_files"):
        with pytest.raises(psycopg.Error, match="only added"):
            desk.rows(change)


def test_a_statement_is_late_a_day_after_its_day_and_the_alert_ends_when_it_comes(desk: Desk) -> None:
    desk.settings = desk.with_("flash", statement_url=str(desk.folder))
    end = datetime(2026, 2, 3, 22, tzinfo=UTC)  # of the day in Johannesburg
    before, after = end + timedelta(hours=23, minutes=59), end + timedelta(hours=24)
    assert ("flash", DAY) not in late_statements(desk.settings, before)
    assert ("flash", DAY) in report_late(desk.settings, after)
    assert {supplier for supplier, _ in late_statements(desk.settings, after)} == {"flash"}
    desk.put(FLASH)
    desk.take(url=None)
    assert ("flash", DAY) not in late_statements(desk.settings, after)
    assert len(late_statements(desk.settings, after)) == 13  # the others of fourteen are as late as they were
    assert desk.rows(f"SELECT state FROM alerts WHERE subject = 'flash/{DAY}'") == [("resolved",)]


def test_a_file_that_is_too_large_is_quarantined_and_stops_no_other(desk: Desk) -> None:
    desk.settings = desk.with_("flash", statement_limit_mb=1)
    large = "x" * ((2 << 20) + 1)
    desk.put(large)
    desk.put(FLASH.replace("02/03", "02/04"), "recon_20260204.csv")
    for _ in range(2):
        assert next(result for _, result in desk.take()) == "quarantined"
    assert [one.state for one in list_statements(desk.settings)] == ["taken", "quarantined"]
    refused = list_statements(desk.settings)[1]
    assert refused.error == f"{FLASH_NAME}: is larger than statement_limit_mb, 1 MiB"
    assert refused.sha256 == hashlib.sha256(large.encode()).digest()
    assert desk.rows(f"SELECT size_bytes FROM statement_files WHERE file_id = {refused.file_id}") == [(len(large),)]
    desk.settings = desk.with_("flash", statement_limit_mb=3)
    assert desk.take(retry=True)[0] == (FLASH_NAME, "quarantined")  # it is read now, and is not a statement
    assert "larger" not in str(list_statements(desk.settings)[0].error)


def test_the_statement_of_a_closed_period_is_not_replaced(desk: Desk) -> None:
    desk.put(FLASH)
    desk.take()
    desk.execute(
        "INSERT INTO recon_periods (supplier, first_day, last_day, actor, reason) VALUES ('flash', %s, %s, 'x', 'x')",
        date(2026, 2, 1), date(2026, 2, 28),
    )  # fmt: skip
    first = statement_of(desk.settings, "flash", DAY)
    desk.put(FLASH.replace("ORD-1001", "ORD-1002"))
    assert desk.take(replace=True) == [(FLASH_NAME, "quarantined")]
    assert statement_of(desk.settings, "flash", DAY) == first
    error = list_statements(desk.settings)[0].error
    assert error == f"{FLASH_NAME}: {DAY} has a statement, and its period 2026-02-01 to 2026-02-28 is closed"


@pytest.mark.heavy("a day that was taken in is tested beside it")
def test_days_are_due_whose_statement_no_run_has_seen(books: Books, tmp_path: Path) -> None:
    desk = Desk(books.settings, tmp_path / "statements")
    desk.folder.mkdir()
    days = [DAY + timedelta(days=number) for number in range(4)]
    for day in days:
        desk.put(FLASH.replace("2026/02/03", f"{day:%Y/%m/%d}"), f"recon_{day:%Y%m%d}.csv")
    desk.take()
    assert days_to_reconcile(desk.settings, "flash", days[2]) == days[:3]
    assert days_to_reconcile(desk.settings, "peach", days[2]) == []
    reconcile_day(desk.settings, RunRequest("flash", DAY, statement_of(desk.settings, "flash", DAY)))
    desk.execute(
        "INSERT INTO recon_periods (supplier, first_day, last_day, actor, reason) VALUES ('flash', %s, %s, 'x', 'x')",
        days[1], days[1],
    )  # fmt: skip
    assert days_to_reconcile(desk.settings, "flash", days[3]) == days[2:]
    desk.put(FLASH.replace("ORD-1001", "ORD-1002"))
    desk.take(day=DAY, replace=True)
    assert days_to_reconcile(desk.settings, "flash", days[3]) == [DAY, *days[2:]]
    reconcile_day(desk.settings, RunRequest("flash", DAY, statement_of(desk.settings, "flash", DAY)))
    assert days_to_reconcile(desk.settings, "flash", DAY) == []
    desk.execute("ALTER TABLE recon_runs DISABLE TRIGGER USER")
    desk.execute("UPDATE recon_runs SET started_at = started_at - interval '10 years'")  # before the day was over
    assert days_to_reconcile(desk.settings, "flash", days[1]) == [DAY]
    desk.execute("UPDATE recon_runs SET started_at = started_at + interval '10 years'")
    desk.execute(  # as a run leaves it that was killed before it could end a row that the line decides
        "INSERT INTO recon_breaks (run_id, fingerprint, supplier, day, class, issues, currency, difference, variance,"
        " escalated, line, own, period_day) SELECT max(run_id), sha256('x'), 'flash', %s, 'status', '{status}', 'ZAR',"
        """ 0, 0, false, '{"status": "completed"}', '{"status": "processing"}', %s FROM recon_runs""",
        DAY, DAY,
    )  # fmt: skip
    assert days_to_reconcile(desk.settings, "flash", DAY) == [DAY]
    assert days_to_reconcile(desk.settings, "flash", DAY + timedelta(days=8)) == days[2:]


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("/nowhere/at/all", "no such folder"),
        ("ftp://host/x", "must be a path"),
        ("sftp://host/x", "known_hosts"),
        (None, "not set"),
    ],
)
def test_a_place_that_is_none_is_told(desk: Desk, url: str | None, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        desk.take(url=url)


def test_a_folder_may_be_in_the_object_store(desk: Desk) -> None:
    ObjectStore(desk.settings).put_bytes(FLASH.encode(), f"incoming/{FLASH_NAME}")
    assert desk.take(url=f"{desk.settings.archive_location}/incoming") == [(FLASH_NAME, "taken")]


@dataclass(frozen=True)
class Sftp:
    """A real SFTP server over a folder."""

    port: int
    key: paramiko.PKey

    def known_hosts(self, path: Path, key: paramiko.PKey | None = None) -> Path:
        right = key or self.key
        path.write_text(f"[127.0.0.1]:{self.port} {right.get_name()} {right.get_base64()}\n")
        return path


@pytest.fixture
def sftp(desk: Desk, tmp_path: Path) -> Iterator[Sftp]:
    key = paramiko.RSAKey.generate(2048)
    key.write_private_key_file(str(tmp_path / "host_key"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(executable()), "serve", "sftp", str(desk.folder), "--addr", f"127.0.0.1:{port}", "--read-only"]
    command += ["--user", "treasury", "--pass", "not-a-secret", "--key", str(tmp_path / "host_key")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            _await_port(port)
            yield Sftp(port, key)
        finally:
            server.terminate()


def _await_port(port: int) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < until, "the SFTP server did not start"
            time.sleep(0.05)


def test_statements_come_over_sftp_from_a_host_whose_key_is_known(desk: Desk, sftp: Sftp, tmp_path: Path) -> None:
    desk.put(FLASH)
    login = {
        "statement_url": f"sftp://treasury@127.0.0.1:{sftp.port}/",
        "statement_password": SecretStr("not-a-secret"),
    }
    known = sftp.known_hosts(tmp_path / "known")
    desk.settings = desk.with_("flash", **login, statement_known_hosts=known)
    assert desk.take(url=None) == [(FLASH_NAME, "taken")]
    sftp.known_hosts(tmp_path / "known", paramiko.RSAKey.generate(2048))
    with pytest.raises(ConfigError, match="BadHostKey"):
        desk.take(url=None)
    sftp.known_hosts(known)
    desk.settings = desk.with_("flash", statement_password=SecretStr("wrong"))
    with pytest.raises(ConfigError, match="Authentication") as refused:
        desk.take(url=None)
    assert "treasury@" not in str(refused.value)


def test_every_result_has_a_word() -> None:
    assert set(IntakeResult) == {"taken", "known", "quarantined"}
    assert set(TEXTS) == set(definitions(Suppliers()))


def test_a_day_that_was_taken_in_is_reconciled(books: Books, tmp_path: Path) -> None:
    rows = [books.own(commission=Decimal("4.50")) for _ in range(3)]
    lines = [
        f"2026/02/03 {row['created_at'] + timedelta(hours=2):%H:%M};{row['reference']};"
        f"{row['supplier_transaction_id']};Purchase;311;1Voucher;0000-1111-2222-3333;Demo;100.0000;0.0000;4.5000;95.5000;Success;"
        for row in rows
    ]
    (tmp_path / FLASH_NAME).write_text("\n".join([FLASH_HEADER, *lines]) + "\n")
    take_in(books.settings, "flash", DAY, url=str(tmp_path), actor="test")
    key = statement_of(books.settings, "flash", DAY)
    result = reconcile_day(books.settings, RunRequest("flash", DAY, key, dry_run=True))
    assert (result.summary.verdict, result.summary.figures["breaks"]) == ("passed", 0)


def test_a_copy_of_the_database_takes_in_nothing_and_overwrites_nothing(desk: Desk, copied: Copier) -> None:
    desk.put(FLASH)
    desk.take()
    ledger = Ledger(desk.settings, desk.folder)
    twin = copied(ledger)
    store = ObjectStore(desk.settings)
    before = {key: store.read_bytes(key) for key in store.keys("statements")}
    desk.put(FLASH.replace("02/03", "02/04"), "recon_20260204.csv")
    copy = Desk(twin.settings, desk.folder)
    with pytest.raises(OwnershipError, match="treasury installation"):
        copy.take()
    assert {key: store.read_bytes(key) for key in store.keys("statements")} == before
    assert [one.state for one in list_statements(twin.settings)] == ["taken"]
    assert desk.take() == [(FLASH_NAME, "known"), ("recon_20260204.csv", "taken")]


def test_the_key_of_a_statement_names_its_file_its_content_and_the_installation(desk: Desk) -> None:
    desk.put(FLASH)
    desk.take()
    ((key, sha256),) = desk.rows("SELECT object_key, encode(object_sha256, 'hex') FROM statement_files")
    ((short,),) = desk.rows("SELECT left(installation_id::text, 8) FROM installation")
    file = hashlib.sha256(FLASH.encode()).hexdigest()
    assert key == f"statements/flash/{DAY}/{file}-{sha256[:16]}-{short}.parquet"


# --- Sent again, packed, or under another name


REVERSED = {
    "flash": f"{FLASH_HEADER}\n{{b}}\n{{a}}\n",
    "mobilemart": "H|1|20260203\n{b}\n{a}\nT|4\n",
    "peach": "[{b},\n{a}]",
}


def two_lines(supplier: str) -> tuple[str, str]:
    """Two lines of a supplier's statement that differ in what must differ."""
    changes = {
        "flash": (FLASH_LINE, FLASH_LINE.replace("ORD-1001", "ORD-1002").replace("700000123", "700000124")),
        "mobilemart": (MOBILEMART_LINE, MOBILEMART_LINE.replace("MM1001", "MM1002").replace("000001|MM", "000002|MM")),
        "peach": (
            PEACH_RECORD,
            PEACH_RECORD.replace('def"', 'dee"').replace("12345", "12346").replace("2600", "2601"),
        ),
    }
    return changes[supplier]


@pytest.mark.parametrize("supplier", ["flash", "mobilemart", "peach"])
def test_a_statement_sent_again_in_another_order_or_with_other_line_ends_is_known(desk: Desk, supplier: str) -> None:
    first, second = two_lines(supplier)
    whole, name = REVERSED[supplier], NAMES[supplier]
    desk.put(whole.format(b=first, a=second), name)
    assert desk.take(supplier) == [(name, "taken")]
    for again in (whole.format(b=second, a=first), whole.format(b=first, a=second).replace("\n", "\r\n")):
        (desk.folder / name).write_bytes(again.encode())
        assert desk.take(supplier) == [(name, "known")]
    assert desk.rows("SELECT count(*) FROM statement_files") == [(1,)]
    assert desk.rows("SELECT count(*) FROM alerts") == [(0,)]
    twice = whole.format(b=first, a=second.replace("1002", "1009").replace("12346", "12347"))
    desk.put(twice, name)
    assert desk.take(supplier) == [(name, "quarantined")]


def test_a_statement_sent_again_in_a_closed_period_is_known_too(desk: Desk) -> None:
    desk.put(FLASH)
    desk.take()
    desk.execute(
        "INSERT INTO recon_periods (supplier, first_day, last_day, actor, reason) VALUES ('flash', %s, %s, 'a', 'b')",
        DAY,
        DAY,
    )
    (desk.folder / FLASH_NAME).write_bytes(FLASH.replace("\n", "\r\n").encode())
    assert desk.take() == [(FLASH_NAME, "known")]


def test_a_line_that_stands_more_often_is_another_content() -> None:
    one, two = (parse("flash", text).table for text in (FLASH, FLASH))
    assert has_same_lines(one, two)
    doubled = pa.concat_tables([one, one, two])
    other = pa.concat_tables([one, parse("flash", FLASH.replace("ORD-1001", "ORD-1002")).table])
    assert not has_same_lines(doubled, one)
    assert not has_same_lines(pa.concat_tables([other, one]), pa.concat_tables([other, other.slice(1)]))


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "is a zip archive or a spreadsheet: unpack it": in_zip,
    "is compressed with gzip: unpack it": gzip.compress,
    "is compressed with bzip2: unpack it": bz2.compress,
    "is compressed with xz: unpack it": lzma.compress,
    "is a tar archive: unpack it": in_tar,
    "is UTF-16 text: a statement must be UTF-8": lambda content: content.decode().encode("utf-16"),
    "is UTF-32 text: a statement must be UTF-8": lambda content: content.decode().encode("utf-32"),
    "is a PDF document: ask the supplier": lambda content: b"%PDF-1.7\n" + content,
    "is an HTML or XML document: ask the supplier": lambda content: b"\n<!DOCTYPE html><html>" + content,
}


@pytest.mark.sampled(8)
@pytest.mark.parametrize("supplier", ["flash", "mobilemart", "peach"])
@pytest.mark.parametrize("rule", list(PACKED))
def test_a_packed_file_is_refused_by_what_it_is(settings: Settings, supplier: str, rule: str) -> None:
    content, name = PACKED[rule](TEXTS[supplier].encode()), NAMES[supplier]
    with pytest.raises(StatementError, match=re.escape(f"{name}: {rule}")):
        statements._parsed(settings, supplier, StatementFile.of(name, content))


def test_a_text_in_utf_16_without_its_mark_is_refused_by_what_it_is(settings: Settings) -> None:
    content = FLASH.encode("utf-16-le")
    with pytest.raises(StatementError, match="is UTF-16 text: a statement must be UTF-8"):
        statements._parsed(settings, "flash", StatementFile.of(FLASH_NAME, content))


@pytest.mark.parametrize("supplier", ["flash", "mobilemart", "peach"])
def test_no_statement_says_what_name_is_expected_and_which_files_are_there(desk: Desk, supplier: str) -> None:
    for name in ("Recon-2026-02-03.CSV", f"{NAMES[supplier]}.zip", f"copy of {CARD}.txt"):
        desk.put("x", name)
    assert desk.take(supplier, DAY) == []
    with pytest.raises(NotFoundError) as raised:
        require_statement(desk.settings, supplier, DAY, str(desk.folder), datetime.now(UTC))
    assert f"its name must be like {NAMES[supplier]}, and there are " in str(raised.value)
    assert "'Recon-2026-02-03.CSV'" in str(raised.value)
    assert f"'{NAMES[supplier]}.zip'" in str(raised.value)
    assert CARD not in str(raised.value)


def test_many_files_of_other_names_are_counted(desk: Desk) -> None:
    for number in range(9):
        desk.put("x", f"other-{number}.csv")
    with pytest.raises(NotFoundError, match=r"'other-4\.csv' and 4 more;"):
        require_statement(desk.settings, "flash", DAY, str(desk.folder), datetime.now(UTC))
