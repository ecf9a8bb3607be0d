"""Rows of ours that are still under way, ended by the statement: once, with a record, and never against what ended."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from config.suppliers import Suppliers
from ledger.errors import ConflictError, DataError, TransientError
from ledger.months import Month
from ledger.transactions import Status
from sql.connection import connect
from suppliers.registry import definition_of
from tasks.archiving.to_warm import warm_month
from tasks.reconciliation.audit.chain import verify_chain
from tasks.reconciliation.casework.lists import list_runs
from tasks.reconciliation.closing.periods import close_period
from tasks.reconciliation.runs import automatic_settlement, run
from tasks.reconciliation.runs.automatic_settlement import Decided, Ground, last_day
from tasks.vending.rows import Finish, VendRows, vend_database
from tests.tasks.reconciliation.books import DAY, NOON, Books

NEXT = DAY + timedelta(days=1)
THIRD = DAY + timedelta(days=2)
RATES = {"airtime": Decimal("0.02")}


@pytest.fixture
def books(books: Books) -> Books:
    """Books of MobileMart, which has no answer for what became of airtime."""
    books.supplier = "mobilemart"
    return books


def vend(books: Books, **changes: Any) -> dict[str, Any]:
    """A row of ours whose purchase was sent and never heard of again."""
    row = books.own(status="processing", supplier_transaction_id=None, commission=Decimal("0.00"), **changes)
    books.sql("UPDATE vas_transactions_partitioned SET supplier_reference = id::text WHERE id = %s", row["id"])
    return row | {"supplier_reference": str(row["id"])}


def line(books: Books, row: dict[str, Any], status: str = "completed", **changes: Any) -> dict[str, Any]:
    """The statement's line of a vend: under the reference that the supplier knows it by."""
    told = {"reference": row["supplier_reference"], "supplier_transaction_id": f"M-{row['id'].hex[-6:]}"}
    return books.line(row, **{"status": status, "commission": None} | told | changes)


def look(books: Books, row: dict[str, Any]) -> dict[str, Any]:
    """The row as it is stored, whichever tier it is in."""
    (found,) = books.sql("SELECT * FROM vas_transactions WHERE id = %s", row["id"])
    return found


def proved(books: Books) -> int:
    """The number of events in the chain, once it is found whole."""
    with connect(books.settings.database_dsn, "tests") as connection:
        return verify_chain(connection).event_no


def test_rows_under_way_end_as_the_statement_says_and_their_breaks_with_them(books: Books) -> None:
    statuses = ("completed", "failed", "reversed")
    rows = [
        vend(books, amount=Decimal("250.00")) for _ in statuses
    ]  # more than a rule resolves: but nothing differs now
    for row, status in zip(rows, statuses, strict=True):
        line(books, row, status)
    result = books.run()
    found = [look(books, row) for row in rows]
    assert [one["status"] for one in found] == list(statuses)
    assert [one["supplier_transaction_id"] for one in found] == [f"M-{row['id'].hex[-6:]}" for row in rows]
    assert all(one["processed_at"] for one in found)
    assert result.settled.ended == dict.fromkeys(map(Status, statuses), 1)
    assert (
        "- the unfinished internal rows that the statement decides: 1 completed, 1 failed, 1 reversed"
        in result.markdown()
    )
    assert "Unfinished internal rows that this ended: 1 completed, 1 failed, 1 reversed." in result.markdown()
    assert (books.breaks("resolved"), result.waiting) == ([("status",)] * 3, 0)
    first, *_ = books.sql("SELECT action, actor, decision, reason, run_id FROM recon_resolutions ORDER BY break_id")
    assert first == {
        "action": "auto_resolved",
        "actor": "treasury",
        "decision": "settled_by_statement",
        "reason": "line 1 of the statement says completed: the internal row was ended as completed",
        "run_id": None,
    }
    assert proved(books) == 4


