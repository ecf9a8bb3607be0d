"""No row is loaded twice, and none is lost as if it had been: the examples of imports that look right and are not."""

import gzip
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from config import Settings
from ledger.errors import ConfigError, DataError, NotStoredError
from ledger.months import Month
from ledger.tables import TRANSACTIONS
from sql.connection import connect
from sql.warm import move_to_warm
from tasks.importing import known_rows
from tasks.importing.rows import Row
from tasks.importing.run import ImportReport, ImportRequest, import_file
from tests.tasks.importing.conftest import Run

M = """
name = "m"
table = "transactions"
key = ["id"]

[fields]
client_id = { constant = "c" }
user_id = { column = "wallet" }
wallet_id = { column = "wallet" }
type = { constant = "deposit" }
status = { constant = "completed" }
amount = { column = "amount" }
currency = { constant = "ZAR" }
created_at = { column = "at", format = "iso" }
"""
HEADER = b"id,wallet,amount,at\n"
THREE = HEADER + b"".join(b"%d,w,%d.50,2026-02-0%dT10:15:00\n" % (n, n, n) for n in (1, 2, 3))
KEYLESS = M.replace('key = ["id"]\n', "")
BY_VALUES = KEYLESS.replace("[fields]", 'identity = "values"\n[fields]')
ZONED = M.replace('"iso" }', '"iso", timezone = "Africa/Johannesburg" }')


def rows(database: psycopg.Connection) -> list[tuple[str, str]]:
    found = database.execute("SELECT amount::text, created_at AT TIME ZONE 'UTC' FROM transactions ORDER BY 1, 2")
    return [(amount, str(moment)) for amount, moment in found]


def count(database: psycopg.Connection) -> int:
    return len(rows(database))


def test_a_corrected_timezone_loads_no_keyed_row_again_and_names_what_differs(
    run: Run, database: psycopg.Connection
) -> None:
    assert run(THREE, M).account == (3, 3, 0, 0, 0)
    before = rows(database)
    again = run(THREE, ZONED)
    assert again.account == (3, 0, 0, 3, 0)
    assert {field for _, _, field, _ in again.rejects} == {"created_at"}
    assert again.rejects[0][1].startswith("already loaded as row ")
    assert rows(database) == before


@pytest.mark.parametrize(
    ("content", "mapping"),
    [
        (THREE.replace(b"T10:15:00", b"T10:15:00.123"), M),
        (THREE.replace(b"T10:15:00", b""), M.replace('"iso"', '"%Y-%m-%d"')),
        (THREE.replace(b"-02-", b"-03-"), M),
    ],
    ids=["more precise seconds", "another format", "another month"],
)
def test_a_key_is_the_identity_whatever_becomes_of_the_time(
    run: Run, database: psycopg.Connection, content: bytes, mapping: str
) -> None:
    run(THREE, M)
    assert run(content, mapping).account == (3, 0, 0, 3, 0)
    assert count(database) == 3


def test_the_same_key_with_another_amount_is_counted_apart_and_changes_nothing(
    run: Run, database: psycopg.Connection
) -> None:
    run(THREE, M)
    before = rows(database)
    again = run(THREE.replace(b"2.50", b"99.50") + b"4,w,4.50,2026-02-04T10:15:00\n", M)
    assert again.account == (4, 1, 2, 1, 0)
    (different,) = [reject for reject in again.rejects if reject[1] != "already loaded"]
    assert (different[0], different[2]) == (3, "amount")
    assert different[1].endswith(", with another amount")
    assert [row for row in rows(database) if row in before] == before


def test_a_key_that_comes_twice_in_a_file_is_known_or_different(run: Run, database: psycopg.Connection) -> None:
    outcome = run(HEADER + b"1,w,1.00,2026-02-01T00:00:00Z\n" * 2 + b"1,w,2.00,2026-02-01T00:00:00Z\n", M)
    assert outcome.account == (3, 1, 1, 1, 0)
    assert [reject[:3] for reject in outcome.rejects] == [
        (3, "same key as line 2", "id"),
        (4, "same key as line 2, with another amount", "amount"),
    ]
    assert count(database) == 1


