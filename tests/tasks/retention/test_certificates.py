"""A certificate states the facts of its deletion, and PostgreSQL keeps nothing that would reveal a deleted row."""

import base64
import hashlib
import json
import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from config.retention import LEGAL_BASIS, LEGAL_SOURCE, RetentionSettings
from config.version import product_version
from config.watch_transactions import Single, WatchTransactions
from ledger.months import Month
from ledger.proof_files import unpack
from ledger.transparency.events import Event
from ledger.transparency.proof_files import TlogProof
from ledger.transparency.replay import replay
from ledger.transparency.tiles import Tree
from sql.archive_objects import objects_of_month
from sql.connection import connect
from sql.installation import read_installation
from sql.log import read_entries
from storage.store import ObjectStore
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month
from tasks.proving.proofs import Prover
from tasks.retention.approvals import approve
from tasks.totals.keeping import keep_daily_totals
from tasks.transparency.publish import publish_log
from tasks.verifying.reverification import reverify
from tasks.watch import watch_transactions
from tests.tasks.archiving.ledger import ROWS, Ledger
from tests.tasks.retention.aged import (
    OLD,
    OLDER,
    approved,
    certificate,
    delete,
    hold,
    objects_of,
    release,
    request,
    wrong,
)
from tests.tasks.retention.imports import load

UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00")


def entries_of(ledger: Ledger) -> list[bytes]:
    with connect(ledger.settings.database_dsn, "tests") as connection:
        installation = read_installation(connection)
        assert installation is not None
        return read_entries(connection, installation.installation_id)


@pytest.mark.sampled(1)
def test_every_fact_of_a_certificate_is_the_one_that_is_true(aged: Ledger) -> None:
    with connect(aged.settings.database_dsn, "tests") as connection:
        objects = objects_of_month(connection, aged.table.name, OLD)
        installation = read_installation(connection)
    assert installation is not None
    content = {one.object_key: ObjectStore(aged.settings).read_bytes(one.object_key) for one in objects}
    lost = hold(aged, OLD)
    release(aged, lost.hold.number)
    before, asked = aged.catalogue(OLD), approved(aged)
    said = certificate(aged, delete(aged)[1].certificate)
    store, is_folder = ObjectStore(aged.settings), aged.settings.archive_location.startswith("file://")

    named = {
        key: said[key] for key in ("format", "certificate", "installation", "incarnation", "controller", "archive")
    }
    assert named == {
        "format": "treasury-certificate-v1",
        "certificate": f"DEL-{str(installation.installation_id)[:8]}-2",
        "installation": str(installation.installation_id),
        "incarnation": installation.incarnation,
        "controller": "Acme Payments (Pty) Ltd",
        "archive": said["archive"],
    }
    assert said["archive"].endswith(aged.settings.archive_location.rpartition("/")[2])
    assert (said["table"], said["month"], said["kept"]) == ("transactions", "2014-02", [])
    assert said["rule"] == {
        "as_of": asked.as_of.isoformat(),
        "due_on": "2024-03-01",
        "retention_months": 120,
        "legal_minimum_months": 84,
        "legal_source": LEGAL_SOURCE,
        "legal_basis": LEGAL_BASIS,
    }
    _check_people(said["request"], asked)
    _check_log(aged, said)
    assert [(one["part"], one["rows"], one["sums"]) for one in said["parts"]] == [(1, ROWS, before["sums"])]
    assert said["parts"][0]["root"] == bytes(before["digest"]).hex()
    assert said["parts"][0]["manifest_sha256"] == bytes(before["manifest_sha256"]).hex()

    known = {
        one.object_key: (
            one.part,
            str(one.kind),
            len(content[one.object_key]),
            _sha256(content[one.object_key]),
            "absent",
        )
        for one in objects
    }
    facts = ("part", "kind", "size_bytes", "sha256", "result")
    assert {one["key"]: tuple(one[name] for name in facts) for one in said["objects"]} == known
    assert len(known) == 4
    method = (
        "file unlinked; then absent by name"
        if is_folder
        else "object deleted by its key, as the store named no version of it; then absent by key"
    )
    for one in said["objects"]:
        assert one["method"] == method
        assert UTC_TIME.fullmatch(one["removed_at"])
        assert one["removed_at"] <= one["proved_at"] <= said["removed_at"]
        (version,) = one["versions"]
        assert version.pop("modified_at") is not None
        assert version == {
            "version": "",
            "size_bytes": one["size_bytes"],
            "storage_class": "" if is_folder else "STANDARD",
            "is_marker": False,
            "lock_mode": "",
            "locked_until": None,
            "legal_hold": False,
        }
    removed = datetime.fromisoformat(said["removed_at"])
    assert date.fromisoformat(said["backups_until"]) == (removed + timedelta(days=35)).date()
    assert said["ordered_at"] <= said["begun_at"] <= said["removed_at"]
    assert said["program"] == product_version()
    order = next(key for key in store.keys("_treasury/deletions") if said["certificate"] in key)
    assert said["order_sha256"] == _sha256(store.read_bytes(order))
    page = store.read_bytes(f"_treasury/certificates/{said['certificate']}.html").decode()
    for fact in (said["backups_until"], "anna", "ben", "carol", said["log"]["root"], product_version()):
        assert fact in page
    _check_limits(said, page)


