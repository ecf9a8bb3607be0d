"""`make demo`'s command: with every server for real, in a home of its own, twice."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import lease, stack
from tests.tasks.archiving.ledger import PROJECT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SMALL = ("--rows-per-month", "200", "--vas-rows-per-month", "80")


@pytest.fixture
def home() -> Iterator[Path]:
    """A home that PostgreSQL's account can reach."""
    path = Path(tempfile.mkdtemp(prefix="treasury-demo-"))
    yield path
    shutil.rmtree(path)


def demo(home: Path) -> "subprocess.CompletedProcess[str]":
    return treasury(home, "demo", *SMALL)


def treasury(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    free = json.dumps(dict.fromkeys(("postgres", "redis", "s3", "prefect", "api", "suppliers"), 0))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TREASURY_", "PREFECT_"))}
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        env=kept | {"TREASURY_HOME": str(home), "TREASURY_PORTS": free, "COLUMNS": "200"},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


def test_the_demo_shows_every_tier_twice_and_leaves_no_server(home: Path) -> None:
    for rows_made in (r"[1-9][\d,]* rows generated; 0 months", r"0 rows generated; [1-9]\d* months"):
        shown = demo(home)
        assert shown.returncode == 0, shown.stdout + shown.stderr
        assert re.search(rows_made, shown.stdout)
        assert "months are in the archive" in shown.stdout
        assert "Reconciliation found exactly the planted differences." in shown.stdout
        assert len(re.findall(r"│ late_posting *│ ([12]) *│ \1 *│", shown.stdout)) == 3  # one a supplier
        for tier in ("hot", "warm", "cold"):
            assert re.search(rf"│ *{tier} *│", shown.stdout), tier
        assert re.search(r"kept: transactions \d{4}-\d\d, held by HOLD-1 \(matter CASE 2026/17\)", shown.stdout)
        certified = r"DEL-[0-9a-f]{8}-1: \d+ rows of transactions \d{4}-\d\d deleted"
        assert re.search(f"{certified}|the other month was deleted by an earlier demo", shown.stdout)
        assert "storage:" in shown.stdout
        fees = re.findall(r"│ (?:hot|warm|cold) .*│ *([\d.]+) │\n", shown.stdout)
        assert (len(fees), "0.00" in fees) == (3, False)
        assert re.search(r"proved with [\d,]+ bytes and without a database: the row is in the month", shown.stdout)
        assert f"TREASURY_HOME={home / 'demo'} make up" in shown.stdout
        assert [name for name in stack.NAMES if lease.is_held(home / "demo" / "run" / f"{name}.alive")] == []
    check_that_a_day_run_by_hand_is_the_same(home / "demo")


def check_that_a_day_run_by_hand_is_the_same(home: Path) -> None:
    runs = treasury(home, "recon", "runs", "--supplier", "flash", "--limit", "1")
    found = re.search(r"│ flash *│ ([\d-]+) *│.*│ ([0-9a-f]{8,}) *│", runs.stdout)
    assert found is not None, runs.stdout + runs.stderr
    day, digest = found.groups()
    again = treasury(home, "recon", "run", "flash", day, "--dry-run")
    assert f"digest {digest}" in again.stdout.replace("`", ""), again.stdout + again.stderr


def test_the_demo_refuses_real_servers() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "cli.main", "demo"],
        env={"TREASURY_DATABASE_URL": "postgresql://127.0.0.1:9/real", "PATH": os.environ["PATH"]},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert shown.returncode == 78
    assert "must not reach real servers" in shown.stderr
