"""A deleted month is nowhere missing: whoever looks for it is given the number of its certificate."""

import json
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from config import Settings
from ledger.errors import ConflictError, DataError, NotFoundError
from ledger.policy import Tier
from ledger.transparency.policies import LogPolicy
from sql.connection import connect
from storage.store import ObjectStore
from tasks.archiving.late_rows import open_late_rows
from tasks.archiving.tiers import tier_rows
from tasks.proving.audit_kit import write_kit
from tasks.proving.proofs import Prover
from tasks.querying.query import Querier, run_query
from tasks.retention.certificate_checks import find, verify_certificate
from tasks.transparency.report import policy_text
from tasks.verifying.drill import drill
from tasks.verifying.reverification import reverify
from tasks.verifying.verification import VerificationScope, verify_archive
from tests.archives import Archives
from tests.tasks.archiving.ledger import ROWS, Ledger
from tests.tasks.retention.aged import OLD, OLDER, YOUNG, age, approved, delete, hold, verified, wrong


@pytest.fixture
def gone(ledger: Ledger, archives: Archives) -> Ledger:
    """`OLD` is deleted, `OLDER` keeps the rows of a wallet, `YOUNG` is archived."""
    archives.begin(ledger.settings, _months_that_are_gone)
    return ledger


def _months_that_are_gone(settings: Settings) -> None:
    old = Ledger(settings, settings.home)
    age(old, OLDER, OLD, YOUNG)
    hold(old, OLDER, "wallet-3")
    approved(old)
    delete(old)


def number_of(ledger: Ledger) -> str:
    return str(ledger.catalogue(OLD)["certificate"])


def test_an_auditors_query_says_which_months_it_lacks(gone: Ledger) -> None:
    with run_query(gone.settings, "SELECT count(*) AS n, max(amount) AS most FROM transactions") as answer:
        (row,) = answer.batches.read_all().to_pylist()
    assert row["n"] == ROWS + gone.content()[str(OLDER)][0]
    assert (answer.months_read, answer.months_known) == (2, 2)
    assert [note.partition(":")[0] for note in answer.notes] == [
        f"transactions {OLDER} was deleted with certificate {gone.catalogue(OLDER)['certificate']}",
        f"transactions {OLD} was deleted with certificate {number_of(gone)}",
    ]
    with run_query(gone.settings, f"SELECT * FROM transactions WHERE month = '{YOUNG}'") as answer:
        assert answer.batches.read_all().num_rows == ROWS
    assert answer.notes == ()


@pytest.mark.heavy("test_policy.py shows the tiers")
def test_the_table_of_tiers_shows_what_remains_of_a_deleted_month(gone: Ledger) -> None:
    found = [(str(row.month), row.tier, row.rows, row.note) for row in tier_rows(gone.settings, [gone.table])]
    older = gone.catalogue(OLDER)["certificate"]
    assert found[0][:3] == (str(OLDER), Tier.DELETED, ROWS)
    assert found[0][3] == f"deleted with certificate {older}"
    assert found[1][1] is Tier.COLD
    assert found[1][3] == "part 2; kept by HOLD-1"
    assert (found[2][1], found[2][3]) == (Tier.DELETED, f"deleted with certificate {number_of(gone)}")
    (deleted,) = [row for row in tier_rows(gone.settings, [gone.table]) if row.month == OLD]
    assert deleted.bytes == 0
    assert deleted.digest is not None


@pytest.mark.heavy("a query that names it is tested beside it")
def test_proofs_and_late_rows_name_the_certificate(gone: Ledger) -> None:
    with Prover(gone.settings) as prover, pytest.raises(NotFoundError, match=number_of(gone)):
        prover.statement(gone.table, "wallet-3", OLD)
    for month in (OLD, OLDER):
        with pytest.raises(ConflictError, match=r"was deleted with certificate DEL-.*It takes no rows any more"):
            open_late_rows(gone.settings, gone.table, month)


def test_the_verifications_know_a_deleted_month_and_its_certificate(gone: Ledger) -> None:
    report = verified(gone)
    assert report.findings == []
    assert f"transactions {OLD} was deleted with certificate {number_of(gone)}" in report.notes
    assert report.counts["deleted months"] == 2
    policy = LogPolicy.parse(policy_text(gone.settings).encode())
    alone = verify_archive(gone.settings, VerificationScope(first=OLD, last=OLD, deep=True), None, policy)
    assert alone.findings == []
    assert reverify(gone.settings).parts > 0
    assert drill(gone.settings) is not None


