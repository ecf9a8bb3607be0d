"""What happens to the archive is in the log: archived months at once, closed periods, and what waits is seen."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from config import Settings
from ledger.errors import ConfigError
from ledger.installation import Owner
from ledger.month_tree import Layout
from ledger.transparency.events import Archived, Body, Event
from sql.connection import Connection
from sql.log import record_event
from storage.manifest import Manifest
from storage.store import ObjectStore, StoredFile
from tasks.archiving import to_cold
from tasks.archiving.outcome import MoveResult
from tasks.health import CHECKS, HealthState, run_checks
from tasks.health.result import CheckResult
from tasks.transparency.publish import publish_log
from tests.tasks.archiving.ledger import COLD, Ledger
from tests.tasks.transparency.test_copies import of


def check(settings: Settings, later: timedelta = timedelta()) -> CheckResult:
    """The health check of the log."""
    (result,) = run_checks(settings, [one for one in CHECKS if one.name == "log"], datetime.now(UTC) + later)
    return result


def test_a_month_that_goes_cold_is_in_the_log_at_once(ledger: Ledger) -> None:
    ledger.fill(COLD)
    outcomes = ledger.night()
    assert [one.result for one in outcomes] == [MoveResult.MOVED, MoveResult.MOVED]
    assert [one.reason for one in outcomes] == ["", ""]
    log = of(ledger)
    assert log.kinds() == ["log_opened", "archived", "key_rotated"]
    event = Event.from_bytes(log.log().entries[1]).body
    assert isinstance(event, Archived)
    store = ObjectStore(ledger.settings)
    manifest = Manifest.from_bytes(store.read_bytes(event.manifest.key), event.manifest.key)
    assert StoredFile.of(store.read_bytes(event.manifest.key)).sha256.hex() == event.manifest.sha256
    assert (event.tree.root, event.tree.size, event.rows) == (manifest.tree.root, manifest.tree.leaves, manifest.rows)
    assert event.layout == manifest.layout.to_record() == Layout.from_record(event.layout).to_record()
    assert [one.key for one in event.objects] == manifest.keys
    for one in event.objects:
        assert StoredFile.of(store.read_bytes(one.key)) == StoredFile(one.size_bytes, bytes.fromhex(one.sha256))
    assert sorted(event.sums) == ["USD", "ZAR"]
    assert not event.adopted
    ledger.check_archive()


def test_a_log_that_cannot_be_published_never_fails_a_month(ledger: Ledger) -> None:
    ledger.warm(COLD)
    keys = ledger.settings.home / "keys"
    keys.mkdir(parents=True)
    (keys / "log-ed25519-1.pem").write_text("no key")
    (keys / "log-ed25519-1.pem").chmod(0o600)
    (outcome,) = ledger.night()
    assert outcome.result is MoveResult.MOVED
    assert "archived; its event waits for the public log" in outcome.reason
    assert "log-ed25519-1.pem: is not a private key in PEM" in outcome.reason
    assert ledger.tier(COLD) == "cold"
    (keys / "log-ed25519-1.pem").unlink()
    publish_log(ledger.settings)
    assert of(ledger).kinds() == ["log_opened", "archived", "key_rotated"]


def test_a_month_whose_flip_is_rolled_back_is_not_in_the_log(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.warm(COLD)

    def fail(connection: Connection, owner: Owner, body: Body) -> None:
        record_event(connection, owner, body)
        raise ConfigError("after the event")

    with monkeypatch.context() as patched:
        patched.setattr(to_cold, "record_event", fail)
        assert [one.result for one in ledger.night()] == [MoveResult.FAILED]
    assert ledger.tier(COLD) == "warm"
    assert ledger.sql("SELECT count(*) FROM log_events") == [(0,)]
    assert [one.result for one in ledger.night()] == [MoveResult.MOVED]
    assert of(ledger).kinds().count("archived") == 1


@pytest.mark.heavy("a month that goes cold is tested beside it")
def test_months_that_were_cold_before_the_log_are_adopted_when_it_opens(ledger: Ledger) -> None:
    ledger.warm(COLD, COLD.plus(1))
    ledger.night()
    ledger.sql("ALTER TABLE log_events DISABLE TRIGGER USER; ALTER TABLE log_state DISABLE TRIGGER USER")
    ledger.sql("DELETE FROM log_events; DELETE FROM log_state")  # as a database of an earlier version
    store = ObjectStore(ledger.settings)
    for key in store.keys("log"):
        store.remove(key)
    of(ledger).record("first")
    publish_log(ledger.settings)
    log = of(ledger)
    assert log.kinds() == ["log_opened", "archived", "archived", "first", "key_rotated"]
    assert all(json.loads(entry)["body"]["adopted"] for entry in log.log().entries[1:3])
    assert len(json.loads(log.objects()["log/index/transactions"].split(b"\n")[0])["months"]) == 2


def test_an_event_that_is_not_published_for_too_long_is_an_alert(ledger: Ledger) -> None:
    assert check(ledger.settings).line == "nothing was archived yet, so there is no log"
    ledger.warm(COLD)
    ledger.night()
    assert check(ledger.settings).state is HealthState.HEALTHY
    of(ledger).record("waits")
    result = check(ledger.settings, timedelta(minutes=9))
    assert (result.state, "1 wait since" in result.line) == (HealthState.HEALTHY, True)
    assert check(ledger.settings, timedelta(minutes=11)).state is HealthState.WARNING
    assert check(ledger.settings, timedelta(minutes=61)).state is HealthState.CRITICAL
    publish_log(ledger.settings)
    assert check(ledger.settings, timedelta(minutes=61)).state is HealthState.HEALTHY


def test_a_publication_that_failed_is_a_warning_with_its_reason(ledger: Ledger) -> None:
    ledger.warm(COLD)
    ledger.night()
    (ledger.settings.home / "keys" / "log-ed25519-1.pem").chmod(0o644)
    of(ledger).record("waits")
    with pytest.raises(ConfigError):
        publish_log(ledger.settings)
    result = check(ledger.settings)
    assert result.state is HealthState.WARNING
    assert "others than its owner may use this key" in result.line


def test_the_api_s_login_may_ask_how_the_log_is(ledger: Ledger) -> None:
    ledger.warm(COLD)
    ledger.night()
    assert check(ledger.settings.for_api()).state is HealthState.HEALTHY
