"""`verify_archive` names exactly what is wrong, all of it, and what it compared."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import rfc8785

from config import Settings
from ledger.errors import ConfigError, DataError, NotFoundError, TreasuryError
from ledger.months import Month
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.notes import sign_note, split_note
from ledger.transparency.policies import LogPolicy
from ledger.transparency.replay import index_of, replay_entries
from ledger.transparency.tiles import Tree, new_tiles
from sql.connection import connect
from storage.marker import KEY as MARKER
from storage.store import ObjectStore
from tasks.archiving.to_cold import archive_month
from tasks.proving.proofs import Prover
from tasks.transparency.archived_log import ArchivedLog
from tasks.transparency.keys import load_signers
from tasks.transparency.publish import publish_log
from tasks.transparency.report import policy_text
from tasks.transparency.rotation import rotate_keys
from tasks.verifying.findings import VerificationReport
from tasks.verifying.verification import VerificationScope, verify_archive
from tests.archives import Archives, two_cold_months
from tests.tasks.archiving.ledger import COLD, ROWS, Ledger, make_row

NEXT = COLD.plus(1)
EVERYTHING = VerificationScope()
ADD_UPLOAD = """
    INSERT INTO archive_uploads (object_key, table_name, month, part, attempt, state) VALUES (%s, %s, %s, 1, 9, %s)
