"""`treasury storage-check` and `restore-request`: what they print, and what they end with."""

import json
from pathlib import Path

import pytest

from config import Settings
from tests.cli.in_process import run_here


def test_the_check_ends_well_where_nothing_that_is_relied_on_is_broken(
    settings: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = run_here(capsys, tmp_path, settings.environment(), "storage-check", "--json")
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert {one["verdict"] for one in said["findings"]} <= {"holds", "not offered", "does not hold", "not tried"}
    assert (said["left"], said["archive"]) == ([], settings.archive_location)


def test_a_broken_promise_that_the_settings_rely_on_ends_with_65(
    settings: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    required = settings.environment() | {"TREASURY_WRITE_ONCE": "compliance"}
    run = run_here(capsys, tmp_path, required, "storage-check")
    assert run.returncode == 65, run.stderr
    assert "a locked version cannot be deleted: not offered (the bucket has no Object Lock)" in run.stderr
    assert "not offered !" in run.stdout


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("transactions", "2024-1"), 78, "MONTHS: '2024-1' must be YYYY-MM or YYYY-MM..YYYY-MM"),
        (("transactions", "2024-02..2024-01"), 78, "months: 2024-01 is before 2024-02"),
        (("payments", "2024-01"), 78, "unknown table 'payments'"),
        (("transactions", "1999-01"), 66, "transactions has no month 1999-01"),
    ],
)
def test_a_request_that_names_nothing_is_refused(
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    words: tuple[str, ...],
    code: int,
    text: str,
) -> None:
    run = run_here(capsys, tmp_path, settings.environment(), "restore-request", *words)
    assert (run.returncode, text in run.stderr.replace("\n", " ")) == (code, True), run.stderr
