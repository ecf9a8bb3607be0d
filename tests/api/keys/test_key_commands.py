"""`treasury key`: what people type to make, see and revoke keys."""

import os
import pwd
import time

import httpx
import pytest
from typer.testing import CliRunner, Result

from api.abuse.rate_limits import RatePolicy, limit_of
from api.keys import auth
from cli.main import app
from config import Settings
from ledger.errors import ConfigError, FieldError
from tasks.admin.keys import key_events, list_keys

runner = CliRunner()


@pytest.fixture
def run(ready: Settings, monkeypatch: pytest.MonkeyPatch) -> object:
    """Runs a command in the environment of the database under test."""
    for name, value in ready.environment().items():
        monkeypatch.setenv(name, value)

    def command(*arguments: str) -> Result:
        return runner.invoke(app, ["key", *arguments])

    return command


def test_a_key_is_made_used_listed_and_revoked(run: object, http: httpx.Client) -> None:
    assert callable(run)
    made = run("create", "acme", "--scope", "transactions:read", "--days", "30")
    key = made.stdout.strip()
    key_id = key.split("_")[1]

    assert made.exit_code == 0
    headers = {"Authorization": f"Bearer {key}"}
    assert http.get("/api/v1/transactions?wallet_id=w", headers=headers).status_code == 200
    assert http.get("/api/v1/vas-transactions?wallet_id=w", headers=headers).status_code == 403
    listed = run("list").output
    assert key_id in listed
    assert key.split("_", 2)[2] not in listed
    assert run("revoke", key_id).exit_code == 0
    assert isinstance(run("revoke", key_id).exception, ConfigError)


def test_an_unknown_scope_is_named(run: object) -> None:
    assert callable(run)
    result = run("create", "acme", "--scope", "everything")
    assert isinstance(result.exception, ConfigError)
    assert "everything" in str(result.exception)


def test_a_rotated_key_works_through_its_grace_beside_the_new_one(
    run: object, http: httpx.Client, ready: Settings
) -> None:
    assert callable(run)
    old = run("create", "acme", "--scope", "transactions:read", "--limit", "transactions=600/minute").stdout.strip()
    rotated = run("rotate", old.split("_")[1], "--grace", "1h")
    new = rotated.stdout.strip()

    assert rotated.exit_code == 0
    assert new.split("_")[1] != old.split("_")[1]
    for key in (old, new):
        answer = http.get("/api/v1/transactions?wallet_id=w", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200
    listed = run("list").output
    assert "expires" in listed
    assert [record.limits for record in list_keys(ready)] == [{"transactions": "600/minute"}] * 2


def test_a_key_rotated_without_grace_is_out_once_it_is_no_longer_remembered(
    run: object, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "REMEMBER_S", 0.5)
    assert callable(run)
    old = run("create", "acme", "--scope", "transactions:read").stdout.strip()
    headers = {"Authorization": f"Bearer {old}"}
    assert http.get("/api/v1/transactions?wallet_id=w", headers=headers).status_code == 200
    assert run("rotate", old.split("_")[1], "--grace", "0s").exit_code == 0
    deadline = time.monotonic() + auth.REMEMBER_S + 5
    while http.get("/api/v1/transactions?wallet_id=w", headers=headers).status_code != 401:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_who_did_what_to_a_key_is_kept(run: object, ready: Settings) -> None:
    assert callable(run)
    old = run("create", "acme").stdout.strip().split("_")[1]
    new = run("rotate", old, "--grace", "7d").stdout.strip().split("_")[1]
    assert run("revoke", old).exit_code == 0

    events = key_events(ready)
    assert [(event.key_id, event.event) for event in events] == [
        (old, "created"),
        (new, "created"),
        (old, "rotated"),
        (old, "revoked"),
    ]
    assert events[2].detail == {"by": new, "grace_s": 7 * 86_400}
    account = pwd.getpwuid(os.getuid()).pw_name
    assert {event.actor.partition("@")[0] for event in events} == {account}
    assert [event.event for event in key_events(ready, new)] == ["created"]
    assert "rotated" in run("events", old).output


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("create", "acme", "--limit", "transactions"), "--limit"),
        (("create", "acme", "--limit", "transactions=fast"), "limits: transactions"),
        (("create", "acme", "--limit", "transactions=0/minute"), "limits: transactions"),
        (("create", "acme", "--limit", "transactions=10/second;100/hour"), "limits: transactions"),
        (("create", "acme", "--limit", "ddos=600/minute"), "'ddos' is not one of"),
        (("rotate", "000000000000"), "key '000000000000' does not exist, or is expired or revoked"),
        (("rotate", "000000000000", "--grace", "soon"), "--grace"),
        (("rotate", "000000000000", "--grace", "91d"), "grace: must be between"),
    ],
)
def test_what_makes_no_sense_is_named_and_makes_no_key(
    run: object, ready: Settings, arguments: tuple[str, ...], named: str
) -> None:
    assert callable(run)
    result = run(*arguments)
    assert isinstance(result.exception, ConfigError)
    assert named in str(result.exception)
    assert list_keys(ready) == []


def test_every_limit_that_a_key_may_have_is_one_that_the_limiter_reads() -> None:
    for unit in ("second", "minute", "hour", "day"):
        assert limit_of(RatePolicy.VAS, f"600/{unit}").amount == 600


@pytest.mark.parametrize("form", ["{key}", " {key} ", "Bearer {key}", "'{key}'", "trk_{id}", "{id}"])
def test_a_whole_key_is_taken_for_its_id_and_its_secret_is_never_shown(run: object, ready: Settings, form: str) -> None:
    assert callable(run)
    key = run("create", "acme").stdout.strip()
    _, key_id, secret = key.split("_", 2)
    given = form.format(key=key, id=key_id)
    for command in ("events", "revoke"):
        result = run(command, given)
        assert result.exit_code == 0
        assert key_id in result.output
        assert secret not in result.output + result.stderr
        assert ("history of this shell" in result.stderr) == ("_" in given)
    assert [record.revoked_at is not None for record in list_keys(ready)] == [True]
    again = run("revoke", given)
    assert secret not in again.output + again.stderr + str(again.exception)


def test_a_whole_key_can_be_rotated(run: object, ready: Settings) -> None:
    assert callable(run)
    key = run("create", "acme").stdout.strip()
    rotated = run("rotate", key, "--grace", "1h")
    assert rotated.exit_code == 0
    assert key.split("_", 2)[2] not in rotated.output + rotated.stderr
    assert len(list_keys(ready)) == 2


@pytest.mark.parametrize("command", ["revoke", "rotate", "events"])
@pytest.mark.parametrize(
    "given", ["trk_0123456789ab", "s3cr3t-of-a-key", "0123456789ab_s3cr3t-of-a-key", "trk__s3cr3t"]
)
def test_what_is_no_key_id_is_refused_without_being_repeated(run: object, command: str, given: str) -> None:
    assert callable(run)
    result = run(command, given)
    told = result.output + result.stderr + str(result.exception)
    assert "s3cr3t" not in told
    if "s3cr3t" in given:
        assert isinstance(result.exception, ConfigError)
        assert "must be the 12 hex digits" in str(result.exception)


def test_no_error_of_any_command_repeats_a_key() -> None:
    for text in ("'trk_0123456789ab_s3cr3t-x_y' is not an IP address", "unknown supplier 'TRK_0123456789AB_s3cr3t'"):
        for error in (ConfigError(text), FieldError("body", text)):
            assert "s3cr3t" not in str(error)
