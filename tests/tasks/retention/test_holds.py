"""A hold keeps months or rows, is released by two other people, and is an event of the public log."""

import hashlib
import json
from datetime import timedelta

import pytest

from ledger.errors import ConfigError, FieldError, NotFoundError, RefusalError
from ledger.holds import Hold, HoldScope, Lack, Subject, hold_number
from ledger.months import Month
from ledger.transparency.events import Event, Held
from ledger.transparency.policies import LogPolicy
from ledger.transparency.replay import replay_entries
from ledger.transparency.tiles import Tree
from sql.connection import connect
from sql.holds import review_holds
from sql.installation import read_installation
from sql.log import log_lock, read_entries
from sql.old_months import month_ends
from storage.store import ObjectStore
from tasks.archiving.calendar import utc_today
from tasks.retention import holds as module
from tasks.retention.deletion_plan import plan_deletion
from tasks.retention.holds import holds, place_hold, reject_release, release_hold, show_hold
from tasks.transparency import at_once
from tasks.transparency.publish import publish_log
from tasks.transparency.report import policy_text
from tasks.verifying.verification import VerificationScope, verify_archive
from tests.tasks.archiving.ledger import HOT, Ledger
from tests.tasks.retention.aged import (
    OLD,
    OLDER,
    REVIEW,
    KilledError,
    approved,
    certificate,
    delete,
    hold,
    release,
    verified,
    wrong,
)

WALLET = "wallet-3"


def events(ledger: Ledger) -> list[Event]:
    publish_log(ledger.settings)
    with connect(ledger.settings.database_dsn, "tests") as connection:
        installation = read_installation(connection)
        assert installation is not None
        return [Event.from_bytes(entry) for entry in read_entries(connection, installation.installation_id)]


def place(ledger: Ledger, scope: HoldScope, **changes: object) -> None:
    given = {"matter": "m-1", "reason": "court order", "actor": "anna", "review_on": REVIEW} | changes
    place_hold(ledger.settings, scope, **given)  # type: ignore[arg-type]  # each test changes one of them


def published(ledger: Ledger) -> list[str]:
    """The events of the log in the archive, by its bucket alone."""
    policy = LogPolicy.parse(policy_text(ledger.settings).encode())
    report = verify_archive(ledger.settings, VerificationScope(sample=0), policy=policy)
    assert report.findings == []
    waiting = ledger.sql("SELECT count(*) FROM log_events WHERE entry_index IS NULL")
    assert waiting == [(0,)]
    names = ledger.sql("SELECT event FROM log_events WHERE entry_index < %s ORDER BY entry_index", report.size)
    return [name for (name,) in names]


def test_a_hold_and_its_release_are_in_the_published_log_at_once(old: Ledger) -> None:
    placed = hold(old, OLD)
    assert published(old)[-1] == "held"
    release(old, placed.hold.number)
    assert published(old)[-1] == "released"


def test_a_hold_is_placed_while_the_log_cannot_be_published(old: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_once, "_WAIT_S", 1)
    with connect(old.settings.database_dsn, "tests") as connection, log_lock(connection):
        assert hold(old, OLD).is_open
    assert old.sql("SELECT count(*) FROM log_events WHERE event = 'held' AND entry_index IS NULL") == [(1,)]
    assert "held" in [event.body.event for event in events(old)]


def test_a_hold_is_recorded_with_its_object_and_an_event_that_names_nobody(old: Ledger) -> None:
    placed = hold(old, OLD, WALLET)
    (event,) = [one for one in events(old) if isinstance(one.body, Held)]
    body = event.body
    assert isinstance(body, Held)
    assert (body.hold, body.table, body.month, body.last_month, body.subject) == (
        "HOLD-1",
        "transactions",
        str(OLD),
        str(OLD),
        "wallet",
    )
    assert body.record is not None
    content = ObjectStore(old.settings).read_bytes(body.record.key)
    assert hashlib.sha256(content).hexdigest() == body.record.sha256
    record = json.loads(content)
    assert (record["matter"], record["actor"], record["scope"]["value"]) == ("matter 2026/17", "anna", WALLET)
    assert len(record["salt"]) == 32
    entry = event.to_bytes().decode()
    assert all(text not in entry for text in (WALLET, "anna", "court", "2026/17"))
    assert [one.hold for one in holds(old.settings)] == [placed.hold]
    assert wrong(old) == []