"""


@pytest.fixture(params=["s3", "folder"])
def archived(
    request: pytest.FixtureRequest, settings: Settings, store: Path, tmp_path: Path, archives: Archives
) -> Ledger:
    """Two cold months, published."""
    ledger = Ledger(settings, store)
    if request.param == "folder":
        folder = tmp_path / "archive"
        folder.mkdir()
        ledger = Ledger(settings.model_copy(update={"archive_url": f"file://{folder}"}), folder)
    archives.begin(ledger.settings, two_cold_months)
    return ledger


@pytest.fixture
def policy(archived: Ledger) -> LogPolicy:
    return LogPolicy.parse(policy_text(archived.settings).encode())


def wrong(report: VerificationReport) -> list[tuple[str, str]]:
    return [(one.place, one.text) for one in report.findings]


def from_bucket(ledger: Ledger, policy: LogPolicy | None, scope: VerificationScope = EVERYTHING) -> VerificationReport:
    return verify_archive(ledger.settings, scope, None, policy)


def with_database(ledger: Ledger, scope: VerificationScope = EVERYTHING) -> VerificationReport:
    with connect(ledger.settings.database_dsn, "tests") as connection:
        return verify_archive(ledger.settings, scope, connection)


def replace(ledger: Ledger, key: str, content: bytes) -> None:
    store = ObjectStore(ledger.settings)
    store.remove(key)
    store.put_bytes(content, key)


@pytest.mark.sampled(1)
def test_a_whole_archive_is_verified_row_by_row_from_the_bucket_alone(archived: Ledger, policy: LogPolicy) -> None:
    report = from_bucket(archived, policy, VerificationScope(deep=True))
    assert wrong(report) == []
    assert (report.size, report.counts["months"], report.counts["rows"]) == (4, 2, 2 * ROWS)
    assert report.counts["objects"] == 8
    assert [(one.month, one.deep) for one in report.months] == [(str(COLD), True), (str(NEXT), True)]
    assert wrong(with_database(archived)) == []


def test_what_is_verified_or_proved_is_read_from_the_store_and_never_from_the_cache(
    settings: Settings, store: Path, archives: Archives
) -> None:
    ledger = Ledger(settings, store)
    archives.begin(settings, two_cold_months)
    row = make_row(ledger.table, COLD, 7)
    key = ledger.catalogue(COLD)["object_key"]
    object_ = store / key
    cached = settings.object_cache_folder / hashlib.sha256(object_.read_bytes()).hexdigest()
    question = f"SELECT * FROM transactions WHERE month = '{COLD}' ORDER BY id"
    answer = ledger.ask(question)

    content = object_.read_bytes()
    object_.write_bytes(_flipped(content))
    assert ledger.ask(question) == answer  # out of the cache, which is whole
    policy = LogPolicy.parse(policy_text(settings).encode())
    for scope in (VerificationScope(deep=True), EVERYTHING):
        ((place, _),) = wrong(from_bucket(ledger, policy, scope))
        assert place == key
    with Prover(settings) as prover, pytest.raises(TreasuryError, match=key):
        prover.row(ledger.table, row["id"])

    object_.write_bytes(content)
    cached.write_bytes(_flipped(cached.read_bytes()))
    assert wrong(from_bucket(ledger, policy, VerificationScope(deep=True))) == []
    with Prover(settings) as prover:
        assert prover.row(ledger.table, row["id"])


def _flipped(content: bytes) -> bytes:
    return bytes(byte ^ 1 for byte in content)


@pytest.mark.sampled(1)
def test_the_keys_of_this_home_do_where_no_policy_is_given(archived: Ledger, tmp_path: Path) -> None:
    assert wrong(from_bucket(archived, None)) == []
    elsewhere = archived.settings.model_copy(update={"home": tmp_path / "auditor"})
    with pytest.raises(ConfigError, match="name a policy with --policy"):
        verify_archive(elsewhere, VerificationScope(), None, None)


@pytest.mark.sampled(1)
def test_everything_that_is_wrong_is_named_and_not_only_the_first(archived: Ledger, policy: LogPolicy) -> None:
    first, other = archived.catalogue(COLD), archived.catalogue(NEXT)
    store = ObjectStore(archived.settings)
    store.remove(first["object_key"])
    content = store.read_bytes(other["object_key"])
    replace(archived, other["object_key"], content[:-1])
    store.remove(other["manifest_key"])
    replace(archived, first["tree"]["key"], bytes(32))
    store.put_bytes(b"theirs", f"transactions/month={COLD}/theirs.parquet")
    found = dict(wrong(from_bucket(archived, policy)))
    assert set(found) == {
        first["object_key"],
        other["object_key"],
        other["manifest_key"],
        first["tree"]["key"],
        f"transactions/month={COLD}/theirs.parquet",
    }
    assert found[first["object_key"]] == "is missing"
    assert found[other["object_key"]] == f"has {len(content) - 1} bytes, the log says {len(content)}"
    assert found[other["manifest_key"]] == "the manifest is missing"
    assert found[first["tree"]["key"]].startswith("its SHA-256 is ")
    assert "is named by no entry of the log" in found[f"transactions/month={COLD}/theirs.parquet"]


@pytest.mark.sampled(1)
def test_a_leftover_that_the_catalogue_knows_is_counted_and_is_not_wrong(archived: Ledger, policy: LogPolicy) -> None:
    key = f"transactions/month={COLD}/left.parquet"
    ObjectStore(archived.settings).put_bytes(b"half", key)
    archived.sql(
        ADD_UPLOAD,
        *(key, "transactions", COLD.first_day, "intended"),
    )
    report = with_database(archived)
    assert (wrong(report), report.counts["leftovers"]) == ([], 1)
    assert [place for place, _ in wrong(from_bucket(archived, policy))] == [key]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("folder", ["holds", "deletions", "returns"])
def test_a_record_that_nobody_knows_is_wrong_where_a_database_is_there(
    archived: Ledger, policy: LogPolicy, folder: str
) -> None:
    key = f"_treasury/{folder}/HOLD-9-0-0.json"
    ObjectStore(archived.settings).put_bytes(b"{}", key)
    text = "is a record that no entry of the log names, and that this database has not made"
    assert wrong(with_database(archived)) == [(key, text)]
    alone = from_bucket(archived, policy)
    assert (wrong(alone), [key in note for note in alone.notes]) == ([], [True])


@pytest.mark.sampled(1)
def test_an_event_that_waits_hides_no_other_month(archived: Ledger) -> None:
    third = NEXT.plus(1)
    archived.warm(third)
    archive_month(archived.settings, archived.table, third)
    report = with_database(archived)
    assert (wrong(report), report.notes) == ([], ["1 event waits for its publication: `treasury log publish`"])
    archived.sql("UPDATE archive_months SET manifest_sha256 = sha256('') WHERE month = %s", COLD.first_day)
    place = f"transactions {COLD}, part 1"
    assert wrong(with_database(archived)) == [(place, "the log and PostgreSQL's catalogue name different manifests")]


@pytest.mark.sampled(1)
def test_a_log_that_was_set_back_is_found_by_the_home_and_by_the_database(
    archived: Ledger, policy: LogPolicy, tmp_path: Path
) -> None:
    store = ObjectStore(archived.settings)
    before = {key: store.read_bytes(key) for key in store.keys("log")}
    rotate_keys(archived.settings)
    now = LogPolicy.parse(policy_text(archived.settings).encode())
    assert wrong(from_bucket(archived, now)) == []
    for key in store.keys("log"):
        store.remove(key)
    for key, content in before.items():
        store.put_bytes(content, key)
    said = [text for place, text in wrong(from_bucket(archived, policy)) if place == "log/checkpoint"]
    assert said == ["has 4 entries: the log of 5 entries that this home has verified was set back"]
    elsewhere = archived.settings.model_copy(update={"home": tmp_path / "elsewhere"})
    assert wrong(verify_archive(elsewhere, VerificationScope(), None, policy)) == []  # nobody there has seen more
    with connect(archived.settings.database_dsn, "tests") as connection:
        report = verify_archive(elsewhere, VerificationScope(), connection)
    assert "PostgreSQL has published 5" in dict(wrong(report))["log/checkpoint"]


@pytest.mark.sampled(1)
def test_an_unfinished_publication_has_a_sentence_of_its_own(archived: Ledger) -> None:
    class Killed(Exception):  # noqa: N818  # stands for the end of a process
        pass

    def stop(step: str) -> None:
        if step == "recorded":
            raise Killed

    archived.warm(COLD.plus(2))
    archive_month(archived.settings, archived.table, COLD.plus(2))
    with pytest.raises(Killed):
        publish_log(archived.settings, stop)
    found = wrong(with_database(archived))
    assert [place for place, _ in found] == ["log/index/transactions"]
    assert "is that of 4 entries, and the log has 5: a publication was not finished" in found[0][1]
    publish_log(archived.settings)
    assert wrong(with_database(archived)) == []


@pytest.mark.sampled(1)
def test_without_the_log_the_signed_indexes_say_which_months_must_exist(archived: Ledger, policy: LogPolicy) -> None:
    store = ObjectStore(archived.settings)
    store.remove("log/tile/entries/000.p/4")
    store.remove(archived.catalogue(COLD)["object_key"])
    found = dict(wrong(from_bucket(archived, policy)))
    assert found["log/tile/entries/000.p/4"] == "is missing"
    assert found[archived.catalogue(COLD)["object_key"]] == "is missing"


@pytest.mark.sampled(1)
def test_a_table_months_and_a_sample_are_read_and_the_others_are_looked_at(archived: Ledger, policy: LogPolicy) -> None:
    only = from_bucket(archived, policy, VerificationScope(first=NEXT, last=NEXT))
    assert [one.month for one in only.months] == [str(NEXT)]
    for nothing in (VerificationScope(table="other"), VerificationScope(first=Month(2030, 1))):
        with pytest.raises(NotFoundError, match="the log has no archived month of this table or in this span"):
            from_bucket(archived, policy, nothing)
    sampled = from_bucket(archived, policy, VerificationScope(sample=1))
    assert (len(sampled.months), sampled.counts["months looked at"]) == (1, 1)
    ObjectStore(archived.settings).remove(archived.catalogue(COLD)["object_key"])
    looked = from_bucket(archived, policy, VerificationScope(sample=0))
    assert wrong(looked) == [(archived.catalogue(COLD)["object_key"], "is missing")]


@pytest.mark.sampled(1)
def test_what_the_home_remembers_is_refused_by_name_when_it_was_damaged(archived: Ledger, policy: LogPolicy) -> None:
    from_bucket(archived, policy)
    (file,) = (archived.settings.home / "verified").iterdir()
    content = json.loads(file.read_bytes())
    file.write_text(json.dumps(content | {"root": "zz"}))
    with pytest.raises(DataError, match=str(file)):
        from_bucket(archived, policy)


@pytest.mark.sampled(1)
def test_another_installations_policy_does_not_accept_the_log(
    archived: Ledger, policy: LogPolicy, tmp_path: Path
) -> None:
    shutil.rmtree(archived.settings.home / "verified", ignore_errors=True)
    text = policy_text(archived.settings).replace("log treasury/", "log other/")
    with pytest.raises(DataError):
        LogPolicy.parse(text.encode())  # the name is part of the key's id
    report = from_bucket(
        archived, LogPolicy.parse(b"quorum none\n" + policy_text(archived.settings).encode()[:0] + _other())
    )
    assert "log/checkpoint" in dict(wrong(report))


def _other() -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from ledger.transparency.verifier_keys import SignatureType, VerifierKey

    public = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    return f"log {VerifierKey('treasury/other', SignatureType.ED25519, public).text}\n".encode()


def test_a_log_that_names_one_key_and_is_signed_by_it_alone_is_refused(archived: Ledger, policy: LogPolicy) -> None:
    """Whoever has one of the two keys may write a log whose own entries name this key only."""
    assert wrong(from_bucket(archived, policy)) == []
    shutil.rmtree(archived.settings.home / "verified")
    _forge_log(archived)
    for known in (policy, None):
        report = from_bucket(archived, known)
        (text,) = (text for place, text in wrong(report) if place == "log/checkpoint")
        assert "lacks the signature of treasury/" in text
        assert "(mldsa44)" in text


def _forge_log(ledger: Ledger) -> None:
    """Put a log into the bucket that says that the Ed25519 key alone signs it."""
    log = ArchivedLog(ObjectStore(ledger.settings))
    was = Checkpoint.parse(split_note(log.find_checkpoint() or b"")[0])
    (signer, _) = sorted(load_signers(ledger.settings, was.origin), key=lambda signer: signer.key.type)
    events = [json.loads(entry) for entry in log.read_entries(was.size)]
    for event in events:
        if event["body"]["event"] == "key_rotated":
            event["body"]["new"] = [signer.key.text]
    entries = [rfc8785.dumps(event) for event in events]
    state, tree = replay_entries(entries), Tree(entries)
    objects = {tile.path: tree.content(tile) for tile in new_tiles(0, was.size)}
    head = Checkpoint(was.origin, was.size, tree.root(was.size))
    objects["checkpoint"] = sign_note(head.text, [signer], 1_700_000_000)
    for table in state.tables:
        objects[f"index/{table}"] = sign_note(index_of(state, table, head.root).to_text(), [signer], 0)
    for name, content in objects.items():
        replace(ledger, log.key(name), content)


@pytest.mark.sampled(1)
def test_a_missing_marker_is_named(archived: Ledger, policy: LogPolicy) -> None:
    ObjectStore(archived.settings).remove(MARKER)
    assert [place for place, _ in wrong(from_bucket(archived, policy))] == [MARKER]