def test_a_known_row_is_known_when_its_month_is_warm(
    run: Run, settings: Settings, database: psycopg.Connection
) -> None:
    run(THREE, M)
    with connect(settings.database_dsn, "test") as connection:
        assert move_to_warm(connection, settings, TRANSACTIONS, Month(2026, 2))
    assert run(THREE, ZONED).account == (3, 0, 0, 3, 0)


def test_a_row_that_was_loaded_and_is_gone_is_not_called_loaded(run: Run, database: psycopg.Connection) -> None:
    run(THREE, M)
    database.execute("TRUNCATE transactions_2026_02")
    again = run(THREE, M)
    assert again.account == (3, 0, 0, 0, 3)
    assert all("is not in the database any more" in reason for _, reason, _, _ in again.rejects)


def test_a_dry_run_counts_known_and_different_rows_as_the_import_does(run: Run, database: psycopg.Connection) -> None:
    run(THREE, M)
    content = THREE.replace(b"2.50", b"99.50") + b"4,w,4.50,2026-02-04T10:15:00\n"
    assert run(content, M, dry_run=True).account == run(content, M).account == (4, 1, 2, 1, 0)


def test_two_sources_may_have_the_same_keys(run: Run, database: psycopg.Connection) -> None:
    run(THREE, M)
    assert run(THREE, M.replace('name = "m"', 'name = "n"')).account == (3, 3, 0, 0, 0)


def test_another_key_is_refused_for_a_source_that_was_loaded(run: Run, database: psycopg.Connection) -> None:
    run(THREE, M)
    for mapping in (M.replace('key = ["id"]', 'key = ["at"]'), KEYLESS):
        with pytest.raises(ConfigError, match="were known by key id until now"):
            run(THREE, mapping)
    renamed = M.replace('key = ["id"]', 'key = ["no"]\nkey_names = ["id"]')
    assert run(THREE.replace(b"id,", b"no,"), renamed).account == (3, 0, 3, 0, 0)


@pytest.mark.parametrize("key", ["", "  ", "NULL", "-"])
def test_no_row_is_known_by_a_key_that_is_empty(run: Run, key: str) -> None:
    mapping = M.replace("[fields]", '[file]\nempty = [" NULL", "-"]\n[fields]') + 'reference = { column = "note" }\n'
    lines = f"{key},w,12.50,2026-02-01T10:15:00Z,\n".encode() * 2 + b"1,w,12.50,2026-02-01T10:15:00Z,\n"
    outcome = run(HEADER.replace(b"\n", b",note\n") + lines, mapping)
    assert outcome.account == (3, 1, 0, 0, 2)
    assert {reject[1:3] for reject in outcome.rejects} == {("is empty, and it identifies the row", "id")}


@pytest.mark.parametrize("key", ["\ufeff1", "1\u200b", "\u200e1", "1\u00ad", "\u009f1"])
def test_a_key_with_a_character_that_cannot_be_seen_is_rejected(run: Run, key: str) -> None:
    """The BOM in the middle of two files that were joined: the row would be another one than that of key 1."""
    outcome = run(HEADER + f"1,w,1.00,2026-02-01T10:15:00Z\n{key},w,1.00,2026-02-01T10:15:00Z\n".encode(), M)
    assert outcome.account == (2, 1, 0, 0, 1)
    assert outcome.rejects[0][:3] == (3, "has a character that cannot be seen, and it identifies the row", "id")


@pytest.mark.parametrize("key", ["12\u00a0500", "1 2", "Zoë", "\U0001f600", "日本"])
def test_a_key_may_have_any_character_that_can_be_seen(run: Run, key: str) -> None:
    assert run(HEADER + f"{key},w,1.00,2026-02-01T10:15:00Z\n".encode(), M).account == (1, 1, 0, 0, 0)


