"""The audit chain: what is changed, removed or put in afterwards is found, and named."""

import hashlib
from decimal import Decimal
from pathlib import Path

import pytest

from ledger.errors import VerificationError
from sql.connection import connect
from storage.store import ObjectStore
from tasks.reconciliation.audit.chain import GENESIS, Head, canonical_json, event_hash, verify_chain
from tasks.reconciliation.audit.objects import verify_objects
from tasks.reconciliation.casework.breaks import resolve
from tasks.reconciliation.vocabulary import Decision
from tasks.statements.intake import take_in
from tests.tasks.reconciliation.books import DAY, Books, closed_by_two
from tests.tasks.statements.samples import FLASH, FLASH_HEADER, FLASH_NAME

_TABLES = ("recon_events", "recon_runs", "recon_breaks", "recon_resolutions", "recon_matches", "recon_periods")
_LATER = ("recon_confirmations", "recon_period_proposals", "statement_files")


@pytest.fixture
def worked(books: Books) -> Books:
    """A day with a plain match, a scored one, a break that a rule resolved and one that a person did; then closed."""
    books.both()
    books.line(books.own(supplier_transaction_id=None), reference=None)
    books.line(books.own(), amount=Decimal("100.05"))
    books.line(amount=Decimal("40.00"))
    books.run()
    (waiting,) = books.sql("SELECT break_id FROM recon_breaks WHERE state = 'open'")
    resolve(books.settings, waiting["break_id"], "thandi", Decision.WRITE_OFF, "too small")
    closed_by_two(books, DAY, DAY)
    return books


def verify(books: Books, noted: bytes | None = None) -> Head:
    with connect(books.settings.database_dsn, "tests") as connection:
        return verify_chain(connection, noted)


def behind(books: Books, statement: str) -> None:
    """Change what nobody may, as somebody who owns the tables could."""
    for table in (*_TABLES, *_LATER):
        books.sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    books.sql(statement)


def test_an_empty_chain_and_a_whole_one_are_proved(books: Books) -> None:
    assert verify(books) == Head(0, GENESIS)
    books.both()
    books.run()
    assert verify(books).event_no == 1


def test_every_deed_is_an_event(worked: Books) -> None:
    kinds = [row["kind"] for row in worked.sql("SELECT content::json ->> 'event' AS kind FROM recon_events ORDER BY 1")]
    assert kinds == ["period", "proposal", "resolution", "run"]
    head = verify(worked)
    assert verify(worked, head.hash) == head


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE recon_events SET content = replace(content, 'run', 'ran') WHERE event_no = 1", "event 1 was changed"),
        ("DELETE FROM recon_events WHERE event_no = 2", "event 3 follows event 1"),
        ("DELETE FROM recon_events WHERE event_no = 4", "period 1 is not in the chain"),
        ("DELETE FROM recon_events", "run 1 is not in the chain"),
        (
            "INSERT INTO recon_events SELECT 5, hash, sha256('x'), '{}' FROM recon_events WHERE event_no = 4",
            "event 5 was changed",
        ),
        ("UPDATE recon_runs SET verdict = 'passed'", r"run 1 was changed \(record\)"),
        ("UPDATE recon_runs SET figures = figures || '{\"breaks\": 0}'", r"run 1 was changed \(record\)"),
        ("UPDATE recon_breaks SET variance = 0 WHERE variance <> 0", r"run 1 was changed \(breaks\)"),
        ("UPDATE recon_resolutions SET reason = 'other' WHERE run_id = 1", r"run 1 was changed \(resolutions\)"),
        ("DELETE FROM recon_resolutions WHERE run_id IS NULL", "resolution 2 was removed"),
        ("UPDATE recon_resolutions SET actor = 'sipho' WHERE run_id IS NULL", "resolution 2 was changed"),
        ("UPDATE recon_matches SET score = 0.5", r"run 1 was changed \(matches\)"),
        ("DELETE FROM recon_periods", "period 1 was removed"),
        ("UPDATE recon_periods SET account = 'x'", "period 1 was changed"),
        ("UPDATE recon_period_proposals SET actor = 'sipho'", "proposal 1 was changed"),
        ("UPDATE recon_resolutions SET account = 'x' WHERE run_id IS NULL", "resolution 2 was changed"),
        (
            "UPDATE recon_breaks SET period_day = '2031-01-01' WHERE break_id = 2",
            "break 2 is accounted in 2031-01-01, and its records say otherwise",
        ),
        ("UPDATE recon_breaks SET state = 'open' WHERE break_id = 1", "break 1 is open, and its records say otherwise"),
        (
            (
                "INSERT INTO recon_resolutions (break_id, action, actor, decision, reason)"
                " VALUES (1, 'resolved', 'sipho', 'write_off', 'never was')"
            ),
            "resolution 3 is not in the chain",
        ),
    ],
)
def test_what_was_done_behind_the_chain_s_back_is_found(worked: Books, statement: str, named: str) -> None:
    behind(worked, statement)
    with pytest.raises(VerificationError, match=named):
        verify(worked)


