"""What goes wrong while an answer is written: one clear line, the exit code of the error's kind, and no half file."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from pydantic import SecretStr

from cli.answers import write_answer
from config import Settings
from ledger.errors import TransientError, TreasuryError
from tasks.querying import partition_rows
from tasks.querying import query as query_room
from tasks.querying.query import run_query
from tests.cli.conftest import Treasury
from tests.tasks.archiving.ledger import HOT, PROJECT, Ledger

FORMATS = ["csv", "json", "parquet", "table"]
_ENDLESS = "SELECT i, md5(i::VARCHAR) AS text FROM range(1000000000000) AS numbers(i)"
_FAILS_LATE = "SELECT CASE WHEN i < 90000 THEN '1' ELSE 'x' END::INTEGER AS n FROM range(100000) AS numbers(i)"
_LONG = "SELECT id, i FROM transactions, range(2000) AS numbers(i)"


def _one_line(said: str, part: str) -> None:
    assert "Traceback" not in said
    errors = [line for line in said.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, said
    assert part in errors[0]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("output_format", ["csv", "json", "parquet"])
def test_a_time_limit_that_passes_while_rows_are_written_is_one_line_and_leaves_no_file(
    ledger: Ledger, treasury: Treasury, tmp_path: Path, output_format: str
) -> None:
    file = tmp_path / "answer"
    done = treasury("sql", _ENDLESS, "--timeout", "2", "--format", output_format, "--output", str(file))
    assert done.returncode == 65
    _one_line(done.stderr, "no whole answer within 2 s")
    assert list(tmp_path.glob("*answer*")) == []


@pytest.mark.parametrize("output_format", FORMATS)
def test_an_error_behind_the_first_rows_keeps_the_file_that_was_there(
    ledger: Ledger, tmp_path: Path, output_format: str
) -> None:
    file = tmp_path / "answer"
    file.write_text("yesterday's")
    query = _FAILS_LATE if output_format != "table" else f"{_FAILS_LATE} WHERE i > 89990"
    with pytest.raises(TreasuryError, match="SQL"), run_query(ledger.settings, query) as answer:
        write_answer(answer, output_format, file)
    assert file.read_text() == "yesterday's"
    assert [path.name for path in tmp_path.iterdir() if "answer" in path.name] == ["answer"]


def _end_sessions(settings: Settings, purpose: str) -> int:
    with psycopg.connect(settings.database_dsn, autocommit=True) as somebody:
        ended = somebody.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = %s AND datname = current_database()",
            (f"treasury {purpose}",),
        ).fetchone()
    assert ended is not None
    return int(ended[0])


def test_an_answer_whose_lock_was_lost_is_an_error_although_every_row_came(ledger: Ledger, tmp_path: Path) -> None:
    """As idle_in_transaction_session_timeout of the server would end the session."""
    ledger.fill(HOT)
    file = tmp_path / "answer.csv"
    with run_query(ledger.settings, _LONG) as answer:
        assert _end_sessions(ledger.settings, "auditor sql") == 1
        with pytest.raises(TransientError, match="months could have moved"):
            write_answer(answer, "csv", file)
    assert not file.exists()


@pytest.mark.parametrize("output_format", ["csv", "parquet"])
def test_an_answer_that_is_taken_too_slowly_for_the_server_is_an_error_by_its_sqlstate(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output_format: str
) -> None:
    """The address has a limit of 300 ms for transactions in which nothing happens, and each batch takes longer."""
    ledger.fill(HOT)
    limit = "options=-c%20idle_in_transaction_session_timeout%3D300"
    urls = {
        name: SecretStr(f"{url.get_secret_value()}{'&' if '?' in url.get_secret_value() else '?'}{limit}")
        for name in ("database_url", "auditor_database_url")
        if (url := getattr(ledger.settings, name)) is not None
    }
    file = tmp_path / "answer"
    with run_query(ledger.settings.model_copy(update=urls), _LONG) as answer:
        slowly = pa.RecordBatchReader.from_batches(answer.batches.schema, _slowly(answer.batches, 0.6))
        with pytest.raises(TransientError, match=r"months could have moved .* 25P03"):
            write_answer(replace(answer, batches=slowly), output_format, file)
    assert list(tmp_path.glob("*answer*")) == []


def _slowly(batches: Iterable[pa.RecordBatch], pause_s: float) -> Iterator[pa.RecordBatch]:
    for number, batch in enumerate(batches):
        if number == 1:
            time.sleep(pause_s)
        yield batch


def test_a_server_that_ends_the_scan_is_transient(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.fill(HOT)
    original = partition_rows.check_values

    def check_and_end(*arguments: Any) -> None:
        original(*arguments)
        assert _end_sessions(ledger.settings, "archive scan") >= 1

    monkeypatch.setattr(query_room, "check_values", check_and_end)
    with pytest.raises(TransientError, match="SQL: a tier cannot be read now"):
        ledger.ask("SELECT sum(fee) FROM transactions")


@pytest.mark.sampled(1)
@pytest.mark.parametrize("output_format", FORMATS)
def test_a_reader_that_goes_away_ends_the_command_without_a_word(ledger: Ledger, output_format: str) -> None:
    command = [sys.executable, "-m", "cli.main", "sql", _ENDLESS, "--timeout", "60", "--format", output_format]
    environment = dict(os.environ) | ledger.settings.environment()
    with subprocess.Popen(
        command, env=environment, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        if output_format != "table":
            assert process.stdout.read(1)
        process.stdout.close()
        said = process.stderr.read().decode()
        assert process.wait(timeout=60) == 1
    assert "Traceback" not in said


@pytest.mark.sampled(1)
@pytest.mark.parametrize("output_format", FORMATS)
def test_a_device_that_is_full_is_one_line(treasury: Treasury, ledger: Ledger, output_format: str) -> None:
    done = treasury("sql", "SELECT * FROM range(100000)", "--format", output_format, "--output", "/dev/full")
    assert done.returncode == 75
    _one_line(done.stderr, "No space left on device")


@pytest.mark.heavy("a full device is tested beside it")
def test_a_file_that_grows_beyond_what_is_allowed_is_one_line_and_is_not_left(ledger: Ledger, tmp_path: Path) -> None:
    query = "SELECT i, md5(i::VARCHAR) FROM range(100000) AS numbers(i)"
    command = ["bash", "-c", 'ulimit -f 64; exec "$@"', "-", sys.executable, "-m", "cli.main", "sql", query]
    command += ["--format", "csv", "--output", str(tmp_path / "answer.csv")]
    # Coverage could not write its own file either.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment = inherited | ledger.settings.environment()
    done = subprocess.run(
        command, env=environment, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 75
    _one_line(done.stderr, "File too large")
    assert list(tmp_path.glob("*answer*")) == []
