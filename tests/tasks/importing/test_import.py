"""An import as a whole, on a real PostgreSQL: every line loaded or rejected, and nothing twice, whatever happens."""

import gzip
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from config import Settings
from ledger.errors import ConfigError, DataError, TransientError
from ledger.identifiers import created_at_of, derived_id
from ledger.months import Month
from ledger.tables import TRANSACTIONS
from sql.connection import connect
from sql.maintenance import run_ddl
from sql.partitions import ensure_partition
from sql.preparation import prepare_table
from sql.seal import seal
from sql.warm import move_to_warm
from tasks.importing.loading import Loader
from tasks.importing.rows import Row
from tests.relations import hot_months, relation, warm_months
from tests.tasks.importing.conftest import MAPPING, Run

HEADER = b"no,wallet,amount,text,at\n"
COLUMNS = (
    "id",
    "client_id",
    "user_id",
    "wallet_id",
    "type",
    "amount",
    "currency",
    "status",
    "created_at",
    "updated_at",
)


def lines(first: int, last: int, day: str = "2024-05-17") -> bytes:
    return b"".join(f"{number},w{number % 7},{number}.50,,{day}\n".encode() for number in range(first, last + 1))


def stored(database: psycopg.Connection) -> int:
    row = database.execute("SELECT count(*) FROM transactions").fetchone()
    assert row is not None
    return int(row[0])


def test_a_row_arrives_with_every_value_and_an_id_that_tells_its_time(run: Run, database: psycopg.Connection) -> None:
    outcome = run(HEADER + b'1,w1,12.5,"back\\slash, ""quoted"" \xc5\xbelu\xc5\xa5",2024-05-17\n')
    assert outcome.counts == (1, 1, 0)
    row = database.execute(
        "SELECT id, wallet_id, amount, fee, description, metadata, created_at FROM transactions"
    ).fetchone()
    created_at = datetime(2024, 5, 17, tzinfo=UTC)
    assert row is not None
    assert row == (row[0], "w1", Decimal("12.50"), Decimal(0), 'back\\slash, "quoted" žluť', {}, created_at)
    assert row[0] == derived_id(created_at, b"shop\0transactions\x001")
    assert created_at_of(row[0]) == created_at


def test_months_get_their_partitions_first(run: Run, settings: Settings, database: psycopg.Connection) -> None:
    content = HEADER + lines(1, 1, "1970-01-01") + lines(2, 2, "1999-12-31") + lines(3, 3, "2026-11-23")
    assert run(content).counts == (3, 3, 0)
    made = set(hot_months(database, TRANSACTIONS))
    assert {Month(1970, 1), Month(1999, 12), Month(2026, 11)} <= made


def test_the_same_file_again_loads_nothing(run: Run, database: psycopg.Connection) -> None:
    content = HEADER + lines(1, 12_000)
    assert run(content).counts == (12_000, 12_000, 0)
    again = run(content)
    assert again.counts == (12_000, 0, 12_000)
    assert [line for line, *_ in again.rejects] == list(range(2, 12_002))
    assert {(reason, field) for _, reason, field, _ in again.rejects} == {("already loaded", "id")}
    assert stored(database) == 12_000


@pytest.mark.heavy("the same file again is tested beside it")
def test_a_longer_file_loads_only_what_is_new(run: Run, database: psycopg.Connection) -> None:
    run(HEADER + lines(1, 6_000))
    outcome = run(HEADER + lines(1, 9_000))
    assert outcome.counts == (9_000, 3_000, 6_000)
    assert [line for line, *_ in outcome.rejects] == list(range(2, 6_002))


