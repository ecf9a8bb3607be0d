"""Copies and set-backs: the log never gets a second history, and who takes a database's place takes its log over."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from ledger.errors import ForkError, OwnershipError, VerificationError
from ledger.installation import Owner
from ledger.transparency.events import Event, Incarnation
from sql.connection import connect
from sql.installation import read_installation
from sql.log import record_event
from storage.marker import read_marker, write_marker
from storage.store import ObjectStore
from tasks.archiving.installation import continue_installation, separate_installation
from tasks.archiving.to_cold import archive_month
from tasks.transparency.publish import publish_log
from tests.tasks.archiving.copies import Copier
from tests.tasks.archiving.ledger import COLD, Ledger
from tests.tasks.transparency.installation import Installation, kind_of
from tests.tasks.transparency.test_killed_publishers import Killed
from tests.tasks.transparency.test_publish import archived

NEXT = COLD.plus(1)


def yes(*_: object) -> bool:
    return True


def of(ledger: Ledger) -> Installation:
    """A ledger's installation, as it is now."""
    with connect(ledger.settings.database_dsn, "tests") as connection:
        found = read_installation(connection)
    assert found is not None
    return Installation(ledger.settings, Owner(found.installation_id, found.incarnation))


@pytest.fixture
def published(ledger: Ledger) -> Ledger:
    """A ledger with an archived month and a published log."""
    ledger.warm(COLD)
    archive_month(ledger.settings, ledger.table, COLD)
    publish_log(ledger.settings)
    assert of(ledger).kinds() == ["log_opened", "archived", "key_rotated"]
    return ledger


def test_a_dump_restored_beside_the_original_publishes_nothing(published: Ledger, copied: Copier) -> None:
    twin = copied(published, "dump")
    of(twin).record("of the copy")
    of(published).record("of the original")
    before = of(published).objects()
    with pytest.raises(OwnershipError, match="is a copy of the one that owns"):
        publish_log(twin.settings)
    assert of(published).objects() == before
    publish_log(published.settings)
    with pytest.raises(OwnershipError, match="is a copy"):
        publish_log(twin.settings)
    assert of(published).kinds()[3:] == ["of the original"]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("ahead", [1, 3])
def test_postgresql_set_back_behind_the_log_takes_the_entries_over(
    published: Ledger, copied: Copier, ahead: int
) -> None:
    """The restored backup lacks entries, and has recorded an event of its own since: both are in the log in the end."""
    restored = copied(published, "dump")
    of(restored).record("of the restored")
    of(published).record(*(f"lost-{number}" for number in range(ahead)))
    publish_log(published.settings)
    lost = of(published).log().entries
    with pytest.raises(OwnershipError):
        publish_log(restored.settings)

    assert "as incarnation 2" in continue_installation(restored.settings, yes)
    publish_log(restored.settings)
    after = of(restored)
    kinds = after.kinds()
    assert kinds[: 3 + ahead] == ["log_opened", "archived", "key_rotated", *(f"lost-{n}" for n in range(ahead))]
    assert kinds[3 + ahead :] == ["incarnation", "of the restored"]
    assert after.log().entries[: len(lost)] == lost
    with pytest.raises(OwnershipError):
        publish_log(published.settings)
    assert of(restored).kinds() == kinds


@pytest.mark.heavy("a database set back behind the log is tested beside it")
def test_a_database_set_back_to_before_its_log_takes_all_of_it_over(ledger: Ledger, copied: Copier) -> None:
    ledger.warm(COLD)
    with Installation.begun(ledger.settings):
        restored = copied(ledger, "dump")
    archive_month(ledger.settings, ledger.table, COLD)
    publish_log(ledger.settings)
    assert restored.tier(COLD) == "warm"
    continue_installation(restored.settings, yes)
    archive_month(restored.settings, restored.table, COLD)
    publish_log(restored.settings)
    after = of(restored)
    assert after.kinds() == ["log_opened", "archived", "key_rotated", "incarnation", "archived"]
    (index,) = [note for key, note in after.objects().items() if key == "log/index/transactions"]
    keys = restored.sql("SELECT object_key FROM archive_months WHERE tier = 'cold'")
    assert keys[0][0].encode() in index


