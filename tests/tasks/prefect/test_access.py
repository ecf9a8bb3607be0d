"""How a Prefect server is asked: with the login of the settings, else with what Prefect's own programs read."""

import base64

import pytest
from pydantic import SecretStr

from config import Settings
from ledger.errors import ConfigError
from tasks.prefect.access import PrefectAccess

URL = "http://127.0.0.1:4200/api"


@pytest.fixture
def at_prefect(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with a Prefect server and no login, in a shell that has none."""
    for name in ("PREFECT_API_AUTH_STRING", "PREFECT_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return Settings().model_copy(update={"prefect_api_url": URL, "prefect_api_auth_string": None})


def _basic(login: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


def test_a_server_that_is_not_known_is_named_by_its_setting(at_prefect: Settings) -> None:
    with pytest.raises(ConfigError, match="TREASURY_PREFECT_API_URL is not set"):
        PrefectAccess.of(at_prefect.model_copy(update={"prefect_api_url": None}))


def test_the_login_of_the_settings_counts_before_that_of_the_shell(
    at_prefect: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PrefectAccess.of(at_prefect).headers() == {}
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "admin:shell")
    assert PrefectAccess.of(at_prefect).headers() == _basic("admin:shell")
    with_login = at_prefect.model_copy(update={"prefect_api_auth_string": SecretStr("admin:settings")})
    assert PrefectAccess.of(with_login).headers() == _basic("admin:settings")


def test_a_key_of_prefect_cloud_is_sent_where_there_is_no_login(
    at_prefect: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "pnu_1")
    assert PrefectAccess.of(at_prefect).headers() == {"Authorization": "Bearer pnu_1"}


def test_prefect_s_own_programs_get_the_address_and_the_login() -> None:
    assert PrefectAccess(URL).environment() == {"PREFECT_API_URL": URL}
    assert PrefectAccess(URL, SecretStr("admin:x")).environment() == {
        "PREFECT_API_URL": URL,
        "PREFECT_API_AUTH_STRING": "admin:x",
    }


def test_a_login_is_not_shown() -> None:
    assert "hunter2" not in repr(PrefectAccess(URL, SecretStr("admin:hunter2")))