def test_every_kind_of_bad_line_is_rejected_with_its_number_field_and_text(run: Run) -> None:
    bad: list[tuple[bytes, str, str]] = [
        (b"1,w1,abc,,2024-05-17", "amount", "must be a decimal string"),
        (b"2,w1,0.00,,2024-05-17", "amount", "must be more than 0"),
        (b"3,w1,1.0055,,2024-05-17", "amount", "2 after it"),
        (b"3,w1,1.005,,2024-05-17", "amount", "can be read in two ways"),
        (b"4,w1,NaN,,2024-05-17", "amount", "must be a decimal string"),
        (b"5,w1,1e5,,2024-05-17", "amount", "must be a decimal string"),
        (b"6,,1.00,,2024-05-17", "user_id", "is required"),
        (b"7,w1,1.00,,2024-02-30", "created_at", "of the form %Y-%m-%d"),
        (b"8,w1,1.00,,", "created_at", "is required"),
        (b"9,w1,1.00,,2026-11-24", "created_at", "is in the future"),
        (b"10,w1,1.00,,1969-12-31", "created_at", "is before 1970-01-01"),
        (b"11,w1,1.00," + b"x" * 513 + b",2024-05-17", "description", "1 to 512 characters"),
        (b"12,w1,1.00,2024-05-17", "", "has 4 columns where the file has 5"),
        (b"13,w1,1.00,,2024-05-17,", "", "has 6 columns where the file has 5"),
        (b"14,w1,1.00,a\x00b,2024-05-17", "", "has a NUL character"),
        (b"15,w1,1.00,\xff,2024-05-17", "", "is not utf-8: byte 12 of the line"),
        (b'16,w1,1.00,"a\tb",2024-05-17', "description", "no control characters"),
        (b"", "", "is empty"),
        (b",w1,1.00,,2024-05-17", "no", "is empty, and it identifies the row"),
        (b'17,w1,1.00,"open,2024-05-17', "", "has a quote that is not closed"),
    ]
    content = HEADER + lines(100, 100) + b"\n".join(line for line, _, _ in bad) + b"\n" + lines(101, 101)
    outcome = run(content)
    assert outcome.counts == (len(bad) + 2, 2, len(bad))
    for number, ((line, field, reason), reject) in enumerate(zip(bad, outcome.rejects, strict=True), start=3):
        assert reject[0] == number
        assert reason in reject[1]
        assert reject[2] == field
        assert reject[3] == line.decode("utf-8", "backslashreplace")


def test_a_repeat_inside_the_file_names_the_line_it_repeats(run: Run) -> None:
    outcome = run(HEADER + lines(1, 2) + lines(1, 1))
    assert outcome.counts == (3, 2, 1)
    assert outcome.rejects[0][:3] == (4, "same key as line 2", "id")


def test_without_a_key_equal_lines_are_different_rows_and_a_rerun_knows_them(
    run: Run, mapping_text: str, database: psycopg.Connection
) -> None:
    keyless = mapping_text.replace('key = ["no"]\n', "")
    content = HEADER + lines(1, 2) + lines(1, 2) + lines(1, 1)
    assert run(content, keyless).counts == (5, 5, 0)
    assert run(content, keyless).counts == (5, 0, 5)
    assert run(content + lines(2, 2), keyless).counts == (6, 1, 5)
    assert stored(database) == 6


def test_a_file_without_a_header_is_read_by_the_mapping_s_columns(run: Run, mapping_text: str) -> None:
    mapping = mapping_text.replace("[fields]", '[file]\ncolumns = ["no", "wallet", "amount", "text", "at"]\n[fields]')
    assert run(lines(1, 3), mapping).counts == (3, 3, 0)
    with pytest.raises(DataError, match="has no record: nothing was read"):
        run(b"", mapping)