@pytest.mark.heavy("rows end by the lines of their own day, too")
def test_the_commission_is_the_statements_or_else_the_contracts(books: Books) -> None:
    suppliers = books.settings.suppliers
    contract = suppliers.mobilemart.model_copy(update={"commission": RATES})
    books.settings = books.settings.model_copy(
        update={"suppliers": suppliers.model_copy(update={"mobilemart": contract})}
    )
    told, untold, wrong = vend(books), vend(books), vend(books)
    line(books, told, commission=Decimal("2.0050"))
    line(books, untold)
    line(books, wrong, commission=Decimal("-1.00"))
    books.run()
    assert [look(books, row)["commission"] for row in (told, untold, wrong)] == [
        Decimal("2.01"), Decimal("2.00"), Decimal("2.00"),
    ]  # fmt: skip


@pytest.mark.heavy("a day run again is watched by the tests of runs")
def test_the_day_run_again_finds_nothing_more_to_do(books: Books) -> None:
    line(books, vend(books))
    statement = books.statement()
    books.run(statement)
    again = books.run(statement)
    assert (again.settled.count, again.summary.figures["breaks"], again.waiting) == (0, 0, 0)
    assert again.summary.figures["open_rows_decided"] == {}
    assert books.records() == [("auto_resolved", "settled_by_statement")]


@pytest.mark.heavy("a dry run is tested with the runs")
def test_a_dry_run_ends_nothing_and_says_what_would_end(books: Books) -> None:
    row = vend(books)
    line(books, row)
    dry = books.run(dry_run=True)
    assert look(books, row)["status"] == "processing"
    assert dry.summary.figures["open_rows_decided"] == {"completed": 1}


UNDECIDED: list[tuple[dict[str, str], dict[str, Any]]] = [
    ({}, {"status": "pending"}),
    ({"status": "failed"}, {}),
    ({"status": "pending"}, {}),
    ({"supplier_reference": "ORD-OTHER"}, {"reference": "ORD-OTHER"}),  # of other origin: none of our vends
    ({}, {"reference": None, "supplier_transaction_id": None}),  # only alike
    ({}, {"currency": "USD"}),
]


def test_what_the_statement_does_not_decide_stays_as_it_is(books: Books) -> None:
    rows = []
    for number, (ours, theirs) in enumerate(UNDECIDED):
        row = vend(books, created_at=NOON + timedelta(hours=number))
        for name, value in ours.items():
            books.sql(f"UPDATE vas_transactions_partitioned SET {name} = %s WHERE id = %s", value, row["id"])
        line(books, row, **theirs)
        rows.append(row)
    result = books.run()
    expected = [ours.get("status", "processing") for ours, _ in UNDECIDED]
    assert [look(books, row)["status"] for row in rows] == expected
    assert (result.settled.count, books.breaks("resolved")) == (0, [])
    assert books.records() == [("noted", "line_elsewhere")]  # of the line in another currency


@pytest.mark.heavy("a line of its reference that is not matched with it leaves the row, too")
def test_two_lines_of_one_reference_that_contradict_each_other_are_for_people(books: Books) -> None:
    row = vend(books)
    line(books, row, "failed")
    line(books, row, supplier_transaction_id="M-2")
    books.run()
    assert look(books, row)["status"] == "processing"
    assert len(books.breaks("open")) == 2


@pytest.mark.heavy("rows end by the lines of their own day, too")
def test_a_reversed_sale_ends_as_reversed(books: Books) -> None:
    row = vend(books)
    line(books, row)
    line(books, row, kind="reversal", amount=Decimal("-100.00"))
    books.run()
    assert look(books, row)["status"] == "reversed"


@pytest.mark.heavy("rows end by the lines of their own day, too")
def test_what_else_is_wrong_stays_open_beside_the_record(books: Books) -> None:
    row = vend(books)
    line(books, row, amount=Decimal("90.00"))
    books.run()
    assert look(books, row)["status"] == "completed"
    assert (books.the_break()["issues"], books.the_break()["state"]) == (["amount", "status"], "open")
    assert books.records() == [("noted", "settled_by_statement")]
    assert proved(books) == 2