def test_an_object_of_a_deleted_month_that_comes_back_is_found_and_unverifies_the_certificate(gone: Ledger) -> None:
    key, number = gone.catalogue(OLD)["object_key"], number_of(gone)
    assert len(verify_certificate(gone.settings, number)) == 3
    ObjectStore(gone.settings).put_bytes(b"rows", key)
    assert wrong(gone) == [(key, f"was deleted with certificate {number} and is there again: somebody put it back")]
    with pytest.raises(Exception, match="is in the archive again"):
        verify_certificate(gone.settings, number)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("folder", ["certificates", "deletions", "holds"])
def test_a_record_that_was_changed_or_removed_is_found(gone: Ledger, folder: str) -> None:
    store = ObjectStore(gone.settings)
    key = next(key for key in store.keys(f"_treasury/{folder}") if key.endswith(".json"))
    content = store.read_bytes(key)
    store.replace_bytes(content + b" ", key)
    assert [place for place, text in wrong(gone) if "its SHA-256 is not the one in entry" in text] == [key]
    store.remove(key)
    assert [place for place, text in wrong(gone) if "is missing: entry" in text] == [key]


@pytest.mark.heavy("the records are tested beside it")
def test_a_page_that_was_changed_and_records_that_no_entry_names_are_named(gone: Ledger) -> None:
    store, number = ObjectStore(gone.settings), number_of(gone)
    page = f"_treasury/certificates/{number}.html"
    content = store.read_bytes(page)
    store.replace_bytes(content.replace(str(OLD).encode(), str(YOUNG).encode()), page)
    assert [place for place, text in wrong(gone) if "its SHA-256 is not the one in entry" in text] == [page]
    store.replace_bytes(content, page)
    assert wrong(gone) == []
    forged = f"{page.rpartition('-')[0]}-77.json"
    store.put_bytes(store.read_bytes(page.replace(".html", ".json")), forged)
    assert wrong(gone) == [(forged, "is a certificate that no entry of the log names: it is not valid")]
    store.remove(forged)
    added = "_treasury/holds/HOLD-9-0-0.json"
    store.put_bytes(b"{}", added)
    assert wrong(gone) == [(added, "is a record that no entry of the log names, and that this database has not made")]
    gone.sql("INSERT INTO archive_records (object_key) VALUES (%s)", added)  # as before a run was killed
    report = verified(gone)
    assert report.findings == []
    said = "1 record of holds, deletions or returns not in the log, such as _treasury/holds/HOLD-9-0-0.json. "
    assert [note for note in report.notes if note.startswith(said)]


@pytest.mark.heavy("the commands are tested over a deletion")
def test_a_certificate_is_found_by_its_number_alone(gone: Ledger) -> None:
    content, page = find(gone.settings, number_of(gone))
    assert json.loads(content)["month"] == str(OLD)
    assert page.startswith(b"<!DOCTYPE html>")
    with pytest.raises(NotFoundError, match="certificate DEL-00000000-9 does not exist"):
        find(gone.settings, "DEL-00000000-9")


@pytest.mark.heavy("what the verification knows of them is tested beside it")
def test_the_audit_kit_has_the_certificates_and_its_verifier_checks_them(gone: Ledger, tmp_path: Path) -> None:
    text = policy_text(gone.settings).encode()
    with connect(gone.settings.database_dsn, "tests") as connection, (tmp_path / "kit.zip").open("wb") as file:
        write_kit(gone.settings, file, VerificationScope(), connection, (LogPolicy.parse(text), text))
    with zipfile.ZipFile(tmp_path / "kit.zip") as kit:
        kit.extractall(tmp_path / "kit")
    done = run_kit(tmp_path / "kit")
    assert done.returncode == 0, done.stdout
    assert f"ok    transactions {OLD}: {ROWS} rows deleted with certificate {number_of(gone)}" in done.stdout
    page = tmp_path / f"kit/_treasury/certificates/{number_of(gone)}.html"
    shown = page.read_text()
    page.write_text(shown.replace(str(OLD), str(YOUNG)))
    changed = run_kit(tmp_path / "kit")
    assert changed.returncode == 1
    assert f"{number_of(gone)}.html: another SHA-256" in changed.stdout
    page.write_text(shown)
    (tmp_path / f"kit/_treasury/certificates/{number_of(gone)}.json").write_text("{}")
    changed = run_kit(tmp_path / "kit")
    assert changed.returncode == 1
    assert f"WRONG certificate {number_of(gone)}" in changed.stdout


def run_kit(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(folder / "verify_kit.py")]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_an_answer_under_way_while_its_month_is_deleted_is_whole_or_an_error(old: Ledger) -> None:
    approved(old)
    query = "SELECT id, amount FROM transactions WHERE month = '{}'"
    with Querier(old.settings) as querier:
        with querier.answer(query.format(OLD)) as answer:
            delete(old)
            with suppress(DataError):
                assert answer.batches.read_all().num_rows == ROWS
        with querier.answer(query.format(OLD)) as answer:
            assert answer.batches.read_all().num_rows == 0
            assert "was deleted with certificate" in answer.notes[0]
