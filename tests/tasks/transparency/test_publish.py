"""Publication: every event once, in order, signed twice; one publisher at a time; strangers' changes found."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import pytest
from msgspec.structs import replace

from ledger.errors import ConfigError, DataError, ForkError, VerificationError
from ledger.month_tree import DIGEST_METHOD
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.events import Archived, Deleted, LoggedManifest, LoggedObject, LoggedTree
from ledger.transparency.notes import Signature, join_note, open_note, sign_note, split_note
from ledger.transparency.replay import Index
from ledger.transparency.tiles import Tree, tiles_of
from ledger.transparency.verifier_keys import VerifierKey
from sql.connection import connect
from sql.log import record_event
from tasks.transparency.keys import load_signers
from tasks.transparency.publish import publish_log
from tests.tasks.transparency.installation import Installation

SHA = "ab" * 32
ROOT = "cd" * 32


def archived(month: str, part: int = 1, table: str = "transactions") -> Archived:
    """The event of a made-up month."""
    return Archived(
        table=table,
        month=month,
        part=part,
        manifest=LoggedManifest(key=f"{table}/month={month}/m{part}.manifest.json", sha256=SHA),
        objects=(LoggedObject(key=f"{table}/month={month}/p{part}.parquet", size_bytes=7, sha256=SHA),),
        tree=LoggedTree(method=DIGEST_METHOD, size=3, root=ROOT),
        layout={},
        rows=3,
        sums={"ZAR": {"amount": "12.50"}},
    )


def test_events_are_published_in_the_order_of_their_commits(installation: Installation) -> None:
    installation.record("one", "two")
    first = publish_log(installation.settings)
    assert first is not None
    assert (first.size, first.events) == (4, 4)
    installation.record("three")
    assert installation.kinds() == ["log_opened", "one", "two", "key_rotated"]
    second = publish_log(installation.settings)
    assert second is not None
    assert (second.size, second.events, second.objects) == (5, 1, 2)
    assert installation.kinds()[-1] == "three"
    assert installation.planned == list(installation.log().entries)
    assert {f"log/{tile.path}" for size in (4, 5) for tile in tiles_of(size)} | {"log/checkpoint"} == set(
        installation.objects()
    )


def test_without_an_event_nothing_is_published(installation: Installation) -> None:
    assert publish_log(installation.settings) is None
    assert installation.objects() == {}
    installation.record("one")
    publish_log(installation.settings)
    before = installation.objects()
    again = publish_log(installation.settings)
    assert again is not None
    assert (again.events, again.objects) == (0, 0)
    assert installation.objects() == before


def test_a_log_of_more_than_a_tile_is_published_whole(installation: Installation) -> None:
    for number in range(3):
        installation.record(*(f"hold-{number}-{place}" for place in range(100)))
        publish_log(installation.settings)
    assert len(installation.log().entries) == 302
    keys = set(installation.objects())
    assert {"log/tile/0/000", "log/tile/1/000.p/1", "log/tile/entries/000", "log/tile/entries/001.p/46"} <= keys


def test_the_index_of_a_table_says_which_months_must_exist(installation: Installation) -> None:
    for event in (archived("2024-03"), archived("2024-04"), archived("2024-03", 2), archived("2024-03", 1, "other")):
        installation.record(body=event)
    publish_log(installation.settings)
    assert _indexed(installation, "transactions") == [("2024-03", 1), ("2024-03", 2), ("2024-04", 1)]
    installation.record(body=Deleted(table="transactions", month="2024-03", manifest_sha256=SHA))
    installation.record(body=Deleted(table="other", month="2024-03", part=1, manifest_sha256=SHA))
    publish_log(installation.settings)
    assert _indexed(installation, "transactions") == [("2024-04", 1)]
    assert _indexed(installation, "other") == []


def _indexed(installation: Installation, table: str) -> list[tuple[str, int]]:
    keys = [VerifierKey.parse(text) for text in installation.row.keys]
    note = open_note(installation.objects()[f"log/index/{table}"], keys)
    index = Index.from_text(note.text)
    log = installation.log()
    assert (index.size, bytes.fromhex(index.root)) == (log.checkpoint.size, log.checkpoint.root)
    for month in index.months:
        body = json.loads(log.entries[month.entry])["body"]
        assert (body["month"], body["part"], body["manifest"]["sha256"]) == (month.month, month.part, SHA)
    return [(one.month, one.part) for one in index.months]


def test_an_event_is_recorded_with_what_it_tells_or_not_at_all(installation: Installation) -> None:
    installation.record("one")
    with connect(installation.settings.database_dsn, "tests") as connection:
        with connection.transaction(force_rollback=True):
            record_event(connection, installation.owner, archived("2024-03"))
        record_event(connection, installation.owner, archived("2024-04"))
    publish_log(installation.settings)
    assert installation.kinds() == ["log_opened", "one", "archived", "key_rotated"]


def test_two_publishers_at_once_publish_every_event_once(installation: Installation) -> None:
    def work(name: str) -> None:
        for number in range(5):
            installation.record(f"{name}-{number}")
            publish_log(installation.settings)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(work, name) for name in ("a", "b")]:
            done.result()
    kinds = installation.kinds()
    assert sorted(kinds) == sorted(
        ["log_opened", "key_rotated", *(f"{name}-{number}" for name in "ab" for number in range(5))]
    )


def test_an_entry_that_is_too_long_is_refused_by_name(installation: Installation) -> None:
    body = replace(archived("2024-03"), layout={"text": "x" * 65_536})
    with pytest.raises(DataError, match=r"event archived: .* bytes, an entry has at most 65535"):
        installation.record(body=body)


# --- strangers' hands


def _alerts(installation: Installation) -> list[str]:
    return [rule for (rule,) in installation.sql("SELECT rule FROM alerts ORDER BY 1")]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("stranger", ["removed", "older"])
def test_a_checkpoint_that_was_set_back_is_written_again_and_reported(
    installation: Installation, stranger: str
) -> None:
    installation.record("one")
    publish_log(installation.settings)
    older = installation.objects()["log/checkpoint"]
    installation.record("two")
    publish_log(installation.settings)
    before = installation.objects()
    if stranger == "removed":
        installation.store.remove("log/checkpoint")
    else:
        installation.store.replace_bytes(older, "log/checkpoint")
    publish_log(installation.settings)
    assert installation.log().checkpoint.size == 4
    assert _alerts(installation) == ["log-set-back"]
    now = installation.objects()
    assert {key: now[key] for key in now if "tile" in key} == {key: before[key] for key in before if "tile" in key}


@pytest.mark.parametrize("lost", [0, 1])
def test_a_checkpoint_with_a_signature_less_is_replaced_by_the_recorded_one(
    installation: Installation, lost: int
) -> None:
    """Whoever can only write to the bucket must not decide what PostgreSQL, and every proof file, has from then on."""
    installation.record("one")
    publish_log(installation.settings)
    before = installation.objects()["log/checkpoint"]
    text, signatures = split_note(before)
    installation.store.replace_bytes(join_note(text, [signatures[lost]]), "log/checkpoint")
    publish_log(installation.settings)
    assert installation.objects()["log/checkpoint"] == before == installation.row.checkpoint
    assert _alerts(installation) == ["log-set-back"]


def test_a_checkpoint_with_a_line_of_a_stranger_is_replaced_by_the_recorded_one(installation: Installation) -> None:
    installation.record("one")
    publish_log(installation.settings)
    before = installation.objects()["log/checkpoint"]
    installation.store.replace_bytes(before + Signature("w1", bytes(4), bytes(72)).line.encode(), "log/checkpoint")
    installation.record("two")
    publish_log(installation.settings)
    assert installation.log().checkpoint.size == 4
    _, signatures = split_note(installation.objects()["log/checkpoint"])
    assert {signature.name for signature in signatures} == {installation.origin}
    assert _alerts(installation) == ["log-set-back"]


@pytest.mark.parametrize("signer", [0, 1])
def test_a_longer_checkpoint_that_one_key_signed_is_not_taken_over(installation: Installation, signer: int) -> None:
    """A publisher was killed before its checkpoint; one that has one of the two keys only put another in its place."""

    def die(step: str) -> None:
        if step == "planned":
            raise KilledError

    installation.record("one")
    publish_log(installation.settings)
    installation.record("two")
    with pytest.raises(KilledError):
        publish_log(installation.settings, die)
    tree = Tree(installation.planned)
    signers = load_signers(installation.settings, installation.origin)
    content = sign_note(Checkpoint(installation.origin, 4, tree.root(4)).text, [signers[signer]], 1)
    installation.store.replace_bytes(content, "log/checkpoint")
    publish_log(installation.settings)
    assert installation.log().checkpoint.size == 4  # with both signatures
    assert _alerts(installation) == ["log-set-back"]


class KilledError(Exception):
    """Stands for the end of a process."""


def test_a_log_that_lost_all_its_objects_is_written_again(installation: Installation) -> None:
    installation.record(*(f"hold-{number}" for number in range(300)))
    installation.record(body=archived("2024-03"))
    publish_log(installation.settings)
    before = installation.objects()
    for key in before:
        installation.store.remove(key)
    publish_log(installation.settings)
    after = installation.objects()
    assert set(after) == set(before)
    assert all(after[key] == before[key] for key in before if key != "log/checkpoint")


@pytest.mark.sampled(2)
@pytest.mark.parametrize("size", [3, 4])
def test_another_history_in_the_archive_is_a_fork_and_nothing_is_signed(installation: Installation, size: int) -> None:
    """A signed checkpoint that PostgreSQL has no entries for: as long as PostgreSQL's, or longer."""
    installation.record("one")
    publish_log(installation.settings)
    stolen = installation.objects()["log/checkpoint"]
    assert installation.log().checkpoint.size == 3
    _forge(installation, size)
    forged = installation.objects()["log/checkpoint"]
    assert forged != stolen
    with pytest.raises(ForkError, match="treasury installation continue"):
        publish_log(installation.settings)
    installation.record("two")
    with pytest.raises(ForkError, match=r"log/checkpoint of the log treasury/.*"):
        publish_log(installation.settings)
    assert installation.objects()["log/checkpoint"] == forged
    assert _alerts(installation) == ["log-forked"]
    assert installation.row.published_size == 3