@pytest.mark.heavy("rows end by the lines of their own day, too")
def test_a_row_ends_by_the_line_that_comes_with_the_next_day(books: Books) -> None:
    row = vend(books)
    books.run()
    line(books, row, occurred_at=NOON + timedelta(hours=20))
    books.run(books.statement(NEXT), NEXT)
    assert look(books, row)["status"] == "completed"
    assert ("closed", "counterpart_arrived") in books.records()
    assert proved(books) == 3


@pytest.mark.heavy("rows end by the lines of their own day, too")
def test_a_row_in_a_warm_month_ends_too(books: Books) -> None:
    row = vend(books)
    line(books, row)
    assert warm_month(books.settings, books.settings.table("vas_transactions"), Month.of(NOON))
    assert books.run().settled.ended == {Status.COMPLETED: 1}
    assert look(books, row)["status"] == "completed"


@pytest.mark.heavy("rows that a statement ends are tested beside it")
def test_a_purchase_that_no_statement_has_was_not_sold(books: Books) -> None:
    row = vend(books)
    first = books.run()
    assert (look(books, row)["status"], first.settled.count) == ("processing", 0)
    second = books.run(books.statement(NEXT), NEXT)
    assert look(books, row)["status"] == "failed"
    assert (second.settled.absent, second.waiting) == (1, 0)
    assert "1 failed (1 because no statement has them)" in second.markdown()
    (record,) = books.sql("SELECT action, decision, reason FROM recon_resolutions")
    assert record == {
        "action": "auto_resolved", "decision": "not_on_any_statement",
        "reason": f"no statement from {DAY} to {NEXT} has it: the internal row was ended as failed",
    }  # fmt: skip
    again = books.run(books.statement(), DAY)
    assert (again.summary.figures["breaks"], again.waiting) == (0, 0)
    assert proved(books) == 4


@pytest.mark.parametrize("is_vend", [False, True])
def test_a_row_whose_id_has_no_time_is_no_vend_and_keeps_no_other_from_its_end(books: Books, is_vend: bool) -> None:
    stranger = vend(books, id=UUID("019c22f1-d8e8-426b-b2a7-4de452e6b438"))  # of version 4, though within its month
    if not is_vend:
        books.sql("UPDATE vas_transactions_partitioned SET supplier_reference = 'x' WHERE id = %s", stranger["id"])
    row = vend(books)
    books.run()
    books.run(books.statement(NEXT), NEXT)
    assert (look(books, row)["status"], look(books, stranger)["status"]) == ("failed", "processing")


@pytest.mark.heavy("what a statement does not decide is tested beside it")
def test_a_day_without_its_statement_proves_no_absence(books: Books) -> None:
    row = vend(books)
    books.run()
    books.run(books.statement(THIRD), THIRD)
    assert look(books, row)["status"] == "processing"
    books.run(books.statement(NEXT), NEXT)
    assert look(books, row)["status"] == "failed"


def test_absence_proves_something_once_no_later_statement_can_have_the_sale() -> None:
    last_minute = datetime(2026, 2, 3, 21, 59, tzinfo=UTC)  # of DAY in Johannesburg
    suppliers = Suppliers()
    assert last_day(suppliers.mobilemart, last_minute) == NEXT
    assert last_day(suppliers.mobilemart, last_minute + timedelta(minutes=1)) == THIRD
    assert last_day(suppliers.flash, last_minute) == THIRD  # posted again within 24 hours, it may be sold then
    assert last_day(suppliers.peach, last_minute) is None  # its statements tell of settled payments only


@pytest.mark.heavy("a line of its reference proves no absence, either")
def test_a_line_that_may_be_the_row_proves_no_absence(books: Books) -> None:
    row = vend(books)
    for _ in range(2):  # alike, and without any identifier
        books.line(row, reference=None, supplier_transaction_id=None, status="completed")
    books.run()
    (found,) = books.sql("SELECT note FROM recon_breaks WHERE class = 'missing_there'")
    assert found["note"].startswith("may be line 1")
    books.run(books.statement(NEXT), NEXT)
    assert look(books, row)["status"] == "processing"