def test_gzip_bom_crlf_and_another_encoding_are_read(run: Run, mapping_text: str, database: psycopg.Connection) -> None:
    content = b"\xef\xbb\xbf" + HEADER + b"1,w1,1.00,\xc5\xbe,2024-05-17\n"
    assert run(gzip.compress(content.replace(b"\n", b"\r\n"))).counts == (1, 1, 0)
    latin = mapping_text.replace("[fields]", '[file]\nencoding = "latin-1"\n[fields]')
    assert run(HEADER + b"2,w1,1.00,\xe9,2024-05-17\n", latin).counts == (1, 1, 0)
    found = database.execute("SELECT description FROM transactions ORDER BY reference").fetchall()
    assert found == [("ž",), ("é",)]


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: data[:200] + b"\0\1\2" + data[203:]])
def test_a_damaged_gzip_loads_nothing(run: Run, damage: Callable[[bytes], bytes], database: psycopg.Connection) -> None:
    assert run(HEADER + lines(1, 1)).counts == (1, 1, 0)
    with pytest.raises(DataError, match="damaged, nothing was loaded"):
        run(damage(gzip.compress(HEADER + lines(1, 500))))
    assert stored(database) == 1


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", DataError, "is empty"),
        (b"no,wallet\n1,w1\n", ConfigError, "fields.amount: .* no column 'amount' in: no, wallet"),
        (b"no,no,wallet,amount,text,at\n", ConfigError, "more than one column 'no'"),
        (b'"no\n', DataError, "the header line has a quote that is not closed"),
        ("no".encode("utf-16"), DataError, "UTF-16"),
        ("no,wallet".encode("utf-16-le"), DataError, "UTF-16"),
        (b"\xe9\n", DataError, "the header line is not utf-8"),
        (HEADER, DataError, "has no line but its header: nothing was read"),
        (HEADER.rstrip(), DataError, "has no line but its header: nothing was read"),
        (gzip.compress(HEADER, mtime=0), DataError, "has no line but its header: nothing was read"),
        (b"PK\x03\x04rest", DataError, "a ZIP archive or an Excel workbook"),
        (gzip.compress(b"PK\x03\x04rest", mtime=0), DataError, "a ZIP archive or an Excel workbook"),
    ],
)
def test_a_file_that_does_not_fit_its_mapping_is_refused_whole(
    run: Run, content: bytes, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(content)


def test_a_file_or_rejects_file_that_cannot_be_opened_is_a_clear_error(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--rejects"):
        run(HEADER + lines(1, 1), rejects=tmp_path / "no" / "folder.csv")
    with pytest.raises(ConfigError, match="is a file that the import reads"):
        run(HEADER, rejects=tmp_path / "history.csv")


def test_the_command_line_s_table_wins_and_makes_other_ids(
    run: Run, mapping_text: str, database: psycopg.Connection
) -> None:
    vas = mapping_text.replace(
        "[fields]", '[fields]\nsupplier = { constant = "flash" }\nvas_type = { constant = "data" }'
    )
    assert run(HEADER + lines(1, 2), vas, table="vas_transactions").counts == (2, 2, 0)
    assert run(HEADER + lines(1, 2)).counts == (2, 2, 0)
    both = database.execute(
        "SELECT count(DISTINCT id) FROM (SELECT id FROM transactions UNION ALL SELECT id FROM vas_transactions) AS ids"
    )
    assert both.fetchone() == (4,)
    with pytest.raises(ConfigError, match="unknown table"):
        run(HEADER, table="nothing")


def test_a_dry_run_says_the_same_and_changes_nothing(run: Run, database: psycopg.Connection) -> None:
    run(HEADER + lines(1, 2))
    months = database.execute("SELECT count(*) FROM archive_months").fetchone()
    content = HEADER + lines(1, 4) + lines(5, 5, "2001-01-01") + b"x\n"
    outcome = run(content, dry_run=True)
    assert outcome.counts == (6, 3, 3)
    assert stored(database) == 2
    assert database.execute("SELECT count(*) FROM archive_months").fetchone() == months
    assert database.execute("SELECT count(*) FROM imports").fetchone() == (1,)
    assert run(content).counts == outcome.counts


def test_each_run_is_recorded(run: Run, database: psycopg.Connection) -> None:
    run(HEADER + lines(1, 3) + b"bad\n")
    record = database.execute(
        "SELECT table_name, file_name, read_count, loaded_count, rejected_count, length(file_sha256) FROM imports"
    ).fetchall()
    assert record == [("transactions", "history.csv", 4, 3, 1, 32)]


def test_card_numbers_do_not_reach_the_rejects_file(run: Run) -> None:
    outcome = run(HEADER + b"1,w1,none,4111 1111 1111 1111,2024-05-17\n")
    assert outcome.rejects[0][3] == "1,w1,none,**** **** **** 1111,2024-05-17"


@pytest.fixture
def month(settings: Settings) -> Month:
    """May 2024 with its partition, in both parents' care."""
    month = Month(2024, 5)
    with connect(settings.database_dsn, "test") as connection:
        prepare_table(connection, settings, TRANSACTIONS)
        ensure_partition(connection, settings, TRANSACTIONS, month)
    return month


def warm(settings: Settings, month: Month) -> None:
    with connect(settings.database_dsn, "test") as connection:
        assert move_to_warm(connection, settings, TRANSACTIONS, month)


def sealed(settings: Settings, month: Month) -> None:
    with connect(settings.database_dsn, "test") as connection:
        partition = warm_months(connection, TRANSACTIONS)[month]

        def work() -> None:
            seal(connection, relation(connection, partition))
            mark = "UPDATE archive_months SET step = 'sealed', sealed_at = now() WHERE month = %s"
            connection.execute(mark, (month.first_day,))

        run_ddl(connection, settings, work)


def test_a_warm_month_takes_rows(run: Run, settings: Settings, month: Month, database: psycopg.Connection) -> None:
    warm(settings, month)
    assert run(HEADER + lines(1, 3)).counts == (3, 3, 0)
    assert database.execute("SELECT tier, count(*) FROM transactions GROUP BY tier").fetchall() == [("warm", 3)]


@pytest.mark.parametrize("tier", ["cold", "deep", "deleted"])
def test_a_month_that_left_postgresql_takes_no_rows(
    run: Run, settings: Settings, month: Month, tier: str, database: psycopg.Connection
) -> None:
    run(HEADER + lines(1, 3))
    warm(settings, month)
    database.execute("DROP TABLE transactions_2024_05")
    database.execute(
        """UPDATE archive_months SET tier = %s, digest = sha256(''), object_key = 'k', manifest_key = 'm',
           verified_at = now(), deep_at = now(), certificate = 'DEL-1' WHERE month = %s""",
        (tier, month.first_day),
    )
    outcome = run(HEADER + lines(1, 3) + lines(4, 4, "2024-06-01") + lines(5, 6))
    assert outcome.account == (6, 1, 3, 0, 2)
    assert [reject[1:3] for reject in outcome.rejects] == [("already loaded", "id")] * 3 + [
        (f"month 2024-05 is {tier}: it takes no more rows", "created_at")
    ] * 2


def test_a_month_that_moves_to_warm_meanwhile_loses_and_doubles_nothing(
    run: Run, settings: Settings, month: Month, database: psycopg.Connection
) -> None:
    moves = iter([lambda: warm(settings, month)])
    progress = lambda step, *_: next(moves, lambda: None)() if step == "loading" else None  # noqa: E731
    assert run(HEADER + lines(1, 17_000), progress=progress).counts == (17_000, 17_000, 0)
    assert database.execute("SELECT tier, count(*) FROM transactions GROUP BY tier").fetchall() == [("warm", 17_000)]


def test_a_month_that_is_sealed_meanwhile_takes_no_more(
    run: Run, settings: Settings, month: Month, database: psycopg.Connection
) -> None:
    warm(settings, month)
    moves = iter([lambda: sealed(settings, month)])
    progress = lambda step, *_: next(moves, lambda: None)() if step == "loading" else None  # noqa: E731
    outcome = run(HEADER + lines(1, 17_000), progress=progress)
    read, loaded, rejected = outcome.counts
    assert read == 17_000
    assert loaded % 5_000 == 0
    assert rejected > 0
    assert stored(database) == loaded
    assert {reason for _, reason, _, _ in outcome.rejects} == {"month 2024-05 is sealed: it takes no more rows"}


def test_a_lost_connection_is_transient_and_a_rerun_completes(run: Run, database: psycopg.Connection) -> None:
    def lose(step: str, *_: int) -> None:
        if step == "loading":
            database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'treasury import' AND datname = current_database()"
            )

    with pytest.raises(TransientError):
        run(HEADER + lines(1, 17_000), progress=lose)
    before = stored(database)
    assert before < 17_000
    outcome = run(HEADER + lines(1, 17_000))
    assert outcome.counts == (17_000, 17_000 - before, before)
    assert stored(database) == 17_000


def test_a_row_that_only_postgresql_refuses_is_found_and_the_others_are_loaded(
    settings: Settings, month: Month, database: psycopg.Connection
) -> None:
    """The ledger's rules are meant to catch it first, so the row is made by hand: a type that is none."""
    created_at = datetime(2024, 5, 17, tzinfo=UTC)

    def row(number: int, kind: str) -> Row:
        row_id = str(derived_id(created_at, str(number).encode()))
        cells = (row_id, "c", "u", "w", kind, "1.00", "ZAR", "completed", str(created_at), str(created_at))
        return Row(number, f"line {number}", month.index, row_id, "\t".join(cells))

    with connect(settings.database_dsn, "test") as connection:
        loader = Loader(connection, settings, TRANSACTIONS, COLUMNS)
        rejects = loader.load([row(number, "nonsense" if number == 5 else "fee") for number in range(1, 9)])
    assert [(reject.line, reject.text) for reject in rejects] == [(5, "line 5")]
    assert "PostgreSQL" in rejects[0].reason
    assert stored(database) == 7


@pytest.mark.heavy("measures; no other promise rests on it")
def test_memory_does_not_grow_with_the_file(
    settings: Settings, tmp_path: Path, mapping_text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tracemalloc

    from tasks.importing import run
    from tasks.importing.run import ImportRequest, import_file

    monkeypatch.setattr(run, "CHUNK_ROWS", 1_000)
    (tmp_path / "m.toml").write_text(mapping_text)
    peaks = []
    for number, rows in enumerate((3_000, 15_000)):
        file = tmp_path / f"{number}.csv"
        file.write_bytes(HEADER + lines(1, rows))
        tracemalloc.start()
        import_file(
            settings, ImportRequest(file, tmp_path / "m.toml"), lambda *_: None, datetime(2026, 1, 1, tzinfo=UTC)
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.3


def test_a_template_names_columns_of_any_name(run: Run, database: psycopg.Connection) -> None:
    mapping = MAPPING.replace('{ column = "no" }', '{ template = "{no}%s-{u%}-{no}" }')
    outcome = run(b"no,wallet,amount,text,at,u%\n1,w1,5.00,,2024-05-17,7%d\n", mapping)
    assert outcome.counts == (1, 1, 0)
    assert database.execute("SELECT reference FROM transactions").fetchone() == ("1%s-7%d-1",)


def test_a_column_of_a_template_that_the_file_lacks_is_named(run: Run) -> None:
    mapping = MAPPING.replace('{ column = "no" }', '{ template = "{u%}" }')
    with pytest.raises(ConfigError, match=r"fields\.reference: .* has no column 'u%'"):
        run(HEADER + lines(1, 1), mapping)


def test_a_full_disk_under_the_rejects_is_told_and_the_import_is_not_recorded(
    run: Run, database: psycopg.Connection
) -> None:
    with pytest.raises(TransientError, match="rejects file /dev/full: No space left on device"):
        run(HEADER + b"1,w1,none,,2024-05-17\n", rejects=Path("/dev/full"))
    assert database.execute("SELECT count(*) FROM imports").fetchone() == (0,)


def test_rejects_are_not_written_over_the_file_under_another_name(run: Run, tmp_path: Path) -> None:
    content = HEADER + b"1,w1,none,,2024-05-17\n"
    (tmp_path / "history.csv").write_bytes(content)
    (tmp_path / "hard").hardlink_to(tmp_path / "history.csv")
    (tmp_path / "soft").symlink_to(tmp_path / "hard")
    for name in ("hard", "soft"):
        with pytest.raises(ConfigError, match="is a file that the import reads"):
            run(content, rejects=tmp_path / name)
        assert (tmp_path / "history.csv").read_bytes() == content