def test_a_hold_that_is_placed_again_is_the_one_that_is_open(old: Ledger) -> None:
    placed = hold(old, OLD, WALLET)
    assert hold(old, OLD, WALLET) == placed
    others = [hold(old, OLD, WALLET, actor="ben"), hold(old, OLD), hold(old, OLDER, WALLET)]
    assert [one.hold.number for one in others] == [2, 3, 4]
    release_hold(old.settings, 1, "ben", "the matter is closed")
    assert hold(old, OLD, WALLET).hold.number == 5
    assert len([one for one in events(old) if isinstance(one.body, Held)]) == 5


def test_a_hold_is_released_by_two_people_who_have_not_placed_it(old: Ledger) -> None:
    number = hold(old, OLD).hold.number
    with pytest.raises(RefusalError, match="HOLD-1 was placed by anna under anna: two other people must release it"):
        release_hold(old.settings, number, "Anna", "closed", account="somewhere")
    assert release_hold(old.settings, number, "ben", "closed").state == "release proposed"
    with pytest.raises(RefusalError, match="ben has proposed its release under ben; somebody else must confirm it"):
        release_hold(old.settings, number, "benjamin", "closed", account="ben")
    with pytest.raises(RefusalError, match="was placed by anna"):
        release_hold(old.settings, number, "anna", "closed")
    assert holds(old.settings)[0].is_open
    assert release_hold(old.settings, number, "carol", "checked").state == "released"
    with pytest.raises(RefusalError, match=r"HOLD-1 was released on \d{4}-\d\d-\d\d by carol"):
        release_hold(old.settings, number, "dora", "again")
    assert [one.action for one in show_hold(old.settings, number).decisions] == ["proposed", "released"]
    said = events(old)
    assert [one.body.event for one in said][-2:] == ["held", "released"]
    assert replay_entries([one.to_bytes() for one in said]).holds == {}
    assert wrong(old) == []


@pytest.mark.heavy("a release by two people is tested beside it")
def test_a_rejected_release_must_be_proposed_again(old: Ledger) -> None:
    number = hold(old, OLD).hold.number
    with pytest.raises(RefusalError, match="no release is proposed"):
        reject_release(old.settings, number, "carol", "not yet")
    release_hold(old.settings, number, "ben", "closed")
    assert reject_release(old.settings, number, "carol", "not yet").state == "open"
    assert release_hold(old.settings, number, "carol", "now").state == "release proposed"


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("scope", "error", "text"),
    [
        (HoldScope(Month(1999, 1), Month(1999, 1)), NotFoundError, "month 1999-01 of every table is in no tier"),
        (HoldScope(OLD, Month(2030, 1), "transactions"), NotFoundError, "month 2030-01 of transactions is in no tier"),
        (HoldScope(OLD, OLD, "vas_transactions"), NotFoundError, f"month {OLD} of vas_transactions is in no tier"),
        (HoldScope(OLD, OLD, "other"), ConfigError, "unknown table 'other'"),
        (
            HoldScope(OLD, OLD, None, Subject.WALLET, "wallet-99"),
            NotFoundError,
            "wallet wallet-99 has no row in .* in any tier",
        ),
        (HoldScope(OLD, OLD, "transactions", Subject.USER, "o'user"), NotFoundError, "user o'user has no row"),
    ],
)
def test_what_a_hold_cannot_be_placed_on_is_named(old: Ledger, scope: HoldScope, error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        place(old, scope)
    assert holds(old.settings) == []


def test_a_wallet_is_looked_for_in_every_tier(old: Ledger) -> None:
    old.fill(HOT, wallet_id="young-wallet")
    with pytest.raises(NotFoundError, match="young-wallet has no row"):
        place(old, HoldScope(OLDER, OLD, None, Subject.WALLET, "young-wallet"))
    place(old, HoldScope(OLDER, HOT, None, Subject.WALLET, "young-wallet"))
    place(old, HoldScope(OLDER, OLD, None, Subject.CLIENT, "acme"))
    assert [str(one.hold.scope) for one in holds(old.settings)] == [
        f"every table {OLDER} to {HOT}, rows of wallet young-wallet",
        f"every table {OLDER} to {OLD}, rows of client acme",
    ]


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"matter": ""}, FieldError, "matter: must be 1 to 128 printable characters"),
        ({"reason": "x\ny"}, FieldError, "reason: must be 1 to 1000 printable characters"),
        ({"actor": "treasury"}, FieldError, "actor: must be a person"),
        ({"review_on": utc_today()}, FieldError, "review_on: must be a day to come"),
    ],
)
def test_a_hold_says_which_matter_why_who_and_when_to_look_again(
    old: Ledger, changes: dict[str, object], error: type, text: str
) -> None:
    with pytest.raises(error, match=text):
        place(old, HoldScope(OLD, OLD), **changes)


