"""`--json`: every command that shows something has it, and writes typed values and nothing else."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from cli import hold, suppliers
from cli.json_output import record, write_json
from cli.lazy import Command, LazyCommand
from config import Settings
from ledger.errors import ConfigError, NotFoundError
from ledger.months import Month
from servers import stack
from servers.lease import ServerEndpoint
from sql.connection import connect
from tasks.alerting.store import Alert, Severity, raise_alert, resolve_alert
from tasks.reconciliation.closing.periods import close_period
from tasks.retention.approvals import approve
from tasks.vending.supplier_tests import TrialCheck, TrialResult
from tests.archives import Archives, one_cold_month
from tests.cli.conftest import Treasury
from tests.cli.in_process import run_here
from tests.cli.tree import each_command
from tests.tasks.archiving.ledger import COLD, ROWS, Ledger
from tests.tasks.reconciliation.books import DAY, Books, empty_books
from tests.tasks.retention.aged import OLD, OLDER, two_old_months
from tests.tasks.statements.samples import DAY as STATEMENT_DAY
from tests.tasks.statements.samples import FLASH, FLASH_NAME

Answer = Callable[..., Any]
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00")
SHA256 = re.compile(r"[0-9a-f]{64}")

# Commands without a result of their own: what they print has a form of its own, or is of no use to a program.
WITHOUT_JSON = {
    ("up",): "it stays, and shows addresses as `status --json` does",
    ("down",): "its exit code is all",
    ("demo",): "a show for people",
    ("sql",): "it has --format json",
    ("prefect", "login"): "the login alone on its line, for a variable of the shell",
    ("log", "keys"): "the text of a policy",
    ("witness", "keys"): "lines of a policy",
    ("witness", "serve"): "a server",
    ("installation", "continue"): "a person answers its question; `installation show --json` has the result",
    ("installation", "separate"): "a person answers its question; `installation show --json` has the result",
}


@pytest.fixture
def answer(treasury_here: Treasury) -> Answer:
    """What a command writes with --json, read; it must succeed, with nothing on standard error."""

    def ask(*arguments: str, **environment: str) -> Any:
        done = treasury_here(*arguments, "--json", **environment)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    return ask


@pytest.fixture
def books(settings: Settings, tmp_path: Path) -> Books:
    """Empty books."""
    return empty_books(settings, tmp_path)


def options(path: tuple[str, ...], command: Command) -> set[str]:
    """The long options of a command."""
    return {name for one in LazyCommand(path[-1], command).load().params for name in one.opts}


@pytest.mark.parametrize(
    ("path", "command"), [pytest.param(path, command, id=" ".join(path)) for path, command in each_command()]
)
def test_each_command_with_a_result_has_json(path: tuple[str, ...], command: Command) -> None:
    assert ("--json" in options(path, command)) is (path not in WITHOUT_JSON)


@dataclass(frozen=True)
class Thing:
    """A record with one field of each kind."""

    amount: Decimal
    month: Month
    at: datetime
    day: date
    number: UUID
    digest: bytes
    state: TrialResult
    nothing: None = None
    count: int = 3


def test_each_kind_of_value_has_one_form(capsys: pytest.CaptureFixture[str]) -> None:
    at = datetime(2026, 11, 30, 12, tzinfo=timezone(timedelta(hours=2)))
    thing = Thing(Decimal("1.20E+3"), Month(2026, 1), at, at.date(), UUID(int=1), b"\xab\x01", TrialResult.LEFT_OUT)
    write_json([record(thing, "count", further="é")])
    assert json.loads(capsys.readouterr().out) == [
        {
            "amount": "1200",
            "month": "2026-01",
            "at": "2026-11-30T10:00:00+00:00",
            "day": "2026-11-30",
            "number": "00000000-0000-0000-0000-000000000001",
            "digest": "ab01",
            "state": "left out",
            "nothing": None,
            "further": "é",
        }
    ]
    write_json({"thing": thing})
    assert json.loads(capsys.readouterr().out)["thing"]["count"] == 3
    with pytest.raises(TypeError, match="set has no form in JSON here"):
        write_json({1, 2})


def test_servers_are_given_without_their_passwords(
    answer: Answer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    running = [
        ServerEndpoint("postgres", "postgresql://treasury:secret@127.0.0.1:5432/treasury"),
        ServerEndpoint("api", "http://127.0.0.1:8000"),
    ]
    monkeypatch.setattr(stack, "endpoints", lambda _: running)
    found = {one["server"]: one for one in answer("status", TREASURY_HOME=str(tmp_path))}
    assert found["postgres"]["url"] == "postgresql://treasury:***@127.0.0.1:5432/treasury"
    assert found["api"] == {"server": "api", "is_running": True, "url": "http://127.0.0.1:8000"}
    assert found["redis"] == {"server": "redis", "is_running": False, "url": None}


def test_keys_and_their_events_are_typed_and_hold_no_secret(answer: Answer, treasury_here: Treasury) -> None:
    made = treasury_here("key", "create", "acme", "--days", "30", "--limit", "general=60/minute")
    assert made.stderr == "next: send the key to acme where nobody else can read it; it is not shown again\n"
    _, key_id, secret = made.stdout.strip().split("_", 2)
    other = answer("key", "create", "other")
    assert other["key"].startswith(f"trk_{other['key_id']}_")
    assert (other["client_id"], other["expires_at"]) == ("other", None)
    keys, events = answer("key", "list"), answer("key", "events", key_id)
    assert secret not in json.dumps([keys, events])
    assert [one["client_id"] for one in keys] == ["acme", "other"]
    assert {name: keys[0][name] for name in ("key_id", "limits", "state", "revoked_at")} == {
        "key_id": key_id,
        "limits": {"general": "60/minute"},
        "state": "valid",
        "revoked_at": None,
    }
    assert isinstance(keys[0]["scopes"], list)
    assert INSTANT.fullmatch(keys[0]["expires_at"])
    assert keys[1]["expires_at"] is None
    assert [(one["event"], one["detail"]["client_id"]) for one in events] == [("created", "acme")]
    rotated = answer("key", "rotate", other["key_id"])
    assert (rotated["former_key_id"], rotated["key"][: len("trk_")]) == (other["key_id"], "trk_")
    assert answer("key", "revoke", key_id) == {"key_id": key_id, "state": "revoked"}
    assert answer("key", "list")[0]["state"] == "revoked"


def test_sessions_are_typed(settings: Settings, answer: Answer, treasury_here: Treasury) -> None:
    key_id = treasury_here("key", "create", "acme").stdout.split("_")[1]
    with connect(settings.database_dsn, "tests") as connection:
        connection.execute(
            "INSERT INTO dashboard_sessions (token_sha256, key_id, over_https, address, browser, expires_at)"
            " VALUES (sha256('x'), %s, true, '192.0.2.0/24', 'Firefox', now() + interval '1 hour')",
            [key_id],
        )
    [one] = answer("sessions", "list")
    assert (one["session_id"], one["state"], one["is_open"], one["revoked_at"]) == (1, "open", True, None)
    assert INSTANT.fullmatch(one["created_at"])
    assert one["network"] == "192.0.2.0/24"
    assert "token" not in json.dumps(one)
    assert answer("sessions", "revoke", "1") == {"session_id": 1, "state": "revoked", "was_revoked_before": False}
    assert answer("sessions", "list") == []
    assert answer("sessions", "list", "--all")[0]["state"] == "revoked"


def test_addresses_are_typed(answer: Answer, treasury_here: Treasury, redis_url: str) -> None:
    where = {"TREASURY_REDIS_URL": redis_url, "TREASURY_REDIS_PREFIX": "json-"}
    assert answer("limits", "show", **where) == []
    lifted = answer("limits", "lift", "192.0.2.1", "--minutes", "5", **where)
    assert (lifted["address"], lifted["was"]) == ("192.0.2.1", [])
    [one] = answer("limits", "show", **where)
    assert (one["address"], one["state"]) == ("192.0.2.1", "lifted")
    assert INSTANT.fullmatch(one["until"])


def test_holds_are_typed(
    ledger: Ledger,
    archives: Archives,
    answer: Answer,
    treasury_here: Treasury,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archives.begin(ledger.settings, one_cold_month)
    assert answer("hold", "list") == []
    facts = ("--matter", "CASE 2026/17", "--reason", "the court", "--review", "2099-12-31", "--actor", "anna")
    placed = treasury_here("hold", "place", str(COLD), *facts, "--table", "transactions")
    assert placed.stderr == "next: see it with `treasury hold show HOLD-1`\n"
    [one] = answer("hold", "list")
    assert answer("hold", "show", "1") == one
    assert INSTANT.fullmatch(one.pop("placed_at"))
    assert one.pop("account")
    assert one == {
        "hold": "HOLD-1",
        "matter": "CASE 2026/17",
        "table": "transactions",
        "first_month": str(COLD),
        "last_month": str(COLD),
        "subject": None,
        "value": None,
        "reason": "the court",
        "actor": "anna",
        "review_on": "2099-12-31",
        "lacks": [],
        "state": "open",
        "decisions": [],
    }
    second = answer("hold", "place", str(COLD), *facts)
    assert (second["hold"], second["table"], second["state"]) == ("HOLD-2", None, "open")
    monkeypatch.setattr(hold, "account_of_process", lambda: "legal2")
    released = answer("hold", "release", "2", "--reason", "over", "--actor", "ben")
    assert (released["state"], released["decisions"][0]["actor"]) == ("release proposed", "ben")


def test_restored_months_are_typed(ledger: Ledger, archives: Archives, answer: Answer, treasury_here: Treasury) -> None:
    archives.begin(ledger.settings, one_cold_month)
    assert answer("restore", "list") == []
    restored = treasury_here("restore", "months", str(COLD), "--reason", "a report")
    assert restored.returncode == 0
    assert "next: query the schema restored in PostgreSQL; `treasury restore list` shows when" in restored.stderr
    [one] = answer("restore", "list")
    assert (one["table"], one["month"], one["part"], one["rows"]) == ("transactions", str(COLD), 1, ROWS)
    assert (one["relation"], one["state"], one["is_there"]) == ("restored.transactions_2024_03", "ready", True)
    assert INSTANT.fullmatch(one["restored_at"])
    assert INSTANT.fullmatch(one["expires_at"])
    [again] = answer("restore", "months", str(COLD), "--reason", "a report")
    assert (again["relation"], again["rows"], again["was_there"]) == (one["relation"], ROWS, True)
    [dropped] = answer("restore", "drop", str(COLD))
    assert dropped["relation"] == one["relation"]
    assert answer("restore", "drop", str(COLD)) == []


def test_a_plan_without_a_month_says_so_and_has_no_hash_to_approve(ledger: Ledger, treasury_here: Treasury) -> None:
    ledger.fill(COLD)
    shown = treasury_here("delete", "plan").stdout
    assert shown.startswith("nothing is to be deleted on ")
    assert "SHA-256" not in shown


def test_deletions_and_certificates_are_typed(
    ledger: Ledger, archives: Archives, answer: Answer, treasury_here: Treasury
) -> None:
    archives.begin(ledger.settings, two_old_months)
    rules = {"TREASURY_RETENTION__GRACE_DAYS": "0", "TREASURY_RETENTION__CONTROLLER": "Acme Payments (Pty) Ltd"}
    plan = answer("delete", "plan", **rules)
    assert SHA256.fullmatch(plan["sha256"])
    assert [(one["table"], one["month"], one["rows"], one["keeps"]) for one in plan["months"]] == [
        ("transactions", str(month), ROWS, []) for month in (OLDER, OLD)
    ]
    asked = treasury_here("delete", "request", "--reason", "past their policy", "--actor", "anna", **rules)
    assert "next: let 2 people run `treasury delete approve 1 --reason TEXT`\n" in asked.stderr
    [waiting] = answer("delete", "list")
    assert (waiting["request_id"], waiting["state"], waiting["due_at"], waiting["approvals"]) == (1, "waiting", None, 2)
    assert waiting["plan_sha256"] == plan["sha256"]
    approved = treasury_here("delete", "approve", "1", "--reason", "looked at", "--actor", "ben")
    assert "next: let another person run `treasury delete approve 1 --reason TEXT`\n" in approved.stderr
    approve(ledger.settings, 1, "carol", "looked at, too", account="finance2")
    due = answer("delete", "show", "1")
    assert (due["state"], due["approved_by"], due["done"]) == ("due", ["ben", "carol"], [])
    assert INSTANT.fullmatch(due["decisions"][0]["decided_at"])
    done = treasury_here("delete", "run", **rules)
    assert "next: check what is gone with `treasury certificate verify DEL-" in done.stderr, done
    assert [one["state"] for one in answer("delete", "show", "1")["done"]] == ["done", "done"]
    newest, oldest = answer("certificate", "list")
    assert {newest["month"], oldest["month"]} == {str(OLDER), str(OLD)}
    assert (newest["state"], newest["request_id"], newest["last_error"]) == ("certified", 1, None)
    assert INSTANT.fullmatch(newest["finished_at"])
    assert answer("certificate", "verify", newest["certificate"])["certificate"] == newest["certificate"]
    shown = answer("certificate", "show", newest["certificate"])
    assert shown == json.loads(treasury_here("certificate", "show", newest["certificate"]).stdout)
    both = treasury_here("certificate", "show", newest["certificate"], "--json", "--output", "page.html")
    assert (both.returncode, both.stdout) == (ConfigError.exit_code, "")


def test_an_installation_and_its_log_are_typed(
    ledger: Ledger, archives: Archives, answer: Answer, treasury_here: Treasury, tmp_path: Path
) -> None:
    before = answer("installation", "show")
    assert answer("log", "publish")["events"] == 0
    assert (before["state"], before["installation"], before["marker"], before["events"]) == ("free", None, None, [])
    assert treasury_here("log", "show", "--json").returncode == NotFoundError.exit_code
    archives.begin(ledger.settings, one_cold_month)
    after = answer("installation", "show")
    assert (after["state"], after["incarnation"], after["objects_kept"]) == ("owner", 1, 0)
    assert UUID(after["installation"]) == UUID(after["marker"]["installation"])
    assert INSTANT.fullmatch(after["events"][0]["at"])
    assert "token" not in after["marker"]
    waiting = answer("log", "show")
    assert (waiting["published_size"], waiting["root"], waiting["waiting"] > 0) == (0, None, True)
    sent = answer("log", "publish")
    published = answer("log", "show")
    assert (sent["size"], sent["origin"]) == (published["published_size"], published["origin"])
    assert (published["published_size"] > 0, published["waiting"], published["waiting_since"]) == (True, 0, None)
    assert SHA256.fullmatch(published["root"])
    assert isinstance(published["events"][0]["entry_index"], int)
    kit = answer("audit-kit", "--output", str(tmp_path / "kit.zip"))
    assert (kit["file"], kit["entries"]) == (str(tmp_path / "kit.zip"), published["published_size"])
    assert len(answer("log", "rotate-key")["keys"]) >= 1
    assert INSTANT.fullmatch(published["events"][0]["happened_at"])


def test_generated_months_and_a_watch_over_them_are_typed(answer: Answer) -> None:
    made = answer("generate", "--months", "1", "--rows-per-month", "3", "--until", "2026-11-01")
    assert {(month["table"], month["month"], month["rows"]) for month in made} >= {("transactions", "2026-10", 3)}
    watched = answer("watch", "run")
    assert watched["busy"] is False
    assert {table["table"] for table in watched["tables"]} == {"transactions", "vas_transactions"}
    assert INSTANT.fullmatch(watched["tables"][0]["settled_until"])


def test_policies_are_typed(answer: Answer) -> None:
    found = answer("policy", "check")
    assert found["broken"] == []
    [one] = [each for each in found["policies"] if each["table"] == "transactions"]
    assert (one["hot_months"], one["retention_months"]) == (3, 120)


def test_alerts_are_typed_and_say_what_comes_next(settings: Settings, answer: Answer, treasury_here: Treasury) -> None:
    with connect(settings.database_dsn, "tests") as connection:
        for subject in ("mine", "over"):
            raise_alert(connection, Alert("velocity", subject, Severity.WARNING, "41 rows", "Look", {"rows": 41}))
        resolve_alert(connection, "velocity", "over")
    [one] = answer("alert", "list")
    assert {one["state"] for one in answer("alert", "list", "--all")} == {"open", "resolved"}
    assert (one["severity"], one["count"], one["evidence"], one["resolved_at"]) == ("warning", 1, {"rows": 41}, None)
    assert INSTANT.fullmatch(one["first_seen"])
    assert one["runbook"]
    said = treasury_here("alert", "acknowledge", str(one["alert_id"]))
    assert f"run `treasury alert resolve {one['alert_id']} --reason TEXT`\n" in said.stderr
    resolved = answer("alert", "resolve", str(one["alert_id"]), "--reason", "seen", "--as", "ann")
    assert resolved == {"alert_id": one["alert_id"], "state": "resolved", "closed_by": "ann"}


def test_statements_are_typed(answer: Answer, treasury_here: Treasury, tmp_path: Path) -> None:
    file = tmp_path / FLASH_NAME
    file.write_text(FLASH)
    taken = treasury_here("statements", "take-in", "flash", "--url", str(file))
    assert taken.stderr == f"next: reconcile with `treasury recon run flash {STATEMENT_DAY}`\n"
    [known] = answer("statements", "take-in", "flash", "--url", str(file))
    assert (known["name"], known["result"], known["day"]) == (FLASH_NAME, "known", str(STATEMENT_DAY))
    none = answer("statements", "none", "peach", str(STATEMENT_DAY), "--reason", "Peach was closed")
    assert none == {"supplier": "peach", "day": str(STATEMENT_DAY), "state": "proposed"}
    [one] = answer("statements", "list", "--supplier", "flash")
    assert (one["supplier"], one["day"], one["state"]) == ("flash", str(STATEMENT_DAY), "taken")
    assert isinstance(one["line_count"], int)
    assert SHA256.fullmatch(one["sha256"])
    assert INSTANT.fullmatch(one["taken_at"])


def test_runs_and_breaks_are_typed(books: Books, answer: Answer, treasury_here: Treasury) -> None:
    own = books.own(amount=Decimal("30.00"))
    books.line(amount=Decimal("1500.00"))
    books.run()
    [run] = answer("recon", "runs")
    assert (run["run_id"], run["day"], run["break_count"], run["current"]) == (1, str(DAY), 2, True)
    assert "figures" not in run
    shown = answer("recon", "show-run", "1")
    assert {name: shown[name] for name in run} == run
    assert shown["figures"]["breaks"] == 2
    breaks = answer("recon", "breaks")
    assert [Decimal(one["difference"]) for one in breaks] == [Decimal("1500.00"), Decimal("30.00")]
    assert all(isinstance(one["difference"], str) and "line" not in one for one in breaks)
    assert (breaks[0]["break_class"], breaks[0]["state"]) == ("missing_here", "open")
    sides = [answer("recon", "show", str(one["break_id"])) for one in breaks]
    assert (sides[0]["own"], sides[1]["line"], sides[1]["own"]["id"]) == (None, None, str(own["id"]))
    assert INSTANT.fullmatch(sides[0]["line"]["at"])
    assert sides[0]["resolutions"] == []
    statement = shown["figures"]["statement"]["key"]
    again = treasury_here("recon", "run", "flash", str(DAY), "--statement", statement, "--dry-run", "--json")
    assert (again.returncode, "next:" in again.stderr) == (65, False)  # the verdict is critical
    [dry] = json.loads(again.stdout)
    assert (dry["run_id"], dry["verdict"], dry["digest"]) == (None, shown["verdict"], shown["digest"])
    why = ("--reason", "a row was added", "--actor", "thandi")
    decided = answer("recon", "resolve", str(breaks[0]["break_id"]), "--decision", "theirs_is_right", *why)
    assert (decided["break_id"], decided["state"]) == (breaks[0]["break_id"], "proposed")
    replayed = answer("recon", "replay", "1")
    assert (replayed["is_same"], replayed["recorded"], replayed["differences"]) == (True, shown["digest"], [])
    verified = answer("recon", "verify", "--chain-only")
    assert (verified["events"] > 0, verified["objects"]) == (True, None)
    assert SHA256.fullmatch(verified["head"])


def test_periods_are_typed(books: Books, answer: Answer) -> None:
    books.both()
    books.run()
    proposed = answer("recon", "close-period", "flash", str(DAY), str(DAY), "--reason", "month end")
    assert (proposed["first_day"], proposed["state"], proposed["waiting"]) == (str(DAY), "proposed", 0)
    answer("recon", "close-period", "flash", str(DAY), str(DAY), "--reason", "too early", "--reject")
    for person in ("thandi", "sipho"):
        close_period(books.settings, "flash", DAY, DAY, person, "month end", account=person)
    [one] = answer("recon", "periods")
    assert (one["first_day"], one["last_day"], one["state"], one["own_rows"]) == (str(DAY), str(DAY), "closed", 1)
    assert INSTANT.fullmatch(one["at"])
    assert all(isinstance(sums["value"], str) for sums in one["own_sums"].values())


def test_an_import_is_typed(answer: Answer, treasury_here: Treasury, tmp_path: Path) -> None:
    made = answer("setup")
    assert made["problems"] == []
    mappings = Path(__file__).resolve().parents[2] / "examples" / "mappings"
    command = ("import", str(mappings / "stripe.csv"), "--mapping", str(mappings / "stripe.toml"), "--json")
    dry = json.loads(treasury_here(*command, "--rejects", str(tmp_path), "--dry-run").stdout)
    assert (dry["dry_run"], dry["read"]) == (True, dry["loaded"] + dry["rejected"])
    assert sum(sums["rows"] for sums in dry["preview"]["sums"]) == dry["loaded"] > 0
    done = treasury_here(*command, "--rejects", str(tmp_path))
    assert "next:" not in done.stderr
    account = json.loads(done.stdout)
    assert (account["loaded"], account["known"], account["preview"]) == (dry["loaded"], 0, None)
    assert isinstance(account["lines"]["records"], int)


def test_checks_of_suppliers_are_typed_and_a_failed_one_ends_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def checks(*_: object) -> list[TrialCheck]:
        return [TrialCheck("flash", "login", TrialResult.FAILED, 12, "refused")]

    class Servers:
        def __init__(self, *_: str, **__: bool) -> None: ...
        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(suppliers, "check_suppliers", checks)
    monkeypatch.setattr(suppliers, "servers", Servers)
    done = run_here(capsys, tmp_path, {}, "suppliers", "test", "--json")
    assert (done.returncode, done.stderr) == (65, "error: 1 of 1 check failed\n")
    assert json.loads(done.stdout) == [
        {"supplier": "flash", "name": "login", "result": "failed", "latency_ms": 12, "detail": "refused"}
    ]