def test_two_imports_of_the_same_rows_at_once_load_each_once(
    run: Run, database: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path
) -> None:
    """The other import has its rows committed between the look at what is known and the loading."""
    really = known_rows.KnownRows.record
    others: list[ImportReport | None] = []

    def record(known: known_rows.KnownRows, cursor: psycopg.Cursor, rows: Sequence[Row]) -> None:
        if not others:
            others.append(None)
            file, mapping = tmp_path / "other.csv", tmp_path / "other.toml"
            file.write_bytes(THREE.replace(b"T10:15:00", b"T11:15:00"))
            mapping.write_text(M)
            request = ImportRequest(file, mapping)
            others.append(import_file(settings, request, lambda *_: None, datetime(2026, 11, 23, tzinfo=UTC)))
        really(known, cursor, rows)

    monkeypatch.setattr(known_rows.KnownRows, "record", record)
    assert run(THREE, M).account == (3, 0, 0, 3, 0)
    assert others[1] is not None
    assert others[1].loaded == 3
    assert count(database) == 3


RESAVED = {
    "quotes around every value": HEADER
    + b"".join(b'"%d","w","%d.50","2026-02-0%dT10:15:00"\n' % (n, n, n) for n in (1, 2, 3)),
    "a blank at the end": THREE.replace(b"\n", b" \n"),
    "12.5 for 12.50": THREE.replace(b".50", b".5"),
    "a new column": b"".join(line + b",x\n" for line in THREE.splitlines()).replace(b"at,x", b"at,new"),
    "CRLF": THREE.replace(b"\n", b"\r\n"),
    "columns in another order": b"amount,at,wallet,id\n"
    + b"".join(b"%d.50,2026-02-0%dT10:15:00,w,%d\n" % (n, n, n) for n in (1, 2, 3)),
}


@pytest.mark.parametrize("content", RESAVED.values(), ids=RESAVED.keys())
def test_a_file_without_a_key_that_was_saved_again_is_not_loaded_again(
    run: Run, database: psycopg.Connection, content: bytes
) -> None:
    assert run(THREE, KEYLESS).account == (3, 3, 0, 0, 0)
    refused = run(content, KEYLESS)
    assert refused.account == (3, 0, 0, 0, 3)
    assert all("which another file brought" in reason for _, reason, _, _ in refused.rejects)
    said = KEYLESS.replace("[fields]", 'identity = "values"\n[fields]')
    assert run(content, said).account == (3, 0, 3, 0, 0)
    assert count(database) == 3


def test_the_same_file_without_a_key_is_known_line_by_line_whatever_the_mapping_says_now(
    run: Run, database: psycopg.Connection
) -> None:
    content = THREE + THREE.splitlines(keepends=True)[1]
    assert run(content, KEYLESS).account == (4, 4, 0, 0, 0)
    assert run(content, KEYLESS).account == (4, 0, 4, 0, 0)
    assert run(gzip.compress(content), KEYLESS).account == (4, 0, 4, 0, 0)
    zoned = KEYLESS.replace('"iso" }', '"iso", timezone = "Africa/Johannesburg" }')
    assert run(content, zoned).account == (4, 0, 0, 4, 0)
    assert count(database) == 4


def test_a_corrected_encoding_loads_nothing_again(run: Run, database: psycopg.Connection) -> None:
    mapping = KEYLESS.replace("[fields]", '[file]\nencoding = "latin-1"\n[fields]')
    content = THREE.replace(b",w,", ",wő,".encode("windows-1250"))
    run(content, mapping)
    again = run(content, mapping.replace("latin-1", "windows-1250"))
    assert again.account == (3, 0, 0, 3, 0)
    assert again.rejects[0][2] == "user_id, wallet_id"