def test_months_in_the_wrong_order_and_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ConfigError, match="the last month 2014-01 is before the first, 2014-02"):
        HoldScope(OLD, OLDER)
    with pytest.raises(FieldError, match="wallet: must have 1 to 64 printable characters"):
        HoldScope(OLD, OLD, None, Subject.WALLET, "")
    for text in ("", "HOLD-", "-1", "HOLD-x", "٣", "12345678901"):
        with pytest.raises(ConfigError, match="must be a number, or HOLD- and a number"):
            hold_number(text)
    assert hold_number("HOLD-7") == hold_number("7") == 7


@pytest.mark.heavy("the test over HTTP names it too")
def test_a_hold_that_does_not_exist_is_named(old: Ledger) -> None:
    with pytest.raises(NotFoundError, match="HOLD-9 does not exist"):
        release_hold(old.settings, 9, "ben", "closed")
    with pytest.raises(NotFoundError, match="HOLD-9 does not exist"):
        show_hold(old.settings, 9)


@pytest.mark.heavy("what a hold cannot be placed on is sampled beside it")
def test_a_deleted_month_takes_no_hold(old: Ledger) -> None:
    approved(old)
    number = delete(old)[1].certificate
    with pytest.raises(RefusalError, match=f"transactions {OLD} was deleted with certificate {number}"):
        place(old, HoldScope(OLD, OLD))


def test_a_hold_on_a_month_that_is_deleted_in_part_says_what_it_lacks(old: Ledger) -> None:
    hold(old, OLD, WALLET)
    approved(old)
    number = delete(old)[1].certificate
    lacks = (Lack("transactions", OLD, number),)
    whole = hold(old, OLD)
    assert whole.hold.lacks == lacks
    record = json.loads(ObjectStore(old.settings).read_bytes(_record_key(old, whole.hold.name)))
    assert record["lacks"] == [{"table": "transactions", "month": str(OLD), "certificate": number}]
    assert Hold.from_record(record, "it") == whole.hold
    assert [one.hold.lacks for one in holds(old.settings)] == [(), lacks]
    later = REVIEW + timedelta(days=30)
    place(old, HoldScope(OLD, OLD, "transactions", Subject.WALLET, WALLET), review_on=later)
    assert holds(old.settings)[-1].hold.lacks == ()  # HOLD-1 kept every row of the wallet
    with pytest.raises(
        NotFoundError, match=f"wallet-5 has no row .*; rows of transactions {OLD} were deleted.*{number}"
    ):
        hold(old, OLD, "wallet-5")
    old.fill(OLD.plus(1), wallet_id="wallet-5")
    place(old, HoldScope(OLD, OLD.plus(1), None, Subject.WALLET, "wallet-5"))
    assert holds(old.settings)[-1].hold.lacks == lacks
    assert wrong(old) == []