@pytest.mark.sampled(1)
@pytest.mark.parametrize("theirs", [{"currency": "USD"}, {}])
def test_a_line_of_its_reference_that_is_not_matched_with_it_proves_no_absence(
    books: Books, theirs: dict[str, Any]
) -> None:
    row = vend(books)
    if not theirs:  # somebody gave the supplier's id of our vend's line to a row of their own: it takes the line
        books.own(supplier_transaction_id=f"M-{row['id'].hex[-6:]}")
    line(books, row, **theirs)
    statement = books.statement()
    for _ in range(2):
        books.run(statement)
    assert [one for one in books.records() if one[0] == "noted"] == [("noted", "line_elsewhere")]
    books.run(books.statement(NEXT), NEXT)
    assert look(books, row)["status"] == "processing"
    proved(books)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(("counts_lines", "status"), [(True, "failed"), (False, "processing")])
def test_a_statement_without_lines_proves_absence_only_where_the_file_counts_them(
    books: Books, monkeypatch: pytest.MonkeyPatch, counts_lines: bool, status: str
) -> None:
    row = vend(books)
    definition = definition_of(books.settings.suppliers, "mobilemart")
    form = replace(definition.statement(), counts_lines=counts_lines)
    found = replace(definition, statement=lambda: form)
    monkeypatch.setattr(run, "definition_of", lambda *_: found)
    for day in (DAY, NEXT, THIRD):
        result = books.run(day=day)
    assert result.warnings == (
        "the statement has no lines: if anything was sold, ask the supplier for another, which takes its place.",
    )
    assert look(books, row)["status"] == status


@pytest.mark.heavy("a day without its statement proves no absence, either")
def test_a_run_before_its_day_is_over_says_so_and_proves_no_absence(books: Books) -> None:
    row = vend(books)
    books.run()
    books.sql("ALTER TABLE recon_runs DISABLE TRIGGER USER")
    books.sql("UPDATE recon_runs SET started_at = '2026-02-03 21:59:59+00'")
    books.run(day=NEXT)
    assert look(books, row)["status"] == "processing"
    (early,) = list_runs(books.settings, first=DAY, last=DAY)
    assert early.warnings[0].startswith("the day is not over: what comes later is missing here")
    with pytest.raises(ConflictError, match=f"1 day was never reconciled once it was over, the first is {DAY}"):
        close_period(books.settings, "mobilemart", DAY, NEXT, "thandi", "month end")
    books.run()
    books.run(day=NEXT)
    assert look(books, row)["status"] == "failed"


@pytest.mark.parametrize(("taken_at", "status"), [("21:59:59", "processing"), ("22:00:00", "failed")])
def test_a_statement_that_was_taken_before_its_day_was_over_proves_no_absence(
    books: Books, taken_at: str, status: str
) -> None:
    """The run was made later, and with this statement; the sale may have come later than the statement."""
    row = vend(books)
    books.run()
    books.sql(
        "INSERT INTO statement_files (supplier, day, name, sha256, size_bytes, state, line_count, sums, object_key,"
        " object_sha256, actor, taken_at)"
        " SELECT supplier, day, 'half', %s, 1, 'taken', 0, '{}', figures -> 'statement' ->> 'key', %s, 'x', %s"
        " FROM recon_runs",
        b"0" * 32, b"0" * 32, f"{DAY}T{taken_at}Z",
    )  # fmt: skip
    books.run(day=NEXT)
    assert look(books, row)["status"] == status


def _decided(row: dict[str, Any], status: Status = Status.COMPLETED) -> Decided:
    return Decided(
        row["id"], Finish(status, row["supplier_reference"], "M-1"), Ground.LISTED, "line 1", fingerprint="00"
    )


