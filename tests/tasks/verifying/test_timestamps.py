"""`verify_archive` over a log that an authority has stamped: each stamp is of its checkpoint, and by the authority."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from config import Settings
from ledger.transparency.policies import LogPolicy
from sql.connection import connect
from storage.store import ObjectStore
from tasks.transparency.publish import publish_log
from tasks.transparency.report import policy_text
from tasks.verifying.findings import VerificationReport
from tasks.verifying.verification import VerificationScope, verify_archive
from tests.tasks.transparency.installation import Installation
from tests.tasks.transparency.time_stamping import Authority, stamping

FIRST, LAST = "log/timestamps/3.tsr", "log/timestamps/4.tsr"


@pytest.fixture
def authority() -> Iterator[Authority]:
    with stamping(Authority()) as found:
        yield found


@pytest.fixture
def stamped(settings: Settings, authority: Authority, tmp_path: Path) -> Installation:
    """A log of two checkpoints, both stamped; its home is the auditor's, too, who has seen nothing before."""
    file = tmp_path / "authority.pem"
    file.write_bytes(authority.pem)
    changes = {"tsa_url": authority.url, "tsa_certificates": file, "tsa_timeout_s": 5.0}
    with Installation.begun(settings.model_copy(update=changes)) as installation:
        for name in ("one", "two"):
            installation.record(name)
            publish_log(installation.settings)
    assert {FIRST, LAST} <= installation.objects().keys()
    return installation


def verify(
    stamped: Installation, home: Path, *, certificates: bool = True, database: bool = False
) -> VerificationReport:
    """The verification of a home that remembers what was verified from it before."""
    policy = LogPolicy.parse(policy_text(stamped.settings).encode())
    known = {} if certificates else {"tsa_certificates": None, "tsa_url": None}
    settings = stamped.settings.model_copy(update={"home": home, **known})
    if database:
        with connect(settings.database_dsn, "tests") as connection:
            return verify_archive(settings, VerificationScope(), connection, policy)
    return verify_archive(settings, VerificationScope(), None, policy)


def wrong(report: VerificationReport) -> list[tuple[str, str]]:
    return [(one.place, one.text) for one in report.findings]


def test_good_timestamps_are_counted_and_without_certificates_a_note_says_what_was_not_checked(
    stamped: Installation, tmp_path: Path
) -> None:
    report = verify(stamped, tmp_path / "one")
    assert (wrong(report), report.counts["timestamps"], report.notes) == ([], 2, [])
    report = verify(stamped, tmp_path / "two", certificates=False)
    assert (wrong(report), report.counts["timestamps"]) == ([], 0)
    (note,) = report.notes
    assert note == (
        "2 timestamps compared with the log alone: TREASURY_TSA_CERTIFICATES names no authority, so nobody checked who "
        "made them, and when"
    )


def test_every_changed_byte_of_what_the_authority_signed_is_a_finding(stamped: Installation, tmp_path: Path) -> None:
    store = ObjectStore(stamped.settings)
    content = store.read_bytes(LAST)
    signed = content.index(b"Z", content.index(b"\x18\x0f"))  # the time that it says, to the second
    for place in (signed - 1, signed - 5, len(content) - 1, len(content) // 2):
        changed = bytearray(content)
        changed[place] ^= 1
        store.replace_bytes(bytes(changed), LAST)
        assert [one for one, _ in wrong(verify(stamped, tmp_path / "auditor"))] == [LAST], place
    store.replace_bytes(content[:-1], LAST)
    assert [one for one, _ in wrong(verify(stamped, tmp_path / "auditor"))] == [LAST]


def test_a_stamp_by_another_authority_is_a_finding(stamped: Installation, tmp_path: Path) -> None:
    (tmp_path / "authority.pem").write_bytes(Authority().pem)
    found = wrong(verify(stamped, tmp_path / "auditor"))
    assert [place for place, _ in found] == [FIRST, LAST]
    assert all("the timestamp is not valid" in text for _, text in found)


@pytest.mark.parametrize("certificates", [True, False])
def test_the_stamp_of_another_checkpoint_is_a_finding_by_whomever_it_is(
    stamped: Installation, tmp_path: Path, certificates: bool
) -> None:
    store = ObjectStore(stamped.settings)
    store.replace_bytes(store.read_bytes(FIRST), LAST)
    report = verify(stamped, tmp_path / "auditor", certificates=certificates)
    assert wrong(report) == [(LAST, "the timestamp is over another text than this checkpoint")]


@pytest.mark.parametrize("name", [FIRST, LAST])
def test_a_deleted_stamp_is_missed_by_the_home_that_saw_it(stamped: Installation, tmp_path: Path, name: str) -> None:
    assert wrong(verify(stamped, tmp_path / "seen")) == []
    ObjectStore(stamped.settings).remove(name)
    text = "was there when this home verified the log, and is missing now"
    assert wrong(verify(stamped, tmp_path / "seen")) == [(name, text)]
    assert wrong(verify(stamped, tmp_path / "unseen")) == []


def test_the_newest_stamp_is_missed_by_postgresql(stamped: Installation, tmp_path: Path) -> None:
    assert wrong(verify(stamped, tmp_path / "seen", database=True)) == []
    ObjectStore(stamped.settings).remove(LAST)
    text = "is missing: PostgreSQL says that this checkpoint was stamped"
    assert (LAST, text) in wrong(verify(stamped, tmp_path / "unseen", database=True))


def test_a_changed_stamp_that_the_authority_may_have_signed_is_known_by_the_home_that_saw_it(
    stamped: Installation, tmp_path: Path
) -> None:
    """Some bytes of an answer are signed by nobody: a flip there leaves a valid stamp, of the same text and time."""
    assert wrong(verify(stamped, tmp_path / "seen")) == []
    store = ObjectStore(stamped.settings)
    content = store.read_bytes(LAST)
    for place in range(0, len(content), 97):
        changed = bytearray(content)
        changed[place] ^= 1
        store.replace_bytes(bytes(changed), LAST)
        assert (LAST, "was changed since this home verified the log") in wrong(verify(stamped, tmp_path / "seen"))
