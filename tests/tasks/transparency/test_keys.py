"""Keys of the log: where they come from, their rotation, and a hardware module behind a command."""

import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pydantic import SecretStr, ValidationError

from config import Settings
from config.log import KeySource, LogKeySettings
from ledger.errors import ConfigError, NotFoundError, TransientError, VerificationError
from ledger.transparency.notes import open_checkpoint
from ledger.transparency.policies import LogPolicy
from ledger.transparency.replay import replay_entries
from ledger.transparency.verifier_keys import VerifierKey
from tasks.transparency.archived_log import ArchivedLog
from tasks.transparency.keys import PrivateKey
from tasks.transparency.publish import publish_log
from tasks.transparency.report import policy_text, report_log
from tasks.transparency.rotation import rotate_keys
from tests.tasks.transparency.installation import Installation
from tests.tasks.transparency.test_killed_publishers import Killed

SIGN = """
import sys
from cryptography.hazmat.primitives.serialization import load_pem_private_key
key = load_pem_private_key(open(sys.argv[1], "rb").read(), None)
sys.stdout.buffer.write(key.sign(sys.stdin.buffer.read()))
"""


def pem(key: PrivateKey) -> SecretStr:
    return SecretStr(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def public_pem(key: PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def with_keys(settings: Settings, ed25519: KeySource, mldsa44: KeySource) -> Settings:
    return settings.model_copy(update={"log_keys": LogKeySettings(ed25519=ed25519, mldsa44=mldsa44)})


@pytest.fixture
def published(settings: Settings) -> Installation:
    """An installation with a published log."""
    with Installation.begun(settings) as installation:
        installation.record("one")
        publish_log(settings)
        return installation


def test_keys_come_from_the_environment(settings: Settings) -> None:
    keys = KeySource(pem=pem(Ed25519PrivateKey.generate())), KeySource(pem=pem(MLDSA44PrivateKey.generate()))
    with Installation.begun(with_keys(settings, *keys)) as installation:
        installation.record("one")
        publish_log(installation.settings)
        installation.log()
    assert list((settings.home / "keys").glob("log-*")) == []


def test_a_command_signs_for_a_key_that_nobody_reads(settings: Settings, tmp_path: Path) -> None:
    sources = []
    privates: list[PrivateKey] = [Ed25519PrivateKey.generate(), MLDSA44PrivateKey.generate()]
    for number, key in enumerate(privates):
        file, script = tmp_path / f"hsm-{number}", tmp_path / "sign.py"
        file.write_text(pem(key).get_secret_value())
        script.write_text(SIGN)
        sources.append(KeySource(command=f"{sys.executable} {script} {file}", public_key=public_pem(key)))
    with Installation.begun(with_keys(settings, *sources)) as installation:
        installation.record("one")
        publish_log(installation.settings)
        installation.log()


@pytest.mark.parametrize(
    ("command", "kind", "told"),
    [
        ("/nowhere/sign", ConfigError, "the command for ed25519 cannot be run"),
        ("false", TransientError, "the command for ed25519 ended with 1"),
        ("cat", VerificationError, "the ed25519 signature of treasury/.* is not valid"),
    ],
)
def test_a_command_that_does_not_sign_is_named_and_nothing_is_published(
    settings: Settings, command: str, kind: type[Exception], told: str
) -> None:
    key = Ed25519PrivateKey.generate()
    sources = KeySource(command=command, public_key=public_pem(key)), KeySource(pem=pem(MLDSA44PrivateKey.generate()))
    with Installation.begun(with_keys(settings, *sources)) as installation:
        installation.record("one")
        with pytest.raises(kind, match=told):
            publish_log(installation.settings)
        assert "log/checkpoint" not in installation.objects()


def test_a_key_of_another_algorithm_is_refused_by_name(settings: Settings) -> None:
    key = pem(MLDSA44PrivateKey.generate())
    with Installation.begun(with_keys(settings, KeySource(pem=key), KeySource(pem=key))) as installation:
        installation.record("one")
        with pytest.raises(ConfigError, match="TREASURY_LOG_KEYS__ED25519__PEM: is not an ed25519 key"):
            publish_log(installation.settings)


@pytest.mark.parametrize(
    "fields", [{"command": "sign"}, {"public_key": "x"}, {"pem": "x", "command": "y", "public_key": "z"}]
)
def test_a_source_without_all_of_its_parts_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        KeySource.model_validate(fields)


def test_a_rotation_is_an_event_and_both_pairs_sign_it(published: Installation) -> None:
    old = published.row.keys
    new = rotate_keys(published.settings)
    assert published.row.keys == new
    assert not set(new) & set(old)
    log = published.log()
    state = replay_entries(log.entries)
    assert state.keys_at(3) == old
    assert state.keys_at(4) == new
    for keys in (old, new):
        open_checkpoint(log.note, [VerifierKey.parse(text) for text in keys], published.origin)
    published.record("two")
    publish_log(published.settings)
    note = published.log().note
    with pytest.raises(VerificationError, match="signed by no known key"):
        open_checkpoint(note, [VerifierKey.parse(text) for text in old], published.origin)
    assert len(list((published.settings.home / "keys").glob("log-*"))) == 4


@pytest.mark.sampled(2)
@pytest.mark.parametrize("step", ["made new keys", "rotated", "planned", "putting checkpoint", "put checkpoint"])
def test_a_rotation_that_was_killed_is_completed(published: Installation, step: str) -> None:
    def die(at: str) -> None:
        if at == step:
            raise Killed

    with pytest.raises(Killed):
        rotate_keys(published.settings, die)
    publish_log(published.settings)
    log = published.log()
    if step == "made new keys":
        assert log.checkpoint.size == 3
        rotate_keys(published.settings)
    assert published.log().checkpoint.size == 4
    assert len(list((published.settings.home / "keys").glob("log-*"))) == 4  # those of the killed run are used


def test_a_lost_key_is_replaced_by_a_rotation(published: Installation) -> None:
    (published.settings.home / "keys" / "log-mldsa44-1.pem").unlink()
    published.record("two")
    with pytest.raises(ConfigError, match="rotate-key"):
        publish_log(published.settings)
    rotate_keys(published.settings)
    assert published.kinds()[-2:] == ["two", "key_rotated"]


def test_keys_of_the_settings_that_changed_sign_only_after_a_rotation(settings: Settings) -> None:
    first = KeySource(pem=pem(Ed25519PrivateKey.generate())), KeySource(pem=pem(MLDSA44PrivateKey.generate()))
    with Installation.begun(with_keys(settings, *first)) as installation:
        installation.record("one")
        publish_log(installation.settings)
        with pytest.raises(ConfigError, match="names the keys that sign the log already"):
            rotate_keys(installation.settings)
        second = KeySource(pem=pem(Ed25519PrivateKey.generate())), first[1]
        installation.settings = with_keys(settings, *second)
        installation.record("two")
        with pytest.raises(ConfigError, match=r"the ed25519 key .* is not there"):
            publish_log(installation.settings)
        rotate_keys(installation.settings)
        assert installation.log().checkpoint.size == 5


def test_the_policy_accepts_the_log_and_names_the_former_keys(published: Installation) -> None:
    old = published.row.keys
    rotate_keys(published.settings)
    text = policy_text(published.settings)
    assert all(f"# log {key}  (signed checkpoints of 1 to 3 entries)" in text for key in old)
    content = ArchivedLog(published.store).find_checkpoint()
    assert content is not None
    checkpoint, note = LogPolicy.parse(text.encode()).check(content)
    assert checkpoint.size == 4
    assert len(note.keys) == 2


def test_the_log_is_shown_with_what_waits(published: Installation) -> None:
    published.record("two", "three")
    report = report_log(published.settings)
    assert report.waiting == 2
    assert [(one.entry_index, one.event) for one in report.events][:3] == [
        (None, "held"),
        (None, "held"),
        (2, "key_rotated"),
    ]


def test_without_an_archive_there_is_no_log_to_show(settings: Settings) -> None:
    with pytest.raises(NotFoundError, match="nothing was archived yet"):
        report_log(settings)
    with pytest.raises(NotFoundError):
        policy_text(settings)