@pytest.mark.heavy("a database set back behind the log is tested beside it")
def test_a_set_back_by_less_than_a_piece_of_work_is_seen_by_the_log_alone(published: Ledger, copied: Copier) -> None:
    """The token is the newest one, so the archive is this database's; only the log knows more."""
    of(published).record("one")
    clone: list[Ledger] = []

    def copy_then(step: str) -> None:
        if step == "planned" and not clone:
            clone.append(copied(published, "dump"))
            clone[0].sql(
                "UPDATE installation SET database_oid ="
                " (SELECT oid FROM pg_database WHERE datname = current_database())::bigint"
            )
            clone[0].sql("ALTER TABLE log_events DISABLE TRIGGER USER; ALTER TABLE log_state DISABLE TRIGGER USER")
            clone[0].sql("UPDATE log_events SET entry_index = NULL WHERE entry_index >= 3")
            clone[0].sql("UPDATE log_state SET planned_size = 3")
            clone[0].sql("ALTER TABLE log_events ENABLE ALWAYS TRIGGER log_events_entry")

    publish_log(published.settings, copy_then)
    (back,) = clone
    before = of(published).objects()
    with pytest.raises(ForkError, match="has 4 entries, and PostgreSQL knows 3: another database went on with it"):
        publish_log(back.settings)
    assert of(published).objects() == before
    assert back.sql("SELECT rule FROM alerts") == [("log-forked",)]

    assert "as incarnation 2" in continue_installation(back.settings, yes)
    publish_log(back.settings)
    assert of(back).kinds()[3:] == ["one", "incarnation"]  # the log has this very entry already


@pytest.mark.heavy("a database set back behind the log is tested beside it")
def test_a_planned_event_that_another_database_overtook_is_recorded_again(published: Ledger, copied: Copier) -> None:
    """The restored database had given its event a place, and was killed; the place became another one's."""
    restored = copied(published, "dump")
    twin = of(restored)
    twin.record("planned here")
    restored.sql("UPDATE log_events SET entry_index = 3 WHERE entry_index IS NULL")
    restored.sql("UPDATE log_state SET planned_size = 4")
    of(published).record("published there")
    publish_log(published.settings)
    continue_installation(restored.settings, yes)
    publish_log(restored.settings)
    assert of(restored).kinds()[3:] == ["published there", "incarnation", "planned here"]


@pytest.mark.heavy("a database set back behind the log is tested beside it")
@pytest.mark.parametrize("is_clone", [False, True])
def test_tiles_that_a_killed_publisher_left_are_replaced_by_who_takes_over(
    published: Ledger, copied: Copier, is_clone: bool
) -> None:
    """The former database was killed between its tiles and its checkpoint; the other one was copied before."""
    of(published).record("never published")
    copies: list[Ledger] = []

    def copy_and_die(step: str) -> None:
        if step == "planned":
            copies.append(copied(published, "dump"))
        if step == "putting checkpoint":
            raise Killed

    with pytest.raises(Killed):
        publish_log(published.settings, copy_and_die)
    (back,) = copies
    if is_clone:  # it is taken for the original, with its newest token
        oid = "(SELECT oid FROM pg_database WHERE datname = current_database())::bigint"
        back.sql(f"UPDATE installation SET database_oid = {oid}")
    back.sql("ALTER TABLE log_events DISABLE TRIGGER USER")
    back.sql("DELETE FROM log_events WHERE entry_index = 3")
    back.sql("UPDATE log_state SET planned_size = 3")
    back.sql("ALTER TABLE log_events ENABLE ALWAYS TRIGGER log_events_entry")
    of(back).record("of the other")
    with pytest.raises(OwnershipError, match="treasury installation continue"):
        publish_log(back.settings)
    assert "as incarnation 2" in continue_installation(back.settings, yes)
    publish_log(back.settings)
    assert of(back).kinds()[3:] == ["of the other", "incarnation"]


@pytest.mark.heavy("two histories are tested beside it")
def test_a_publisher_that_was_overtaken_before_it_signs_signs_nothing(published: Ledger, copied: Copier) -> None:
    twin = copied(published, "dump")
    of(published).record("too late")

    def overtake(step: str) -> None:
        if step == "put tile/0/000.p/4":
            marker = read_marker(ObjectStore(twin.settings))
            assert marker is not None
            taken = marker.model_copy(update={"incarnation": 2, "token": uuid4()})
            assert write_marker(ObjectStore(twin.settings), taken)

    with pytest.raises(OwnershipError, match="another database continues installation"):
        publish_log(published.settings, overtake)
    assert of(published).log().checkpoint.size == 3


