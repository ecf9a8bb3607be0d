"""Timestamps by a third party: stored beside the checkpoint, verified offline, and never believed when it lies."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_certificates

from config import Settings, load_settings
from ledger.errors import ConfigError, VerificationError
from tasks.health import HealthState
from tasks.transparency.publish import publish_log
from tasks.transparency.timestamps import verify_timestamp
from tests.tasks.transparency.installation import Installation
from tests.tasks.transparency.test_hooks import check
from tests.tasks.transparency.time_stamping import Authority, stamping


@pytest.fixture
def authority() -> Iterator[Authority]:
    """An authority that tells the truth, until a test changes it."""
    with stamping(Authority()) as found:
        yield found


@pytest.fixture
def stamped(settings: Settings, authority: Authority, tmp_path: Path) -> Installation:
    """An installation whose log the authority stamps, with an event that waits."""
    file = tmp_path / "authority.pem"
    file.write_bytes(authority.pem)
    changes = {"tsa_url": authority.url, "tsa_certificates": file, "tsa_timeout_s": 5.0}
    with Installation.begun(settings.model_copy(update=changes)) as installation:
        installation.record("one")
        return installation


def test_the_checkpoint_is_stamped_and_the_stamp_is_verified_offline(
    stamped: Installation, authority: Authority
) -> None:
    done = publish_log(stamped.settings)
    assert done is not None
    assert done.shortfall == ""
    log = stamped.log()
    content = stamped.objects()["log/timestamps/3.tsr"]
    certificates = load_pem_x509_certificates(authority.pem)
    at = verify_timestamp(content, log.checkpoint.text, certificates)
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=5)
    with pytest.raises(VerificationError, match="the timestamp is not valid"):
        verify_timestamp(content, log.checkpoint.text.replace("\n3\n", "\n4\n"), certificates)
    with pytest.raises(VerificationError, match="the timestamp is not valid"):
        verify_timestamp(content, log.checkpoint.text, load_pem_x509_certificates(Authority().pem))
    result = check(stamped.settings)
    assert (result.state, "stamped at" in result.line) == (HealthState.HEALTHY, True)


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        ({"off": timedelta(minutes=6)}, "from this machine's clock; at most 300 s are accepted"),
        ({"off": timedelta(minutes=-6)}, "from this machine's clock"),
        ({"changes_nonce": True}, "Nonce mismatch"),
        ({"changes_imprint": True}, "Mismatch between messages"),
        ({"refuses": True}, "no timestamp"),
    ],
)
def test_an_authority_that_lies_is_an_error_and_nothing_is_stored(
    stamped: Installation, authority: Authority, lie: dict[str, object], told: str
) -> None:
    for name, value in lie.items():
        setattr(authority, name, value)
    done = publish_log(stamped.settings)
    assert done is not None
    assert told in done.shortfall
    assert "log/timestamps/3.tsr" not in stamped.objects()
    assert stamped.log().checkpoint.size == 3  # the log goes on without
    assert check(stamped.settings).state is HealthState.WARNING
    honest = Authority()
    for name in lie:
        setattr(authority, name, getattr(honest, name))
    publish_log(stamped.settings)
    assert "log/timestamps/3.tsr" in stamped.objects()
    assert check(stamped.settings).state is HealthState.HEALTHY


def test_an_authority_of_another_name_is_not_believed(stamped: Installation, tmp_path: Path) -> None:
    (tmp_path / "authority.pem").write_bytes(Authority().pem)
    done = publish_log(stamped.settings)
    assert done is not None
    assert "no timestamp: the timestamp is not valid" in done.shortfall


def test_an_authority_that_is_away_stops_nothing(stamped: Installation) -> None:
    away = stamped.settings.model_copy(update={"tsa_url": "http://127.0.0.1:9"})
    done = publish_log(away)
    assert done is not None
    assert "TREASURY_TSA_URL does not answer: ConnectError" in done.shortfall
    assert stamped.log().checkpoint.size == 3


def test_a_stamp_that_a_killed_run_left_is_kept(stamped: Installation) -> None:
    publish_log(stamped.settings)
    before = stamped.objects()["log/timestamps/3.tsr"]
    stamped.sql("UPDATE log_state SET timestamped_size = 0")
    publish_log(stamped.settings)
    assert stamped.objects()["log/timestamps/3.tsr"] == before
    assert stamped.row.timestamped_size == 3


def test_an_authority_without_its_certificates_is_refused_at_start() -> None:
    with pytest.raises(ConfigError, match="TREASURY_TSA_CERTIFICATES: must name the authority's certificates"):
        load_settings(tsa_url="https://tsa.example")
