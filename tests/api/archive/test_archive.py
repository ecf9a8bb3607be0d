"""The archive over HTTP: its months, proofs that hold elsewhere, the rows of the key only, and the log for everyone."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from config import Settings
from config.retention import RetentionSettings
from ledger.holds import HoldScope, Subject
from ledger.identifiers import new_id
from ledger.months import Month
from ledger.policy import Tier
from ledger.proof_files import CheckedProof, check_proof, unpack
from ledger.scopes import Scope
from ledger.tables import TieredTable
from ledger.transparency.notes import open_checkpoint
from ledger.transparency.policies import LogPolicy
from ledger.transparency.proof_files import TlogProof
from ledger.transparency.tiles import Tree, decode_bundle, tiles_of
from sql.connection import connect
from sql.installation import read_installation
from sql.log import read_log
from tasks.archiving.calendar import utc_today
from tasks.archiving.late_rows import open_late_rows
from tasks.archiving.life import read_life
from tasks.retention.approvals import approve, request_deletion
from tasks.retention.deletion import DeletionOutcome, delete_months
from tasks.retention.holds import place_hold
from tasks.transparency.publish import publish_log
from tasks.transparency.report import policy_text
from tests.api.conftest import MakeKey, serving
from tests.api.ledger_rows import Ledger

MONTHS = "/api/v1/archive/months"
ROWS = "/api/v1/archive/proofs/rows"
STATEMENTS = "/api/v1/archive/proofs/statements"
COLD = Month(2024, 3)
Rows = list[dict[str, Any]]
READ = (Scope.ARCHIVE_READ,)
READ_ALL = (Scope.ARCHIVE_READ, Scope.READ_ALL)


@pytest.fixture
def rows(ledger: Ledger) -> Rows:
    """A cold month with three rows of `acme`'s wallet, one of `other` in its own, and one of each in a shared one."""
    table = ledger.settings.table("transactions")
    at = [COLD.lower + timedelta(days=day) for day in range(3)]
    made = ledger.add(table, at, wallet_id="w-acme")
    made += ledger.add(table, at[:1], wallet_id="w-other", client_id="other")
    made += ledger.add(table, at[:1], wallet_id="w-shared")
    made += ledger.add(table, at[1:2], wallet_id="w-shared", client_id="other")
    ledger.cold(table, COLD)
    publish_log(ledger.settings)
    return made


@pytest.fixture
def acme(http: httpx.Client, make_key: MakeKey) -> httpx.Client:
    """A client with a key of `acme` that may read the archive."""
    http.headers.update(make_key(scopes=READ))
    return http


def checked(settings: Settings, answer: httpx.Response) -> CheckedProof:
    """What the file in an answer proves, to somebody who has the policy only."""
    assert answer.status_code == 200, answer.text
    return check_proof(answer.content, LogPolicy.parse(policy_text(settings).encode()))


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rsplit(":", 1)[1]


def test_archived_months_are_listed_with_what_the_log_says_of_them(acme: httpx.Client, rows: Rows) -> None:
    (month,) = acme.get(MONTHS).json()["items"]
    assert (month["table"], month["month"], month["part"], month["tier"]) == ("transactions", "2024-03", 1, "cold")
    assert (month["rows"], month["sums"]["ZAR"]["amount"]) == (6, "723.00")
    assert month["log_entry"] is not None
    assert month["leaves"] == 6 + 3  # a header before the rows of each wallet
    assert month["verified_at"] is not None
    detail = acme.get(f"{MONTHS}/transactions/2024-03").json()
    assert (detail["parts"], detail["provable_from"]) == ([month], None)


def test_each_object_of_a_month_is_named_with_what_is_in_the_archive(
    acme: httpx.Client, rows: Rows, ready: Settings
) -> None:
    (month,) = acme.get(MONTHS).json()["items"]
    archive = Path(ready.archive_location.removeprefix("file://"))
    named = {kind: month[kind] for kind in ("file", "tree", "lookup", "manifest")}
    for one in named.values():
        content = (archive / one["key"]).read_bytes()
        assert one["sha256"] == hashlib.sha256(content).hexdigest()
        assert one["size_bytes"] in (None, len(content))
    with psycopg.connect(ready.database_dsn) as connection:
        known = connection.execute("SELECT object_key FROM archive_objects").fetchall()
    assert {one["key"] for one in named.values()} == {key for (key,) in known}