def test_a_forged_continuation_in_the_archive_is_not_taken_over(published: Ledger, copied: Copier) -> None:
    restored = copied(published, "dump")
    of(published).record("lost")
    publish_log(published.settings)
    archive = of(published)
    content = archive.store.read_bytes("log/tile/entries/000.p/4")
    archive.store.replace_bytes(content.replace(b"lost", b"made"), "log/tile/entries/000.p/4")
    with pytest.raises(VerificationError, match="the 4 entries do not lead to the root"):
        continue_installation(restored.settings, yes)
    assert restored.sql("SELECT incarnation FROM installation") == [(1,)]


def test_two_histories_of_published_entries_are_refused_by_continue(published: Ledger, copied: Copier) -> None:
    restored = copied(published, "dump")
    restored.sql("ALTER TABLE log_events DISABLE TRIGGER USER")
    first = "(SELECT entry FROM log_events WHERE entry_index = 0)"
    restored.sql(f"UPDATE log_events SET entry = {first} WHERE entry_index = 1")
    with pytest.raises(ForkError, match="another entry 1 than PostgreSQL, which knows 3 published ones"):
        continue_installation(restored.settings, yes)


@pytest.mark.heavy("a dump beside its original is tested beside it")
def test_a_separated_copy_opens_a_log_of_its_own_at_its_own_prefix(published: Ledger, copied: Copier) -> None:
    twin = copied(published, "dump")
    of(twin).record("of the copy")
    apart = Ledger(
        twin.settings.model_copy(update={"archive_url": f"{twin.settings.archive_url}-copy"}),
        twin.store.with_name(f"{twin.store.name}-copy"),
    )
    source, target = of(published), of(apart)
    for key in source.store.keys(""):
        target.store.put_bytes(source.store.read_bytes(key), key)
    before = source.objects()
    assert "becomes an installation of its own" in separate_installation(apart.settings, yes)
    publish_log(apart.settings)
    own = of(apart)
    folder = f"log-{own.owner.short}"
    assert own.row.folder == folder
    assert own.origin != source.origin
    assert own.kinds(folder) == ["log_opened", "archived", "incarnation", "of the copy", "key_rotated"]
    adopted = Event.from_bytes(own.log(folder).entries[1]).body
    assert adopted.adopted is True  # type: ignore[union-attr]
    said = Event.from_bytes(own.log(folder).entries[2]).body
    assert isinstance(said, Incarnation)
    assert said.kind == "separated"
    assert said.former is not None
    assert said.former.installation == source.owner.installation_id
    assert source.objects() == before
    of(published).record("goes on")
    publish_log(published.settings)
    assert of(published).kinds()[3:] == ["goes on"]


@pytest.mark.heavy("a database set back behind the log is tested beside it")
def test_continuing_without_a_log_records_the_incarnation_only(ledger: Ledger, copied: Copier) -> None:
    with Installation.begun(ledger.settings):
        restored = copied(ledger, "dump")
    continue_installation(restored.settings, yes)
    publish_log(restored.settings)
    assert of(restored).kinds() == ["log_opened", "incarnation", "key_rotated"]


def _recorded(ledger: Ledger) -> list[Any]:
    rows = ledger.sql("SELECT entry FROM log_events WHERE replaced_at IS NULL ORDER BY incarnation, number")
    return [kind_of(bytes(entry)) for (entry,) in rows]


@pytest.mark.heavy("a database set back behind the log is tested beside it")
def test_events_that_are_recorded_again_keep_their_time(published: Ledger, copied: Copier) -> None:
    restored = copied(published, "dump")
    at = datetime(2026, 1, 2, tzinfo=UTC)
    with connect(restored.settings.database_dsn, "tests") as connection:
        record_event(connection, of(restored).owner, archived("2024-09"), at)
    of(published).record("lost")
    publish_log(published.settings)
    continue_installation(restored.settings, yes)
    assert _recorded(restored)[-3:] == ["lost", "incarnation", "archived"]
    last = restored.sql("SELECT happened_at FROM log_events ORDER BY event_id DESC LIMIT 1")
    assert last == [(at,)]
