"""`treasury verify`, as a user types it."""

import json
from pathlib import Path

import pytest

from config import Settings
from storage.store import ObjectStore
from tasks.transparency.publish import publish_log
from tasks.transparency.report import policy_text
from tests.archives import Archives, one_cold_month
from tests.cli.in_process import run_here
from tests.tasks.archiving.ledger import COLD, ROWS, Ledger

CODE = 65


@pytest.fixture
def archived(settings: Settings, tmp_path: Path, archives: Archives) -> Ledger:
    archives.begin(settings, one_cold_month)
    publish_log(settings)
    return Ledger(settings, tmp_path)


def test_an_auditor_verifies_the_archive_without_a_database_and_what_is_wrong_ends_with_65(
    archived: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "policy"
    policy.write_text(policy_text(archived.settings))
    variables = archived.settings.environment()
    variables = {name: text for name, text in variables.items() if name != "TREASURY_DATABASE_URL"}
    variables |= {"TREASURY_HOME": str(tmp_path / "auditor")}
    command = ("verify", "--deep", "--policy", str(policy))
    answer = run_here(capsys, tmp_path, variables, *command)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert f", {ROWS} rows" in answer.stdout
    key = archived.catalogue(COLD)["object_key"]
    ObjectStore(archived.settings).remove(key)
    answer = run_here(capsys, tmp_path, variables, *command)
    assert answer.returncode == CODE
    assert f"WRONG {key}: is missing\n" in answer.stdout
    assert answer.stderr == (
        "next: restore nothing and delete nothing; follow docs/runbooks.md#archive-damaged\n"
        "error: 1 thing is wrong in the archive; each line that begins with WRONG names one\n"
    )
    shown = run_here(capsys, tmp_path, variables, *command, "--json")
    assert json.loads(shown.stdout)["findings"] == [{"place": key, "text": "is missing"}]


def test_with_a_database_reconciliation_is_verified_too(
    archived: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = run_here(capsys, tmp_path, archived.settings.environment(), "verify")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "reconciliation: 0 events, complete; head " in answer.stdout


@pytest.mark.parametrize("months", ["2024", "2024-03..", "2024-04..2024-03", "2024-13"])
def test_months_that_are_none_are_refused_by_name(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], months: str
) -> None:
    answer = run_here(capsys, tmp_path, settings.environment(), "verify", "--months", months)
    assert answer.returncode in {CODE, 78}
    assert answer.stderr.startswith("error: ")