@pytest.mark.heavy("a list of months is tested beside it")
def test_pages_of_months_leave_none_out(acme: httpx.Client, ledger: Ledger) -> None:
    table = ledger.settings.table("transactions")
    months = [Month(2023, number) for number in range(1, 6)]
    for month in months:
        ledger.add(table, [month.lower])
        ledger.cold(table, month)
    first = acme.get(MONTHS, params={"limit": 2}).json()
    second = acme.get(MONTHS, params={"limit": 3, "before": first["next_before"]}).json()
    listed = [one["month"] for one in first["items"] + second["items"]]
    assert listed == [str(month) for month in reversed(months)]
    assert second["next_before"] is None
    assert all(one["log_entry"] is None for one in first["items"])  # nothing is published
    within = acme.get(MONTHS, params={"from": "2023-02", "to": "2023-03", "table": "transactions"}).json()
    assert [one["month"] for one in within["items"]] == ["2023-03", "2023-02"]
    assert acme.get(MONTHS, params={"table": "vas_transactions"}).json()["items"] == []


def test_a_month_that_is_still_hot_says_when_it_is_provable(acme: httpx.Client, ledger: Ledger) -> None:
    table = ledger.settings.table("transactions")
    (row,) = ledger.add(table, [Month(2026, 10).lower])
    month = acme.get(f"{MONTHS}/transactions/2026-10").json()
    ledger.warm(table, Month(2026, 10))
    assert (month["tier"], month["parts"], month["provable_from"]) == ("hot", [], "2027-11-01")
    ledger.add(table, [COLD.lower])
    ledger.cold(table, COLD)
    publish_log(ledger.settings)
    answer = acme.get(f"{ROWS}/{row['id']}")
    assert problem(answer) == (409, "not-yet")
    assert answer.json()["detail"] == (
        "transactions 2026-10 is warm: provable once it is archived, by its policy from 2027-11-01 on"
    )


def test_what_is_not_there_is_404_and_what_is_wrong_is_named(acme: httpx.Client, rows: Rows) -> None:
    for path in (f"{MONTHS}/transactions/2011-01", f"{ROWS}/{uuid4()}", f"{ROWS}/{new_id(COLD.lower, lambda _: 1)}"):
        assert problem(acme.get(path)) == (404, "not-found")
    for path, field in (
        (f"{MONTHS}/nothing/2024-03", "table"),
        (f"{MONTHS}/transactions/2024-13", "month"),
        (f"{MONTHS}?from=March", "from"),
        (f"{MONTHS}?limit=0", "limit"),
        (f"{ROWS}/7", "id"),
        (f"{ROWS}/{rows[0]['id']}?table=x", "table"),
        (f"{STATEMENTS}?month=2024-03", "wallet_id"),
        (f"{STATEMENTS}?wallet_id=w-acme", "month"),
        (f"{STATEMENTS}?wallet_id=w-acme&month=2024-03&part=0", "part"),
    ):
        answer = acme.get(path)
        assert problem(answer) == (422, "invalid"), path
        assert answer.json()["errors"][0]["field"] == field
    assert acme.get(f"{STATEMENTS}?wallet_id=w-acme&month=2024-03&part=2").status_code == 404


def test_a_row_is_proved_to_its_own_client(acme: httpx.Client, ready: Settings, rows: Rows) -> None:
    answer = acme.get(f"{ROWS}/{rows[0]['id']}")
    (fields,) = checked(ready, answer).proved.rows
    assert (fields["id"], fields["amount"], fields["client_id"]) == (str(rows[0]["id"]), "120.50", "acme")
    assert answer.headers["content-disposition"].endswith(f'2024-03-row-{rows[0]["id"]}.tlog-proof"')
    assert answer.headers["cache-control"] == "no-store"


def test_a_row_of_another_client_is_not_there(
    acme: httpx.Client, make_key: MakeKey, ready: Settings, rows: Rows
) -> None:
    others = rows[3]
    assert problem(acme.get(f"{ROWS}/{others['id']}")) == (404, "not-found")
    answer = acme.get(f"{ROWS}/{others['id']}", headers=make_key(scopes=READ_ALL))
    assert checked(ready, answer).proved.rows[0]["client_id"] == "other"


def test_a_statement_shows_all_rows_of_a_wallet_and_no_other_name(
    acme: httpx.Client, ready: Settings, rows: Rows
) -> None:
    answer = acme.get(STATEMENTS, params={"wallet_id": "w-acme", "month": "2024-03"})
    proof = checked(ready, answer)
    assert {UUID(fields["id"]) for fields in proof.proved.rows} == {row["id"] for row in rows[:3]}
    shown = unpack(TlogProof.from_bytes(answer.content).extra or b"")
    assert b"w-acme" in shown
    assert b"w-other" not in shown
    assert b"w-shared" not in shown
    assert answer.headers["content-disposition"] == ('attachment; filename="transactions-2024-03-statement.tlog-proof"')