def _check_limits(said: dict[str, Any], page: str) -> None:
    """The certificate and its page say what is not deleted, and name nothing that is."""
    limits = " ".join(said["not_covered"])
    for kept in ("own.parquet", "supplier statements", "caches of other machines", "log files"):
        assert kept in limits
    assert all(text in page for text in (*said["not_covered"], said["remains"]))
    assert "what the import knows of its rows" in said["dropped_from"]
    assert "import" not in limits
    assert ("hashes of deleted rows" in limits) == bool(said["kept"])


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _check_people(said: dict[str, Any], asked: Any) -> None:
    """Who requested and who approved, by which plan, and when it may be carried out."""
    requested = said["requested"]
    assert (requested["actor"], requested["reason"]) == ("anna", "past the policy")
    assert requested["account"] == asked.account != ""
    assert requested["at"] == asked.requested_at.isoformat()
    approved_by = [(one["actor"], one["reason"]) for one in said["approved"]]
    assert approved_by == [("ben", "looked at"), ("carol", "looked at, too")]
    assert [one["at"] for one in said["approved"]] == sorted(one["at"] for one in said["approved"])
    assert (said["number"], said["approvals"], said["grace_days"]) == (asked.request_id, 2, 0)
    assert said["plan_sha256"] == asked.plan_sha256.hex()
    assert said["due_at"] == said["approved"][-1]["at"]


def _check_log(ledger: Ledger, said: dict[str, Any]) -> None:
    """The log stood where it says, behind the entry that began the deletion, and no hold was open."""
    entries = entries_of(ledger)
    log, bodies = said["log"], [Event.from_bytes(entry).body for entry in entries]
    assert log["origin"] == f"treasury/{said['installation']}"
    assert Tree(entries).root(log["size"]).hex() == log["root"]
    begun = bodies[log["begun_entry"]]
    assert (begun.event, getattr(begun, "certificate", None)) == ("deletion_begun", said["certificate"])
    assert log["begun_entry"] + 1 == log["size"] < len(entries)
    assert replay(Event.from_bytes(entry) for entry in entries[: log["size"]]).holds == {}
    holds = said["holds"]
    assert (holds["on_whole_month"], holds["on_rows"], holds["looked_at"]) == ([], [], said["ordered_at"])
    (part,) = said["parts"]
    archived = bodies[part["log_entry"]]
    assert (archived.event, getattr(archived, "month", None)) == ("archived", said["month"])
    assert part["archived_at"] == Event.from_bytes(entries[part["log_entry"]]).happened_at.isoformat()


def test_a_certificate_says_what_the_settings_of_its_deletion_were(ledger: Ledger) -> None:
    rules = RetentionSettings(
        grace_days=0,
        approvals=1,
        legal_source="Companies Act 71 of 2008, s 24",
        legal_basis="POPIA s 14",
        backup_days=7,
    )
    own = Ledger(ledger.settings.model_copy(update={"retention": rules}), ledger.store)
    own.warm(OLDER)
    archive_month(own.settings, own.table, OLDER)
    publish_log(own.settings)
    approve(own.settings, request(own).request_id, "ben", "looked at")
    said = certificate(own, delete(own)[0].certificate)
    assert said["rule"]["legal_source"] == "Companies Act 71 of 2008, s 24"
    assert said["rule"]["legal_basis"] == "POPIA s 14"
    assert (said["request"]["approvals"], len(said["request"]["approved"]), said["controller"]) == (1, 1, "")
    removed = datetime.fromisoformat(said["removed_at"])
    assert date.fromisoformat(said["backups_until"]) == (removed + timedelta(days=7)).date()


TABLES = """
    SELECT quote_ident(nspname) || '.' || quote_ident(relname) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'm') AND nspname NOT IN ('pg_catalog', 'information_schema') AND nspname !~ '^pg_'
"""
REMAINS = ("digest", "row_count", "sums", "cold_at", "verified_at")
OF_MONTH = {
    "archive_lookups": "month = %(month)s",
    "archive_filters": "object_key LIKE %(folder)s",
    "daily_totals": "utc_day >= %(month)s AND utc_day < %(next)s",
}


def _tables_with(ledger: Ledger, secret: set[str]) -> set[str]:
    """The tables with one of these texts in any column; bytes, which PostgreSQL writes in hexadecimal, too."""
    wanted = secret | {text.encode().hex() for text in secret}
    return {
        name
        for (name,) in ledger.sql(TABLES)
        for (text,) in ledger.sql(f"SELECT t::text FROM {name} AS t")
        if any(one in text for one in wanted)
    }


def _hashes(ledger: Ledger, row: dict[str, Any]) -> list[str]:
    """The hashes on the path of a row, hexadecimal: of the leaf beside it, and of those above."""
    with Prover(ledger.settings) as prover:
        extra = TlogProof.from_bytes(prover.row(ledger.table, UUID(str(row["id"]))).content).extra
    assert extra is not None
    return [base64.b64decode(text).hex() for text in json.loads(unpack(extra))["proof"]["path"]]