@pytest.mark.parametrize("mapping", [M, BY_VALUES], ids=["by its key", "by its values"])
@pytest.mark.parametrize("first", ["cp1252", "utf-8", "windows-1250"])
def test_a_file_that_was_saved_again_in_another_encoding_loads_nothing_again(
    run: Run, database: psycopg.Connection, first: str, mapping: str
) -> None:
    """Other bytes, the same texts."""
    text = THREE.decode().replace(",w,", ",Zoë,")

    def saved_in(encoding: str) -> tuple[int, ...]:
        encoded = mapping.replace("[fields]", f'[file]\nencoding = "{encoding}"\n[fields]')
        return run(text.encode(encoding), encoded).account

    assert saved_in(first) == (3, 3, 0, 0, 0)
    assert {saved_in(other) for other in ("cp1252", "utf-8", "cp850")} == {(3, 0, 3, 0, 0)}
    assert count(database) == 3


def test_the_nth_equal_record_of_another_file_is_the_nth_row_with_those_values(
    run: Run, database: psycopg.Connection
) -> None:
    equal, other = THREE.splitlines(keepends=True)[1:3]
    assert run(HEADER + equal, BY_VALUES).account == (1, 1, 0, 0, 0)
    twice = run(HEADER + other + equal + equal, BY_VALUES)
    assert twice.account == (3, 2, 1, 0, 0)
    assert [line for line, _, _, _ in twice.rejects] == [3]
    assert run(HEADER + equal * 3 + other, BY_VALUES).account == (4, 1, 3, 0, 0)
    assert run(HEADER + equal, BY_VALUES).account == (1, 0, 1, 0, 0)
    assert count(database) == 4


def test_an_equal_line_of_another_file_is_refused_or_loaded_as_the_mapping_says(
    run: Run, database: psycopg.Connection
) -> None:
    first, other = THREE, THREE.splitlines(keepends=True)[1]
    by_file = KEYLESS.replace("[fields]", 'identity = "file"\n[fields]')
    run(first, by_file)
    assert run(HEADER + other, by_file).account == (1, 1, 0, 0, 0)
    assert run(HEADER + other, by_file).account == (1, 0, 1, 0, 0)
    assert count(database) == 4


BY_FILE = KEYLESS.replace("[fields]", 'identity = "file"\n[fields]')


@pytest.mark.parametrize(
    "before", [(), (BY_VALUES,), (KEYLESS,)], ids=["from the start", "after values", "after unset"]
)
@pytest.mark.parametrize("now", [BY_VALUES, KEYLESS], ids=["values", "unset"])
def test_a_source_whose_rows_were_known_by_their_file_stays_so(
    run: Run, database: psycopg.Connection, before: tuple[str, ...], now: str
) -> None:
    """By its values no row of such a file is known, and all of them would be loaded again."""
    for mapping in before:
        assert run(HEADER + b"9,w,9.50,2026-02-09T10:15:00\n", mapping).report.loaded == 1
    assert run(THREE, BY_FILE, dry_run=True).account == (3, 3, 0, 0, 0)
    assert run(THREE, BY_FILE).account == (3, 3, 0, 0, 0)
    for dry_run in (True, False):
        with pytest.raises(ConfigError, match=r'were known by identity file until now.*Keep identity = "file"'):
            run(THREE.replace(b"\n", b"\r\n"), now, dry_run=dry_run)
    assert run(THREE, BY_FILE).account == (3, 0, 3, 0, 0)
    assert count(database) == 3 + len(before)


def test_a_dry_run_decides_nothing_about_a_source(run: Run) -> None:
    run(THREE, BY_VALUES)
    run(THREE, BY_FILE, dry_run=True)
    assert run(THREE, BY_VALUES).account == (3, 0, 3, 0, 0)