def test_a_statement_with_rows_of_other_clients_needs_read_all(
    acme: httpx.Client, make_key: MakeKey, ready: Settings, rows: Rows
) -> None:
    shared = {"wallet_id": "w-shared", "month": "2024-03"}
    answer = acme.get(STATEMENTS, params=shared)
    assert problem(answer) == (403, "forbidden")
    assert "read:all" in answer.json()["detail"]
    for wallet in ("w-other", "w-none"):  # a wallet of another client looks like one that does not exist
        assert problem(acme.get(STATEMENTS, params=shared | {"wallet_id": wallet})) == (404, "not-found")
    answer = acme.get(STATEMENTS, params=shared, headers=make_key(scopes=READ_ALL))
    assert len(checked(ready, answer).proved.rows) == 2


def test_a_month_with_late_rows_asks_for_the_part(
    acme: httpx.Client, make_key: MakeKey, ledger: Ledger, ready: Settings, rows: Rows
) -> None:
    table = ready.table("transactions")
    open_late_rows(ready, table, COLD)
    late = ledger.add(table, [COLD.upper - timedelta(seconds=1)], wallet_id="w-late")
    for path in (f"{STATEMENTS}?wallet_id=w-acme&month=2024-03", f"{ROWS}/{late[0]['id']}"):
        answer = acme.get(path)
        assert problem(answer) == (409, "not-yet")
        assert answer.json()["detail"] == (
            "transactions 2024-03, part 2, is hot: provable once it is archived, by the next nightly run"
        )
    ledger.cold(table, COLD)
    publish_log(ready)
    wanted = {"wallet_id": "w-late", "month": "2024-03"}
    answer = acme.get(STATEMENTS, params=wanted)
    assert answer.json()["errors"][0] == {
        "field": "part",
        "rule": "is required: rows came late to this month, and it has the parts 1, 2",
    }
    (fields,) = checked(ready, acme.get(STATEMENTS, params=wanted | {"part": 2})).proved.rows
    assert UUID(fields["id"]) == late[0]["id"]
    assert problem(acme.get(STATEMENTS, params=wanted | {"part": 1})) == (403, "forbidden")  # it names other wallets
    absence = acme.get(STATEMENTS, params=wanted | {"part": 1}, headers=make_key(scopes=READ_ALL))
    assert checked(ready, absence).proved.sentence == "there is no row of 'w-late' in part 1 of the month"


def test_any_client_of_the_log_reads_it_over_http(acme: httpx.Client, ready: Settings, rows: Rows) -> None:
    note = acme.get("/log/checkpoint").content
    with connect(ready.database_dsn, "tests") as connection:
        installation = read_installation(connection)
        assert installation is not None
        row = read_log(connection, installation.installation_id)
    assert row is not None
    policy = LogPolicy.parse(policy_text(ready).encode())
    checkpoint, _ = open_checkpoint(note, [log.key for log in policy.logs], row.origin)
    entries: list[bytes] = []
    for tile in tiles_of(checkpoint.size):
        answer = acme.get(f"/log/{tile.path}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/octet-stream")
        if tile.level is None:
            entries += decode_bundle(answer.content, tile.width)
    assert Tree(entries).root(checkpoint.size) == checkpoint.root


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", ["0/000", "0/001", "0/999.p/3", "x", "8/000", "0/000.p/256", "0/0"])
def test_what_is_no_tile_is_404(acme: httpx.Client, rows: Rows, name: str) -> None:
    assert acme.get(f"/log/tile/{name}").status_code in {400, 404}


def test_before_the_first_publication_there_is_no_log(acme: httpx.Client) -> None:
    assert problem(acme.get("/log/checkpoint")) == (404, "not-found")


@pytest.fixture
def public(ready: Settings) -> Iterator[httpx.Client]:
    """A client without a key, of an API whose log is public."""
    opened = ready.model_copy(update={"log_open_to": ("127.0.0.0/8",)})
    with serving(opened) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


def test_the_log_is_public_by_a_setting_and_nothing_else_is(public: httpx.Client, rows: Rows) -> None:
    note = public.get("/log/checkpoint")
    assert note.status_code == 200
    size = int(note.text.splitlines()[1])
    assert public.get(f"/log/tile/entries/000.p/{size}").status_code == 200
    for path in (MONTHS, f"{MONTHS}/transactions/2024-03", f"{ROWS}/{rows[0]['id']}", STATEMENTS):
        assert public.get(path).status_code == 401


def test_without_the_scope_nothing_of_the_archive_is_read(http: httpx.Client, make_key: MakeKey, rows: Rows) -> None:
    http.headers.update(make_key(scopes=[scope for scope in Scope if scope is not Scope.ARCHIVE_READ]))
    for path in (MONTHS, f"{ROWS}/{rows[0]['id']}", STATEMENTS, "/log/checkpoint", "/log/tile/0/000.p/3"):
        assert problem(http.get(path)) == (403, "forbidden")


