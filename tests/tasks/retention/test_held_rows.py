"""The rows that a hold keeps stay when their month is deleted: as a proved part of the month, until the release."""

import io
import json
from datetime import timedelta

import pyarrow.parquet as pq
import pytest

from ledger.errors import GoneError
from ledger.holds import HoldScope, Subject
from ledger.month_proofs import check_month_proof, parse_month_proof
from ledger.month_tree import Layout, TreeHead
from ledger.proof_files import check_proof
from ledger.retention import KeptMonth
from ledger.transparency.policies import LogPolicy
from sql.connection import connect
from sql.deletion_requests import RequestState, get_request
from storage.manifest import Manifest
from storage.store import ObjectStore
from tasks.archiving.late_rows import open_late_rows
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month
from tasks.proving.proofs import Prover
from tasks.retention.deletion import DeletionResult, failures
from tasks.retention.deletion_plan import plan_deletion
from tasks.retention.holds import place_hold
from tasks.transparency.publish import publish_log
from tasks.transparency.report import policy_text
from tests.life.scenes import unfinished_uploads
from tests.tasks.archiving.ledger import ROWS, Ledger, make_row
from tests.tasks.retention.aged import (
    OLD,
    OLDER,
    REVIEW,
    KilledError,
    approved,
    certificate,
    delete,
    hold,
    now,
    objects_of,
    release,
    wrong,
)

WALLET = "wallet-3"
OF_WALLET = f"SELECT * FROM transactions WHERE wallet_id = '{WALLET}' AND month = '{OLD}' ORDER BY id"


@pytest.mark.sampled(1)
def test_held_rows_stay_the_rest_goes_and_every_reader_sees_them_once(aged: Ledger) -> None:
    before, manifest = aged.ask(OF_WALLET), _manifest(aged)
    hold(aged, OLD, WALLET)
    approved(aged)
    outcomes = delete(aged)
    assert [one.result for one in outcomes] == [DeletionResult.DELETED, DeletionResult.DELETED]
    assert outcomes[1].rows == ROWS - len(before)
    assert aged.ask(OF_WALLET) == before
    assert [month for month, _ in aged.whole()] == [str(OLD)]
    assert aged.content()[str(OLD)][0] == len(before) > 0
    assert wrong(aged) == []
    said = certificate(aged, outcomes[1].certificate)
    assert (said["holds"]["on_rows"], said["kept"][0]["rows"], said["kept"][0]["part"]) == (["HOLD-1"], len(before), 2)
    assert objects_of(aged, OLD) == set(_kept_keys(aged))
    _check_proofs(aged, manifest, len(before))
    (key,) = [key for key in _kept_keys(aged) if key.endswith(".parquet")]
    metadata = pq.read_metadata(io.BytesIO(ObjectStore(aged.settings).read_bytes(key))).metadata
    said = {name: metadata[f"treasury.{name}".encode()].decode() for name in ("table", "month", "part", "installation")}
    assert said == {"table": "transactions", "month": str(OLD), "part": "2", "installation": str(manifest.installation)}
    with Prover(aged.settings) as prover:
        assert prover.row(aged.table, before[0]["id"]).part == 2


@pytest.mark.parametrize("scope", [(Subject.WALLET, WALLET), (Subject.USER, "user-3")])
def test_what_is_left_of_a_month_is_no_proof_of_the_month(aged: Ledger, scope: tuple[Subject, str]) -> None:
    """The certificate says that other rows were there: no statement and no absence may say that they were not."""
    rows = [make_row(aged.table, OLD, number) for number in range(ROWS)]
    column = {Subject.WALLET: "wallet_id", Subject.USER: "user_id"}[scope[0]]
    kept, deleted = (
        next(row for row in rows if row[column] == scope[1]),
        next(row for row in rows if row[column] != scope[1]),
    )
    place_hold(aged.settings, HoldScope(OLD, OLD, None, *scope), "m-1", "court order", "anna", REVIEW)
    approved(aged)
    number = delete(aged)[1].certificate
    said = f"transactions {OLD} was deleted with certificate {number}: .* not all rows of the month"
    with Prover(aged.settings) as prover:
        for proof in (
            lambda: prover.statement(aged.table, kept["wallet_id"], OLD),
            lambda: prover.statement(aged.table, deleted["wallet_id"], OLD),
            lambda: prover.absence(aged.table, "wallet-none", OLD),
            lambda: prover.absence_of_row(aged.table, deleted["wallet_id"], deleted["id"]),
            lambda: prover.row(aged.table, deleted["id"]),
        ):
            with pytest.raises(GoneError, match=said):
                proof()
        file = prover.row(aged.table, kept["id"])
    proved = check_proof(file.content, LogPolicy.parse(policy_text(aged.settings).encode()))
    assert (proved.archived.part, proved.proved.sentence) == (2, "the row is in the month")