def test_the_intake_of_a_statement_its_replacement_and_its_refusal_are_events(books: Books, tmp_path: Path) -> None:
    folder = tmp_path / "statements"
    folder.mkdir()

    def take(text: str, name: str = FLASH_NAME) -> None:
        (folder / name).write_text(text)
        take_in(books.settings, "flash", url=str(folder), actor="thandi", replace=True)

    take(FLASH)
    take(f"{FLASH_HEADER}\n")  # another content of the same day
    take("Date;", FLASH_NAME.replace("recon_2026", "recon_2025"))
    assert verify(books).event_no == 3
    with connect(books.settings.database_dsn, "tests") as connection:
        assert verify_objects(books.settings, connection) == 2
        (key,) = connection.execute("SELECT object_key FROM statement_files WHERE file_id = 1").fetchone() or ("",)
        ObjectStore(books.settings).replace_bytes(b"other", key)
        with pytest.raises(VerificationError, match=f"{key} was changed"):
            verify_objects(books.settings, connection)
    behind(books, "UPDATE statement_files SET error = 'other' WHERE state = 'quarantined'")
    with pytest.raises(VerificationError, match="statement 3 was changed"):
        verify(books)


def test_who_moves_a_break_into_a_far_period_is_found_also_after_it_was_carried(books: Books) -> None:
    books.line(amount=Decimal("40.00"))
    books.run()
    closed_by_two(books, DAY, DAY, carry=True)
    verify(books)
    behind(books, "UPDATE recon_breaks SET period_day = '2031-01-01'")
    with pytest.raises(VerificationError, match="break 1 is accounted in 2031-01-01, and its records say otherwise"):
        verify(books)


def test_a_confirmed_match_that_is_changed_is_found(books: Books) -> None:
    for _ in range(2):
        books.own(supplier_transaction_id=None, reference=None)
    books.line(supplier_transaction_id=None, reference=None)
    books.run()
    (line,) = books.sql("SELECT break_id FROM recon_breaks WHERE class = 'missing_here'")
    resolve(books.settings, line["break_id"], "thandi", Decision.SAME_TRANSACTION, "so it is")
    verify(books)
    behind(books, "UPDATE recon_confirmations SET own_id = gen_random_uuid()")
    with pytest.raises(VerificationError, match="resolution 1 was changed"):
        verify(books)


def test_a_chain_made_anew_lacks_the_event_that_was_noted_down(books: Books) -> None:
    books.run()
    noted = verify(books).hash
    behind(books, f"TRUNCATE {', '.join((*_TABLES, *_LATER))} RESTART IDENTITY")
    books.sql("ALTER TABLE recon_runs ENABLE TRIGGER USER")
    books.both()
    books.run()
    assert verify(books).event_no == 1
    with pytest.raises(VerificationError, match="the event that was noted down is not in the chain"):
        verify(books, noted)


def test_the_hash_is_of_the_one_before_and_the_very_text() -> None:
    text = canonical_json({"b": "ü", "a": 1})
    assert text == '{"a":1,"b":"ü"}'
    assert event_hash(GENESIS, text) == hashlib.sha256(bytes(32) + '{"a":1,"b":"ü"}'.encode()).digest()