def growing(file: Path, steps: list[str]) -> Callable[[str, int, int], None]:
    """A progress at whose ``steps`` somebody goes on writing to the file."""

    def progress(step: str, *_: int) -> None:
        if steps and step == steps[0]:
            steps.pop(0)
            with file.open("ab") as more:
                more.write(b"%d,w,9.50,2026-02-09T10:15:00\n" % (9 + len(steps)))

    return progress


@pytest.mark.parametrize("mapping", [M, BY_VALUES, KEYLESS, BY_FILE], ids=["key", "values", "unset", "file"])
def test_of_a_file_that_grows_before_it_is_loaded_nothing_is(
    run: Run, database: psycopg.Connection, tmp_path: Path, mapping: str
) -> None:
    with pytest.raises(DataError, match="changed while it was read"):
        run(THREE, mapping, progress=growing(tmp_path / "history.csv", ["checking"]))
    assert count(database) == 0


@pytest.mark.parametrize(
    ("mapping", "advice"),
    [
        (M, "import it again: nothing is loaded twice"),
        (BY_VALUES, "import it again: nothing is loaded twice"),
        (BY_FILE, "2 rows are loaded.*import the lines from line 4 on as a file of their own"),
    ],
    ids=["key", "values", "file"],
)
def test_of_a_file_that_grows_while_it_is_loaded_no_later_line_is_loaded(
    run: Run, database: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mapping: str, advice: str
) -> None:
    """Its whole is another file: by that, every row would be there twice."""
    monkeypatch.setattr("tasks.importing.run.CHUNK_ROWS", 2)
    file = tmp_path / "history.csv"
    with pytest.raises(DataError, match=advice):
        run(THREE, mapping, progress=growing(file, ["loading"]))
    assert count(database) == 2
    whole = file.read_bytes()
    rest = whole if mapping != BY_FILE else HEADER + b"".join(whole.splitlines(keepends=True)[3:])
    assert run(rest, mapping).report.loaded == 2
    assert count(database) == 4


def test_a_file_that_grows_at_the_last_moment_says_what_is_left(
    run: Run, database: psycopg.Connection, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"3 rows are loaded.*import the lines from line 5 on as a file of their own"):
        run(THREE, BY_FILE, progress=growing(tmp_path / "history.csv", ["loading"]))
    assert count(database) == 3


def test_a_key_and_an_identity_together_are_refused(run: Run) -> None:
    with pytest.raises(ConfigError, match="leave one of the two out"):
        run(THREE, M.replace("[fields]", 'identity = "values"\n[fields]'))


def test_an_identity_that_a_trigger_drops_is_not_taken_for_stored(run: Run, database: psycopg.Connection) -> None:
    database.execute("CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    database.execute("CREATE TRIGGER meddle BEFORE INSERT ON import_identities FOR EACH ROW EXECUTE FUNCTION meddle()")
    with pytest.raises(Exception, match="import_identities: 3 rows were sent and PostgreSQL stored 0"):
        run(THREE, M)
    assert count(database) == 0


def test_a_rule_that_a_trigger_drops_is_not_taken_for_stored(run: Run, database: psycopg.Connection) -> None:
    run(THREE, BY_VALUES)
    database.execute("CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
    database.execute("CREATE TRIGGER meddle BEFORE UPDATE ON import_sources FOR EACH ROW EXECUTE FUNCTION meddle()")
    with pytest.raises(NotStoredError, match="import_sources"):
        run(THREE, BY_FILE)


def test_a_row_that_somebody_else_put_there_is_known_and_gets_its_identity(
    run: Run, database: psycopg.Connection, tmp_path: Path
) -> None:
    run(THREE, M)
    database.execute("ALTER TABLE import_identities DISABLE TRIGGER import_identities_kept")
    database.execute("TRUNCATE import_identities")
    assert run(THREE, M).account == (3, 0, 3, 0, 0)
    assert run(THREE, ZONED).account == (3, 0, 0, 3, 0)