def test_a_damaged_archive_is_named_and_nothing_is_answered_from_it(
    acme: httpx.Client, ready: Settings, rows: Rows
) -> None:
    (month,) = acme.get(MONTHS).json()["items"]
    tree = Path(ready.archive_location.removeprefix("file://")) / month["tree"]["key"]
    tree.chmod(0o600)
    tree.write_bytes(bytes(32) + tree.read_bytes()[32:])
    assert problem(acme.get(f"{ROWS}/{rows[0]['id']}")) == (500, "damaged")
    assert acme.get(MONTHS).status_code == 200


def deleted(ready: Settings, table: TieredTable) -> list[DeletionOutcome]:
    """Delete all that is past its policy, with two approvals and no grace."""
    at_once = ready.model_copy(update={"retention": RetentionSettings(grace_days=0)})
    request = request_deletion(at_once, [table], "anna", "past the policy")
    for person in ("ben", "carol"):
        approve(at_once, request.request_id, person, "looked at it")
    return delete_months(at_once)


def test_a_proof_of_a_deleted_month_is_answered_with_the_certificate(
    acme: httpx.Client, ledger: Ledger, ready: Settings
) -> None:
    month, table = Month(2014, 1), ready.table("transactions")
    (row,) = ledger.add(table, [month.lower])
    ledger.cold(table, month)
    publish_log(ready)
    (outcome,) = deleted(ready, table)

    for path in (f"{ROWS}/{row['id']}", f"{STATEMENTS}?wallet_id=wallet-1&month=2014-01"):
        answer = acme.get(path)
        assert problem(answer) == (410, "gone")
        assert outcome.certificate in answer.json()["detail"]
    found = acme.get(f"{MONTHS}/transactions/2014-01").json()
    assert (found["tier"], found["certificate"], found["parts"]) == ("deleted", outcome.certificate, [])
    assert acme.get(MONTHS).json()["items"] == []


def test_a_month_whose_newest_part_is_deleted_is_where_its_other_part_is(
    acme: httpx.Client, ledger: Ledger, ready: Settings
) -> None:
    month, table = Month(2014, 1), ready.table("transactions")
    ledger.add(table, [month.lower], wallet_id="w-held")
    ledger.cold(table, month)
    open_late_rows(ready, table, month)
    ledger.add(table, [month.lower], wallet_id="w-late")
    ledger.cold(table, month)
    publish_log(ready)
    scope = HoldScope(month, month, table.name, Subject.WALLET, "w-held")
    review = datetime.now(UTC).date() + timedelta(days=30)
    place_hold(ready, scope, "matter 7/24", "asked for by the court", "anna", review)
    at_once = ready.model_copy(update={"retention": RetentionSettings(grace_days=0)})
    request = request_deletion(at_once, [table], "anna", "past the policy")
    for person in ("ben", "carol"):
        approve(at_once, request.request_id, person, "looked at it")
    delete_months(at_once)

    found = acme.get(f"{MONTHS}/transactions/2014-01").json()
    assert (found["tier"], [part["part"] for part in found["parts"]]) == ("cold", [1])
    (life,) = [one for one in read_life(ready, None).tables[0].months if one.month == month]
    (known,) = life.parts
    assert (life.tier, life.rows, life.size_bytes) == (Tier.COLD, 1, known.object_bytes)
    assert life.deletion != "deleted"


def test_what_holds_keep_of_a_deleted_month_is_proved_row_by_row_only(
    acme: httpx.Client, make_key: MakeKey, ledger: Ledger, ready: Settings
) -> None:
    month, table = Month(2014, 1), ready.table("transactions")
    (kept,) = ledger.add(table, [month.lower], wallet_id="w-held", client_id="other")
    (gone,) = ledger.add(table, [month.lower], wallet_id="w-acme")
    ledger.cold(table, month)
    publish_log(ready)
    scope = HoldScope(month, month, None, Subject.WALLET, "w-held")
    place_hold(ready, scope, "m-1", "court order", "anna", utc_today() + timedelta(days=90))
    (outcome,) = deleted(ready, table)

    read_all = make_key(scopes=READ_ALL)
    assert checked(ready, acme.get(f"{ROWS}/{kept['id']}", headers=read_all)).archived.part == 2
    statements = [f"{STATEMENTS}?wallet_id={wallet}&month=2014-01" for wallet in ("w-held", "w-acme", "w-none")]
    unknown = [f"{ROWS}/{gone['id']}", f"{ROWS}/{new_id(month.lower, lambda _: 1)}"]
    hidden = f"{ROWS}/{kept['id']}"  # of another client: answered like an id that does not exist
    for path in (*statements, *unknown, hidden):
        answer = acme.get(path)
        assert problem(answer) == (410, "gone"), path
        assert outcome.certificate in answer.json()["detail"]
    found = acme.get(f"{MONTHS}/transactions/2014-01").json()
    assert (found["tier"], found["certificate"]) == ("cold", outcome.certificate)
    assert [part["part"] for part in found["parts"]] == [2]
