"""An auditor in a real browser: finds a row of a cold month, downloads it and its proof, checks the proof elsewhere."""

import csv
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from config import Settings
from ledger.months import Month
from ledger.scopes import Scope
from tasks.admin.keys import create_key
from tasks.transparency.publish import publish_log
from tasks.transparency.report import policy_text
from tests.api.dashboard.accessibility import violations
from tests.api.documentation.browser import Page, open_page
from tests.api.ledger_rows import Ledger

COLD = Month(2024, 3)
READ = (Scope.TRANSACTIONS_READ, Scope.VAS_READ, Scope.ARCHIVE_READ)
_GIVE_UP_S = 60


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A tab that keeps downloads in the folder `downloads`."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    with open_page(tmp_path) as tab:
        tab.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        yield tab


def arrive(page: Page, heading: str) -> None:
    """Wait until the page with a heading is there, and let axe-core look at it."""
    page.wait_for(f"document.readyState === 'complete' && document.querySelector('h1')?.innerText === {heading!r}")
    assert violations(page) == []


def downloaded(folder: Path, pattern: str) -> Path:
    """The one file of a pattern, once the browser has all of it."""
    ends_s = time.monotonic() + _GIVE_UP_S
    while not (found := list(folder.glob(pattern))):
        assert time.monotonic() < ends_s, f"no file {pattern} came: {list(folder.iterdir())}"
        time.sleep(0.05)
    (file,) = found
    return file


def check_elsewhere(file: Path, policy: str, machine: Path) -> str:
    """What `treasury check-proof` says in an empty folder and environment, with the file and the policy alone."""
    machine.mkdir()
    (machine / "policy").write_text(policy)
    (machine / "proof").write_bytes(file.read_bytes())
    command = [str(Path(sys.executable).with_name("treasury")), "check-proof", "proof", "--policy", "policy"]
    done = subprocess.run(command, cwd=machine, env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_an_auditor_finds_a_row_downloads_it_and_proves_it_on_a_second_machine(
    shared: Settings, shared_url: str, page: Page, tmp_path: Path
) -> None:
    ledger, table = Ledger(shared), shared.table("transactions")
    at = COLD.lower + timedelta(days=11)
    (row,) = ledger.add(table, [at], reference="INV-2024-000123", wallet_id="w-4711")
    ledger.add(table, [COLD.lower], reference="INV-2024-000124", wallet_id="w-4712")
    ledger.cold(table, COLD)
    publish_log(shared)

    page.open(f"{shared_url}/dashboard/sign-in?next=/dashboard/find")
    page.type("#key", create_key(shared, "acme", READ))
    page.click("main button[type=submit]")
    arrive(page, "Find")

    page.type("#value", "INV-2024-000123")
    page.click("main form button[type=submit]")
    assert page.text("#rows-heading") == "1 row"
    assert violations(page) == []
    assert "Cold Transactions: 2024-03" in page.text("[aria-labelledby=months-heading]")
    page.click("a[href*='/find/download/csv']")
    text = downloaded(tmp_path / "downloads", "*.csv").read_text(encoding="utf-8-sig")
    (line,) = csv.DictReader(text.splitlines())
    assert (line["id"], line["tier"], line["reference"]) == (str(row["id"]), "cold", "INV-2024-000123")

    page.click("tbody th a")
    arrive(page, f"Transaction {row['id']}")
    assert "Cold, in the archive" in page.text("main")
    policy = policy_text(shared)
    for number, (ending, sentence) in enumerate((("proof", "the row is in the month"), ("wallet-month", "w-4711"))):
        page.click(f"a[href$='/{ending}']")
        pattern = "*-row-*.tlog-proof" if ending == "proof" else "*-statement.tlog-proof"
        said = check_elsewhere(downloaded(tmp_path / "downloads", pattern), policy, tmp_path / f"machine-{number}")
        assert said.startswith("proved:")
        assert str(row["id"]) in said
        assert sentence in said
    assert page.problems == []
    assert {url.split("/")[2] for url in page.requested if url.startswith("http")} == {shared_url.split("/")[2]}
