"""Policies are asked what they come to, from what is archived, and `treasury tiers` shows how each month goes on."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from config import Settings
from ledger.errors import NotFoundError, VerificationError
from ledger.months import Month
from ledger.policy import Tier
from ledger.sizes import GIGABYTE
from sql.connection import connect
from sql.locks import LockedObject, intend_retention
from storage.store import ObjectStore
from tasks.archiving.tiers import tier_rows
from tasks.retention.approvals import approve, request_deletion
from tasks.retention.policy import check_policies, shortened_since, simulate
from tests.cli.in_process import run_here
from tests.tasks.archiving.ledger import Ledger
from tests.tasks.retention.aged import OLD, OLDER, YOUNG, age, approved, delete, hold


def test_ten_years_of_two_tables_are_planned_from_the_catalogue(ledger: Ledger) -> None:
    age(ledger, OLDER, OLD, YOUNG)
    hold(ledger, OLDER)
    prices = {Tier.COLD: Decimal("0.02")}
    found = simulate(ledger.settings, [ledger.table, ledger.settings.table("vas_transactions")], 10, 500, prices)
    transactions, vas = found
    assert [len(one.months) for one in found] == [120, 120]
    first = transactions.months[0]
    assert list(first.held) == [OLDER]
    assert list(first.moves[Tier.DELETED]) == [OLD]
    assert first.tiers[Tier.COLD].rows == ledger.catalogue(YOUNG)["row_count"]
    assert first.tiers[Tier.COLD].bytes == ledger.catalogue(YOUNG)["object_bytes"]
    assert first.costs[Tier.COLD] == Decimal("0.00")
    assert first.costs[Tier.DEEP] is None
    assert transactions.growth.object_bytes is not None
    assert (vas.growth.rows, vas.growth.object_bytes) == (500, None)
    assert vas.months[-1].costs[Tier.COLD] is None
    with pytest.raises(NotFoundError, match="vas_transactions has no month with rows: give --rows-per-month"):
        simulate(ledger.settings, [ledger.settings.table("vas_transactions")], 1)
    (mean,) = simulate(ledger.settings, [ledger.table], 1)
    assert (mean.growth.rows, mean.growth_from) == (40, "the mean of 3 months up to 2024-03")


def test_a_policy_that_is_shorter_than_a_lock_is_named(ledger: Ledger) -> None:
    age(ledger, YOUNG)
    assert check_policies(ledger.settings) == []
    key = ledger.catalogue(YOUNG)["object_key"]
    with connect(ledger.settings.database_dsn, "tests") as connection:
        one = LockedObject("transactions", YOUNG.first_day, 1, key)
        intend_retention(connection, one, "v1", "GOVERNANCE", Month(2040, 1).lower)
    (text,) = check_policies(ledger.settings)
    assert text.startswith(
        "transactions: retention_months 120 is less than the promise of the locks of 1 month: 2024-03"
    )


def test_months_that_were_archived_under_a_longer_retention_are_named(
    ledger: Ledger, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    age(ledger, OLD, YOUNG)
    assert shortened_since(ledger.settings) == []
    policy = ledger.table.policy.model_dump() | {"retention_months": 96}
    settings = Settings.model_validate(ledger.settings.model_dump() | {"tables": {"transactions": {"policy": policy}}})
    (text,) = shortened_since(settings)
    assert text.startswith(
        f"transactions: retention_months 96 is less than the 120 under which 2 months went cold: {OLD}, {YOUNG}. "
    )
    run = run_here(capsys, tmp_path, settings.environment(), "policy", "check", "--json")
    assert (run.returncode, json.loads(run.stdout)["shortened"]) == (0, [text])
    ObjectStore(settings).replace_bytes(b"{}", ledger.catalogue(OLD)["manifest_key"])
    with pytest.raises(VerificationError, match="is not the manifest that was archived"):
        shortened_since(settings)


def test_the_commands_say_what_the_policies_come_to(
    ledger: Ledger, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    age(ledger, OLD, YOUNG)
    environment = ledger.settings.environment()
    table = ["--table", "transactions"]
    run = run_here(capsys, tmp_path, environment, "policy", "simulate", *table, "--years", "2", "--json")
    (said,) = json.loads(run.stdout)
    assert (run.returncode, said["rows_per_month"], len(said["months"])) == (0, 40, 24)
    size_bytes = said["months"][0]["tiers"]["cold"]["bytes"]
    expected_cost = ledger.settings.prices.cold_gb * size_bytes / GIGABYTE
    assert Decimal(said["months"][0]["tiers"]["cold"]["cost"]) == round(expected_cost, 2)
    run = run_here(capsys, tmp_path, environment, "policy", "simulate", *table, "--price-per-gb", "cold=0.02")
    assert (run.returncode, "unknown" in run.stdout, "USD of the year" in run.stdout) == (0, False, True)
    run = run_here(capsys, tmp_path, environment, "policy", "simulate", "--price-per-gb", "freezer=1")
    assert (run.returncode, "must be a tier and a price" in run.stderr) == (78, True)
    run = run_here(capsys, tmp_path, environment, "policy", "check")
    assert (run.returncode, "no policy keeps rows for less" in run.stdout) == (0, True)


def test_tiers_show_what_is_held_due_in_grace_and_deleted(ledger: Ledger) -> None:
    age(ledger, OLDER, OLD, YOUNG)

    def shown() -> dict[Month | None, tuple[str | None, tuple[str, ...], str]]:
        rows = tier_rows(ledger.settings, [ledger.table])
        return {row.month: (row.deletion, row.held_by, row.note) for row in rows}

    placed = hold(ledger, OLDER)
    found = shown()
    assert found[YOUNG] == (None, (), "")
    assert found[OLD] == ("due", (), "due for deletion since 2024-03-01")
    assert found[OLDER] == (
        "due",
        (placed.hold.name,),
        f"held by {placed.hold.name}; due for deletion since 2024-02-01",
    )
    rules = ledger.settings.retention.model_copy(update={"grace_days": 14})
    slow = ledger.settings.model_copy(update={"retention": rules})
    asked = request_deletion(slow, [ledger.table], "anna", "past the policy")
    assert shown()[OLD][0] == "waiting"
    approve(slow, asked.request_id, "ben", "looked at")
    ledger.sql(
        "INSERT INTO deletion_decisions (request_id, action, actor, account, reason, decided_at)"
        " VALUES (%s, 'approved', 'Ben ', 'BEN', 'by hand', now())",
        asked.request_id,
    )
    assert shown()[OLD][0] == "waiting"  # whatever wrote it: one person's second approval is none
    approve(slow, asked.request_id, "carol", "looked at")
    state, _, note = shown()[OLD]
    assert (state, note.startswith("in its grace period until ")) == ("grace", True)


@pytest.mark.heavy("tiers of every state are tested beside it")
def test_a_deleted_month_is_shown_with_its_certificate(old: Ledger) -> None:
    approved(old)
    delete(old)
    rows = [row.as_json() for row in tier_rows(old.settings, [old.table])]
    assert {(row["deletion"], row["certificate"] is not None, row["tier"]) for row in rows} == {
        ("deleted", True, "deleted")
    }
