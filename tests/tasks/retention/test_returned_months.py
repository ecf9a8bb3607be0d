"""A month that went back to warm, and what becomes of its former objects: deletion, holds, a lost database, a kit."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from config import Settings
from ledger.archive_objects import EVERY_PART
from ledger.errors import GoneError
from ledger.transparency.events import Returned
from ledger.transparency.policies import LogPolicy
from sql.connection import connect
from sql.restored import Request
from tasks.admin.setup import prepare_database
from tasks.archiving.installation import continue_installation
from tasks.archiving.late_rows import open_late_rows
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_deep import deepen
from tasks.archiving.to_warm import warm_month
from tasks.rebuilding.catalogue import rebuild_catalogue
from tasks.restoring.back_to_warm import ReturnedMonth, return_month
from tasks.retention.approvals import revoke
from tasks.retention.deletion import DeletionResult
from tasks.transparency.publish import publish_log
from tasks.transparency.report import policy_text
from tests.conftest import own_database
from tests.databases import Databases
from tests.tasks.archiving.copies import Copier
from tests.tasks.archiving.ledger import ROWS, Ledger, make_row
from tests.tasks.retention.aged import (
    OLD,
    OLDER,
    approved,
    certificate,
    delete,
    hold,
    objects_of,
    release,
    verified,
    wrong,
)

FORMER = "SELECT object_key, part, place, kind, size_bytes, sha256 FROM former_objects ORDER BY 1"
WHO = Request("anna", "os anna", "a correction that the auditors ask for", timedelta(days=7))


def back(ledger: Ledger) -> ReturnedMonth:
    made = return_month(ledger.settings, ledger.table, OLD, WHO)
    publish_log(ledger.settings)
    return made


def corrected(ledger: Ledger) -> None:
    """The month goes back, a row is added to it, and it is archived again."""
    back(ledger)
    row = make_row(ledger.table, OLD, ROWS + 1)
    names, places = ", ".join(row), ", ".join(["%s"] * len(row))
    ledger.sql(f"INSERT INTO transactions_archive_warm ({names}) VALUES ({places})", *row.values())
    archive_month(ledger.settings, ledger.table, OLD)
    publish_log(ledger.settings)


@pytest.mark.sampled(1)
def test_a_deletion_removes_the_former_objects_too_and_names_them(aged: Ledger) -> None:
    corrected(aged)
    former = {key for (key,) in aged.sql("SELECT object_key FROM former_objects")}
    assert len(former) == len(EVERY_PART)
    approved(aged)
    outcomes = delete(aged)
    assert [one.result for one in outcomes] == [DeletionResult.DELETED, DeletionResult.DELETED], outcomes
    assert objects_of(aged, OLD) == set()
    said = certificate(aged, outcomes[1].certificate)
    named = {one["key"]: one["kind"] for one in said["objects"]}
    assert former < named.keys()
    assert {named[key] for key in former} == {f"former {kind}" for kind in EVERY_PART}
    assert {one["result"] for one in said["objects"]} == {"absent"}
    assert wrong(aged) == []
    with pytest.raises(GoneError, match="was deleted with certificate"):
        back(aged)


@pytest.mark.sampled(1)
def test_former_objects_with_held_rows_stay_with_the_hold(aged: Ledger) -> None:
    corrected(aged)
    placed = hold(aged, OLD, "wallet-3")
    asked = approved(aged)
    (_, outcome) = delete(aged)
    assert outcome.result is DeletionResult.KEPT
    assert "Its former objects have these rows as they were" in outcome.reason
    assert aged.content().keys() == {str(OLD)}
    release(aged, placed.hold.number)
    revoke(aged.settings, asked.request_id, "ben", "the plan is another one now")
    approved(aged)
    assert [one.result for one in delete(aged)] == [DeletionResult.DELETED]
    assert objects_of(aged, OLD) == set()
    assert wrong(aged) == []


@pytest.mark.heavy("the rows of a whole month go back in test_back_to_warm.py")
def test_rows_that_a_hold_has_kept_go_back_as_a_part_of_their_own(aged: Ledger) -> None:
    hold(aged, OLD, "wallet-3")
    approved(aged)
    delete(aged)
    kept = aged.content()[str(OLD)]
    made = back(aged)
    assert (made.parts, made.rows) == ((2,), kept[0])
    assert aged.content()[str(OLD)] == kept
    assert wrong(aged) == []
    archive_month(aged.settings, aged.table, OLD)
    publish_log(aged.settings)
    assert aged.sql("SELECT part, tier FROM archive_months WHERE month = %s ORDER BY 1", OLD.first_day) == [
        (1, "deleted"),
        (2, "cold"),
    ]
    assert aged.content()[str(OLD)] == kept
    assert wrong(aged) == []


@pytest.mark.heavy("the rows of a whole month go back in test_back_to_warm.py")
def test_behind_a_deleted_part_the_rows_that_go_back_are_a_part_of_a_new_number(ledger: Ledger) -> None:
    ledger.fill(OLD, wallet_id="wallet-3")
    assert warm_month(ledger.settings, ledger.table, OLD)
    archive_month(ledger.settings, ledger.table, OLD)
    open_late_rows(ledger.settings, ledger.table, OLD)
    with connect(ledger.settings.database_dsn, "tests") as connection:
        ledger.insert(connection, ledger.table, [make_row(ledger.table, OLD, ROWS) | {"wallet_id": "wallet-9"}])
    assert warm_month(ledger.settings, ledger.table, OLD)
    archive_month(ledger.settings, ledger.table, OLD)
    publish_log(ledger.settings)
    hold(ledger, OLD, "wallet-3")
    approved(ledger)
    assert [one.result for one in delete(ledger)] == [DeletionResult.DELETED]
    before = ledger.content()
    assert back(ledger).parts == (1,)
    parts = "SELECT part, tier FROM archive_months WHERE month = %s ORDER BY 1"
    assert ledger.sql(parts, OLD.first_day) == [(2, "deleted"), (3, "warm")]
    assert ledger.content() == before
    archive_month(ledger.settings, ledger.table, OLD)
    publish_log(ledger.settings)
    assert ledger.sql(parts, OLD.first_day) == [(2, "deleted"), (3, "cold")]
    assert ledger.content() == before
    assert wrong(ledger) == []


@pytest.mark.heavy("former objects with a hold are tested beside it")
def test_a_held_month_may_go_back(aged: Ledger) -> None:
    hold(aged, OLD)
    assert back(aged).rows == ROWS
    assert wrong(aged) == []


@pytest.mark.sampled(1)
def test_a_rebuilt_catalogue_does_not_resurrect_the_month_and_names_it(
    aged: Ledger, databases: Databases, server_settings: Settings, template: str, tmp_path: Path
) -> None:
    policy = LogPolicy.parse(policy_text(aged.settings).encode())
    deepen(aged.settings, aged.table, OLDER)
    return_month(aged.settings, aged.table, OLDER, WHO)
    archive_month(aged.settings, aged.table, OLDER)
    back(aged)
    former = aged.sql(FORMER)
    with own_database(databases, server_settings, template, tmp_path / "new") as empty:
        settings = empty.model_copy(update={"archive_url": aged.settings.archive_url, "home": aged.settings.home})
        rebuilt = Ledger(settings, aged.store)
        prepare_database(settings)
        done = rebuild_catalogue(settings, policy)
        assert (done.parts, done.returned) == (1, (f"transactions {OLD}",))
        assert rebuilt.whole().keys() == {(str(OLDER), "cold")}
        assert rebuilt.sql(FORMER) == former
        publish_log(settings)
        assert wrong(rebuilt) == []


@pytest.mark.sampled(1)
@pytest.mark.parametrize("is_archived_again", [False, True])
def test_a_database_that_was_set_back_to_before_the_return_goes_on(
    aged: Ledger, copied: Copier, is_archived_again: bool
) -> None:
    before = copied(aged)
    back(aged)
    if is_archived_again:
        archive_month(aged.settings, aged.table, OLD)
        publish_log(aged.settings)
    key = aged.catalogue(OLD)["object_key"]
    continue_installation(before.settings, lambda *_: True)
    publish_log(before.settings)
    assert before.content().keys() == {str(OLDER), str(OLD)}
    if is_archived_again:
        assert before.catalogue(OLD)["object_key"] == key
    assert wrong(before) == []
    archive = before.objects()
    approved(before)
    assert [one.result for one in delete(before)] == [DeletionResult.DELETED, DeletionResult.DELETED]
    assert objects_of(before, OLD) == set()
    assert any(key.startswith("_treasury/returns/") for key in archive)


@pytest.mark.sampled(1)
def test_verification_says_where_the_rows_are(aged: Ledger) -> None:
    made = back(aged)
    report = verified(aged)
    assert report.findings == []
    assert report.counts["former objects"] == len(EVERY_PART)
    index = len(aged.sql("SELECT 1 FROM log_events WHERE replaced_at IS NULL")) - 1
    (note,) = report.notes
    assert note.startswith(f"transactions {OLD} went back to warm by entry {index}, in work until {made.until}: ")


@pytest.mark.sampled(1)
def test_the_log_names_nobody(aged: Ledger) -> None:
    back(aged)
    (entry,) = aged.sql("SELECT entry FROM log_events WHERE event = 'returned'")[0]
    text = bytes(entry).decode()
    assert "anna" not in text
    assert "correction" not in text
    assert json.loads(text)["body"]["event"] == Returned.__struct_config__.tag
    with connect(aged.settings.database_dsn, "tests") as connection:
        assert connection.execute("SELECT actor, reason FROM month_returns").fetchall() == [(WHO.actor, WHO.reason)]