def _forge(installation: Installation, size: int) -> None:
    """What another copy of this installation, with its keys, may have signed."""
    signers = load_signers(installation.settings, installation.origin)
    checkpoint = Checkpoint(installation.origin, size, bytes(range(32)))
    installation.store.replace_bytes(sign_note(checkpoint.text, signers, 1), "log/checkpoint")


def test_a_tile_with_other_bytes_is_a_fork(installation: Installation) -> None:
    installation.record("one")
    publish_log(installation.settings)
    installation.store.put_bytes(b"other", "log/tile/entries/000.p/4")
    installation.record("two")
    with pytest.raises(ForkError, match=r"goes on in two ways: .*tile/entries/000.p/4 is there already"):
        publish_log(installation.settings)
    assert installation.log().checkpoint.size == 3


def test_a_checkpoint_of_a_strangers_key_is_refused_by_name(installation: Installation) -> None:
    installation.record("one")
    publish_log(installation.settings)
    content = installation.objects()["log/checkpoint"]
    installation.store.replace_bytes(content.replace(b"\n3\n", b"\n4\n"), "log/checkpoint")
    with pytest.raises(DataError, match=r"log/checkpoint: .*Restore the object from a version or a backup"):
        publish_log(installation.settings)


def test_entries_that_were_changed_in_postgresql_are_not_signed_again(installation: Installation) -> None:
    installation.record("one")
    publish_log(installation.settings)
    with pytest.raises(psycopg.Error, match="only added"):
        installation.sql("UPDATE log_events SET entry = 'x'")
    installation.sql("ALTER TABLE log_events DISABLE TRIGGER ALL")
    installation.sql(
        "UPDATE log_events SET entry = convert_to(replace(convert_from(entry, 'UTF8'), 'one', 'two'), 'UTF8')"
    )
    installation.record("three")
    with pytest.raises((ForkError, VerificationError)):
        publish_log(installation.settings)
    assert installation.row.published_size == 3


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM log_events",
        "TRUNCATE log_events",
        "UPDATE log_events SET entry_index = entry_index + 1",
        "UPDATE log_events SET number = number + 100",
        "DELETE FROM log_state",
        "UPDATE log_state SET planned_size = 0, published_size = 0, indexed_size = 0",
        "UPDATE log_state SET origin = 'other'",
    ],
)
def test_rows_of_the_log_never_change(installation: Installation, statement: str) -> None:
    installation.record("one")
    publish_log(installation.settings)
    with pytest.raises(psycopg.Error, match=r"only added|never gets shorter"):
        installation.sql(statement)