def test_of_a_sweep_and_two_runs_at_once_exactly_one_ends_a_row(books: Books) -> None:
    rows = [vend(books) for _ in range(20)]
    table = books.settings.table("vas_transactions")

    def run() -> int:
        with connect(books.settings.database_dsn, "tests") as connection:
            return automatic_settlement.settle(connection, table, "mobilemart", [_decided(row) for row in rows]).count

    async def sweep() -> int:
        async with vend_database(books.settings) as database:
            vends = VendRows(books.settings, database)
            now = datetime.now(UTC)
            ends = [vends.finish(row["id"], Finish(Status.FAILED, row["supplier_reference"]), now) for row in rows]
            return sum(await asyncio.gather(*ends))

    with ThreadPoolExecutor(3) as pool:
        counts = [pool.submit(run), pool.submit(run), pool.submit(lambda: asyncio.run(sweep()))]
        assert sum(one.result() for one in counts) == len(rows)
    assert {look(books, row)["status"] for row in rows} <= {"completed", "failed"}


def test_a_row_that_ended_otherwise_meanwhile_keeps_its_break(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    agreeing, contradicting = vend(books), vend(books)
    line(books, agreeing)
    line(books, contradicting)
    real = automatic_settlement.settle

    def late(*arguments: Any) -> Any:
        for row, status in ((agreeing, "completed"), (contradicting, "failed")):
            books.sql("UPDATE vas_transactions_partitioned SET status = %s WHERE id = %s", status, row["id"])
        return real(*arguments)

    monkeypatch.setattr(automatic_settlement, "settle", late)
    result = books.run()
    assert (result.settled.count, result.settled.agreed, result.settled.contradicted) == (0, 1, 1)
    assert len(books.breaks("open")) == 1
    assert look(books, contradicting)["status"] == "failed"


def test_a_run_that_dies_before_it_ends_a_row_is_finished_by_the_next(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = vend(books)
    line(books, row)
    statement = books.statement()

    def die(*_: Any) -> None:
        raise TransientError("killed")

    with monkeypatch.context() as broken:
        broken.setattr(automatic_settlement, "settle", die)
        with pytest.raises(TransientError, match="killed"):
            books.run(statement)
    assert (look(books, row)["status"], books.breaks("open")) == ("processing", [("status",)])
    books.run(statement)
    assert (look(books, row)["status"], books.breaks("resolved")) == ("completed", [("status",)])


def test_a_row_that_cannot_be_ended_stops_no_other_and_is_told(books: Books) -> None:
    bad, good = vend(books), vend(books)
    line(books, bad, supplier_transaction_id="x" * 200)  # longer than the column
    line(books, good)
    with pytest.raises(
        DataError, match=f"the run is stored, but it could not end 1 row that it decides: {bad['id']}"
    ) as raised:
        books.run()
    (run_id,) = books.sql("SELECT run_id FROM recon_runs")
    assert str(raised.value).endswith(f"`treasury recon show-run {run_id['run_id']}` shows the run")
    assert [look(books, row)["status"] for row in (bad, good)] == ["processing", "completed"]
    assert books.breaks("open") == [("status",)]
    assert proved(books) == 2


def test_a_row_whose_record_is_not_stored_stops_no_other_and_is_told(books: Books) -> None:
    bad, good = vend(books), vend(books)
    line(books, bad)
    line(books, good)
    books.sql(
        "CREATE FUNCTION drop_row() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;"
        " CREATE TRIGGER dropping BEFORE INSERT ON recon_resolutions FOR EACH ROW WHEN (NEW.break_id = 1)"
        " EXECUTE FUNCTION drop_row()"
    )
    with pytest.raises(DataError, match=f"could not end 1 row that it decides: {bad['id']}: recon_resolutions: 1 row"):
        books.run()
    assert [look(books, row)["status"] for row in (bad, good)] == ["processing", "completed"]
    assert proved(books) == 2
