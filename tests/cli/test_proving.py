"""The commands about proof and the end of a month's life, typed with what they need: what each says and leaves."""

import json
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from config import Settings
from ledger.errors import NotFoundError, RefusalError
from sql.connection import connect
from sql.holds import open_holds
from tasks.admin.setup import prepare_database
from tasks.archiving.to_cold import Step, archive_month
from tasks.archiving.to_deep import deepen
from tasks.transparency.publish import publish_log
from tasks.transparency.report import policy_text
from tests.archives import NEXT, Archives, two_cold_months
from tests.cli.in_process import run_here
from tests.conftest import own_database
from tests.databases import Databases
from tests.stores import Store
from tests.tasks.archiving.ledger import COLD, ROWS, Ledger
from tests.tasks.retention.aged import KilledError, hold


@pytest.fixture
def archived(ledger: Ledger, archives: Archives) -> Ledger:
    """Two cold months, published."""
    archives.begin(ledger.settings, two_cold_months)
    return ledger


class Typed:
    """Types commands in this process with the settings of a ledger."""

    def __init__(self, settings: Settings, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self._settings, self._capsys, self._folder = settings, capsys, folder

    def __call__(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return run_here(self._capsys, self._folder, self._settings.environment(), *words)


@pytest.fixture
def typed(archived: Ledger, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Typed:
    return Typed(archived.settings, capsys, tmp_path)


def test_verify_takes_a_table_months_and_a_sample(archived: Ledger, typed: Typed) -> None:
    def counts(*options: str) -> dict[str, int]:
        done = typed("verify", *options, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        found: dict[str, int] = json.loads(done.stdout)["counts"]
        return {name: found.get(name, 0) for name in ("months", "months looked at", "rows")}

    both = {"months": 2, "months looked at": 0, "rows": 0}
    assert counts("--table", "transactions") == both
    assert counts("--months", f"{COLD}..{NEXT}") == both
    one = {"months": 1, "months looked at": 0, "rows": ROWS}
    assert counts("--months", str(NEXT), "--deep") == one
    assert counts("--table", "transactions", "--months", str(COLD), "--deep") == one
    assert counts("--sample", "1", "--deep") == {"months": 1, "months looked at": 1, "rows": ROWS}
    assert counts("--sample", "0") == {"months": 0, "months looked at": 2, "rows": 0}
    refused = typed("verify", "--table", "vas_transactions")
    assert refused.returncode == NotFoundError.exit_code
    assert "vas_transactions: the log has no archived month of this table" in refused.stderr


def test_the_audit_kit_is_written_and_checks_itself(archived: Ledger, typed: Typed, tmp_path: Path) -> None:
    done = typed("audit-kit", "--months", str(NEXT), "-o", "kit.zip")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "kit.zip") as kit:
        kit.extractall(tmp_path / "kit")
        manifests = [name for name in kit.namelist() if name.startswith("_treasury/manifests/")]
    assert [name.split("/")[3] for name in manifests] == [str(NEXT)]
    assert (tmp_path / "kit" / "policy").read_text() == policy_text(archived.settings)
    command = [sys.executable, "-I", str(tmp_path / "kit" / "verify_kit.py")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert checked.returncode == 0, checked.stdout
    again = typed("audit-kit", "-o", "all.zip")
    assert again.returncode == 0, again.stderr
    with zipfile.ZipFile(tmp_path / "all.zip") as kit:
        assert json.loads(kit.read("kit.json"))["months"] is None


def test_the_catalogue_of_a_lost_database_is_rebuilt(
    archived: Ledger,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    databases: Databases,
    server_settings: Settings,
    template: str,
) -> None:
    (tmp_path / "policy").write_text(policy_text(archived.settings))
    before = archived.content()
    with own_database(databases, server_settings, template, tmp_path / "new") as empty:
        settings = empty.model_copy(
            update={"archive_url": archived.settings.archive_url, "home": archived.settings.home}
        )
        prepare_database(settings)
        done = Typed(settings, capsys, tmp_path)("catalog", "rebuild", "--policy", "policy")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("2 parts of months, 15 columns and 4 entries of the log\n")
        assert "this database is incarnation 2 of installation " in done.stdout
        assert Ledger(settings, archived.store).content() == before


def test_a_hold_is_released_by_two_people_one_command_each(
    archived: Ledger, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each under an account of the machine of their own: a name alone is typed by anybody."""
    hold(archived, COLD)
    why = ("--reason", "the case is closed")
    refused = typed("hold", "release", "HOLD-1", *why, "--actor", "anna")
    assert refused.returncode == RefusalError.exit_code
    first = typed("hold", "release", "HOLD-1", *why, "--actor", "ben")
    assert (first.returncode, first.stdout.partition(";")[0]) == (
        0,
        "HOLD-1: release proposed (a second person must confirm)",
    )
    assert "next: let a second person run `treasury hold release HOLD-1 --reason TEXT`" in first.stderr
    assert typed("hold", "release", "HOLD-1", *why, "--actor", "ben").returncode == RefusalError.exit_code
    withdrawn = typed("hold", "release", "HOLD-1", "--reason", "a second case", "--reject", "--actor", "dora")
    assert (withdrawn.returncode, withdrawn.stdout.partition(";")[0]) == (0, "HOLD-1: open")
    typed("hold", "release", "HOLD-1", *why, "--actor", "ben")
    alone = typed("hold", "release", "HOLD-1", *why, "--actor", "carol")
    assert (alone.returncode, "somebody else must confirm it" in alone.stderr) == (RefusalError.exit_code, True)
    monkeypatch.setattr("cli.hold.account_of_process", lambda: "carol's own account")
    last = typed("hold", "release", "HOLD-1", *why, "--actor", "carol")
    assert (last.returncode, last.stdout.partition(";")[0]) == (0, "HOLD-1: released")
    with connect(archived.settings.database_dsn, "tests") as connection:
        assert open_holds(connection) == []


def test_a_sealed_month_takes_writes_again(archived: Ledger, typed: Typed) -> None:
    month = NEXT.plus(1)
    archived.warm(month)

    def end(step: Step) -> None:
        if step is Step.SEALED:
            raise KilledError

    with pytest.raises(KilledError):
        archive_month(archived.settings, archived.table, month, end)
    assert archived.catalogue(month)["step"] == "sealed"
    done = typed("unseal", str(month), "--reason", "two rows must be ended first", "--actor", "anna")
    assert (done.returncode, done.stdout) == (0, f"transactions {month} takes writes again\n")
    assert archived.catalogue(month)["step"] == "idle"


@contextmanager
def _slow_restores(store: Store) -> Iterator[None]:
    """A restore of the store takes some looks at the object, where it is done at once else."""
    address = f"{store.url}/moto-api/state-manager"
    model = "s3::keyrestore"
    change = {"model_name": model, "transition": {"progression": "manual", "times": 8}}
    assert httpx.post(f"{address}/set-transition", json=change).is_success
    yield
    assert httpx.post(f"{address}/unset-transition", json={"model_name": model}).is_success


def test_a_deep_month_is_asked_for_and_the_answer_says_how_long_it_takes(
    ledger: Ledger, moto_store: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    settings = moto_store.settings(ledger.settings, moto_store.plain, uuid.uuid4().hex)
    deep = Ledger(settings.model_copy(update={"deep_storage_class": "DEEP_ARCHIVE", "object_cache_mb": 0}), tmp_path)
    deep.warm(COLD)
    archive_month(deep.settings, deep.table, COLD)
    publish_log(deep.settings)
    made = deepen(deep.settings, deep.table, COLD)
    assert made is not None
    typed = Typed(deep.settings, capsys, tmp_path)
    asked = ("restore-request", "transactions", str(COLD))
    with _slow_restores(moto_store):
        first = typed(*asked, "--days", "3")
        again = typed(*asked)
    assert first.returncode == 0, first.stderr
    stored = f"(DEEP_ARCHIVE, {made.size_bytes:,} bytes)"
    assert first.stdout == f"transactions {COLD}: requested; Amazon S3 takes up to 48 hours {stored}\n"
    assert f"come back later: `treasury restore-request transactions {COLD}` shows how far the store is" in first.stderr
    assert again.stdout == f"transactions {COLD}: being restored; Amazon S3 takes up to 48 hours {stored}\n"
    (done,) = json.loads(typed(*asked, "--json").stdout)
    assert (done["state"], done["month"], done["storage_class"]) == ("readable", str(COLD), "DEEP_ARCHIVE")
    last = typed(*asked)
    assert last.stdout.startswith(f"transactions {COLD}: readable until ")
    assert f"next: read the rows of transactions {COLD} with `treasury sql`" in last.stderr