# --- keys


def test_the_keys_are_made_once_with_owner_only_rights(installation: Installation) -> None:
    installation.record("one")
    publish_log(installation.settings)
    files = sorted((installation.settings.home / "keys").glob("log-*"))
    assert [file.name for file in files] == ["log-ed25519-1.pem", "log-mldsa44-1.pem"]
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)


def test_a_key_file_that_others_may_read_is_refused_by_name(installation: Installation) -> None:
    installation.record("one")
    publish_log(installation.settings)
    file = installation.settings.home / "keys" / "log-ed25519-1.pem"
    file.chmod(0o640)
    installation.record("two")
    with pytest.raises(ConfigError, match=r"log-ed25519-1.pem: others than its owner may use this key \(mode 0640\)"):
        publish_log(installation.settings)
    assert installation.log().checkpoint.size == 3


def test_a_lost_key_is_named_and_no_other_one_takes_its_place(installation: Installation) -> None:
    installation.record("one")
    publish_log(installation.settings)
    (installation.settings.home / "keys" / "log-mldsa44-1.pem").unlink()
    installation.record("two")
    with pytest.raises(ConfigError, match=r"the mldsa44 key .* is not there"):
        publish_log(installation.settings)
    assert installation.log().checkpoint.size == 3


def test_events_have_milliseconds_and_numbers_without_gaps(installation: Installation) -> None:
    at = datetime(2026, 11, 29, 12, 0, 0, 123456, tzinfo=UTC)
    with connect(installation.settings.database_dsn, "tests") as connection:
        event = record_event(connection, installation.owner, archived("2024-03"), at)
    assert b'"happened_at":"2026-11-29T12:00:00.123Z"' in event.to_bytes()
    assert event.number == 2