@pytest.mark.parametrize("change", ["RENAME COLUMN wallet_id TO purse_id", "DROP COLUMN wallet_id CASCADE"])
def test_held_rows_stay_when_the_column_of_their_wallet_has_another_name_or_is_gone(old: Ledger, change: str) -> None:
    of_each = f"SELECT month, count(*) AS n FROM transactions WHERE wallet_id = '{WALLET}' GROUP BY month"
    held = {row["month"]: row["n"] for row in old.ask(of_each)}
    hold(old, OLD, WALLET)
    for parent in ("transactions_partitioned", "transactions_archive_warm"):
        old.sql(f"ALTER TABLE {parent} {change}")
    hold(old, OLDER, WALLET)  # the name is still understood
    approved(old)
    outcomes = delete(old)
    assert [one.result for one in outcomes] == [DeletionResult.DELETED, DeletionResult.DELETED]
    assert [outcome.rows for outcome in outcomes] == [ROWS - held[str(month)] for month in (OLDER, OLD)]
    kept = old.ask("SELECT month, count(*) AS n FROM transactions GROUP BY month")
    assert {row["month"]: row["n"] for row in kept} == held
    assert wrong(old) == []


def test_held_rows_that_are_kept_a_second_time_lead_to_the_root_that_the_month_had(old: Ledger) -> None:
    before, manifest = old.ask(OF_WALLET), _manifest(old)
    hold(old, OLD, WALLET)
    other = hold(old, OLD, "wallet-5")
    approved(old)
    delete(old)
    release(old, other.hold.number)
    approved(old)
    (second,) = delete(old)
    assert certificate(old, second.certificate)["kept"][0]["part"] == 3
    assert old.ask(OF_WALLET) == before
    _check_proofs(old, manifest, len(before))
    assert wrong(old) == []


@pytest.mark.heavy("held rows that stay are tested beside it")
def test_held_rows_are_deleted_once_their_hold_is_released(old: Ledger) -> None:
    placed = hold(old, OLD, WALLET)
    approved(old)
    first = delete(old)[1].certificate
    assert plan_deletion(old.settings, [old.table]).kept == (
        KeptMonth("transactions", OLD, "only rows that HOLD-1 keep are left", is_wholly_held=True),
    )
    release(old, placed.hold.number)
    (month,) = plan_deletion(old.settings, [old.table]).months
    assert [part.part for part in month.parts] == [2]
    approved(old)
    (last,) = delete(old)
    assert last.result is DeletionResult.DELETED
    assert last.certificate != first
    assert objects_of(old, OLD) == set()
    assert old.whole() == {}
    assert wrong(old) == []


@pytest.mark.heavy("held rows that stay are tested beside it")
def test_a_hold_whose_rows_are_in_another_month_only_keeps_nothing_here(old: Ledger) -> None:
    hold(old, OLDER, WALLET)
    approved(old)
    assert [one.result for one in delete(old)] == [DeletionResult.DELETED, DeletionResult.DELETED]
    assert [month for month, _ in old.whole()] == [str(OLDER)]


def test_a_hold_on_every_row_leaves_the_month_as_it_is_and_ends_the_request(old: Ledger) -> None:
    scope = HoldScope(OLD, OLD, None, Subject.CLIENT, "acme")
    place_hold(old.settings, scope, "m-1", "court order", "anna", REVIEW)
    before, objects = old.whole(), objects_of(old, OLD)
    asked = approved(old)
    outcomes = delete(old)
    reason = "only rows that HOLD-1 keep are left"
    assert [(one.result, one.reason) for one in outcomes] == [
        (DeletionResult.DELETED, ""),
        (DeletionResult.HELD, reason),
    ]
    assert failures(outcomes) == []
    assert old.whole() == {key: value for key, value in before.items() if key[0] == str(OLD)}
    assert objects_of(old, OLD) == objects
    with connect(old.settings.database_dsn, "tests") as connection:
        ended = get_request(connection, asked.request_id)
    assert (ended.state(now(old)), ended.decisions[-1].actor) == (RequestState.REVOKED, "treasury")
    assert plan_deletion(old.settings, [old.table]).kept == (
        KeptMonth("transactions", OLD, reason, is_wholly_held=True),
    )
    assert delete(old) == []
    release(old, 1)
    approved(old)
    assert [one.result for one in delete(old)] == [DeletionResult.DELETED]
    assert old.whole() == {}


