"""`treasury key`: what people type to make, see and revoke keys."""

import httpx
import pytest
from typer.testing import CliRunner, Result

from cli.keys import keys
from config import Settings
from ledger.errors import ConfigError

runner = CliRunner()


@pytest.fixture
def run(ready: Settings, monkeypatch: pytest.MonkeyPatch) -> object:
    """Runs a command in the environment of the database under test."""
    for name, value in ready.environment().items():
        monkeypatch.setenv(name, value)

    def command(*arguments: str) -> Result:
        return runner.invoke(keys, list(arguments))

    return command


def test_a_key_is_made_used_listed_and_revoked(run: object, http: httpx.Client) -> None:
    assert callable(run)
    made = run("create", "acme", "--scope", "transactions:read", "--days", "30")
    key = made.output.strip()
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