def test_the_record_of_a_hold_whose_transaction_was_lost_is_known_and_not_wrong(
    old: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(module, "add_hold", die)
        with pytest.raises(KilledError):
            hold(old, OLD)
    (key,) = ObjectStore(old.settings).keys("_treasury/holds")
    assert holds(old.settings) == []
    report = verified(old)
    assert (report.findings, [key in note for note in report.notes]) == ([], [True])


def test_a_hold_that_is_placed_while_a_deletion_is_under_way_keeps_what_is_left(old: Ledger) -> None:
    def die(done: str) -> None:
        if done == "begun":
            raise KilledError

    release_later = hold(old, OLDER, WALLET)
    approved(old)
    with pytest.raises(KilledError):
        delete(old, die)
    placed = hold(old, OLDER)
    assert [one.month for one in placed.hold.lacks] == [OLDER]
    content = certificate(old, delete(old)[0].certificate)
    log, entries = content["log"], [event.to_bytes() for event in events(old)]
    assert set(replay_entries(entries).holds) == {release_later.hold.name, placed.hold.name}
    assert (content["holds"]["on_whole_month"], content["holds"]["on_rows"]) == ([], [release_later.hold.name])
    assert set(replay_entries(entries[: log["size"]]).holds) == {release_later.hold.name}
    assert log["root"] == Tree(entries).root(log["size"]).hex()
    assert log["size"] == log["begun_entry"] + 1
    assert "hashes of deleted rows, in the proofs of the rows that holds keep" in content["not_covered"]
    release(old, release_later.hold.number)
    assert plan_deletion(old.settings, [old.table]).months == ()
    assert wrong(old) == []


def _record_key(ledger: Ledger, name: str) -> str:
    bodies = [event.body for event in events(ledger)]
    (record,) = [body.record for body in bodies if isinstance(body, Held) and body.hold == name]
    assert record is not None
    return record.key


def test_a_hold_that_a_deletion_overtakes_is_placed_again(old: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    hold(old, OLD, WALLET)
    approved(old)
    real = module._require_rows

    def overtaken(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type]  # whatever it is called with
        delete(old)

    monkeypatch.setattr(module, "_require_rows", overtaken)
    with pytest.raises(RefusalError, match="a deletion of some of it began a moment ago: place the hold again"):
        hold(old, OLD, "wallet-5")
    assert len(holds(old.settings)) == 1


@pytest.mark.heavy("a hold on one month is tested beside it")
def test_a_hold_over_many_months_and_all_tables_stops_each_of_them(old: Ledger) -> None:
    approved(old)
    place(old, HoldScope(OLDER, OLD))
    assert [one.result for one in delete(old)] == ["kept", "kept"]
    release(old, 1)
    assert [one.result for one in delete(old)] == ["deleted", "deleted"]


def test_holds_are_never_changed_or_removed_in_postgresql(old: Ledger) -> None:
    hold(old, OLD)
    for statement in ("UPDATE holds SET reason = 'x'", "DELETE FROM holds", "TRUNCATE hold_decisions"):
        with pytest.raises(Exception, match="are only added"):
            old.sql(statement)


@pytest.mark.parametrize("people", [("ben", "BEN"), ("anna", "ben"), ("ben", "anna"), (None, "ben")])
def test_a_release_that_is_not_by_two_others_does_not_count_whatever_wrote_it(
    old: Ledger, people: tuple[str | None, str]
) -> None:
    placed = hold(old, OLD)
    for action, person in zip(("proposed", "released"), people, strict=True):
        stored = ("key", 1, bytes(32)) if action == "released" else (None, None, None)
        if person is not None:
            old.sql(
                "INSERT INTO hold_decisions (hold_id, action, actor, account, reason, decided_at,"
                " object_key, object_bytes, object_sha256) VALUES (%s, %s, %s, %s, 'by hand', now(), %s, %s, %s)",
                *(placed.hold.number, action, person, person, *stored),
            )
    (kept,) = plan_deletion(old.settings, [old.table]).kept
    assert kept.month == OLD
    assert "its release in hold_decisions is not by two others" in kept.reason
    with connect(old.settings.database_dsn, "test") as connection:
        assert month_ends(connection)[old.table.name, OLD].held_by == (placed.hold.name,)
        assert review_holds(connection, utc_today()).open == 1