def test_held_rows_stay_when_a_hold_of_the_same_subject_takes_the_place_of_theirs(old: Ledger) -> None:
    hold(old, OLD, WALLET)
    approved(old)
    delete(old)
    scope = HoldScope(OLD, OLD, None, Subject.WALLET, WALLET)
    place_hold(old.settings, scope, "matter 2026/17", "a later review", "anna", REVIEW + timedelta(days=90))
    release(old, 1)
    plan = plan_deletion(old.settings, [old.table])
    assert plan.months == ()
    assert [one.reason for one in plan.kept] == ["only rows that HOLD-2 keep are left"]
    release(old, 2)
    assert [month.month for month in plan_deletion(old.settings, [old.table]).months] == [OLD]


def test_a_late_part_of_held_rows_alone_stays_and_is_not_planned_again(old: Ledger) -> None:
    late = open_late_rows(old.settings, old.table, OLD)
    assert late
    with connect(old.settings.database_dsn, "tests") as connection:
        row = make_row(old.table, OLD, ROWS + 3) | {"wallet_id": WALLET}
        old.insert(connection, old.table, [row])
    assert warm_month(old.settings, old.table, OLD)
    archive_month(old.settings, old.table, OLD)
    publish_log(old.settings)
    hold(old, OLD, WALLET)
    asked = approved(old)
    assert [part.part for part in asked.months[1].parts] == [1, 2]
    assert {one.result for one in delete(old)} == {DeletionResult.DELETED}
    parts = dict(old.sql("SELECT part, wholly_held FROM archive_months WHERE month = %s ORDER BY 1", OLD.first_day))
    assert parts == {1: None, 2: ["HOLD-1"], 3: None}
    assert plan_deletion(old.settings, [old.table]).months == ()
    assert unfinished_uploads(old.settings) == []
    assert wrong(old) == []


@pytest.mark.sampled(1)
@pytest.mark.parametrize("step", ["kept", "ordered"])
def test_held_rows_of_a_try_that_was_killed_are_removed_by_the_next(old: Ledger, step: str) -> None:
    def die(done: str) -> None:
        if done == step:
            raise KilledError

    of_wallet = OF_WALLET.replace(str(OLD), str(OLDER))
    before = old.ask(of_wallet)
    hold(old, OLDER, WALLET)
    approved(old)
    with pytest.raises(KilledError):
        delete(old, die)
    assert len(objects_of(old, OLDER)) == 9  # the month's four, and five of the held rows
    assert [one.result for one in delete(old)] == [DeletionResult.DELETED, DeletionResult.DELETED]
    assert old.ask(of_wallet) == before
    assert objects_of(old, OLDER) == set(_kept_keys(old))
    assert wrong(old) == []


def _manifest(ledger: Ledger) -> Manifest:
    key = ledger.catalogue(OLD)["manifest_key"]
    return Manifest.from_bytes(ObjectStore(ledger.settings).read_bytes(key), key)


def _kept_keys(ledger: Ledger) -> list[str]:
    rows = ledger.sql(
        "SELECT o.object_key FROM archive_objects o JOIN archive_months USING (table_name, month, part)"
        " WHERE kept IS NOT NULL"
    )
    return [key for (key,) in rows]


def _check_proofs(ledger: Ledger, manifest: Manifest, rows: int) -> None:
    """Each held row leads to the root that the deleted part had."""
    (key,) = [key for key in _kept_keys(ledger) if key.endswith(".proofs")]
    head, *lines = ObjectStore(ledger.settings).read_bytes(key).decode().splitlines()
    said = json.loads(head)
    assert (said["root"], said["leaves"]) == (manifest.tree.root, manifest.tree.leaves)
    layout: Layout = manifest.layout
    tree = TreeHead(said["leaves"], bytes.fromhex(said["root"]))
    proved = [check_month_proof(parse_month_proof(json.loads(line)), tree, layout).rows[0] for line in lines]
    assert len(proved) == rows
    assert {row["wallet_id"] for row in proved} == {WALLET}