def test_nothing_that_tells_of_a_row_stays_in_postgresql_or_on_this_machine(ledger: Ledger, tmp_path: Path) -> None:
    ledger.fill(OLD, user_id="user-of-the-gone", description="what was bought", reference="REF-GONE")
    assert load(ledger, tmp_path).loaded == 2
    watch(ledger, OLD)
    assert warm_month(ledger.settings, ledger.table, OLD)
    ledger.warm(OLDER)
    for month in (OLDER, OLD):
        archive_month(ledger.settings, ledger.table, month)
    publish_log(ledger.settings)
    reverify(ledger.settings)
    keep_daily_totals(ledger.settings)
    rows = ledger.ask(f"SELECT * FROM transactions WHERE month = '{OLD}'")
    before, named = ledger.catalogue(OLD), {"month": OLD.first_day, "next": OLD.plus(1).first_day}
    counts = {table: _count(ledger, table, where, named) for table, where in OF_MONTH.items()}
    assert all(counts.values()), counts
    hashes = {found for row in rows[:5] for found in _hashes(ledger, row)}
    cached = ledger.settings.object_cache_folder / bytes(before["object_sha256"]).hex()
    assert cached.exists()
    secret = hashes | {str(row["id"]) for row in rows} | {"user-of-the-gone", "what was bought", "REF-GONE"}
    imported = ledger.sql("SELECT identity::text, encode(fingerprint, 'hex') FROM import_identities")
    secret |= {text for entry in imported for text in entry}
    known_by = {name.rpartition(".")[2] for name in _tables_with(ledger, secret)}
    assert {"archive_lookups", "watch_findings", "alerts", "import_identities"} <= known_by
    hold(ledger, OLDER)
    approved(ledger)
    (outcome,) = delete(ledger)
    assert outcome.certificate
    assert wrong(ledger) == []

    assert {table: _count(ledger, table, where, named) for table, where in OF_MONTH.items()} == dict.fromkeys(
        OF_MONTH, 0
    )
    assert _tables_with(ledger, secret) == set()
    assert not cached.exists()
    assert objects_of(ledger, OLD) == set()
    kept = ledger.catalogue(OLD)
    assert {name: kept[name] for name in REMAINS} == {name: before[name] for name in REMAINS}
    assert (kept["tier"], kept["certificate"]) == ("deleted", outcome.certificate)


FINDINGS = "SELECT window_key FROM watch_findings ORDER BY 1"
EVENTS = "SELECT event FROM alerts, unnest(event_ids) AS event WHERE starts_with(subject, 'user') ORDER BY 1"


def test_findings_of_the_watch_go_with_the_rows_that_they_name(ledger: Ledger) -> None:
    ledger.fill(OLD)
    watch(ledger, OLD, alerts_each=1000)
    ledger.fill(OLD.plus(1))
    watch(ledger, OLD.plus(1), alerts_each=1000)
    assert warm_month(ledger.settings, ledger.table, OLD)
    archive_month(ledger.settings, ledger.table, OLD)
    held = "SELECT id::text AS id FROM transactions WHERE wallet_id = 'wallet-3' OR month <> '2014-02' ORDER BY id"
    stay = {row["id"] for row in ledger.ask(held)} & {key for (key,) in ledger.sql(FINDINGS)}
    assert 0 < len(stay) < len(ledger.sql(FINDINGS))
    placed = hold(ledger, OLD, "wallet-3")
    approved(ledger)
    delete(ledger)
    assert {key for (key,) in ledger.sql(FINDINGS)} == stay
    assert {event for (event,) in ledger.sql(EVENTS)} == {f"transactions {key}" for key in stay}
    release(ledger, placed.hold.number)
    approved(ledger)
    delete(ledger)
    young = {row["id"] for row in ledger.ask("SELECT id::text AS id FROM transactions")} & stay
    assert {key for (key,) in ledger.sql(FINDINGS)} == young
    assert {event for (event,) in ledger.sql(EVENTS)} == {f"transactions {key}" for key in young}


def watch(ledger: Ledger, month: Month, alerts_each: int = 1) -> None:
    """Find every single row of a month that is in PostgreSQL, from its second day on."""
    ledger.fill(month, 0, ledger.settings.table("vas_transactions"))  # the watch looks at both tables
    every = Single(amounts={"ZAR": Decimal("0.01"), "USD": Decimal("0.01")})
    rules = WatchTransactions(first_hours=720, alerts_each=alerts_each, single=every)
    assert watch_transactions(ledger.settings.model_copy(update={"watch_transactions": rules}), month.upper).tables


def _count(ledger: Ledger, table: str, where: str, named: dict[str, Any]) -> int:
    values = named | {"folder": f"transactions/month={OLD}/%"}
    with connect(ledger.settings.database_dsn, "tests") as connection:
        row = connection.execute(f"SELECT count(*) FROM {table} WHERE {where}", values).fetchone()
    assert row is not None
    return int(row[0])
